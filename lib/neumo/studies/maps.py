"""Dónde mira la red: mapas de Grad-CAM de varias semillas, y si significan algo."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neumo.cache import cached, cached_tables, file_digest
from neumo.evaluation.intervals import mean_interval
from neumo.learning.grad_cam import grad_cam
from neumo.learning.inference import input_size, load_network
from neumo.learning.networks import leaf_layers
from neumo.progress import announce

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from neumo.data.store import ImageSet

PASSES = 0.5
"""Correlación con la red barajada por debajo de la cual se admite que el mapa depende de los pesos; fijada de antemano."""


@dataclass(frozen=True)
class Study:
    """Imágenes explicadas con las semillas de un modelo.

    Attributes
    ----------
    images : ImageSet
    heat : (redes, n, lado, lado) float32 array
        Un mapa por red y por imagen, como los de `grad_cam`.
    """

    images: "ImageSet"
    heat: np.ndarray

    def of(self, paths: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Devuelve las imágenes y el mapa medio de las redes de unas rutas, en su orden: (rutas, lado, lado) cada uno."""
        rows = self.images.table.reset_index().set_index("path").loc[list(paths), "index"].to_numpy()
        return self.images.pixels()[rows], self.heat[:, rows].mean(axis=0)

    def where(self, paths: Sequence[str]) -> "Study":
        """Se queda con las imágenes de unas rutas."""
        kept = self.images.table["path"].isin(set(paths)).to_numpy()
        return Study(self.images.where(kept), self.heat[:, kept])


def study(
    files: Mapping[str, Sequence[Path]], image_set: Callable[..., "ImageSet"], paths: Sequence[str], *, cache: Path
) -> dict[str, Study]:
    """Calcula los mapas de cada modelo sobre unas imágenes, o los lee si ya se calcularon.

    Parameters
    ----------
    files : mapping of str to sequence of Path
        Archivos `.keras` de cada modelo, uno por semilla.
    image_set : callable
        De `neumo.data.store.image_sets`.
    paths : sequence of str
        Las de la prueba que se explican.
    cache : Path
        Carpeta de la caché.
    """
    studies = {}
    for name, several in files.items():
        images = image_set("test", image_size=input_size(several[0]))
        images = images.where(images.table["path"].isin(set(paths)))
        key = {"files": [file_digest(path) for path in several], "images": images.digest}

        def build(folder: Path, several: Sequence[Path] = several, images: "ImageSet" = images) -> None:
            heat = [grad_cam(load_network(path), images.pixels()) for path in several]
            np.save(folder / "heat.npy", np.stack(heat).astype(np.float16))

        announce(f"{name}: mapas de {len(images)} imágenes con {len(several)} redes")
        stored = cached(cache, "grad_cam", key, build, code=__name__)
        studies[name] = Study(images, np.load(stored / "heat.npy").astype(np.float32))
    return studies


def sample(table: "pd.DataFrame", n: int, *, seed: int) -> list[str]:
    """Sortea n radiografías con neumonía (o las que haya): las rutas, ordenadas."""
    sick = table.loc[table["y"] == 1, "path"].to_numpy()
    return sorted(np.random.default_rng(seed).permutation(sick)[:n].tolist())


