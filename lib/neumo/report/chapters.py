"""Los capítulos: lo que cada cuaderno dice que lee, escribe, usa e importa."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neumo.errors import NeumoError
from neumo.modules import closure, digest, imported
from neumo.params import EXPERIMENT_PARAMETERS, Params
from neumo.run import ARTEFACTS, project_root

_LAST = ("14", "00")  # las conclusiones y el resumen leen a todos los demás


@dataclass(frozen=True)
class Chapter:
    """Un capítulo: su cuaderno y de qué depende.

    Attributes
    ----------
    path : Path
    reads, writes : tuple of str
        Artefactos, según «Lee:» y «Escribe:» de la primera celda.
    parameters : tuple of str
        Los que declara su celda `parameters`: papermill los pone.
    uses : tuple of str
        Esos y los que toma de `run.params`.
    cells : str
        Resumen de sus celdas, sin salidas.
    modules : tuple of str
        Módulos de `neumo` que importa, directa o indirectamente.
    """

    path: Path
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    parameters: tuple[str, ...]
    uses: tuple[str, ...]
    cells: str
    modules: tuple[str, ...]

    @property
    def number(self) -> str:
        """Número de dos cifras del capítulo."""
        return self.path.stem[:2]


def read_chapters(folder: Path | None = None) -> list[Chapter]:
    """Lee los capítulos, en orden de ejecución: por número, con las conclusiones y el resumen al final.

    Raises
    ------
    NeumoError
        Si un capítulo lee un artefacto que ningún otro escribe.
    """
    folder = folder or project_root() / "notebooks"
    chapters = [read_chapter(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    written = {name for chapter in chapters for name in chapter.writes}
    for chapter in chapters:
        for name in chapter.reads:
            if ARTEFACTS[name][1] and name not in written:
                raise NeumoError(
                    f"{chapter.path.name} lee `{name}` y ningún capítulo lo escribe: debería hacerlo el "
                    f"{ARTEFACTS[name][1]}. Devuelva ese cuaderno a notebooks/ o quite el nombre de «Lee:»."
                )
    return sorted(chapters, key=lambda c: (_LAST.index(c.number) + 1 if c.number in _LAST else 0, c.number))


def read_chapter(path: Path) -> Chapter:
    """Lee de un cuaderno qué artefactos lee y escribe, qué parámetros usa y qué módulos importa.

    Raises
    ------
    NeumoError
        Si no es un cuaderno, una celda no es Python o nombra artefactos que no existen.
    """
    try:
        return _read_chapter(path)
    except (SyntaxError, ValueError, LookupError) as error:
        place = f", línea {error.lineno} de una celda: {error.text}" if isinstance(error, SyntaxError) else ""
        raise NeumoError(
            f"No se entiende el cuaderno {path.name} ({type(error).__name__}{place.rstrip()}). Corríjalo en JupyterLab y "
            "guárdelo entero; sus celdas han de ser de Python, sin órdenes de IPython como «%%» o «?»."
        ) from error


def _read_chapter(path: Path) -> Chapter:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    header = _sources(notebook, "markdown")[0]
    trees = [ast.parse(_plain(source)) for source in _sources(notebook, "code")]
    declared = tuple(name for name in _declared(notebook) if name in Params.model_fields)
    chapter = Chapter(
        path=path,
        reads=_names(header, "Lee"),
        writes=_names(header, "Escribe"),
        parameters=declared,
        uses=tuple(dict.fromkeys([*declared, *(name for tree in trees for name in _taken(tree))])),
        cells=digest([[c["cell_type"], "".join(c["source"])] for c in notebook["cells"]]),
        modules=closure(set().union(*(imported(ast.unparse(tree)) for tree in trees))),
    )
    unknown = [name for name in (*chapter.reads, *chapter.writes) if name not in ARTEFACTS]
    if unknown:
        raise NeumoError(
            f"{path.name} nombra en su primera celda artefactos que no existen: {', '.join(unknown)}. Corrija el nombre o "
            "añádalos a `neumo.run.ARTEFACTS`."
        )
    foreign = [
        f"`{name}`, del {ARTEFACTS[name][1]}"
        for name in chapter.writes
        if ARTEFACTS[name][1] != chapter.number
    ]
    if foreign:
        raise NeumoError(
            f"{path.name} dice que escribe {'; '.join(foreign)}: cada artefacto es de un capítulo. Corrija «Escribe:» o el "
            "número en `neumo.run.ARTEFACTS`."
        )
    return chapter


def _sources(notebook: dict[str, Any], kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def _names(header: str, label: str) -> tuple[str, ...]:
    line = re.search(rf"^{label}:(.*)$", header, re.M)
    return tuple(re.findall(r"`(\w+)`", line[1])) if line else ()


def _plain(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))


def _declared(notebook: dict[str, Any]) -> Iterator[str]:
    """Nombres que la celda `parameters` asigna."""
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            for node in ast.parse("".join(cell["source"])).body:
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _taken(tree: ast.AST) -> Iterator[str]:
    """Parámetros que un código toma de `run.params`: por su nombre, los de un experimento, o todos."""
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_params(node.value):
            known = node.attr in Params.model_fields
            yield from [node.attr] if known else EXPERIMENT_PARAMETERS
        elif _is_params(node) and id(node) not in inner:  # entregado entero a una función
            yield from Params.model_fields


def _is_params(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "params"
        and isinstance(node.value, ast.Name)
        and node.value.id == "run"
    )
