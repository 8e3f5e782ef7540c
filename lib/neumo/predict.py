"""Clasifica radiografías sueltas con la red elegida de una ejecución: lo que llama `python -m neumo predict`."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import write_atomically
from neumo.data.manifest import CLASSES, EXTENSIONS, image_paths
from neumo.data.store import decode_grey, to_grey
from neumo.errors import NeumoError
from neumo.run import ARTEFACTS, Run

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from neumo.learning.training import Training

BATCH = 64
OVERLAY_SIZE = 768
"""Lado mayor de los mapas que escribe `--explain`, en píxeles."""


def export_models(run: Run, trainings: Sequence["Training"]) -> dict[str, list[str]]:
    """Copia las redes finales a `models/` de la ejecución, para que `predict` no dependa de la caché.

    Parameters
    ----------
    run : Run
    trainings : sequence of Training
        Los modelos finales, todas sus semillas.

    Returns
    -------
    dict of str to list of str
        Archivos de cada modelo, relativos a la carpeta de la ejecución: la clave `files` del artefacto `chosen`.
    """
    files: dict[str, list[str]] = {}
    for training in trainings:
        name = f"models/{training.experiment.name}-{training.seed}.keras"
        write_atomically(run.folder / name, training.model_path.read_bytes())
        files.setdefault(training.experiment.name, []).append(name)
    current = {run.folder / name for names in files.values() for name in names}
    for stale in set((run.folder / "models").glob("*.keras")) - current:
        stale.unlink()
    return files


def combine(logits: Sequence[np.ndarray]) -> np.ndarray:
    """Une los logits de varias redes en los del conjunto: su media.

    Examples
    --------
    >>> combine([np.array([1.0, -2.0]), np.array([3.0, 0.0])]).tolist()
    [2.0, -1.0]
    """
    return np.mean(np.asarray(logits, dtype=np.float64), axis=0)


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

    run_folder = Path(run_folder)
    chosen = _read_chosen(run_folder)
    name, files = select(chosen, model)
    found, unreadable = find_images(paths)
    networks = _load_networks([run_folder / file for file in files]) if found else []
    temperature = float(chosen.get("temperature", {}).get(name) or 1.0)
    tables = []
    for start in range(0, len(found), BATCH):
        kept, pixels, failed = _decode(found[start : start + BATCH], networks[0][0].input_shape[1])
        unreadable += failed
        if kept:
            logit = combine([_logits(network, pixels) for _, network in networks])
            probability = 1 / (1 + np.exp(-logit / temperature))
            tables.append(pd.DataFrame({"path": [path for path, _ in kept], "probability": probability}))
            if explain is not None:
                _write_overlays(Path(explain), kept, pixels, [network for network, _ in networks])
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


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Calla lo que TensorFlow escribe por su cuenta al arrancar: nada de ello es para quien clasifica imágenes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def _load_networks(files: Sequence[Path]) -> list[tuple["keras.Model", "keras.Model"]]:
    """Carga cada red, y a su lado la misma sin la sigmoide."""
    with quiet_tensorflow():
        import keras

        from neumo.learning.networks import logit_model

        loaded = []
        for file in files:
            try:
                network = keras.models.load_model(file, compile=False)
            except (OSError, ValueError) as error:
                raise NeumoError(
                    f"No se puede cargar la red «{file.name}» ({type(error).__name__}): bórrela y haga `make report`."
                ) from error
            loaded.append((network, logit_model(network)))
    return loaded


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


def _logits(network: "keras.Model", pixels: np.ndarray) -> np.ndarray:
    channels = network.input_shape[-1]
    return network.predict_on_batch(np.repeat(pixels[..., None], channels, axis=-1)).reshape(-1).astype(float)


def _write_overlays(
    folder: Path, found: Sequence[tuple[str, str]], pixels: np.ndarray, networks: Sequence["keras.Model"]
) -> None:
    from neumo.studies.maps import grad_cam

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

    from neumo.studies.maps import blend

    with Image.open(path) as image:
        grey = to_grey(ImageOps.exif_transpose(image))
    grey.thumbnail((OVERLAY_SIZE, OVERLAY_SIZE))
    return Image.fromarray(blend(np.asarray(grey), heat))
