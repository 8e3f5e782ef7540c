"""Las cabeceras: lo que un archivo dice de cómo se guardó, leído sin decodificar un píxel."""

import functools
import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import cached_tables
from neumo.data.store import distinct
from neumo.words import CLASSES, PARTITIONS

if TYPE_CHECKING:
    import pandas as pd

HEADERS = {
    "quality": "calidad JPEG",
    "density": "bytes por megapíxel",
    "pixels": "número de píxeles",
    "aspect": "proporción (ancho / alto)",
    "colour": "en color",
}
"""Lo que dice una cabecera, con el nombre que lee una persona."""
LOSSLESS = 101.0
"""La calidad con que se ordena un archivo que no es JPEG: nada se perdió al guardarlo."""

STRONG, FALLS = 0.7, 0.1
"""AUC desde la que una pista se da por fuerte, y lo que ha de bajar en la prueba para decir que allí no vale: convenciones."""


def jpeg_quality(file: str | Path) -> float:
    """Estima la calidad con que se guardó un JPEG por su tabla de cuantización; de lo demás, NaN.

    Es la calidad de la biblioteca IJG, de medio en medio punto, cuya tabla de luminancia suma lo más parecido. No se
    decodifica nada: se leen unos cientos de bytes.
    """
    from PIL import Image

    try:
        with Image.open(file, formats=("JPEG",)) as image:
            total = sum(_luminance(image))
    except Exception:  # otro formato, o un archivo dañado: Pillow avisa con casi cualquier clase de error
        return np.nan
    grid, sums = _table_sums()
    return float(grid[np.abs(sums - total).argmin()])


def _luminance(image: Any) -> list[int]:
    """La primera tabla de cuantización de un JPEG abierto con Pillow."""
    return image.quantization[0]


@functools.cache
def _table_sums() -> tuple[np.ndarray, np.ndarray]:
    """Calidades de 100 a 1 y suma de la tabla de luminancia de cada una; la de calidad 50 es la de la norma."""
    from PIL import Image

    sample = io.BytesIO()
    Image.new("L", (8, 8)).save(sample, "JPEG", quality=50)
    with Image.open(sample, formats=("JPEG",)) as image:
        standard = np.array(_luminance(image))
    grid = np.arange(100, 0.5, -0.5)  # de empate, la mejor
    scale = np.where(grid < 50, 5000 / grid, 200 - 2 * grid)
    return grid, np.clip((standard * scale[:, None] + 50) // 100, 1, 255).sum(axis=1)


def headers(table: "pd.DataFrame", folder: str | Path, *, cache: str | Path) -> "pd.DataFrame":
    """Lee las cabeceras de unas imágenes, o las toma de la caché.

    Parameters
    ----------
    table : DataFrame
        Con `path`, `sha256`, `size` (bytes), `width`, `height` y `mode`.
    folder : path
        Carpeta de las imágenes.
    cache : path
        Carpeta de la caché.

    Returns
    -------
    DataFrame
        La tabla con las columnas de `HEADERS`: `quality` (NaN si no es JPEG), `density` (bytes por megapíxel), `pixels`,
        `aspect` y `colour` (1 si se guardó en color).
    """
    import pandas as pd

    unique, told = distinct(table)

    def measure() -> "dict[str, pd.DataFrame]":
        quality = [jpeg_quality(Path(folder) / path) for path in unique["path"]]
        return {"quality": pd.DataFrame({"sha256": unique["sha256"].to_numpy(), "quality": quality})}

    stored = cached_tables(cache, "headers", {"images": told}, measure, code=__name__)["quality"]
    pixels = (table["width"] * table["height"]).to_numpy(float)
    return table.assign(
        quality=table["sha256"].map(stored.set_index("sha256")["quality"]).astype(float),
        pixels=pixels,
        density=table["size"].to_numpy(float) / (pixels / 1e6),
        aspect=(table["width"] / table["height"]).to_numpy(),
        colour=table["mode"].str.startswith(("RGB", "CMYK", "P")).astype(float),
    )


def header_table(read: "pd.DataFrame") -> "pd.DataFrame":
    """Resume las cabeceras por partición y clase: medianas, y las partes de JPEG y de imágenes en color.

    Parameters
    ----------
    read : DataFrame
        De `headers`, con `partition` y `label`; las imágenes sin partición no cuentan.
    """
    import pandas as pd

    rows = []
    for partition, label in itertools.product(PARTITIONS, CLASSES):
        part = read[(read["partition"] == partition) & (read["label"] == label)]
        low, middle, high = part["quality"].quantile([0.1, 0.5, 0.9])
        rows.append(
            {
                "partition": PARTITIONS[partition],
                "label": label,
                "images": len(part),
                "JPEG": part["quality"].notna().mean(),
                "calidad": "–" if np.isnan(middle) else f"{middle:g} ({low:g}–{high:g})",
                "kB por megapíxel": part["density"].median() / 1000,
                "megapíxeles": part["pixels"].median() / 1e6,
                "aspect": part["aspect"].median(),
                "en color": part["colour"].mean(),
            }
        )
    return pd.DataFrame(rows)


def header_auc(read: "pd.DataFrame") -> "pd.DataFrame":
    """Mide cuánto dice de la clase cada cosa de la cabecera, en entrenamiento y en la prueba.

    Returns
    -------
    DataFrame
        `feature`, `train` y `test` (AUC, con el sentido aprendido en entrenamiento: en él no baja de 0.5).
    """
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    rows = []
    for name in HEADERS:
        values = read[name].fillna(LOSSLESS)
        first, second = (
            roc_auc_score(read.loc[mask, "y"], values[mask])
            for mask in (read["partition"] == "train", read["partition"] == "test")
        )
        rows.append([name, max(first, 1 - first), second if first >= 0.5 else 1 - second])
    return pd.DataFrame(rows, columns=["feature", "train", "test"])


def header_verdict(read: "pd.DataFrame", measured: "pd.DataFrame") -> str:
    """Dice en una frase si la cabecera delata la clase, y si en la prueba lo sigue haciendo.

    Parameters
    ----------
    read, measured : DataFrame
        De `headers` y de `header_auc`.
    """
    strongest = measured.loc[measured["train"].idxmax()]
    name, train, test = HEADERS[strongest["feature"]], strongest["train"], strongest["test"]
    told = f"De la cabecera, lo que más dice de la clase es «{name}»: AUC de {train:.3f} en entrenamiento y de {test:.3f} en la prueba"
    if train < STRONG:
        end = "poco: el archivo, antes de abrirlo, no delata la clase."
    elif test < train - FALLS:
        end = (
            "una regla que no mira ningún píxel parece un buen clasificador hasta que cambia quien guardó los archivos. Quien "
            "valide con imágenes de la misma tanda no lo verá."
        )
    else:
        end = "la pista está en las dos partes, así que la prueba no puede decir si una red la sigue."
    jpeg = read["quality"].notna().mean()
    kind = (
        ""
        if jpeg == 1
        else f" Son JPEG el {jpeg:.0%} de las imágenes; las demás no llevan tabla de cuantización.".replace("%", " %")
    )
    return f"{told}; {end}{kind}"