def gallery(scores: "pd.DataFrame", *, threshold: float, each: int = 2, seed: int = 0) -> "pd.DataFrame":
    """Elige los aciertos y los fallos que se enseñan: aciertos al azar y, de los fallos, los más seguros.

    Parameters
    ----------
    scores : DataFrame
        `path`, `y_true` y `probability`, una fila por imagen.
    each : int
        Imágenes de cada casilla de la matriz de confusión, si las hay.

    Returns
    -------
    DataFrame
        Las filas elegidas, con `case`: acierto, falso positivo o falso negativo.
    """
    import pandas as pd

    positive = scores["probability"] >= threshold
    parts = []
    for label, wrong in ((1, "falso negativo"), (0, "falso positivo")):
        real = scores["y_true"] == label
        right = scores[real & (positive == bool(label))]
        parts.append(right.sample(min(each, len(right)), random_state=seed).assign(case="acierto"))
        misses = scores[real & (positive != bool(label))].assign(case=wrong)
        parts.append(misses.sort_values("probability", ascending=bool(label)).head(each))
    return pd.concat(parts, ignore_index=True)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlación de rangos (Spearman) entre dos mapas de cada imagen; NaN si alguno es constante.

    Parameters
    ----------
    first, second : (n, alto, ancho) array

    Returns
    -------
    (n,) float array
        En [-1, 1]; un mapa vacío no se parece ni deja de parecerse a otro.

    Examples
    --------
    >>> a = np.arange(4.0).reshape(1, 2, 2)
    >>> rank_correlation(a, a**2), rank_correlation(a, -a), rank_correlation(a, 0 * a)
    (array([1.]), array([-1.]), array([nan]))
    """
    from scipy.stats import rankdata

    a, b = (rankdata(np.reshape(m, (len(m), -1)), axis=1) for m in (first, second))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), scale, out=np.full(len(a), np.nan), where=scale > 0)


def randomisation(
    model: "keras.Model", images: np.ndarray, *, seed: int = 0, steps: int = 4, draws: int = 8
) -> "pd.DataFrame":
    """Baraja los pesos de la red en cascada, de la salida a la entrada, y mide cuánto cambia cada mapa.

    Si el mapa sigue igual con los pesos barajados, no depende de lo que la red aprendió: sería un detector de bordes
    (Adebayo et al. 2018, sección 3.1). Barajar conserva la distribución de los pesos de cada capa. La red vuelve a
    quedar como estaba.

    Parameters
    ----------
    images : (n, lado, lado) uint8 array
    steps : int
        Puntos de la cascada en que se mide, repartidos; el último, con todo barajado.
    draws : int
        Veces que se repite la cascada: una sola red al azar se parece o no a la entrenada por casualidad.

    Returns
    -------
    DataFrame
        `draw`, `layers` (capas barajadas), `fraction` (entre las que tienen pesos), `image` (posición) y `correlation`
        (de rangos, con el mapa de la red entrenada).
    """
    import pandas as pd

    rng, kept = np.random.default_rng(seed), model.get_weights()
    trained = grad_cam(model, images)
    layers = [layer for layer in leaf_layers(model) if layer.weights][::-1]
    measured = {round(point) for point in np.linspace(1, len(layers), min(steps, len(layers)))}
    tables = []
    try:
        for draw in range(draws):
            model.set_weights(kept)
            for done, layer in enumerate(layers, start=1):
                layer.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in layer.get_weights()])
                if done in measured:
                    table = pd.DataFrame({"correlation": rank_correlation(trained, grad_cam(model, images))})
                    position = {"draw": draw, "layers": done, "fraction": done / len(layers)}
                    tables.append(table.rename_axis("image").reset_index().assign(**position))
    finally:
        model.set_weights(kept)
    return pd.concat(tables, ignore_index=True)[["draw", "layers", "fraction", "image", "correlation"]]


def randomisation_check(
    files: Mapping[str, Sequence[Path]], studies: Mapping[str, Study], *, seed: int, cache: Path, images: int = 24
) -> "pd.DataFrame":
    """Aplica `randomisation` a la primera semilla de cada modelo, sobre las primeras imágenes de su estudio.

    Returns
    -------
    DataFrame
        `model` y las columnas de `randomisation`.
    """
    import pandas as pd

    tables = []
    for name, found in studies.items():
        path, few = files[name][0], found.images.where(np.arange(len(found.images)) < images)
        key = {"file": file_digest(path), "images": few.digest, "seed": seed}

        def measure(path: Path = path, few: "ImageSet" = few) -> "dict[str, pd.DataFrame]":
            return {"table": randomisation(load_network(path), few.pixels(), seed=seed)}

        announce(f"{name}: mapas con los pesos barajados")
        stored = cached_tables(cache, "randomisation", key, measure, code=__name__)
        tables.append(stored["table"].assign(model=name))
    table = pd.concat(tables, ignore_index=True)
    return table[["model", *table.columns.drop("model")]]


def randomisation_summary(cascade: "pd.DataFrame", studies: Mapping[str, Study]) -> "pd.DataFrame":
    """Resume la cascada y la pone al lado del parecido entre semillas.

    Un mapa al revés también es el mismo dibujo: cuenta la correlación sin su signo.

    Returns
    -------
    DataFrame
        `model`; `value`, `low` y `high` (correlación absoluta media con todo barajado, con su intervalo sobre los
        sorteos); `seeds` (parecido medio entre dos semillas entrenadas, NaN si hay una) y `passes`: el intervalo
        queda por debajo de `PASSES`.
    """
    import pandas as pd

    rows = []
    for name, found in studies.items():
        last = cascade[(cascade["model"] == name) & (cascade["fraction"] == 1)].dropna(subset="correlation")
        value, low, high = mean_interval(last["correlation"].abs(), groups=last["draw"])
        seeds = float(pd.Series(seed_agreement(found.heat)).mean())
        rows.append((name, value, low, high, seeds, high < PASSES))
    return pd.DataFrame(rows, columns=["model", "value", "low", "high", "seeds", "passes"])


def seed_agreement(heat: np.ndarray) -> np.ndarray:
    """Correlación de rangos media, por imagen, entre los mapas de cada par de redes; NaN si solo hay una.

    Parameters
    ----------
    heat : (redes, n, alto, ancho) array
    """
    pairs = [rank_correlation(heat[i], heat[j]) for i in range(len(heat)) for j in range(i)]
    return np.ma.masked_invalid(pairs).mean(axis=0).filled(np.nan) if pairs else np.full(heat.shape[1], np.nan)


def lesion_masks(table: "pd.DataFrame", folder: Path, *, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Lee la máscara de la lesión de cada radiografía sintética, al tamaño que ve la red.

    Parameters
    ----------
    table : DataFrame
        `path`, `width` y `height`.
    folder : Path
        La de `neumo.data.phantom.make_phantom`.

    Returns
    -------
    masks : (m, image_size, image_size) bool array
    rows : (m,) int array
        Filas de `table` que tienen máscara conocida; vacío en radiografías reales.
    """
    from PIL import Image

    from neumo.data.phantom import lesion_mask

    found = []
    for row, plate in enumerate(table.itertuples()):
        mask = lesion_mask(folder, plate.path)
        if mask is None or len(mask) != plate.height:
            continue
        image = Image.fromarray(mask[:, : plate.width].astype(np.uint8) * 255)
        small = np.asarray(image.resize((image_size, image_size), Image.Resampling.BOX)) >= 128
        found += [(row, small)] if small.any() else []
    masks = np.array([mask for _, mask in found], dtype=bool).reshape(-1, image_size, image_size)
    return masks, np.array([row for row, _ in found], dtype=int)


