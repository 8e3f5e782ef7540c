"""Un proceso que ya importó lo que importan los capítulos y del que salen, bifurcándose, los que los ejecutan.

Importar Keras y lo demás cuesta varios segundos de procesador; así se paga una vez por informe y no una por capítulo. Si
no está listo y no vale la pena esperarlo, o donde no se puede (solo Linux bifurca sin riesgo), cada capítulo arranca por su
cuenta: da lo mismo.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PRELOADED = (
    "keras",
    "seaborn",
    "sklearn.linear_model",
    "sklearn.metrics",
    "PIL.Image",
    "ipykernel.kernelapp",
    "nbconvert.filters.markdown_mistune",  # solo él, unos 3 s: jsonschema compila al importarse 39 gramáticas
    "latex2mathml.converter",
    "matplotlib.backends.backend_svg",
)
_LONGEST = 2**17  # bytes de una petición: sus argumentos y su entorno
_READY = b"listo"
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG de prctl(2)


class Forked:
    """Un proceso nacido en el vivero, con lo que `subprocess.Popen` ofrece de uno propio; de su final solo se sabe que llegó."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, alive: int):
        self.pid = pid
        self.returncode: int | None = None
        self._alive = alive  # su otro extremo lo tiene el proceso: se cierra cuando termina

    def poll(self) -> int | None:
        """Devuelve None mientras vive."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Espera a que termine, a lo más `timeout` segundos."""
        if self.returncode is None:
            if not select.select([self._alive], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("neumo", timeout or 0)
            os.close(self._alive)
            self.returncode = 0
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Le envía una señal, si vive."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Le pide que termine."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Lo mata."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """El vivero de un informe: se abre con `open` o con la primera petición, y se cierra al salir del bloque `with`.

    Parameters
    ----------
    environment : callable
        `environment(folder)`: las variables con que importa, con sus configuraciones en una carpeta vacía.
    """

    def __init__(self, environment: Callable[[Path], dict[str, str]]):
        self._environment = environment
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._ready = False
        self._awaited = False
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: Any) -> None:
        self._opened.close()

    def open(self) -> None:
        """Abre el vivero ya, y hace que la primera petición lo espere: conviene cuando hay muchos capítulos por delante."""
        with self._lock:
            self._awaited = True
            self._open()

    def fork(self, argv: list[str], *, env: dict[str, str], cwd: str | Path, log: Path) -> Forked | None:
        """Arranca `python argv…` en un proceso bifurcado, o devuelve None si aún no se puede.

        Parameters
        ----------
        argv : list of str
            `-m módulo …` o `-c código …`.
        env : dict
            Su entorno, entero.
        cwd : Path
            Su carpeta.
        log : Path
            Archivo que recibe, detrás de lo que tuviera, su salida y sus errores.
        """
        request = json.dumps({"argv": argv, "env": env, "cwd": str(cwd)}).encode()
        with self._lock:
            self._open()
            channel = self._listening()
            if channel is None or len(request) > _LONGEST:
                return None
            ours, theirs = os.pipe()
            try:
                with log.open("ab") as stream:
                    socket.send_fds(channel, [request], [stream.fileno(), theirs])
                return Forked(int(channel.recv(32)), ours)
            except (OSError, ValueError):  # el vivero murió
                os.close(ours)
                return None
            finally:
                os.close(theirs)

    def _open(self) -> None:
        """Lanza el proceso, si no lo estaba ya y aquí se puede."""
        if self._channel or sys.platform != "linux":
            return
        private = tempfile.TemporaryDirectory(prefix="neumo-", ignore_cleanup_errors=True)
        folder = Path(self._opened.enter_context(private))
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._opened.enter_context(self._channel)
        inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # el que pone ipykernel antes de importar
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                env=self._environment(folder) | inline,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._opened.callback(process.wait)
        self._opened.callback(process.kill)

    def _listening(self) -> socket.socket | None:
        """Devuelve el canal, si al otro lado ya está todo importado."""
        patience = None if self._awaited else 0
        if not self._ready and self._channel and select.select([self._channel], [], [], patience)[0]:
            self._ready = self._channel.recv(32) == _READY
        return self._channel if self._ready else None


def _serve(channel: socket.socket) -> None:
    """Importa, avisa y se bifurca a cada petición, hasta que quien lo abrió cierra el canal o muere."""
    flags = fcntl.fcntl(channel, fcntl.F_GETFL)
    # Mientras importa, que el otro extremo se cierre lo termina: es lo que hace SIGIO cuando nadie la atiende.
    fcntl.fcntl(channel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(channel, fcntl.F_SETFL, flags | os.O_ASYNC)
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # nadie vuelve a recorrer lo importado, que los bifurcados comparten
    fcntl.fcntl(channel, fcntl.F_SETFL, flags)
    if len(os.listdir("/proc/self/task")) > 1:
        return  # bifurcar un proceso con varios hilos puede dejar cerrojos que nadie abrirá
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel.send(_READY)
    while True:
        message, descriptors, *_ = socket.recv_fds(channel, _LONGEST, 2)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            channel.close()
            return _become(json.loads(message), *descriptors)
        channel.send(str(pid).encode())
        for descriptor in descriptors:
            os.close(descriptor)


def _become(request: dict[str, Any], log: int, alive: int) -> None:
    """Convierte el proceso recién bifurcado en `python argv…`; `alive` queda abierto mientras viva."""
    os.setsid()
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(descriptor, target)
    os.environ.clear()
    os.environ.update(request["env"], JPY_PARENT_PID=str(os.getppid()))
    os.chdir(request["cwd"])
    atexit.register(_leave)
    option, what, *rest = request["argv"]
    sys.argv = ["-c" if option == "-c" else what, *rest]
    if option == "-c":
        exec(what, {"__name__": "__main__"})
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)


def _leave() -> None:
    """Termina sin deshacer el intérprete: liberar uno a uno los objetos heredados cuesta 2.5 s de procesador."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _channel:
        _serve(_channel)
