"""Clasifica radiografías sueltas con la red elegida de una ejecución: lo que llama `python -m neumo predict`."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, FiniteFloat, PositiveFloat

from neumo.cache import decode_table
from neumo.data.layout import files, is_hidden, is_mask
from neumo.data.pixels import EXTENSIONS, MARK, OURS_MAP, content_of, is_image, read
from neumo.data.store import to_square
from neumo.data.verify import LOOKS_INVERTED, NEAR_EMPTY_STD, measure, nearly_empty
from neumo.errors import NeumoError
from neumo.evaluation.predictions import joint_probability
from neumo.learning.inference import BLOCK, load_network, network_logits
from neumo.run import ARTEFACTS
from neumo.words import CLASSES, visible

if TYPE_CHECKING:
    import pandas as pd

OVERLAY_SIZE = 768  # lado mayor de los mapas que escribe `--explain`, en píxeles
HEADER = ["path", "probability", "prediction", "warning"]
HIDDEN, OURS, MASK = "archivo oculto", "lo escribió `predict`", "es la máscara de otra imagen"
HARMLESS = {HIDDEN, OURS, OURS_MAP, MASK}
"""Motivos de no clasificar un archivo que no son un fallo."""
_RANGES = {"mean": "brillo", "shortest": "lado menor", "aspect": "proporción"}
Pairs = list[tuple[str, str]]
Ranges = Mapping[str, tuple[float, float]]


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
    others : list of (path, reason)
        Argumentos que no existen, carpetas sin radiografías y cada archivo que no lo es.
    """
    found: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    seen: Counter[str] = Counter()
    for path in map(str, paths):
        if os.path.isdir(path):
            every = [(str(file), os.path.relpath(file, path)) for file in files(path, hidden=True)]
            reasons = [_reason(file, name) for file, name in every]
            inside = [pair for pair, reason in zip(every, reasons, strict=True) if not reason]
            others += [(file, reason) for (file, _), reason in zip(every, reasons, strict=True) if reason]
            reason = f"la carpeta no tiene archivos {', '.join(EXTENSIONS)}"
        else:
            inside = [(path, os.path.basename(path))] if os.path.lexists(path) else []
            reason = "no existe"
        others += [] if inside else [(path, reason)]
        for image, name in inside:
            seen[name] += 1
            found.append((image, name if seen[name] == 1 else f"{name}-{seen[name]}"))
    return found, others


def _reason(path: str, name: str) -> str:
    """Motivo por el que un archivo de una carpeta, `name` dentro de ella, no se toma por radiografía; vacío si se toma."""
    if any(map(is_hidden, Path(name).parts)):
        return HIDDEN
    if is_image(path):
        return MASK if is_mask(Path(name), ".") else ""
    return OURS if written_here(path) else "no es una imagen JPEG, PNG, BMP, TIFF, WebP ni DICOM"


def written_here(path: str | Path) -> bool:
    """Dice si un archivo es una tabla de predicciones, o un mapa, que escribió esta orden."""
    from PIL import Image

    if not os.path.isfile(path):
        return False
    try:
        if Path(path).suffix.lower() != ".png":
            with open(path, "rb") as file:
                return file.read(64).startswith(",".join(HEADER[:3]).encode())
        with Image.open(path, formats=("PNG",)) as image:
            return MARK.items() <= image.info.items()
    except OSError:
        return False


def predict_paths(
    run_folder: str | Path, paths: Sequence[str | Path], *, model: str | None = None, explain: str | Path | None = None
) -> tuple["pd.DataFrame", Pairs]:
    """Clasifica archivos y carpetas con el conjunto de semillas de la red elegida, calibrada y con su umbral.

    Lo que el informe apartaría (ilegible o casi vacío) no se clasifica. Lo que no se parece a lo que la red vio al entrenar,
    sí, con un aviso.

    Parameters
    ----------
    run_folder : path
        Carpeta de la ejecución, `build/<nombre>`.
    paths : sequence of path
        Radiografías, o carpetas que las contienen.
    model : str, optional
        Otro modelo final (`reparado`), o una sola de sus semillas (`reparado-0`).
    explain : path, optional
        Carpeta en la que se escribe un mapa de Grad-CAM de cada imagen, en PNG.

    Returns
    -------
    table : DataFrame
        Una fila por radiografía, en orden: `path` (tal como se encontró bajo el argumento), `probability` (de PNEUMONIA,
        calibrada, en [0, 1]; NaN si no se clasifica), `prediction` (NORMAL, PNEUMONIA o vacío) y `warning`: el motivo
        de que no se clasifique, o los avisos.
    others : list of (path, reason)
        Todo lo que no se clasificó, con su motivo.

    Raises
    ------
    NeumoError
        Si la ejecución no tiene redes, no están enteras o no tiene el modelo pedido, o si un mapa caería sobre un archivo
        que no es suyo.
    """
    import pandas as pd

    from neumo.learning.networks import logit_model

    chosen = _read_chosen(Path(run_folder))
    name, network_files = select(chosen, model)
    temperature, threshold = chosen["temperature"].get(name) or 1.0, chosen["thresholds"][name]
    found, others = find_images(paths)
    if explain is not None:
        _check_free(Path(explain), found)
    networks = [load_network(Path(run_folder) / file) for file in network_files] if found else []
    logit_networks = [logit_model(network) for network in networks]
    seen, rows = trained_ranges(Path(run_folder)), []
    for start in range(0, len(found), BLOCK):
        block = found[start : start + BLOCK]
        plates = _examine_all(block, networks[0].input_shape[1], seen)
        kept = [pair for pair, (pixels, _) in zip(block, plates, strict=True) if pixels is not None]
        stack = np.array([pixels for pixels, _ in plates if pixels is not None], dtype=np.uint8)
        answers: Iterator[float] = iter(())
        if kept:
            logits = np.column_stack([network_logits(network, stack) for network in logit_networks])
            answers = iter(joint_probability(logits, temperature=temperature))
        for (path, _), (pixels, text) in zip(block, plates, strict=True):
            rows.append((path, *_answer(next(answers) if pixels is not None else None, threshold, text)))
        if kept and explain is not None:
            _write_overlays(Path(explain), kept, stack, networks)
    others += [(path, text) for path, _, prediction, text in rows if not prediction]
    return pd.DataFrame([row for row in rows if row[-1] != OURS_MAP], columns=HEADER), others


