"""Con qué se hizo una ejecución: máquina, versiones, semillas, huellas y duraciones; sin nombres de personas ni equipos."""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from neumo.cache import file_digest
from neumo.params import Params
from neumo.run import ARTEFACTS, Run, versions

__all__ = ["changed", "durations", "flat", "hashes", "machine", "versions"]

if TYPE_CHECKING:
    import pandas as pd


def machine() -> dict[str, Any]:
    """Describe el procesador, la memoria, el sistema y los hilos; nada que identifique al equipo."""
    from neumo.hardware import cores, has_bfloat16, pinned_threads

    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="ignore").splitlines() if info.is_file() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "processor": model,
        "cores": cores(),
        "threads": pinned_threads().get("threads", cores()),
        "memory_gb": round(pages / 2**30, 1),
        "bfloat16": has_bfloat16(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def hashes(run: Run) -> "pd.DataFrame":
    """Calcula la huella de cada artefacto y de cada red de la ejecución: `file`, `chapter`, `bytes` y `sha256`."""
    import pandas as pd

    written = [
        (chapter, path.relative_to(run.folder).as_posix(), path)
        for name, (_, chapter) in ARTEFACTS.items()
        for path in (run.files(name) if "" < chapter < "16" else ())
        if path.is_file()
    ]
    rows = [(file, chapter, path.stat().st_size, file_digest(path)) for chapter, file, path in sorted(written)]
    return pd.DataFrame(rows, columns=["file", "chapter", "bytes", "sha256"])


_PLACES = ("data_dir", "file", "images_dir")


def changed(params: Params) -> dict[str, Any]:
    """Devuelve los parámetros que se apartan de los de `params/demo.yaml`, en claves punteadas; rutas, por su última parte.

    Examples
    --------
    >>> changed(Params(seed=3, image_size=32, source="folder", data_dir="/casa/de/ana/placas"))
    {'source': 'folder', 'data_dir': 'placas', 'seed': 3}
    """
    usual, values = (flat(one.model_dump(mode="json")) for one in (Params(), params))
    found = {key: value for key, value in values.items() if usual.get(key, ...) != value}
    return {
        key: PurePath(value).name if value and key.rpartition(".")[2] in _PLACES else value
        for key, value in found.items()
    }


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Aplana grupos y listas de grupos en claves punteadas.

    Examples
    --------
    >>> flat({"a": 1, "b": {"c": [1, 2]}, "d": [{"e": 3}]})
    {'a': 1, 'b.c': [1, 2], 'd.0.e': 3}
    """
    if isinstance(values, list) and values and all(isinstance(item, Mapping) for item in values):
        values = {str(i): item for i, item in enumerate(values)}
    if not isinstance(values, Mapping):
        return {prefix: values}
    return {k: v for key, item in values.items() for k, v in flat(item, f"{prefix}.{key}" if prefix else key).items()}


def durations(run: Run) -> "pd.DataFrame":
    """Lee cuánto tardó en ejecutarse cada cuaderno, la última vez: `chapter` y `seconds`."""
    import pandas as pd

    rows = []
    for path in sorted((run.folder / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        seconds = json.loads(path.read_bytes())["metadata"].get("papermill", {}).get("duration")
        if seconds and "." not in path.stem:  # ni los que fallaron ni los que están a medias
            rows.append((path.stem, float(seconds)))
    return pd.DataFrame(rows, columns=["chapter", "seconds"])
