"""El encuadre: qué responde cada red cuando se le enseña la misma placa más de cerca."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import cached_tables
from neumo.learning.inference import input_size, load_network, predict_logits
from neumo.progress import announce
from neumo.run import file_digest

if TYPE_CHECKING:
    import pandas as pd

    from neumo.data.store import ImageSet

CROPS = (1.0, 0.9, 0.8, 0.7)
"""Parte del lado de la placa, desde el centro, que se enseña a la red."""
MOVES = 0.1
"""Lo que ha de perder la sensibilidad o la especificidad para decir que el encuadre decide: una convención."""


def closer(pixels: np.ndarray, crop: float) -> np.ndarray:
    """Recorta el centro de cada imagen y lo devuelve al mismo lado.

    Parameters
    ----------
    pixels : (n, lado, lado) uint8 array
    crop : float
        Parte del lado que queda, en (0, 1]; con 1, las imágenes tal cual.
    """
    from PIL import Image

    if crop == 1:
        return pixels
    side = pixels.shape[1]
    low, high = side * (1 - crop) / 2, side * (1 + crop) / 2
    return np.stack(
        [
            np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR, box=(low, low, high, high)))
            for one in pixels
        ]
    )


def rates(logits: "pd.DataFrame", labels: np.ndarray, *, name: str, chosen: Mapping[str, Any]) -> tuple[Any, Any]:
    """Sensibilidad y especificidad de cada columna de logits de un modelo, con su umbral y su temperatura.

    Parameters
    ----------
    logits : (n, k) DataFrame
        Sin calibrar.
    labels : (n,) int array
    chosen : mapping
        El artefacto `chosen`.
    """
    threshold = chosen["thresholds"][name]
    limit = np.log(threshold / (1 - threshold)) * chosen["temperature"].get(name, 1)
    positive, sick = logits >= limit, labels == 1
    return positive[sick].mean(), 1 - positive[~sick].mean()


def framing(
    files: Mapping[str, Sequence[Path]],
    image_set: Callable[..., "ImageSet"],
    *,
    names: Sequence[str],
    chosen: Mapping[str, Any],
    cache: Path,
) -> "pd.DataFrame":
    """Mide en validación la sensibilidad y la especificidad de cada red según el encuadre, con su primera semilla.

    Parameters
    ----------
    files : mapping of str to sequence of Path
        Archivos `.keras` de cada modelo.
    image_set : callable
        De `neumo.data.store.image_sets`.
    names : sequence of str
        Los modelos que se miden: los que se leen con umbral.
    chosen : mapping
        El artefacto `chosen`, con el umbral y la temperatura de cada uno.
    cache : Path
        Carpeta de la caché.

    Returns
    -------
    DataFrame
        `model`, `crop`, `sensitivity` y `specificity`.
    """
    import pandas as pd

    tables = []
    for name in names:
        path = files[name][0]
        images = image_set("val", image_size=input_size(path))

        def measure(path: Path = path, images: "ImageSet" = images) -> "dict[str, pd.DataFrame]":
            pixels = images.pixels()
            every = predict_logits(load_network(path), np.concatenate([closer(pixels, crop) for crop in CROPS]))
            return {"logits": pd.DataFrame(every.reshape(len(CROPS), -1).T, columns=[str(crop) for crop in CROPS])}

        announce(f"{name}: {len(images)} imágenes con {len(CROPS)} encuadres")
        key = {"file": file_digest(path), "images": images.digest}
        logits = cached_tables(cache, "framing", key, measure, code=__name__)["logits"]
        sensitivity, specificity = rates(logits, images.labels, name=name, chosen=chosen)
        told = {"crop": list(CROPS), "sensitivity": sensitivity, "specificity": specificity}
        tables.append(pd.DataFrame(told).assign(model=name))
    return pd.concat(tables, ignore_index=True)


def framing_verdict(table: "pd.DataFrame") -> str:
    """Dice en una lista de Markdown hacia dónde se inclina cada red cuando la placa se ve más de cerca."""
    lines = []
    for model, part in table.groupby("model", sort=False):
        whole, near = part.iloc[0], part.iloc[-1]
        lost = {name: whole[name] - near[name] for name in ("sensitivity", "specificity")}
        told = "no cambia apenas: el encuadre no decide su respuesta"
        if max(lost.values()) >= MOVES:
            worse = max(lost, key=lambda name: lost[name])
            side = "llama PNEUMONIA" if worse == "specificity" else "llama NORMAL"
            told = (
                f"{side} a un encuadre más cerrado: una placa más colimada cambiaría su respuesta sin cambiar el pulmón"
            )
        lines.append(
            f"- **{model}**: del {100 * whole['crop']:.0f} al {100 * near['crop']:.0f} % de la placa, la sensibilidad va de "
            f"{whole['sensitivity']:.3f} a {near['sensitivity']:.3f} y la especificidad, de {whole['specificity']:.3f} a "
            f"{near['specificity']:.3f}; {told}."
        )
    return "\n".join(lines)