def _answer(probability: float | None, threshold: float, text: str) -> tuple[float, str, str]:
    """Probabilidad, clase y aviso de una radiografía; sin probabilidad (o con NaN) no hay clase."""
    if probability is None:
        return np.nan, "", text
    if np.isnan(probability):
        return np.nan, "", "la red no da un número (NaN): no clasifica"
    return float(probability), CLASSES[int(probability >= threshold)], text


def trained_ranges(run_folder: Path) -> dict[str, tuple[float, float]]:
    """Da el mínimo y el máximo de brillo, lado menor y proporción de las imágenes con que se entrenó; nada si no constan."""
    path = run_folder / ARTEFACTS["partition"][0]
    if not path.is_file():
        return {}
    table = decode_table(path.read_bytes())
    train = table[table["partition"] == "train"]
    sizes = train[["width", "height"]]
    train = train.assign(shortest=sizes.min(axis=1), aspect=train["width"] / train["height"])
    return {name: (float(train[name].min()), float(train[name].max())) for name in _RANGES}


def examine(path: str | Path, image_size: int, seen: Ranges) -> tuple[np.ndarray | None, str]:
    """Lee una radiografía y la revisa como `verify`.

    Parameters
    ----------
    path : path
    image_size : int
        Lado de la entrada de la red.
    seen : mapping
        De `trained_ranges`.

    Returns
    -------
    pixels : (image_size, image_size) uint8 array, or None
        `None` si no se puede clasificar.
    text : str
        El motivo, o los avisos.
    """
    try:
        content = content_of(path)
        picture = read(content, least=image_size)
        measured = measure(picture)
        if measured.std < NEAR_EMPTY_STD:  # reducida, el ruido se promedia: decide la imagen entera
            measured = measure(read(content))
    except NeumoError as error:
        return None, str(error)
    if measured.std < NEAR_EMPTY_STD:
        return None, nearly_empty(measured.std)
    values = {
        "mean": measured.mean,
        "shortest": min(measured.width, measured.height),
        "aspect": measured.width / measured.height,
    }
    notes = [LOOKS_INVERTED] * measured.inverted
    notes += [
        f"{_RANGES[name]} de {values[name]:.3g}, y al entrenar, de {low:.3g} a {high:.3g}"
        for name, (low, high) in seen.items()
        if not low <= values[name] <= high
    ]
    return to_square(picture.grey, image_size), "; ".join(notes)


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


def _examine_all(found: Pairs, image_size: int, seen: Ranges) -> list[tuple[np.ndarray | None, str]]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda pair: examine(pair[0], image_size, seen), found))


def _overlay_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.png"


def _check_free(folder: Path, found: Pairs) -> None:
    """Comprueba, antes de predecir, que ningún mapa caiga sobre un archivo que no escribió esta orden."""
    targets = [_overlay_path(folder, name) for _, name in found]
    taken = [path for path in targets if os.path.lexists(path) and not written_here(path)]
    if taken:
        raise NeumoError(
            f"Un mapa se escribiría sobre «{visible(str(taken[0]))}», que no es un mapa de esta orden: elija otra carpeta "
            "para --explain."
        )


def _write_overlays(folder: Path, found: Pairs, pixels: np.ndarray, networks: Sequence[Any]) -> None:
    """Escribe el mapa de cada radiografía sobre ella, en PNG y con la proporción original."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from neumo.figures.style import blend
    from neumo.learning.grad_cam import grad_cam

    mark = PngInfo()
    for key, value in MARK.items():
        mark.add_text(key, value)
    heat = np.mean([grad_cam(network, pixels) for network in networks], axis=0)
    for (path, name), values in zip(found, heat, strict=True):
        grey = read(content_of(path)).grey
        grey.thumbnail((OVERLAY_SIZE, OVERLAY_SIZE))
        target = _overlay_path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blend(np.asarray(grey), values)).save(target, pnginfo=mark)
