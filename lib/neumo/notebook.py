"""La puerta de los cuadernos: abre la ejecución y, a quien explora, le hace lo que falta."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neumo.hardware import thread_limits
from neumo.params import Params
from neumo.params_reader import merge, validate
from neumo.progress import USES
from neumo.run import ARTEFACTS, INTERACTIVE, Run, exploring, project_root, read_places


class ExploredRun(Run):
    """La ejecución de quien explora en JupyterLab: un artefacto que falta, o está dañado, se hace al pedirlo."""

    def load(self, name: str) -> Any:
        """Lee un artefacto; si falta, ejecuta antes el cuaderno que lo escribe, con lo que este necesite."""
        self.path(name)
        chapter = ARTEFACTS[name][1]
        if chapter and not self.is_whole(name):
            from neumo.report.graph import build

            print(
                f"Falta «{self.path(name).name}»: se ejecuta el cuaderno {chapter}, con lo que necesite. Puede tardar."
            )
            build(self, until=chapter)
        return super().load(name)


def open_run(cell: Mapping[str, Any]) -> Run:
    """Abre la ejecución de un cuaderno a partir de las variables de su celda `parameters`.

    Parameters
    ----------
    cell : mapping
        `globals()` del cuaderno: de él se toman `run_dir` y los nombres que son parámetros. Un grupo dado a medias
        (`improved = {"epochs": 3}`) conserva lo demás, como en un archivo de parámetros.

    Returns
    -------
    Run
        Con los parámetros de la carpeta (si `make report` la preparó) y, por encima, los de la celda.

    Raises
    ------
    NeumoError
        Si algún valor de la celda no vale.
    """
    # TensorFlow fija él mismo el nivel de su registro al importarse; un filtro puesto antes se conserva.
    logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
    declared = [name for name in Params.model_fields if name in cell]
    folder = Path(cell.get("run_dir", f"build/{INTERACTIVE}"))
    if not folder.is_absolute():
        folder = project_root() / folder
    # Quien explora no acumula cambios: sus parámetros son los de la celda y, los demás, por omisión. Los capítulos que
    # la exploración hace por su cuenta son una construcción: toman los de quien los pidió.
    alone = exploring(folder)
    base = {} if alone else read_places(folder).get("params", {})
    params = validate(merge({name: cell[name] for name in declared}, base=base), where="celda de parámetros")
    if params.data_dir and not Path(params.data_dir).is_absolute():
        # JupyterLab arranca el núcleo en notebooks/; la ruta de la celda cuenta desde el proyecto.
        params = params.model_copy(update={"data_dir": str(project_root() / params.data_dir)})
    os.environ.update(thread_limits(params.threads))  # antes de que se importe TensorFlow
    used = tuple(dict.fromkeys([*declared, *os.environ.get(USES, "").split()]))
    if not alone:
        return Run(folder=folder, params=params, used=used)
    from neumo.data.sources import prepare

    run = ExploredRun(folder=folder, params=params, used=used)
    prepare(run)
    return run
