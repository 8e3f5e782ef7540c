"""Ejecuta un capítulo con papermill: estricto, de una pieza y sin ruido."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neumo.errors import NeumoError
from neumo.progress import USES, VARIABLE
from neumo.run import Run, project_root

# Lo que se fija antes de que arranque el núcleo: el parloteo de TensorFlow no se puede callar después.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONHASHSEED": "0"}


def _kernel_manager(log: Path, environment: dict[str, str]) -> type:
    from jupyter_client.manager import AsyncKernelManager

    class KernelManager(AsyncKernelManager):
        """Núcleo cuyos avisos de bajo nivel van al registro del capítulo."""

        async def _async_launch_kernel(self, kernel_cmd: list[str], **kwargs: Any) -> None:
            env = {**kwargs.pop("env", os.environ), **_ENVIRONMENT, **environment}
            with log.open("ab") as stream:
                await super()._async_launch_kernel(
                    kernel_cmd, env=env, stdout=stream, stderr=stream, **kwargs
                )

    # ipykernel 7.3 avisa en cada arranque si el transporte va sin cifrar.
    KernelManager.transport_encryption.default_value = "auto"
    return KernelManager


def execute_chapter(
    notebook: Path, output: Path, *, run: Run, values: dict[str, Any], uses: Sequence[str] = ()
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

    Raises
    ------
    NeumoError
        Si una celda falla o el núcleo muere: dice qué y dónde; el detalle queda en `logs/`.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillException, PapermillExecutionError

    log = run.folder / "logs" / f"{notebook.stem}.log"
    failed = output.with_suffix(".fallo.ipynb")
    temporary = output.with_suffix(".tmp.ipynb")
    for folder in (log.parent, output.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for stale in (failed, output, temporary, log):
        stale.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            notebook,
            temporary,
            parameters={**values, "run_dir": str(run.folder)},
            kernel_name="python3",
            kernel_manager_class=_kernel_manager(
                log, {VARIABLE: str(run.folder / "progress.log"), USES: " ".join(uses)}
            ),
            progress_bar=False,
            cwd=project_root(),
        )
    except (PapermillException, DeadKernelError, OSError) as error:
        if temporary.exists():
            os.replace(temporary, failed)
        cell = ""
        if isinstance(error, PapermillExecutionError):
            cell = f" en la celda «{_cell_id(failed, error.cell_index)}»"
            with log.open("a", encoding="utf-8") as stream:
                stream.write("\n".join(error.traceback) + "\n")
        raise NeumoError(
            f"El capítulo {notebook.stem} falló{cell}: {_reason(error)} Abra {failed.name} para verla; el detalle está en {log}."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    os.replace(temporary, output)


def _cell_id(notebook: Path, index: int) -> str:
    return json.loads(notebook.read_bytes())["cells"][index].get("id", str(index))


def _reason(error: Exception) -> str:
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    if name == "NeumoError":
        return value
    if name in ("DeadKernelError", "MemoryError"):
        return "el núcleo de Python murió; suele ser falta de memoria: pruebe con image_size o batch_size menores."
    first = (value.strip().splitlines() or [""])[0]
    return f"{name}: {first}."
