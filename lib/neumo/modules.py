"""De qué módulos propios depende un código, y el resumen de ellos que entra en la clave de lo que se guarda."""

import ast
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
# Se leen al importar: lo que un proceso guarda lleva el resumen del código que ejecuta, aunque alguien lo edite después.
_SOURCES = {
    path.relative_to(_FOLDER).as_posix(): path.read_bytes()
    for path in sorted(_FOLDER.rglob("*"))
    if path.suffix in (".py", ".yaml", ".md")
}
SILENT = frozenset({"errors", "progress", "learning/model_file"})
"""Lo que no cambia ningún resultado: el error, el aviso, y el examen de una red, que la rechaza o la deja como está."""
BASE = frozenset({"cache", "hardware", "modules", "params", "params_reader", "references", "run", "words"})
"""El piso bajo: lo que decide está en los valores de la clave, así que su código no entra en ella."""
# La puerta de los cuadernos hace lo que falta con el grafo y busca las imágenes; a un capítulo le llegan como artefactos.
_BEHIND_THE_DOOR = {"notebook": {"report/graph", "data/sources"}}


def digest(values: Any) -> str:
    """Resume cualquier estructura de JSON en 16 cifras hexadecimales; el orden de las claves no cuenta.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def code_digest() -> str:
    """Resume todo el código de esta biblioteca, tal como lo tiene el proceso que pregunta."""
    return digest({name: hashlib.sha256(content).hexdigest() for name, content in _SOURCES.items()})


def imported(code: str) -> set[str]:
    r"""Devuelve los módulos de `neumo` que importa un texto de Python (`"data/store"`, `"report/display"`).

    Importar un paquete (`from neumo import evaluation`) no dice cuál de sus módulos se usa: cuentan todos. Lo que solo se
    importa para anotar tipos cuenta también: es lo que la función recibe.

    Examples
    --------
    >>> sorted(imported("from neumo.data import split\nfrom neumo.report.display import table"))
    ['data/split', 'report/display']
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (path := (node.module or "").split("."))[0] == "neumo":
            package = "/".join(path[1:])
            names = [f"{package}/{alias.name}".strip("/") for alias in node.names]
            inside = [name for name in names if f"{name}.py" in _SOURCES or _members(name)]
            found |= set(inside) if len(inside) == len(names) else {*inside, package}
        elif isinstance(node, ast.Import):
            found |= {"/".join(a.name.split(".")[1:]) for a in node.names if a.name.startswith("neumo.")}
    whole = {name: _members(name) for name in found}
    return {module for name in found for module in (whole[name] or [name]) if f"{module}.py" in _SOURCES}


def _members(package: str) -> list[str]:
    """Módulos de un paquete; vacío si el nombre no lo es."""
    inside = f"{package}/"
    return [
        name[:-3]
        for name in _SOURCES
        if package and name.startswith(inside) and name.endswith(".py") and not name.endswith("__init__.py")
    ]


@functools.cache
def _imports(module: str) -> frozenset[str]:
    return frozenset(imported(_SOURCES[f"{module}.py"].decode()))


def closure(modules: Iterable[str]) -> tuple[str, ...]:
    """Devuelve los módulos dados y todos los que ellos importan, directa o indirectamente, en orden alfabético."""
    seen: set[str] = set()
    pending = set(modules)
    while pending:
        name = pending.pop()
        seen.add(name)
        pending |= _imports(name) - seen - _BEHIND_THE_DOOR.get(name, set())
    return tuple(sorted(seen - SILENT))


def modules_digest(modules: Iterable[str]) -> str:
    """Resume el código de unos módulos y los datos que llevan su nombre (`references.yaml`); comentarios y documentación, no."""
    return digest({name: _code(name) for name in modules})


def _code(module: str) -> list[str]:
    data = [_SOURCES[name] for name in map(f"{module}.{{}}".format, ("yaml", "md")) if name in _SOURCES]
    return [_syntax(_SOURCES[f"{module}.py"]), *(hashlib.sha256(part).hexdigest() for part in data)]


@functools.cache
def _syntax(source: bytes) -> str:
    """Resume el árbol sintáctico de un archivo, con sus cadenas de documentación vacías."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0].value = ast.Constant("")
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
