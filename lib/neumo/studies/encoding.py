"""La codificación, igualada: qué responde cada red si todas las placas se guardan con la calidad de la clase peor guardada."""

import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import cached_tables
from neumo.data.pixels import content_of, read
from neumo.data.store import decode_grey
from neumo.learning.inference import input_size, load_network, predict_logits
from neumo.progress import announce
from neumo.run import file_digest
from neumo.studies.framing import rates
from neumo.studies.headers import LOSSLESS

if TYPE_CHECKING:
    import pandas as pd

    from neumo.data.store import ImageSet

APART = 1.0
"""Puntos de calidad entre las medianas de las dos clases desde los que hay algo que igualar."""
MOVES = 0.05
"""Lo que ha de cambiar la sensibilidad o la especificidad para decir que la red lee la codificación: una convención."""


def coarser_quality(headers: "pd.DataFrame") -> float | None:
    """Dice a qué calidad se igualan las placas: la mediana menor de las dos clases en entrenamiento.

    Parameters
    ----------
    headers : DataFrame
        De `neumo.studies.headers.headers`, con `partition` y `label`.

    Returns
    -------
    float or None
        `None` si las dos clases se guardaron igual: no hay nada que igualar. Lo que no es JPEG cuenta como sin pérdida.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"partition": "train", "label": ["NORMAL", "PNEUMONIA"], "quality": [95.5, 75.0]})
    >>> coarser_quality(table), coarser_quality(table.assign(quality=90.0))
    (75.0, None)
    """
    train = headers[headers["partition"] == "train"]
    medians = train["quality"].fillna(LOSSLESS).groupby(train["label"]).median()
    return float(medians.min()) if np.ptp(medians) >= APART else None


def reencoded(content: bytes, quality: float) -> bytes:
    """Guarda otra vez una radiografía, a su tamaño y en gris, como JPEG de esa calidad."""
    saved = io.BytesIO()
    read(content).grey.save(saved, "JPEG", quality=round(quality))
    return saved.getvalue()


def encoding_control(
    files: Mapping[str, Sequence[Path]],
    image_set: Callable[..., "ImageSet"],
    folder: Path,
    *,
    names: Sequence[str],
    chosen: Mapping[str, Any],
    quality: float,
    cache: Path,
) -> "pd.DataFrame":
    """Mide en validación cada red con las placas como vienen y con todas guardadas a una misma calidad, a su tamaño original.

    Parameters
    ----------
    files : mapping of str to sequence of Path
        Archivos `.keras` de cada modelo; se mide su primera semilla.
    image_set : callable
        De `neumo.data.store.image_sets`.
    folder : Path
        Carpeta de las imágenes.
    names : sequence of str
        Los modelos que se miden: los que se leen con umbral.
    chosen : mapping
        El artefacto `chosen`, con el umbral y la temperatura de cada uno.
    quality : float
        De `coarser_quality`.
    cache : Path
        Carpeta de la caché.

    Returns
    -------
    DataFrame
        `model`, `encoding` (`como vienen` o `a calidad q`), `sensitivity`, `specificity` y `auc`.
    """
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    rows = []
    for name in names:
        path = files[name][0]
        images = image_set("val", image_size=input_size(path))

        def measure(path: Path = path, images: "ImageSet" = images) -> "dict[str, pd.DataFrame]":
            def again(file: str) -> np.ndarray:
                return decode_grey(reencoded(content_of(folder / file), quality), images.image_size)

            with ThreadPoolExecutor() as pool:
                equal = np.stack(list(pool.map(again, images.table["path"])))
            network = load_network(path)
            both = {"plain": images.pixels(), "equal": equal}
            return {"logits": pd.DataFrame({key: predict_logits(network, pixels) for key, pixels in both.items()})}

        announce(f"{name}: {len(images)} imágenes a calidad {quality:g}")
        key = {"file": file_digest(path), "images": images.digest, "quality": quality}
        logits = cached_tables(cache, "encoding", key, measure, code=__name__)["logits"]
        sensitivity, specificity = rates(logits, images.labels, name=name, chosen=chosen)
        for column, told in (("plain", "como vienen"), ("equal", f"a calidad {quality:g}")):
            auc = float(roc_auc_score(images.labels, logits[column]))
            rows.append((name, told, float(sensitivity[column]), float(specificity[column]), auc))
    return pd.DataFrame(rows, columns=["model", "encoding", "sensitivity", "specificity", "auc"])


def encoding_verdict(table: "pd.DataFrame | None") -> str:
    """Dice en una lista de Markdown si cada red responde otra cosa cuando la codificación deja de distinguir a las clases."""
    if table is None:
        return "- En entrenamiento las dos clases se guardaron con la misma calidad mediana: no hay codificación que igualar."
    lines = []
    for model, part in table.groupby("model", sort=False):
        before, after = part.iloc[0], part.iloc[1]
        moved = max(abs(after[name] - before[name]) for name in ("sensitivity", "specificity"))
        told = (
            "la codificación decide parte de su respuesta"
            if moved >= MOVES
            else "la codificación no decide su respuesta"
        )
        lines.append(
            f"- **{model}**: con todas las placas {after['encoding']}, la sensibilidad va de {before['sensitivity']:.3f} a "
            f"{after['sensitivity']:.3f}, la especificidad, de {before['specificity']:.3f} a {after['specificity']:.3f}, y el AUC, de "
            f"{before['auc']:.3f} a {after['auc']:.3f}: {told}."
        )
    return "\n".join(lines)
