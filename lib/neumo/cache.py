"""Lo que cuesta calcular se guarda una vez, en una carpeta cuyo nombre es el resumen de lo que lo determina."""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from neumo.params import digest

_FOLDER = Path(__file__).parent
# Se leen al importar: lo que un proceso guarda lleva el resumen del código que ejecuta, aunque alguien lo edite después.
_SOURCES = {
    path.relative_to(_FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(_FOLDER.rglob("*"))
    if path.suffix in (".py", ".yaml")
}
_LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "scikit-learn", "scipy")


@functools.cache
def library_versions() -> dict[str, str]:
    """Devuelve la versión de las bibliotecas que pueden cambiar un número."""
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def modules_digest(names: Sequence[str]) -> str:
    """Resume el código fuente de módulos de `neumo`, por nombre (`"store"`, `"report/render"`), y sus datos en YAML."""
    digests = {name: _SOURCES[f"{name}.py"] for name in names}
    return digest(
        digests | {name: _SOURCES[name] for name in map("{}.yaml".format, names) if name in _SOURCES}
    )


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


def cached(
    root: str | Path, kind: str, key: dict, build: Callable[[Path], None], *, modules: Sequence[str] = ()
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
    modules : sequence of str
        Módulos propios cuyo código también lo determina.

    Returns
    -------
    Path
        Carpeta completa: solo recibe su nombre cuando `build` termina.
    """
    full_key = {**key, "modules": modules_digest(modules), "libraries": library_versions()}
    folder = Path(root) / kind / digest(full_key)
    if folder.is_dir():
        return folder
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            partial = folder.with_suffix(".partial")
            partial.mkdir(parents=True, exist_ok=True)
            build(partial)
            write_atomically(partial / "key.json", json.dumps(full_key, indent=1, default=str).encode())
            os.replace(partial, folder)
    return folder
