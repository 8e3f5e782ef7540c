"""Lo que un trabajador hace con un punto: un proceso nuevo de `python -m neumo report`, vigilado hasta el final."""

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from neumo.cache import TURN, locked, write_atomically
from neumo.run import encode, file_digest, project_root, versions

DONE = "hecho.json"
STOP = ".parar"
_MEMORY = 77  # estado de salida de quien pasó de la memoria que le tocaba


def environment() -> dict[str, str]:
    """Lo que ha de ser igual en todas las máquinas: el archivo de paquetes fijados, Python y las bibliotecas."""
    lock = project_root() / "requirements.lock"
    return {"requirements.lock": file_digest(lock)[:16] if lock.is_file() else "ninguno", **versions()}


def refusal(expected: dict[str, str]) -> str:
    """Dice en qué se aparta este entorno del que se espera; vacío si es el mismo.

    Examples
    --------
    >>> refusal(environment())
    ''
    >>> refusal(environment() | {"numpy": "0.1"})[:31]
    'tiene otros paquetes que quien '
    """
    here = environment()
    other = [
        f"{name} {here.get(name, 'ninguno')}, no {value}" for name, value in expected.items() if here.get(name) != value
    ]
    if not other:
        return ""
    return (
        f"tiene otros paquetes que quien dio la orden ({'; '.join(other)}). Instale en él el mismo requirements.lock."
    )


def run_point(order: list[str], *, folder: str, digest: str, cwd: str, memory_gb: float) -> dict[str, Any]:
    """Hace un punto en un proceso nuevo, con su turno y su memoria, y deja escrito que terminó.

    El proceso vigila a quien lo lanzó: si un trabajador muere, con él caen el proceso y sus núcleos.

    Returns
    -------
    dict
        `status` (`done`, `failed` o `stopped`), `seconds`, `memory_mb` (lo más que ocupó), `message` y `digest`.

    Raises
    ------
    ChildProcessError
        Si una señal mató al proceso: se puede intentar otra vez.
    """
    place, stop = Path(folder), Path(folder).parent / STOP
    log = place / "logs" / "barrido.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with locked(place / ".lock"):  # si quedaba algo de un intento anterior, que acabe de caer
        started = time.monotonic()
    # Los núcleos que se reparten son los de esta máquina; la carpeta de la caché puede ser la de varias.
    turn = Path(tempfile.gettempdir()) / f"neumo-turno-{os.getuid()}"
    command = [sys.executable, "-m", "neumo.sweep.point", str(memory_gb), folder, *order]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, TURN: str(turn)},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while process.poll() is None:
            if stop.exists():
                process.terminate()
            time.sleep(0.05)
    told = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    record = {"digest": digest, "seconds": round(time.monotonic() - started, 1), "memory_mb": _peak(place)}
    if process.returncode == 0:
        write_atomically(place / DONE, encode(record, ".json"))
        return {**record, "status": "done", "message": ""}
    if stop.exists():
        return {**record, "status": "stopped", "message": ""}
    if process.returncode < 0:
        raise ChildProcessError(f"al proceso lo mató la señal {-process.returncode}; vea {log}")
    message = told[-1] if told else f"terminó con el estado {process.returncode}"
    if process.returncode == _MEMORY:
        message = f"pasó de {memory_gb:g} GB de memoria: suba memory_gb en sweep, o baje image_size o batch_size."
    return {**record, "status": "failed", "message": message}


def _peak(folder: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / "logs" / "memoria.json").read_bytes())
    return 0


def _watch(parent: int, limit: float, peak: Path) -> None:
    """Cada segundo: si falta quien lanzó este proceso, o se pasa de memoria, acaba con él y sus núcleos."""
    import psutil

    me, most = psutil.Process(), 0.0
    while True:
        family = me.children(recursive=True)
        used = 0.0
        for process in (me, *family):
            with contextlib.suppress(psutil.Error):
                used += process.memory_info().rss
        if used > 1.05 * most:
            most = used
            with contextlib.suppress(OSError):
                write_atomically(peak, str(round(most / 1e6)).encode())
        orphan = os.getppid() != parent
        if orphan or used > limit * 1e9:
            _end(family, 1 if orphan else _MEMORY)
        time.sleep(1)


def _end(family: list, status: int) -> None:
    import psutil

    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()
    os._exit(status)


def _supervise(limit: str, folder: str) -> None:
    """Pone un vigilante al lado de este proceso, y atiende a SIGTERM."""
    import psutil

    signal.signal(signal.SIGTERM, lambda *_: _end(psutil.Process().children(recursive=True), 1))
    peak = Path(folder) / "logs" / "memoria.json"
    threading.Thread(target=_watch, args=(os.getppid(), float(limit), peak), daemon=True).start()


if __name__ == "__main__":
    _supervise(*sys.argv[1:3])
    sys.argv[1:] = sys.argv[3:]
    runpy.run_module("neumo", run_name="__main__", alter_sys=True)
