"""Lo que cuesta calcular se guarda una vez, en una carpeta cuyo nombre es el resumen de lo que lo determina."""

import contextlib
import fcntl
import functools
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from neumo.hardware import cores, pinned_threads
from neumo.modules import BASE, closure, digest, modules_digest

if TYPE_CHECKING:
    import pandas as pd

TURN = "NEUMO_TURN"
"""Variable de entorno con la carpeta del cerrojo de los entrenamientos; sin ella, la de la caché."""
_SUMS = "sums.json"  # la huella de cada archivo de una carpeta guardada
_seen: set[Path] = set()  # las que este proceso ya ha comprobado
_LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn", "scipy")


@functools.cache
def library_versions() -> dict[str, str]:
    """Devuelve la versión de las bibliotecas que pueden cambiar un número."""
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def write_atomically(path: Path, content: bytes) -> bool:
    """Escribe `content` en un nombre provisional y lo renombra; no toca el archivo si ya dice lo mismo.

    Returns
    -------
    bool
        Si el archivo cambió.
    """
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return True


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Toma un cerrojo de archivo mientras dura el bloque.

    Raises
    ------
    BlockingIOError
        Si `wait` es falso y otro proceso lo tiene.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


@contextlib.contextmanager
def training_turn(root: str | Path) -> Iterator[None]:
    """Espera a que haya un núcleo libre por cada hilo con que se va a entrenar, y los ocupa mientras dura el bloque.

    Con un hilo (`threads`), entrenan a la vez tantas redes como núcleos hay; con todos, una detrás de otra. Quien ya
    reparte la máquina entre varias ejecuciones da a cada una su turno, la carpeta de la variable `TURN`.
    """
    folder = Path(os.environ.get(TURN, root))
    wanted = min(pinned_threads().get("threads", cores()), cores())
    while True:
        with contextlib.ExitStack() as taken:
            free = 0
            for core in range(cores()):
                with contextlib.suppress(BlockingIOError):
                    taken.enter_context(locked(folder / f"training-{core}.lock", wait=False))
                    free += 1
                if free == wanted:
                    yield
                    return
        time.sleep(0.1)


def cached(
    root: str | Path,
    kind: str,
    key: dict,
    build: Callable[[Path], None],
    *,
    code: str | None = None,
    trains: bool = False,
) -> Path:
    """Devuelve la carpeta guardada para `key`; si no existe, la hace con `build`.

    Parameters
    ----------
    root : Path
        Carpeta de la caché.
    kind : str
        Clase de contenido (`store`, `training`, …): una subcarpeta.
    key : dict
        Todo lo que determina el contenido, en valores de JSON.
    build : callable
        Recibe una carpeta provisional, que sobrevive a una interrupción y puede traer trabajo a medias.
    code : str, optional
        El `__name__` del módulo que lo hace: su código, y el de cuantos importa por encima del piso bajo, también lo
        determina.
    trains : bool
        Si entrena una red: entonces espera su turno, y los hilos con que se calcula también determinan.

    Returns
    -------
    Path
        Carpeta completa: solo recibe su nombre cuando `build` termina. Si un archivo suyo no tiene ya la huella que tenía
        entonces, se hace otra vez.
    """
    modules = determining_modules(code) if code else ()
    key = {**key, **(pinned_threads() if trains else {})}
    full_key = {**key, "modules": modules_digest(modules), "libraries": library_versions()}
    folder = Path(root) / kind / digest(full_key)
    if _is_whole(folder):
        return folder
    with locked(folder.with_suffix(".lock")):
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            partial = folder.with_suffix(".partial")
            partial.mkdir(parents=True, exist_ok=True)
            with training_turn(root) if trains else contextlib.nullcontext():
                build(partial)
            write_atomically(partial / "key.json", json.dumps(full_key, indent=1, default=str).encode())
            _write_sums(partial)
            os.replace(partial, folder)
            _seen.add(folder)
    return folder


def file_digest(path: Path) -> str:
    """Resume los bytes de un archivo (SHA-256 en hexadecimal)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_sums(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
    write_atomically(folder / _SUMS, json.dumps(sums, indent=0).encode())


def _is_whole(folder: Path) -> bool:
    """Dice si una carpeta guardada está, con los archivos que tenía al guardarse, bit a bit."""
    if folder in _seen:
        return folder.is_dir()
    if not folder.is_dir():
        return False
    if not (folder / _SUMS).exists():  # de antes de que se anotaran
        _write_sums(folder)
    try:
        sums = json.loads((folder / _SUMS).read_bytes())
        whole = all(file_digest(folder / name) == digest for name, digest in sums.items())
    except (OSError, ValueError, AttributeError):
        whole = False
    if whole:
        _seen.add(folder)
    return whole


def determining_modules(code: str) -> tuple[str, ...]:
    """Devuelve los módulos cuyo código entra en la clave de lo que guarda el módulo de `__name__` dado."""
    module = code.removeprefix("neumo.").replace(".", "/")
    return tuple(name for name in closure([module]) if name not in BASE)


def cached_tables(
    root: str | Path,
    kind: str,
    key: dict,
    measure: "Callable[[], dict[str, pd.DataFrame]]",
    *,
    code: str,
    trains: bool = False,
) -> "dict[str, pd.DataFrame]":
    """Mide algo una sola vez y devuelve sus tablas, guardadas en CSV.

    Parameters
    ----------
    root, kind, key, code, trains
        Como en `cached`.
    measure : callable
        Devuelve cada tabla por su nombre.
    """

    def build(folder: Path) -> None:
        for name, table in measure().items():
            write_atomically(folder / f"{name}.csv", encode_table(table))

    folder = cached(root, kind, key, build, code=code, trains=trains)
    return {path.stem: decode_table(path.read_bytes()) for path in sorted(folder.glob("*.csv"))}


def encode_table(table: "pd.DataFrame") -> bytes:
    """Escribe una tabla en CSV, sin su índice; lo que falta es `nan`, y el texto vacío queda vacío."""
    return table.to_csv(index=False, lineterminator="\n", na_rep="nan").encode()


def decode_table(content: bytes) -> "pd.DataFrame":
    """Lee lo que escribió `encode_table`: solo `nan` es un dato que falta (un paciente puede llamarse `NA`)."""
    import pandas as pd

    return pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=["nan", "NaN"])
