"""Integridad, tamaño, modo y copias de las imágenes. Nada se borra: lo que queda fuera lo dice, con su motivo."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from neumo.cache import cached_tables
from neumo.data.blocks import Each, blocks, in_threads
from neumo.data.duplicates import joined, leaders, look
from neumo.data.pixels import Picture, content_of, read
from neumo.data.store import distinct, to_square
from neumo.errors import NeumoError
from neumo.words import CLASSES, visible

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

NEAR_EMPTY_STD = 6.0
LOOKS_INVERTED = "parece invertida (el hueso, oscuro)"
"""Aviso de una imagen con `inverted`."""
_INVERTED = -0.5  # ninguna de 5216 radiografías reales baja de 0.39, y al invertirlas cambia de signo


class Measures(NamedTuple):
    """Lo que se mide de una imagen: tamaño (0 si no se puede leer), modo, media y desviación de gris, y si parece invertida y su aspecto (`look`)."""

    width: int
    height: int
    mode: str
    mean: float
    std: float
    inverted: bool
    look: str
    error: str


def inspect(
    manifest: "pd.DataFrame",
    folder: str | Path,
    *,
    near_empty_std: float = NEAR_EMPTY_STD,
    cache: str | Path | None = None,
    each: Each = in_threads,
) -> "pd.DataFrame":
    """Decodifica por completo cada archivo y decide cuáles no se usan, y por qué.

    Parameters
    ----------
    manifest : DataFrame
        El de `neumo.data.manifest.scan`.
    folder : path
        Carpeta de las imágenes.
    near_empty_std : float
        Desviación típica, en niveles de gris, por debajo de la cual una imagen está casi vacía.
    cache : path, optional
        Carpeta de la caché, donde las medidas se guardan por contenido.
    each : callable
        Quién mide cada bloque de archivos (`neumo.data.blocks`).

    Returns
    -------
    DataFrame
        El manifiesto con más columnas: `width` y `height` (píxeles; 0 si es ilegible), `mode` (de Pillow), `mean` y
        `std` (niveles de gris, 0 a 255), `inverted` (parece un negativo: se señala, no se excluye), `error` y `corrupt`;
        `near_empty`; `near_duplicate_of` (ruta de la primera imagen casi igual, o vacío: sus grupos se unen); `duplicate_of`
        (ruta del primer archivo idéntico, o vacío); `conflict` (el mismo contenido está en las dos clases); `excluded` y `reason`.
    """
    table = manifest.merge(_measurements(manifest, Path(folder), cache, each), on="sha256", how="left", sort=False)
    table["corrupt"] = table["error"] != ""
    table["near_empty"] = ~table["corrupt"] & (table["std"] < near_empty_std)
    table = joined(table.assign(look=table["look"].mask(table["corrupt"] | table["near_empty"], "")))
    table["duplicate_of"] = _first_copy(table)
    table["conflict"] = ~table["corrupt"] & (table.groupby("sha256")["y"].transform("nunique") > 1)
    table["reason"] = _reasons(table)
    table["excluded"] = table["reason"] != ""
    return table


def exclusions(inspection: "pd.DataFrame") -> "pd.DataFrame":
    """Devuelve las imágenes que no se usan: `path`, `label`, `original_split` y `reason`."""
    columns = ["path", "label", "original_split", "reason"]
    table = inspection.loc[inspection["excluded"], columns].reset_index(drop=True)
    return table.assign(path=table["path"].map(visible), reason=table["reason"].map(visible))


def tukey_limits(values: Sequence[float], *, k: float = 1.5) -> tuple[float, float]:
    """Calcula los límites de la regla de los cuartiles: a `k` rangos intercuartílicos del primero y el tercero.

    Fuente: J. W. Tukey, *Exploratory Data Analysis* (1977).

    Examples
    --------
    >>> tukey_limits([1, 2, 3, 4, 5])
    (-1.0, 7.0)
    """
    low, high = np.quantile(np.asarray(values, dtype=float), [0.25, 0.75])
    margin = k * (high - low)
    return float(low - margin), float(high + margin)


def atypical(inspection: "pd.DataFrame", *, image_size: int) -> "pd.DataFrame":
    """Señala las imágenes de forma o tamaño poco comunes, con un sentido que informa.

    Parameters
    ----------
    inspection : DataFrame
        Imágenes con `width`, `height` y `corrupt`.
    image_size : int
        Lado, en píxeles, al que se llevarán.

    Returns
    -------
    DataFrame
        Solo las legibles, con `aspect` (ancho entre alto), `shortest` (lado menor), y tres señales: `off_target` (su
        tamaño no es exactamente el pedido: la definición del informe original), `enlarged` (lado menor por debajo
        del pedido: habría que inventar píxeles) y `odd_aspect` (proporción fuera de los límites de Tukey).
    """
    readable = inspection[~inspection["corrupt"]].copy()
    readable["aspect"] = readable["width"] / readable["height"]
    readable["shortest"] = readable[["width", "height"]].min(axis=1)
    readable["off_target"] = (readable["width"] != image_size) | (readable["height"] != image_size)
    readable["enlarged"] = readable["shortest"] < image_size
    low, high = tukey_limits(readable["aspect"]) if len(readable) else (0.0, 0.0)
    readable["odd_aspect"] = ~readable["aspect"].between(low, high)
    return readable


def count_flags(table: "pd.DataFrame", flags: Sequence[str], *, by: str) -> "pd.DataFrame":
    """Cuenta imágenes y señales (columnas lógicas) en cada grupo de `by`, en el orden train, val, test y lo demás."""
    counts = table.groupby(by)[list(flags)].sum().astype(int)
    counts.insert(0, "images", table.groupby(by).size())
    order = [name for name in ("train", "val", "test", *CLASSES) if name in counts.index]
    return counts.loc[[*order, *counts.index.difference(order)]]


def _measurements(manifest: "pd.DataFrame", folder: Path, cache: str | Path | None, each: Each) -> "pd.DataFrame":
    unique, told = distinct(manifest)
    if cache is None:
        return _measure_all(unique, folder, each)
    stored = cached_tables(
        cache, "inspect", {"images": told}, lambda: {"measures": _measure_all(unique, folder, each)}, code=__name__
    )
    return stored["measures"]


def _measure_all(unique: "pd.DataFrame", folder: Path, each: Each) -> "pd.DataFrame":
    import pandas as pd

    paths = [folder / path for path in unique["path"]]
    rows = [measured for block in each(_measure, blocks(paths)) for measured in block]
    measured = pd.DataFrame(rows, columns=Measures._fields)
    measured.insert(0, "sha256", unique["sha256"].to_numpy())
    return measured


def _measure(path: Path) -> Measures:
    """Mide un archivo, decodificado hasta el último píxel."""
    try:
        return measure(read(content_of(path)))
    except NeumoError as error:
        return Measures(0, 0, "", np.nan, np.nan, False, "", str(error))


def measure(picture: Picture) -> Measures:
    """Mide una imagen ya leída."""
    histogram = np.asarray(picture.grey.histogram())
    levels = np.arange(len(histogram))
    mean = np.average(levels, weights=histogram)
    std = np.sqrt(np.average((levels - mean) ** 2, weights=histogram))
    _, width, height, mode = picture
    return Measures(width, height, mode, float(mean), float(std), _looks_inverted(picture.grey), look(picture.grey), "")


def _looks_inverted(grey: "Image.Image") -> bool:
    """Compara la franja central del tórax (mediastino y columna) con los pulmones y los bordes, que deben ser más oscuros."""
    cells = to_square(grey, 16).astype(float)
    rows = cells[4:12].mean(axis=0)
    sides = (rows[[3, 4, 5, 10, 11, 12]].mean() + rows[[0, 15]].mean()) / 2
    return bool(rows[7:9].mean() - sides < _INVERTED * cells.std())


def nearly_empty(std: float) -> str:
    """Motivo por el que se aparta una imagen casi vacía, de desviación típica `std`."""
    return f"casi vacía: desviación típica de {std:.1f} niveles"


def _first_copy(table: "pd.DataFrame") -> "pd.Series":
    """Ruta del primer archivo idéntico; la prueba oficial va delante, porque no se toca."""
    ordered = table.assign(late=table["original_split"] != "test").sort_values(["late", "path"])
    first = ordered.groupby("sha256")["path"].transform("first").reindex(table.index)
    return first.where((first != table["path"]) & ~table["corrupt"], "")


def _reasons(table: "pd.DataFrame") -> np.ndarray:
    """Motivo de exclusión de cada imagen. De la prueba oficial solo sale lo que no puede leerse."""
    official = table["original_split"] == "test"
    tested = table[official & ~table["corrupt"]]
    cases = [
        (table["corrupt"], "no se puede decodificar: " + table["error"]),
        (official, ""),
        (table["near_empty"], table["std"].map(nearly_empty)),
        (table["conflict"], "el mismo archivo está en las dos clases"),
        (table["duplicate_of"] != "", "copia exacta de " + table["duplicate_of"]),
        (leaders(table).isin(leaders(tested)), "casi igual a una imagen de la prueba oficial"),
        (table["group"].isin(tested["group"]), "su paciente está en la prueba oficial"),
    ]
    masks, texts = zip(*cases, strict=True)
    return np.select([mask.to_numpy() for mask in masks], [np.asarray(text, dtype=object) for text in texts], "")
