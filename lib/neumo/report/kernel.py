"""El proceso de Python que ejecuta un capítulo: el de quien lo lanza, con su mismo `neumo`, diga lo que diga el entorno."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import neumo
from neumo.report.nursery import Nursery

# Lo que se fija antes de que arranque el proceso: TensorFlow no se puede callar después.
_FIXED = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONUTF8": "1",
    "KERAS_BACKEND": "tensorflow",
}
_PREFIXES = ("PYTHON", "JUPYTER", "IPYTHON", "MPL", "MATPLOTLIB", "KERAS", "TF_USE_LEGACY")
# Tampoco cuenta lo que haya puesto para todos quien administra la máquina, que ninguna opción aparta.
_START = """import runpy
from IPython.core import application
application.SYSTEM_CONFIG_DIRS.clear()
application.ENV_CONFIG_DIRS.clear()
runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)
"""
# Sin lo primero, ipykernel recoge en el cuaderno lo que las bibliotecas en C escriben por su cuenta.
_OPTIONS = ("--IPKernelApp.capture_fd_output=False", "--IPKernelApp.exec_PYTHONSTARTUP=False")
_LONGEST_SOCKET = 90  # un socket local admite 104 bytes de ruta, y jupyter_client añade su nombre


def own_environment(folder: Path) -> dict[str, str]:
    """Devuelve el entorno de un proceso del informe: sin lo que cambie qué código corre ni cómo se configura.

    Quedan fuera las variables de Python, Jupyter, IPython, matplotlib y Keras, y sus carpetas de configuración se
    buscan en `folder`, que está vacía. El `neumo` que se importa es el de este proceso.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)}
    matplotlib = importlib.util.find_spec("matplotlib")
    defaults = Path(matplotlib.origin).parent / "mpl-data" / "matplotlibrc" if matplotlib and matplotlib.origin else ""
    places = {"IPYTHONDIR": "ipython", "JUPYTER_CONFIG_DIR": "jupyter", "KERAS_HOME": "keras"}
    return {
        **kept,
        **_FIXED,
        **{name: str(folder / place) for name, place in places.items()},
        "MATPLOTLIBRC": str(defaults),
        "PYTHONPATH": str(Path(neumo.__file__).parents[1]),
    }


def kernel_manager(folder: Path, log: Path, environment: dict[str, str], nursery: Nursery | None = None) -> type:
    """Devuelve la clase que arranca el núcleo de un capítulo.

    Parameters
    ----------
    folder : Path
        Carpeta provisional y vacía. Por ella habla el núcleo, con sockets locales: no hay puertos que otro proceso pueda
        tomar antes, ni a los que otro usuario pueda llamar.
    log : Path
        Registro que recibe los avisos de bajo nivel.
    environment : dict
        Lo que se añade a `own_environment`.
    nursery : Nursery, optional
        De donde sale el proceso cuando ya está lista.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class KernelManager(AsyncKernelManager):
        """Núcleo con el intérprete de este proceso, sin buscarlo entre los instalados."""

        @default("transport")
        def _local(self) -> str:
            return "ipc" if len(os.fsencode(folder)) < _LONGEST_SOCKET else "tcp"

        @default("connection_file")
        def _private(self) -> str:
            return str(folder / "k.json")

        @default("transport_encryption")
        def _encrypted(self) -> str:
            return "auto"  # si no, ipykernel 7.3 avisa en cada arranque

        @property
        def kernel_spec(self) -> KernelSpec:
            argv = [sys.executable, "-c", _START, "-f", "{connection_file}", *_OPTIONS]
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
            parent = {name: value for name, value in options.pop("env", {}).items() if name.startswith("JPY_")}
            env = {**own_environment(folder), **parent, **environment}
            forked = nursery and nursery.fork(kernel_cmd[1:], env=env, cwd=options.get("cwd") or os.getcwd(), log=log)
            if forked:
                provisioner: Any = self.provisioner
                provisioner.process, provisioner.pid = forked, forked.pid
                self._reconcile_connection_info(provisioner.connection_info)
                return
            with log.open("ab") as stream:
                options |= {"env": env, "stdout": stream, "stderr": stream}
                await super()._async_launch_kernel(kernel_cmd, **options)

    return KernelManager
