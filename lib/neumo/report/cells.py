"""Las celdas de un cuaderno: lo que se les exige antes de ejecutarlas y lo que la página muestra después."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neumo.errors import NeumoError

PARAMETER_TAGS = {"parameters", "injected-parameters"}
INTERACTIVE_TAG = "explorador"  # mandos para JupyterLab: la página lleva la figura fija de la celda anterior
_PASTED = re.compile(r"!\[([^\]]*)\]\(attachment:([^)\s]+)")
_SAID = re.compile(r"^(Lee|Escribe|Al terminar sabrá|Antes|Minutos|Camino corto):(.*)$", re.M)
_FILE_NAME = re.compile(r"\s*|\S+\.\w{3,4}")


def check_form(cells: Sequence[dict[str, Any]], *, name: str) -> None:
    """Comprueba que las celdas de un cuaderno se podrán componer.

    Parameters
    ----------
    cells : sequence of dict
        Con `cell_type`, `id`, `source` (un texto) y, si las hay, `attachments`.
    name : str
        El del archivo, para decirlo.

    Raises
    ------
    NeumoError
        Si la primera celda no es el título, o una imagen pegada no está o no dice qué se ve en ella.
    """
    if cells[0]["cell_type"] != "markdown" or not re.match(r"# \S", cells[0]["source"]):
        raise NeumoError(
            f"La primera celda de {name} («{cells[0]['id']}») ha de ser de texto y empezar por el título, «# …»: póngaselo."
        )
    pasted = [(c, *p) for c in cells if c["cell_type"] == "markdown" for p in _PASTED.findall(c["source"])]
    for cell, alt, image in pasted:
        where = f"La imagen pegada en la celda «{cell['id']}» de {name}"
        if image not in cell.get("attachments", {}):
            raise NeumoError(f"{where} no está en el cuaderno («{image}»): vuelva a pegarla.")
        if _FILE_NAME.fullmatch(alt):
            raise NeumoError(
                f"{where} no dice qué se ve, y hay quien no la ve: escríbalo entre los corchetes de «![{alt}]»."
            )


def heading(source: str) -> dict[str, Any]:
    r"""Lee lo que un capítulo dice de sí en su primera celda, una línea por cosa.

    Returns
    -------
    dict
        `title`; `reads` y `writes`, nombres de artefactos; `goal`, lo que se sabrá al terminar; `before` y `short`, números
        de capítulo (los previos y, en el resumen, los del camino corto); `minutes`. Lo que no se dice, vacío o 0.

    Examples
    --------
    >>> heading("# Datos\n\nLee: `source`  \nEscribe: nada\n\nAntes: capítulo 01  \nMinutos: 7")["before"]
    ('01',)
    """
    said = dict(_SAID.findall(source))

    def names(label: str, pattern: str) -> tuple[str, ...]:
        return tuple(re.findall(pattern, said.get(label, "")))

    return {
        "title": source.partition("\n")[0].removeprefix("# ").strip(),
        "reads": names("Lee", r"`(\w+)`"),
        "writes": names("Escribe", r"`(\w+)`"),
        "goal": said.get("Al terminar sabrá", "").strip(),
        "before": names("Antes", r"\d\d"),
        "short": names("Camino corto", r"\d\d"),
        "minutes": sum(map(int, names("Minutos", r"\d+"))),
    }


def parse(source: str, *, place: str) -> ast.Module:
    """Lee una celda de código; de las órdenes de IPython admite las de una línea, `%` y `!`, que no cuentan.

    Raises
    ------
    NeumoError
        Si no es Python: dice la celda (`place`) y la línea.
    """
    plain = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    try:
        return ast.parse("\n".join(plain))
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise NeumoError(
            f"No se entiende {place}, línea «{line}»: ha de ser de Python, sin órdenes de IPython como «%%» o «?»."
        ) from error


def assignments(source: str, *, place: str) -> dict[str, tuple[Any, str]]:
    """Lee una celda de parámetros: el valor de cada nombre y el comentario que lo acompaña.

    Parameters
    ----------
    source : str
    place : str
        Cómo nombrar la celda si no vale.

    Raises
    ------
    NeumoError
        Si una línea no es `nombre = valor` (o `nombre: tipo = valor`) con un valor literal.

    Examples
    --------
    >>> assignments("seed: int = 3  # semilla", place="la celda")
    {'seed': (3, 'semilla')}
    """
    found: dict[str, tuple[Any, str]] = {}
    lines, first = source.splitlines(), ""
    try:
        for node in ast.parse(source).body:
            first, last = lines[node.lineno - 1], lines[(node.end_lineno or node.lineno) - 1]
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as given)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as given)
                ):
                    comment = first.partition("  # ")[2] or last.partition("  # ")[2]
                    found[name] = (ast.literal_eval(given), comment)
                case _:
                    raise ValueError
    except (SyntaxError, ValueError, TypeError) as error:
        line = (getattr(error, "text", None) or first).strip()
        raise NeumoError(
            f"En {place}, «{line}» no es un parámetro: cada línea ha de ser «nombre = valor», con un número, un texto, una "
            "lista o un grupo escritos tal cual. Lleve lo demás a otra celda."
        ) from None
    return found


def page_cells(path: Path) -> list:
    """Lee un cuaderno ejecutado: las celdas que muestra la página; en la primera, lo que el capítulo dice de sí.

    Raises
    ------
    NeumoError
        Si alguna celda falló o no llegó a ejecutarse.
    """
    import nbformat

    number = int(path.name[:2])
    cells: list[Any] = []
    parameters: dict[str, tuple[str, str]] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        _check_success(cell, path)
        tags = set(cell.metadata.get("tags", []))
        if PARAMETER_TAGS & tags:  # el último valor manda; el comentario es el primero que haya
            for name, (value, comment) in assignments(cell.source, place=path.name).items():
                parameters[name] = (_value_text(value), parameters.get(name, ("", ""))[1] or comment)
        elif cell.source.strip() and INTERACTIVE_TAG not in tags:
            cell.id, cell.metadata = f"c{number:02d}-{cell.id}", {}
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if _is_shown(output)]
                if cells and cells[-1].cell_type == "code" and not cells[-1].outputs:
                    # Un pliegue de código, no dos seguidos.
                    cell.source = f"{cells.pop().source}\n\n{cell.source}"
            cells.append(cell)
    shown = [(name, *described) for name, described in parameters.items() if name != "run_dir"]
    said = {**heading(cells[0].source), "number": number, "file": path.name, "parameters": shown}
    cells[0].metadata, cells[0].source = {"neumo": said}, _SAID.sub("", cells[0].source)
    return cells


def _check_success(cell: Any, path: Path) -> None:
    status = cell.metadata.get("papermill", {}).get("status", "completed")
    if any(output.output_type == "error" for output in cell.get("outputs", [])):
        status = "failed"
    if status != "completed":
        raise NeumoError(
            f"El cuaderno «{path.name}» no está bien ejecutado (su celda «{cell.id}» quedó «{status}»). "
            "Vuelva a ejecutar el capítulo con `make report`."
        )


def _is_shown(output: Any) -> bool:
    return output.get("name") != "stderr" and not any("widget" in kind for kind in output.get("data", {}))


def _value_text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "ninguno", True: "sí", False: "no"}[value]
    if isinstance(value, dict):
        text = ", ".join(f"{name}: {_value_text(one)}" for name, one in value.items())
    else:
        text = value.rstrip("/").rpartition("/")[2] if isinstance(value, str) else repr(value)
    return text if len(text) <= 160 else f"{len(value)} elementos"
