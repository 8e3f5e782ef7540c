"""Clasifica radiografías sueltas con la red elegida de una ejecución: lo que llama `python -m neumo predict`."""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.data.manifest import EXTENSIONS, image_paths
from neumo.data.store import decode_grey, to_grey
from neumo.errors import NeumoError
from neumo.evaluation.predictions import joint_probability
from neumo.learning.inference import BLOCK, load_network, network_logits
from neumo.run import ARTEFACTS
from neumo.words import CLASSES

if TYPE_CHECKING:
    import keras
    import pandas as pd


OVERLAY_SIZE = 768
"""Lado mayor de los mapas que escribe `--explain`, en píxeles."""


def find_images(paths: Sequence[str | Path]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Busca las radiografías de unas rutas; las carpetas se recorren enteras.

    Parameters
    ----------
    paths : sequence of path
        Archivos o carpetas.

    Returns
    -------
    found : list of (path, name)
        La ruta, que empieza tal como se escribió el argumento, y su nombre dentro de él.
    missing : list of (path, reason)
        Argumentos que no existen o carpetas sin radiografías.
    """
    found, missing = [], []
    for path in map(str, paths):
        if os.path.isdir(path):
            inside = [(str(image), os.path.relpath(image, path)) for image in image_paths(path)]
            found += inside
            if not inside:
                missing.append((path, f"la carpeta no tiene archivos {', '.join(EXTENSIONS)}"))
        elif os.path.exists(path):
            found.append((path, os.path.basename(path)))
        else:
            missing.append((path, "no existe"))
    return _distinct(found), missing


def _distinct(found: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Numera los nombres que se repiten entre argumentos, para que ningún mapa pise a otro."""
    seen: dict[str, int] = dict.fromkeys((name for _, name in found), 0)
    numbered = []
    for path, name in found:
        seen[name] += 1
        numbered.append((path, name if seen[name] == 1 else f"{name}-{seen[name]}"))
    return numbered


def predict_paths(
    run_folder: str | Path,
    paths: Sequence[str | Path],
    *,
    model: str | None = None,
    explain: str | Path | None = None,
) -> tuple["pd.DataFrame", list[tuple[str, str]]]:
    """Clasifica archivos y carpetas con el conjunto de semillas de la red elegida, calibrada y con su umbral.

    Parameters
    ----------
    run_folder : path
        Carpeta de la ejecución, `build/<nombre>`.
    paths : sequence of path
        Radiografías en JPEG o PNG, o carpetas que las contienen.
    model : str, optional
        Otro modelo final (`reparado`), o una sola de sus semillas (`reparado-0`).
    explain : path, optional
        Carpeta en la que se escribe un mapa de Grad-CAM de cada imagen, en PNG.

    Returns
    -------
    table : DataFrame
        `path` (tal como se encontró bajo el argumento), `probability` (de PNEUMONIA, calibrada, en [0, 1]) y
        `prediction` (NORMAL o PNEUMONIA), en orden.
    unreadable : list of (path, reason)
        Lo que no se pudo leer.

    Raises
    ------
    NeumoError
        Si la ejecución no tiene redes o no tiene el modelo pedido.
    """
    import pandas as pd

    from neumo.learning.networks import logit_model

    run_folder = Path(run_folder)
    chosen = _read_chosen(run_folder)
    name, files = select(chosen, model)
    found, unreadable = find_images(paths)
    networks = [load_network(run_folder / file) for file in files] if found else []
    logit_networks = [logit_model(network) for network in networks]
    temperature = float(chosen.get("temperature", {}).get(name) or 1.0)
    tables = []
    for start in range(0, len(found), BLOCK):
        kept, pixels, failed = _decode(found[start : start + BLOCK], networks[0].input_shape[1])
        unreadable += failed
        if kept:
            logits = np.column_stack([network_logits(network, pixels) for network in logit_networks])
            probability = joint_probability(logits, temperature=temperature)
            tables.append(pd.DataFrame({"path": [path for path, _ in kept], "probability": probability}))
            if explain is not None:
                _write_overlays(Path(explain), kept, pixels, networks)
    empty = pd.DataFrame({"path": pd.Series(dtype=str), "probability": pd.Series(dtype=float)})
    table = pd.concat(tables, ignore_index=True) if tables else empty
    positive = table["probability"] >= chosen.get("thresholds", {}).get(name, chosen["threshold"])
    return table.assign(prediction=np.where(positive, CLASSES[1], CLASSES[0])), unreadable


def _read_chosen(folder: Path) -> dict[str, Any]:
    path = folder / ARTEFACTS["chosen"][0]
    if not path.is_file():
        runs = (
            sorted(p.parent.name for p in folder.parent.glob(f"*/{path.name}"))
            if folder.parent.is_dir()
            else []
        )
        others = f" Con red elegida está(n): {', '.join(runs)}." if runs else ""
        raise NeumoError(
            f"La ejecución «{folder.name}» no tiene una red elegida (falta {path.name}): haga antes `make report`, o "
            f"señale otra con --run build/<nombre>.{others}"
        )
    return json.loads(path.read_bytes())


def select(chosen: Mapping[str, Any], model: str | None) -> tuple[str, list[str]]:
    """Devuelve el modelo y los archivos que corresponden a un nombre de `--model`.

    Examples
    --------
    >>> chosen = {"model": "b", "files": {"a": ["models/a-0.keras"], "b": ["models/b-0.keras", "models/b-1.keras"]}}
    >>> select(chosen, None)
    ('b', ['models/b-0.keras', 'models/b-1.keras'])
    >>> select(chosen, "b-1")
    ('b', ['models/b-1.keras'])
    """
    files = chosen["files"]
    model = model or chosen["model"]
    if model in files:
        return model, list(files[model])
    for name, several in files.items():
        for file in several:
            if Path(file).stem == model:
                return name, [file]
    single = [Path(file).stem for several in files.values() for file in several]
    raise NeumoError(
        f"No hay modelo final «{model}» en esta ejecución. Los que hay: {', '.join([*files, *single])}."
    )


def _decode(
    found: Sequence[tuple[str, str]], image_size: int
) -> tuple[list[tuple[str, str]], np.ndarray, list[tuple[str, str]]]:
    def read(pair: tuple[str, str]) -> np.ndarray | str:
        try:
            return decode_grey(pair[0], image_size)
        except NeumoError as error:
            denied = isinstance(error.__cause__, PermissionError)
            return "sin permiso de lectura" if denied else "no es un JPEG o PNG entero"

    with ThreadPoolExecutor() as pool:
        results = list(zip(found, pool.map(read, found), strict=True))
    failed = [(pair[0], result) for pair, result in results if isinstance(result, str)]
    read_well = [(pair, result) for pair, result in results if not isinstance(result, str)]
    pixels = np.array([image for _, image in read_well], dtype=np.uint8)
    return [pair for pair, _ in read_well], pixels, failed


def _write_overlays(
    folder: Path, found: Sequence[tuple[str, str]], pixels: np.ndarray, networks: Sequence["keras.Model"]
) -> None:
    from neumo.learning.grad_cam import grad_cam

    heat = np.mean([grad_cam(network, pixels) for network in networks], axis=0)
    for (path, name), values in zip(found, heat, strict=True):
        target = folder / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        overlay(path, values).save(target)


def overlay(path: str | Path, heat: np.ndarray) -> Any:
    """Pone un mapa de calor sobre su radiografía, con la proporción original.

    Parameters
    ----------
    path : path
    heat : (alto, ancho) array
        En [0, 1]; cuanto más alto, más tapa.

    Returns
    -------
    PIL.Image.Image
        En color, de `OVERLAY_SIZE` píxeles de lado mayor como mucho.
    """
    from PIL import Image, ImageOps

    from neumo.figures.style import blend

    with Image.open(path) as image:
        grey = to_grey(ImageOps.exif_transpose(image))
    grey.thumbnail((OVERLAY_SIZE, OVERLAY_SIZE))
    return Image.fromarray(blend(np.asarray(grey), heat))