def localisation(heat: np.ndarray, masks: np.ndarray) -> "pd.DataFrame":
    """Mide si el mapa cae en la lesión: juego de señalar y parte del calor, frente a dos azares.

    Parameters
    ----------
    heat : (n, alto, ancho) array
        Mapas no negativos.
    masks : (n, alto, ancho) bool array
        Lesión de cada imagen.

    Returns
    -------
    DataFrame
        Por imagen: `hit` (el máximo cae dentro; Zhang et al. 2018, sin margen) y `share` (parte del calor dentro);
        `area` (parte de la imagen que ocupa la lesión: lo que darían un punto y un calor al azar); `hit_swapped` y
        `share_swapped`, con los mapas de las demás imágenes: lo que se acierta solo por mirar donde suele haber lesión.

    Examples
    --------
    >>> heat = np.array([[[0, 3], [0, 1]], [[2, 0], [0, 0]]])
    >>> masks = np.array([[[0, 1], [0, 0]], [[1, 0], [1, 0]]], dtype=bool)
    >>> localisation(heat, masks)[["hit", "share", "area"]].values.tolist()
    [[1.0, 0.75, 0.25], [1.0, 1.0, 0.5]]
    """
    import pandas as pd

    n = len(heat)
    flat = np.reshape(heat, (n, -1)).astype(float)
    inside = np.reshape(masks, (n, -1)).astype(float)
    total = flat.sum(axis=1, keepdims=True)
    flat = np.divide(flat, total, out=np.full_like(flat, 1 / flat.shape[1]), where=total > 0)
    hits = inside[:, flat.argmax(axis=1)].T * (total > 0)  # fila: mapa; columna: máscara
    shares = flat @ inside.T
    others = ~np.eye(n, dtype=bool)

    def swapped(values: np.ndarray) -> np.ndarray:
        return np.average(values, axis=0, weights=others) if n > 1 else np.full(n, np.nan)

    return pd.DataFrame(
        {
            "hit": np.diag(hits),
            "share": np.diag(shares),
            "area": inside.mean(axis=1),
            "hit_swapped": swapped(hits),
            "share_swapped": swapped(shares),
        }
    )


def localisation_check(studies: Mapping[str, Study], folder: Path) -> "pd.DataFrame":
    """Aplica `localisation` a cada modelo, sobre las imágenes cuya lesión se conoce.

    Returns
    -------
    DataFrame
        `model`, `group` (paciente), `subtype` y las columnas de `localisation`, una fila por modelo e imagen.
    """
    import pandas as pd

    tables = []
    for name, found in studies.items():
        images = found.images
        masks, rows = lesion_masks(images.table, folder, image_size=images.image_size)
        known = images.table.iloc[rows].reset_index(drop=True)
        table = localisation(found.heat.mean(axis=0)[rows], masks)
        tables.append(table.assign(model=name, group=known["group"], subtype=known["subtype"]))
    return pd.concat(tables, ignore_index=True)


def localisation_summary(found: "pd.DataFrame") -> "pd.DataFrame":
    """Resume `localisation_check` por modelo y etiología.

    Returns
    -------
    DataFrame
        `model`, `subtype`, `n`, medias de `hit`, `share`, `area`, `hit_swapped` y `share_swapped`; `gain`, `low` y
        `high` (calor dentro menos el de mapas ajenos, por pacientes) y `passes`: el intervalo queda sobre cero.
    """
    import pandas as pd

    rows = []
    for (model, subtype), part in found.groupby(["model", "subtype"], sort=False):
        means = part[["hit", "share", "area", "hit_swapped", "share_swapped"]].mean()
        gain, low, high = mean_interval(part["share"] - part["share_swapped"], groups=part["group"])
        row = {"model": model, "subtype": subtype, "n": len(part), **means, "gain": gain, "low": low, "high": high}
        rows.append({**row, "passes": low > 0})
    return pd.DataFrame(rows)
