"""Las formas de un ejercicio, de un solo cuaderno: la de quien enseña, la de clase y las que leen nbgrader y otter-grader."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

STUB = "Escriba aquí su respuesta."


def copies(source: Path, target: Path) -> list[Path]:
    """Escribe en `target` las cuatro formas de cada cuaderno de `source`.

    En el cuaderno, la etiqueta `solution` marca lo que la clase escribe y `check`, lo que lo comprueba.
    """
    import nbformat

    written = []
    for path in sorted(source.glob("*.ipynb")):
        for form, (folder, write) in FORMS.items():
            notebook = nbformat.read(path, as_version=4)
            notebook.cells = [made for cell in notebook.cells for made in write(cell, _role(cell))]
            if form == "otter":
                notebook.cells.insert(
                    0, _raw("configuracion", f"# ASSIGNMENT CONFIG\nname: {path.stem}\nexport_cell: false")
                )
            written.append(target / form / folder.format(path.stem) / path.name)
            written[-1].parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, written[-1])
    return written


def _role(cell: Any) -> str:
    return next((tag for tag in cell.metadata.get("tags", []) if tag in ("solution", "check")), "")


def _student(cell: Any, role: str) -> list[Any]:
    """Sin soluciones; que una comprobación falle no detiene las demás celdas."""
    if role == "solution":
        cell.source = f"# {STUB}\n{_stub(cell.source)}" if cell.cell_type == "code" else f"*{STUB}*"
    elif role == "check":
        cell.metadata.tags.append("raises-exception")
    return [cell]


def _nbgrader(cell: Any, role: str) -> list[Any]:
    """Los metadatos del esquema 3 de nbgrader; `nbgrader generate_assignment` quita las soluciones."""
    code, solution = cell.cell_type == "code", role == "solution"
    if code or solution:
        graded = role == "check" or not code
        cell.metadata["nbgrader"] = {
            **{"schema_version": 3, "grade_id": cell.id, "task": False},
            **{"grade": graded, "solution": solution, "locked": not solution},
            **({"points": 1} if graded else {}),
        }
    if code and solution:
        cell.source = f"{_stub(cell.source)}\n### BEGIN SOLUTION\n{cell.source}\n### END SOLUTION"
    return [cell]


def _otter(cell: Any, role: str) -> list[Any]:
    """Las preguntas entre celdas `raw`, como las quiere `otter assign`; una prueba que acierta no muestra nada."""
    code, id = cell.cell_type == "code", cell.id
    if role == "check":
        last = ast.parse(cell.source).body[-1].lineno - 1
        lines = cell.source.split("\n")
        cell.source = "\n".join([*lines[:last], f"_ = {lines[last]}", *lines[last + 1 :]])
        ends = [_raw(f"{id}-fin", "# END TESTS"), _raw(f"{id}-pregunta-fin", "# END QUESTION")]
        return [_raw(f"{id}-inicio", "# BEGIN TESTS"), cell, *ends]
    if role != "solution":
        return [cell]
    begin = f"# BEGIN QUESTION\nname: {id.replace('-', '_')}\npoints: 1" + ("" if code else "\nmanual: true")
    if code:
        cell.source = f"{_stub(cell.source)}\n# BEGIN SOLUTION NO PROMPT\n{cell.source}\n# END SOLUTION"
    around = [_raw(f"{id}-pregunta", begin), _raw(f"{id}-inicio", "# BEGIN SOLUTION")]
    ends = [_raw(f"{id}-fin", "# END SOLUTION")] + ([] if code else [_raw(f"{id}-pregunta-fin", "# END QUESTION")])
    return [*around, cell, *ends]


def _raw(id: str, source: str) -> Any:
    from nbformat.v4 import new_raw_cell

    return new_raw_cell(source, id=id)


def _stub(source: str) -> str:
    """Deja de una solución aquello a lo que da su respuesta: el nombre de la última asignación, o la firma de su función y qué hace."""
    last = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.FunctionDef)][-1]
    if isinstance(last, ast.Assign):
        return f"{ast.unparse(last.targets[0])} = ..."
    last.body = [*last.body[: ast.get_docstring(last) is not None], ast.Expr(ast.Constant(...))]
    return ast.unparse(last)


FORMS: dict[str, tuple[str, Callable[[Any, str], list[Any]]]] = {
    "docente": ("", lambda cell, role: [cell]),
    "alumno": ("", _student),
    "nbgrader": ("source/{}", _nbgrader),
    "otter": ("", _otter),
}
"""De cada forma, la carpeta de un cuaderno dentro de la suya y qué hace con una celda según su papel."""
