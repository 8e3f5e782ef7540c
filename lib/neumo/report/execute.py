"""Ejecuta un capítulo con papermill: estricto, de una pieza y sin ruido."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neumo.errors import NeumoError, machine_failure
from neumo.hardware import thread_limits
from neumo.progress import USES, VARIABLE
from neumo.report.cells import INTERACTIVE_TAG
from neumo.report.kernel import kernel_manager, own_environment
from neumo.report.nursery import Nursery
from neumo.run import Run, project_root, read_places


def execute_chapter(
    notebook: Path,
    output: Path,
    *,
    run: Run,
    values: dict[str, Any],
    uses: Sequence[str] = (),
    nursery: Nursery | None = None,
) -> None:
    """Ejecuta `notebook` con `values` y deja el resultado en `output` solo si llegó al final.

    Parameters
    ----------
    notebook : Path
        Cuaderno del proyecto, sin salidas.
    output : Path
        Cuaderno ejecutado; si una celda falla queda `<nombre>.fallo.ipynb` a su lado y `output` se retira.
    run : Run
        Ejecución cuya carpeta recibe los artefactos.
    values : dict
        Parámetros que el cuaderno declara.
    uses : sequence of str
        Los que usa, declarados o no: quedan en el sello de lo que escribe.
    nursery : Nursery, optional
        De donde sale el proceso que lo ejecuta.

    Raises
    ------
    NeumoError
        Si una celda falla o el núcleo muere: dice qué y dónde; el detalle queda en `logs/`.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillException

    log = run.folder / "logs" / f"{notebook.stem}.log"
    failed, temporary = output.with_suffix(".fallo.ipynb"), output.with_suffix(".tmp.ipynb")
    for path in (failed, output, temporary, log):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    environment = {VARIABLE: str(run.folder / "progress.log"), USES: " ".join(uses)}
    environment |= thread_limits(run.params.threads)
    private = tempfile.TemporaryDirectory(prefix="neumo-", ignore_cleanup_errors=True)
    try:
        papermill.execute_notebook(
            notebook,
            temporary,
            parameters={**values, "run_dir": str(run.folder)},
            kernel_name="python3",
            language="python",
            kernel_manager_class=kernel_manager(Path(private.name), log, environment, nursery),
            progress_bar=False,
            skip_cells_with_tag=INTERACTIVE_TAG,
            cwd=project_root(),
        )
    except (PapermillException, DeadKernelError, OSError) as error:
        with log.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in getattr(error, "traceback", ()))
        where, detail = "", f"El detalle está en {os.path.relpath(log)}."
        if temporary.exists():
            _hide_places(temporary, run)
            os.replace(temporary, failed)
            where = _failing_cell(failed)
            detail = f"Abra {os.path.relpath(failed)} para verlo; e{detail[1:]}"
        raise NeumoError(f"El capítulo {notebook.stem} falló{where}: {_reason(error)} {detail}") from error
    else:
        _hide_places(temporary, run)
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
        private.cleanup()


def train_ahead(run: Run, nursery: Nursery) -> None:
    """Entrena en otro proceso lo que los capítulos 10 y 13 pedirán (`neumo.studies.corrections.train_ahead`).

    Es solo un adelanto: si falla, cada capítulo lo intentará de nuevo y dirá por qué.
    """
    code = (
        "import sys; from neumo.notebook import open_run; from neumo.studies.corrections import train_ahead; "
        "train_ahead(open_run({'run_dir': sys.argv[1]}))"
    )
    log = run.folder / "logs" / "13_adelanto.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    arguments = ["-c", code, str(run.folder)]
    with tempfile.TemporaryDirectory(prefix="neumo-", ignore_cleanup_errors=True) as private:
        environment = own_environment(Path(private)) | thread_limits(run.params.threads)
        environment[VARIABLE] = str(run.folder / "progress.log")
        if forked := nursery.fork(arguments, env=environment, cwd=project_root(), log=log):
            forked.wait()
            return
        with log.open("wb") as stream:
            subprocess.run(
                [sys.executable, *arguments], env=environment, cwd=project_root(), stdout=stream, stderr=stream
            )


def _hide_places(notebook: Path, run: Run) -> None:
    """Deja en el cuaderno ejecutado rutas que valen en cualquier equipo: ni el usuario ni sus carpetas salen de aquí."""
    places = {
        run.folder.parent: "build",
        project_root(): ".",
        os.path.expanduser("~"): "~",
        tempfile.gettempdir(): "tmp",
    }
    places |= {
        place: Path(place).name for place in (run.params.data_dir, read_places(run.folder).get("images")) if place
    }
    written = {_escaped(str(place)): _escaped(name) for place, name in places.items()}
    written |= {_escaped(place): _escaped(name) for place, name in written.items()}  # dentro del texto de una celda
    longest = "|".join(re.escape(place) for place in sorted(written, key=len, reverse=True) if place != "/")
    text = notebook.read_text(encoding="utf-8")
    text = re.sub(rf"(?<!\w)({longest})(?![\w-])", lambda found: written[found[1]], text)
    notebook.write_text(text, encoding="utf-8")


def _escaped(text: str) -> str:
    """Como se escribe `text` dentro de una cadena de JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _failing_cell(notebook: Path) -> str:
    """Nombra la celda que falló; papermill mete otras dos, así que su posición no sirve."""
    cells = json.loads(notebook.read_bytes())["cells"]
    outputs = [(cell["id"], output) for cell in cells for output in cell.get("outputs", ())]
    return next((f" en la celda «{id}»" for id, output in outputs if output["output_type"] == "error"), "")


def _reason(error: Exception) -> str:
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    if name == "NeumoError":
        return value
    if name in ("DeadKernelError", "MemoryError"):
        return "el núcleo de Python murió; suele ser falta de memoria: pruebe con image_size o batch_size menores."
    told = re.match(r"\[Errno (\d+)\][^'\"]*(?:['\"](.*)['\"])?", value)  # lo que un OSError del núcleo deja escrito
    if reason := machine_failure(OSError(int(told[1]), "", told[2]) if told else error):
        return reason
    first = value.strip().partition("\n")[0].rstrip(".")
    return f"{name}: {first}."
