"""El paquete de una clase: ejercicios, sus soluciones y la ejecución de la que salen, en un archivo."""

import tempfile
import zipfile
from pathlib import Path

from neumo.cache import write_atomically
from neumo.errors import NeumoError
from neumo.params import Params
from neumo.report.execute import execute_chapter
from neumo.run import Run
from neumo.teaching.forms import copies

RUN_DIR = "aula/ejecucion"
_KEPT = ("predictions_*.csv", "metrics.json", "intervals.csv", "params.json", "source.json", "models/*", "informe.html")


def kit(source: Path, run: Path, target: Path) -> Path:
    """Reúne en `target` (.zip) lo que necesita una clase, sin que nadie entrene.

    Parameters
    ----------
    source : Path
        Carpeta de los ejercicios, con `LEAME.md` y `rubrica.md`.
    run : Path
        Ejecución terminada.

    Raises
    ------
    NeumoError
        Si la ejecución no está terminada o una solución no se ejecuta.
    """
    if not (run / "informe.html").is_file():
        raise NeumoError(
            f"La ejecución «{run.name}» no está terminada: haga antes `make report`, o dé otra con RUN=nombre."
        )
    with tempfile.TemporaryDirectory() as folder:
        written = {path.relative_to(folder): path.read_bytes() for path in copies(source, Path(folder))}
        solved = {path: _solved(Path(folder) / path, run) for path in written if path.parts[0] == "docente"}
        contents = {f"{path}": _moved(content) for path, content in written.items()}
        contents |= {f"{path.with_suffix('.html')}": page for path, page in solved.items()}
        contents |= {path.name: path.read_bytes() for path in sorted(source.glob("*.md"))}
        contents |= {
            f"ejecucion/{p.relative_to(run)}": p.read_bytes() for name in _KEPT for p in sorted(run.glob(name))
        }
        packed = Path(folder, "aula.zip")
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(f"aula/{name}", content)
        write_atomically(target, packed.read_bytes())
    return target


def _moved(notebook: bytes) -> bytes:
    """El cuaderno, con la carpeta de la ejecución que va en el paquete."""
    return notebook.replace(b'run_dir = \\"build/demo\\"', f'run_dir = \\"{RUN_DIR}\\"'.encode())


def _solved(notebook: Path, run: Path) -> bytes:
    """Ejecuta un cuaderno resuelto y lo deja en HTML, sin la celda con la ruta de esta máquina."""
    import nbformat
    from nbconvert import HTMLExporter

    done = notebook.with_suffix(".hecho.ipynb")
    execute_chapter(notebook, done, run=Run(run.resolve(), Params()), values={})
    executed = nbformat.read(done, as_version=4)
    executed.cells = [cell for cell in executed.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    executed.metadata.pop("papermill", None)
    exporter = HTMLExporter(template_name="basic", language_code="es")
    body = exporter.from_notebook_node(executed)[0]
    head = f'<!DOCTYPE html><html lang="es"><head><meta charset="utf-8"><title>{notebook.stem}, resuelto</title></head>'
    return f"{head}<body>{body}</body></html>".encode()
