"""Lo que se descarga de la página y va dentro de ella: cuadernos, tablas, parámetros, cifras y versiones."""

import base64
import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from neumo.run import ARTEFACTS, Run, project_root, shown

LARGEST = 115_000  # bytes: lo mayor se queda en la carpeta de la ejecución
_KINDS = {".ipynb": "application/x-ipynb+json", ".json": "application/json", ".csv": "text/csv;charset=utf-8"}


def files(notebooks: Iterable[Path], run: Run) -> dict[str, bytes]:
    """Reúne lo que la página ofrece: nombre de archivo → contenido.

    Los cuadernos, sin salidas; `params.yaml`, sin las rutas; `metrics.json` y las tablas de la ejecución que
    no pasan de `LARGEST` bytes; `requirements.lock`, si está.
    """
    values = shown(run.params, apart=False)
    tables = [run.path(name) for name, (file, writer) in ARTEFACTS.items() if file.endswith(".csv") and writer]
    small = [path for path in sorted(tables) if path.is_file() and path.stat().st_size <= LARGEST]
    kept = [*notebooks, run.path("metrics"), *small, project_root() / "requirements.lock"]
    parameters = yaml.safe_dump(values, allow_unicode=True, sort_keys=False).encode()
    return {"params.yaml": parameters} | {path.name: path.read_bytes() for path in kept if path.is_file()}


def data_uri(name: str, content: bytes) -> str:
    """Escribe un archivo como dirección `data:`.

    Examples
    --------
    >>> data_uri("a.csv", b"x")
    'data:text/csv;charset=utf-8;base64,eA=='
    """
    kind = _KINDS.get(Path(name).suffix, "text/plain;charset=utf-8")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def table_csv(table: Any) -> bytes:
    """Escribe en CSV una tabla de la página (etiqueta de BeautifulSoup), tal como se lee en ella."""
    target = io.StringIO()
    for row in table.find_all("tr"):
        cells = [(cell.get_text(" ", strip=True), int(cell.get("colspan", 1))) for cell in row.find_all(["th", "td"])]
        written = [text for cell, width in cells for text in (cell, *[""] * (width - 1))]
        csv.writer(target, lineterminator="\n").writerow(written)
    return target.getvalue().encode()
