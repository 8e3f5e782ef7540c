"""Los capítulos: lo que cada cuaderno dice que lee, escribe, usa e importa."""

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neumo.errors import NeumoError
from neumo.modules import closure, digest, imported
from neumo.params import USED_BY, Params
from neumo.report.cells import INTERACTIVE_TAG, assignments, check_form, heading, parse
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
        Si no es un cuaderno, una celda no es Python, no se podría componer o nombra artefactos que no existen.
    """
    try:
        cells = [
            {"id": f"n.º {number}", "metadata": {}, **cell, "source": "".join(cell["source"])}
            for number, cell in enumerate(json.loads(path.read_bytes())["cells"], 1)
        ]
        check_form(cells, name=path.name)
    except (ValueError, LookupError, TypeError) as error:
        raise NeumoError(
            f"No se entiende el cuaderno {path.name} ({type(error).__name__}): ábralo en JupyterLab y guárdelo entero."
        ) from error
    chapter = _describe(path, cells)
    _check_names(chapter)
    return chapter


def _describe(path: Path, cells: list[dict[str, Any]]) -> Chapter:
    trees, declared = [], []
    for cell in cells:
        if cell["cell_type"] == "code" and INTERACTIVE_TAG not in cell["metadata"].get("tags", []):
            place = f"la celda «{cell['id']}» de {path.name}"
            trees.append(parse(cell["source"], place=place))
            if "parameters" in cell["metadata"].get("tags", []):
                declared += [n for n in assignments(cell["source"], place=place) if n in Params.model_fields]
    taken = [name for tree in trees for name in _taken(tree)]
    return Chapter(
        path=path,
        reads=heading(cells[0]["source"])["reads"],
        writes=heading(cells[0]["source"])["writes"],
        parameters=tuple(declared),
        uses=tuple(dict.fromkeys([*declared, *taken])),
        cells=digest([[cell["cell_type"], cell["source"], cell.get("attachments")] for cell in cells]),
        modules=closure(set().union(*(imported(ast.unparse(tree)) for tree in trees))),
    )


def _check_names(chapter: Chapter) -> None:
    """Comprueba que los artefactos que un capítulo nombra existen y que los que escribe son suyos."""
    unknown = [name for name in (*chapter.reads, *chapter.writes) if name not in ARTEFACTS]
    if unknown:
        raise NeumoError(
            f"{chapter.path.name} nombra en su primera celda artefactos que no existen: {', '.join(unknown)}. Corrija el "
            "nombre o añádalos a `neumo.run.ARTEFACTS`."
        )
    owners = {name: ARTEFACTS[name][1] for name in chapter.writes if ARTEFACTS[name][1] != chapter.number}
    if owners:
        foreign = "; ".join(f"`{name}`, del {number}" for name, number in owners.items())
        raise NeumoError(
            f"{chapter.path.name} dice que escribe {foreign}: cada artefacto es de un capítulo. Corrija «Escribe:» o el "
            "número en `neumo.run.ARTEFACTS`."
        )


def _taken(tree: ast.AST) -> Iterator[str]:
    """Parámetros que un código toma de `run.params`: por su nombre, los de un experimento, o todos."""
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    named: dict[int, Any] = {
        id(node.func): node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_params(node.value):
            known = node.attr in Params.model_fields
            yield from ([node.attr] if known else USED_BY.get(named.get(id(node), node.attr), USED_BY["experiment"]))
        elif _is_params(node) and id(node) not in inner:  # entregado entero a una función
            yield from Params.model_fields


def _is_params(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "params"
        and isinstance(node.value, ast.Name)
        and node.value.id == "run"
    )
