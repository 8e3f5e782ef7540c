"""Clasifica radiografías sueltas con la red elegida de una ejecución: lo que llama `python -m neumo predict`."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, FiniteFloat, PositiveFloat

from neumo.data.manifest import CLASSES, EXTENSIONS, image_paths
from neumo.data.store import decode_grey, to_grey, upright
from neumo.errors import NeumoError
from neumo.evaluation.predictions import joint_probability
from neumo.learning.inference import BLOCK, load_network, network_logits
from neumo.run import ARTEFACTS

if TYPE_CHECKING:
    import pandas as pd

OVERLAY_SIZE = 768  # lado mayor de los mapas que escribe `--explain`, en píxeles
Pairs = list[tuple[str, str]]


class _Chosen(BaseModel):
    """Lo que `predict` lee de `chosen.json`, que puede venir de otra persona."""

    model: str
    files: dict[str, list[str]]
    thresholds: dict[str, FiniteFloat]
    temperature: dict[str, PositiveFloat | None]


def find_images(paths: Sequence[str | Path]) -> tuple[Pairs, Pairs]:
    """Busca las radiografías de unas rutas; las carpetas se recorren enteras.

    Parameters
    ----------
    paths : sequence of path
        Archivos o carpetas.

    Returns
    -------
    found : list of (path, name)
        La ruta, que empieza tal como se escribió el argumento, y un nombre para su mapa, que no se repite.
    missing : list of (path, reason)
        Argumentos que no existen o carpetas sin radiografías.
    """
    found: list[tuple[str, str]] = []
    missing: list[tuple[str, str]] = []
    seen: Counter[str] = Counter()
    for path in map(str, paths):
        if os.path.isdir(path):
            inside = [(str(image), os.path.relpath(image, path)) for image in image_paths(path)]
            reason = f"la carpeta no tiene archivos {', '.join(EXTENSIONS)}"
        else:
            inside = [(path, os.path.basename(path))] if os.path.exists(path) else []
            reason = "no existe"
        missing += [] if inside else [(path, reason)]
        for image, name in inside:
            seen[name] += 1
            found.append((image, name if seen[name] == 1 else f"{name}-{seen[name]}"))
    return found, missing


def predict_paths(
    run_folder: str | Path, paths: Sequence[str | Path], *, model: str | None = None, explain: str | Path | None = None
) -> tuple["pd.DataFrame", Pairs]:
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
        Si la ejecución no tiene redes, no están enteras o no tiene el modelo pedido.
    """
    import pandas as pd

    from neumo.learning.networks import logit_model

    chosen = _read_chosen(Path(run_folder))
    name, files = select(chosen, model)
    temperature = chosen["temperature"].get(name) or 1.0
    found, unreadable = find_images(paths)
    networks = [load_network(Path(run_folder) / file) for file in files] if found else []
    logit_networks = [logit_model(network) for network in networks]
    readable, probabilities = [], [np.empty(0)]
    for start in range(0, len(found), BLOCK):
        kept, pixels, failed = _decode(found[start : start + BLOCK], networks[0].input_shape[1])
        unreadable += failed
        if kept:
            logits = np.column_stack([network_logits(network, pixels) for network in logit_networks])
            readable += [path for path, _ in kept]
            probabilities.append(joint_probability(logits, temperature=temperature))
            if explain is not None:
                _write_overlays(Path(explain), kept, pixels, networks)
    table = pd.DataFrame({"path": readable, "probability": np.concatenate(probabilities)})
    positive = table["probability"] >= chosen["thresholds"][name]
    return table.assign(prediction=np.where(positive, CLASSES[1], CLASSES[0])), unreadable


def _read_chosen(folder: Path) -> dict[str, Any]:
    path = folder / ARTEFACTS["chosen"][0]
    try:
        chosen = _Chosen.model_validate_json(path.read_bytes()).model_dump()
        if not set(chosen["files"]) <= set(chosen["thresholds"]):
            raise ValueError("a un modelo le falta su umbral")
        return chosen
    except (OSError, ValueError):
        runs = sorted(other.parent.name for other in folder.parent.glob(f"*/{path.name}"))
        others = f" Con red elegida: {', '.join(runs)}." if runs else ""
        raise NeumoError(
            f"La ejecución «{folder.name}» no tiene una red elegida ({path.name} falta o está dañado): haga antes "
            f"`make report`, o señale otra con --run build/<nombre>.{others}"
        ) from None


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
    options = {model: (model, list(several)) for model, several in files.items()}
    options |= {Path(file).stem: (name, [file]) for name, several in files.items() for file in several}
    if (model or chosen["model"]) not in options:
        raise NeumoError(f"No hay modelo final «{model}» en esta ejecución: elija {', '.join(options)}.")
    return options[model or chosen["model"]]


def _decode(found: Pairs, image_size: int) -> tuple[Pairs, np.ndarray, Pairs]:
    """Da las radiografías que se leen, sus píxeles y, de las que no, el motivo."""

    def read(pair: tuple[str, str]) -> np.ndarray | str:
        try:
            return decode_grey(pair[0], image_size)
        except NeumoError as error:
            denied = isinstance(error.__cause__, PermissionError)
            return "sin permiso de lectura" if denied else "no es un JPEG o PNG entero"

    with ThreadPoolExecutor() as pool:
        results = list(zip(found, pool.map(read, found), strict=True))
    failed = [(pair[0], result) for pair, result in results if isinstance(result, str)]
    whole = [(pair, result) for pair, result in results if not isinstance(result, str)]
    return [pair for pair, _ in whole], np.array([pixels for _, pixels in whole], dtype=np.uint8), failed


def _write_overlays(folder: Path, found: Pairs, pixels: np.ndarray, networks: Sequence[Any]) -> None:
    """Escribe el mapa de cada radiografía sobre ella, en PNG y con la proporción original."""
    from PIL import Image

    from neumo.figures.style import blend
    from neumo.learning.grad_cam import grad_cam

    heat = np.mean([grad_cam(network, pixels) for network in networks], axis=0)
    for (path, name), values in zip(found, heat, strict=True):
        with Image.open(path) as image:
            grey = to_grey(upright(image))
        grey.thumbnail((OVERLAY_SIZE, OVERLAY_SIZE))
        target = folder / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blend(np.asarray(grey), values)).save(target)
