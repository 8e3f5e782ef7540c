"""Dónde mira la red (Grad-CAM), si ese mapa significa algo, y qué atajos ofrecen los archivos."""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import cached
from neumo.errors import NeumoError
from neumo.learning.networks import leaf_layers, one_view_logits
from neumo.progress import announce
from neumo.run import file_digest

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from neumo.data.store import ImageSet

MODULES = ("studies/maps", "learning/networks")
PASSES = 0.5
"""Correlación con la red barajada por debajo de la cual se admite que el mapa depende de los pesos; fijada de antemano."""
SHORTCUTS = {
    "size": "tamaño del archivo",
    "aspect": "proporción (ancho / alto)",
    "pixels": "número de píxeles",
    "mean": "gris medio",
    "border": "gris del borde",
    "sharpness": "nitidez",
}
TOGETHER = "todos juntos"


# --- Grad-CAM -------------------------------------------------------------------------------------


def target_layer(model: "keras.Model") -> "keras.layers.Layer":
    """Busca la última capa que todavía conserva el plano de la imagen (salida de cuatro ejes).

    Raises
    ------
    NeumoError
        Si ninguna la conserva.
    """
    for layer in reversed(leaf_layers(model)):
        if type(layer).__name__ != "InputLayer" and len(layer.output.shape) == 4:
            return layer
    raise NeumoError(
        f"La red «{model.name}» no tiene capas con plano de imagen: Grad-CAM no se puede aplicar."
    )


def grad_cam(
    model: "keras.Model", images: np.ndarray, *, toward: int = 1, batch_size: int = 32
) -> np.ndarray:
    """Calcula el mapa de Grad-CAM de cada imagen sobre la última capa con plano.

    Parameters
    ----------
    model : keras.Model
        De píxeles 0..255 a la probabilidad de PNEUMONIA; admite redes secuenciales, funcionales y anidadas. Si
        promedia varias vistas, el mapa es el de la imagen tal cual.
    images : (n, lado, lado) uint8 array
        En gris; se repite hasta los canales que pida la red.
    toward : {1, 0}
        Clase cuya evidencia se busca: 1, PNEUMONIA; 0, NORMAL.
    batch_size : int
        Imágenes por pasada.

    Returns
    -------
    (n, lado, lado) float32 array
        En [0, 1], cada mapa dividido por su máximo; todo cero donde no hay evidencia a favor.

    Notes
    -----
    Cada canal de la capa pesa la media espacial del gradiente del logit (la sigmoide lo aplastaría), se suman y se
    queda lo positivo (Selvaraju et al. 2017, sección 3).
    """
    import tensorflow as tf

    layer, network, outputs, maps = target_layer(model), one_view_logits(model), [], []
    call, size = layer.call, images.shape[1:3]

    def recording(*args: Any, **kwargs: Any) -> Any:
        outputs.append(call(*args, **kwargs))
        tape.watch(outputs[-1])
        return outputs[-1]

    layer.call = recording  # así se ve la activación aunque la capa esté dentro de otra red
    try:
        for start in range(0, len(images), batch_size):
            outputs.clear()
            pixels = np.repeat(images[start : start + batch_size, ..., None], model.input_shape[-1], axis=-1)
            with tf.GradientTape() as tape:
                score = tf.reduce_sum(network(tf.cast(pixels, tf.float32), training=False))
            gradient = tf.cast(tape.gradient(score, outputs[0]), tf.float32) * (1.0 if toward else -1.0)
            weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
            heat = tf.nn.relu(
                tf.reduce_sum(weights * tf.cast(outputs[0], tf.float32), axis=-1, keepdims=True)
            )
            maps.append(tf.image.resize(heat, size, "bilinear")[..., 0].numpy())
    finally:
        del layer.call
    maps = np.concatenate(maps)
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


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


def study(
    files: Mapping[str, Sequence[Path]],
    image_set: Callable[..., "ImageSet"],
    paths: Sequence[str],
    *,
    cache: Path,
) -> dict[str, Study]:
    """Calcula los mapas de cada modelo sobre unas imágenes, o los lee si ya se calcularon.

    Parameters
    ----------
    files : mapping of str to sequence of Path
        Archivos `.keras` de cada modelo, uno por semilla.
    image_set : callable
        `run.image_set`.
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
            heat = [grad_cam(_load(path), images.pixels()) for path in several]
            np.save(folder / "heat.npy", np.stack(heat).astype(np.float16))

        announce(f"{name}: mapas de {len(images)} imágenes con {len(several)} redes")
        stored = cached(cache, "grad_cam", key, build, modules=MODULES)
        studies[name] = Study(images, np.load(stored / "heat.npy").astype(np.float32))
    return studies


def input_size(file: Path) -> int:
    """Lee en un archivo `.keras` el lado de la imagen que espera la red, sin cargarla."""
    with zipfile.ZipFile(file) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    return int(
        next(layer["config"]["batch_shape"][1] for layer in layers if "batch_shape" in layer["config"])
    )


def _load(path: Path) -> "keras.Model":
    import keras

    return keras.models.load_model(path, compile=False)


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


def blend(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Pone un mapa sobre su radiografía: donde no hay calor queda la radiografía intacta.

    Parameters
    ----------
    grey : (alto, ancho) uint8 array
    heat : (a, b) array
        En [0, 1], de cualquier tamaño.

    Returns
    -------
    (alto, ancho, 3) uint8 array
    """
    from matplotlib import colormaps
    from PIL import Image

    small = Image.fromarray(np.asarray(heat, dtype=np.float32))
    values = np.asarray(small.resize(grey.shape[::-1], Image.Resampling.BILINEAR))
    color = colormaps["inferno"](values)[..., :3] * 255
    weight = 0.65 * values[..., None]
    return np.uint8(np.rint((1 - weight) * grey[..., None] + weight * color))


# --- ¿Significa algo el mapa? ----------------------------------------------------------------------------


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
    files: Mapping[str, Sequence[Path]],
    studies: Mapping[str, Study],
    *,
    seed: int,
    cache: Path,
    images: int = 24,
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

        def build(folder: Path, path: Path = path, few: "ImageSet" = few) -> None:
            randomisation(_load(path), few.pixels(), seed=seed).to_csv(folder / "table.csv", index=False)

        announce(f"{name}: mapas con los pesos barajados")
        stored = cached(cache, "randomisation", key, build, modules=MODULES)
        tables.append(pd.read_csv(stored / "table.csv").assign(model=name))
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
    return (
        np.ma.masked_invalid(pairs).mean(axis=0).filled(np.nan) if pairs else np.full(heat.shape[1], np.nan)
    )


def lesion_masks(table: "pd.DataFrame", folder: Path, *, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Lee la máscara de la lesión de cada radiografía sintética, al tamaño que ve la red.

    Parameters
    ----------
    table : DataFrame
        `path`, `width` y `height`.
    folder : Path
        La de `neumo.phantom.make_phantom`.

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
        row = {
            "model": model,
            "subtype": subtype,
            "n": len(part),
            **means,
            "gain": gain,
            "low": low,
            "high": high,
        }
        rows.append({**row, "passes": low > 0})
    return pd.DataFrame(rows)


def mean_interval(
    values: Sequence[float], *, groups: Sequence[Any] | None = None, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Media con su intervalo del 95 %, remuestreando grupos enteros (bootstrap de percentiles).

    Examples
    --------
    >>> mean_interval([0.5, 0.5, 0.5])
    (0.5, 0.5, 0.5)
    """
    values = np.asarray(values, dtype=float)
    if not len(values):
        return (float("nan"),) * 3
    names, group = np.unique(np.arange(len(values)) if groups is None else groups, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    draws = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return float(values.mean()), *(float(q) for q in np.quantile(means, (0.025, 0.975)))


# --- Atajos ---------------------------------------------------------------------------------------------


def shortcut_features(inspection: "pd.DataFrame", pixels: np.ndarray) -> "pd.DataFrame":
    """Mide en cada imagen lo que no es anatomía y aun así podría delatar la clase.

    Parameters
    ----------
    inspection : DataFrame
        De `neumo.verify.inspect`: `path`, `size` (bytes), `width`, `height` y `mean` (nivel de gris).
    pixels : (n, lado, lado) uint8 array
        Las mismas imágenes, ya decodificadas.

    Returns
    -------
    DataFrame
        Las columnas de `SHORTCUTS`, con `path` por índice; `border` es el gris medio del marco (un dieciseisavo por
        lado) y `sharpness`, la desviación del laplaciano entre la de la imagen.
    """
    import pandas as pd
    from scipy.ndimage import laplace

    edge = max(1, pixels.shape[1] // 16)
    frame = np.ones(pixels.shape[1:], dtype=bool)
    frame[edge:-edge, edge:-edge] = False
    floats = (image.astype(np.float32) for image in pixels)
    seen = [(image[frame].mean(), laplace(image).std() / max(image.std(), 1e-6)) for image in floats]
    border, sharpness = np.array(seen, dtype=float).reshape(-1, 2).T
    table = inspection.set_index("path")[["size", "mean"]].astype(float)
    table["aspect"] = (inspection["width"] / inspection["height"]).to_numpy()
    table["pixels"] = (inspection["width"] * inspection["height"]).to_numpy(float)
    return pd.DataFrame(table.assign(border=border, sharpness=sharpness)[list(SHORTCUTS)])


def shortcut_check(
    image_set: Callable[..., "ImageSet"], **options: Any
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Mide los atajos de todas las particiones: lo que devuelven `shortcut_features` y `shortcut_table`.

    Parameters
    ----------
    image_set : callable
        `run.image_set`.
    **options
        `resamples` y `seed` de `shortcut_table`.
    """
    import pandas as pd

    parts = [image_set(name) for name in ("train", "val", "test")]
    features = pd.concat([shortcut_features(part.table, part.pixels()) for part in parts])
    return features, shortcut_table(features, pd.concat([part.table for part in parts]), **options)


def shortcut_table(
    features: "pd.DataFrame", table: "pd.DataFrame", *, resamples: int = 2000, seed: int = 0
) -> "pd.DataFrame":
    """Mide cuánto predice la clase cada atajo solo, y todos juntos con una regresión logística.

    El sentido de cada atajo (más es PNEUMONIA, o menos) y la regresión se aprenden en entrenamiento; el AUC, con su
    intervalo por pacientes, es de validación y de prueba.

    Parameters
    ----------
    features : DataFrame
        De `shortcut_features`.
    table : DataFrame
        Mismas filas: `y`, `group` y `partition`.

    Returns
    -------
    DataFrame
        `feature`, `partition`, `direction` (1 o -1), `value`, `low` y `high` (AUC).
    """
    import pandas as pd

    from neumo.evaluation.metrics import intervals

    rows = []
    for name, direction, scores in _shortcut_scores(features, table):
        for partition in ("val", "test"):
            mask = (table["partition"] == partition).to_numpy()
            known = {
                "groups": table.loc[mask, "group"],
                "metrics": ["auc"],
                "resamples": resamples,
                "seed": seed,
            }
            found = intervals(table.loc[mask, "y"], _ranks(scores[mask]), **known).iloc[0]
            rows.append([name, partition, direction, found["value"], found["low"], found["high"]])
    return pd.DataFrame(rows, columns=["feature", "partition", "direction", "value", "low", "high"])


def _shortcut_scores(features: "pd.DataFrame", table: "pd.DataFrame") -> list[tuple[str, int, np.ndarray]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer

    train, y = (table["partition"] == "train").to_numpy(), table["y"].to_numpy()
    found = []
    for name in features.columns:
        values = features[name].to_numpy(float)
        direction = 1 if roc_auc_score(y[train], values[train]) >= 0.5 else -1
        found.append((name, direction, direction * values))
    uniform = QuantileTransformer(n_quantiles=min(200, int(train.sum())), random_state=0)
    together = make_pipeline(uniform, LogisticRegression(class_weight="balanced", max_iter=1000))
    together.fit(features[train].to_numpy(float), y[train])
    return [*found, (TOGETHER, 1, together.decision_function(features.to_numpy(float)))]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Lleva valores cualesquiera a [0, 1] sin cambiar su orden ni sus empates."""
    from scipy.stats import rankdata

    return (rankdata(values) - 0.5) / len(values)


def shortcut_use(features: "pd.DataFrame", predictions: "pd.DataFrame") -> "pd.DataFrame":
    """Mide si la red sigue un atajo: correlación de rangos entre él y el logit, dentro de cada clase.

    Dentro de una clase la enfermedad ya no los une: lo que quede es la red mirando el atajo, o algo que va con él.

    Parameters
    ----------
    features : DataFrame
        De `shortcut_features`, en las filas de `predictions`.
    predictions : DataFrame
        `y_true` y `logit`, una fila por imagen.

    Returns
    -------
    DataFrame
        `feature`, `NORMAL` y `PNEUMONIA` (correlaciones en [-1, 1]).
    """
    import pandas as pd

    y = predictions["y_true"].to_numpy()
    table = features.reset_index(drop=True).assign(logit=predictions["logit"].to_numpy())
    columns = {
        name: table[y == label].corr(method="spearman")["logit"].drop("logit")
        for label, name in enumerate(("NORMAL", "PNEUMONIA"))
    }
    return pd.DataFrame(columns).rename_axis("feature").reset_index()


def verdicts(
    randomised: "pd.DataFrame", localised: "pd.DataFrame | None", shortcuts: "pd.DataFrame", *, auc: float
) -> str:
    """Dice en una lista de Markdown qué dieron las comprobaciones.

    Parameters
    ----------
    randomised, localised, shortcuts : DataFrame
        De `randomisation_summary`, `localisation_summary` (o `None`) y `shortcut_table`.
    auc : float
        El de la red elegida en la prueba.
    """
    lines = []
    for row in randomised.to_dict("records"):
        end = "los mapas dependen" if row["passes"] else "no se demuestra que los mapas dependan"
        lines.append(
            f"**{row['model']}**: con todos los pesos barajados, la correlación absoluta con los mapas de la red entrenada es de "
            f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]; {end} de lo aprendido."
        )
    for row in [] if localised is None else localised.to_dict("records"):
        end = "más que el azar" if row["passes"] else "no más de lo que daría el azar"
        lines.append(
            f"**{row['model']}**, lesiones de tipo `{row['subtype']}`: dentro cae el {row['share']:.0%} del calor, frente "
            f"al {row['share_swapped']:.0%} de los mapas de otras imágenes; {end}.".replace("%", " %")
        )
    test = shortcuts[shortcuts["partition"] == "test"].set_index("feature")
    single = test.drop(TOGETHER)["value"]
    lines.append(
        f"El atajo más fuerte, «{SHORTCUTS[single.idxmax()]}», separa las clases de la prueba con un AUC de "
        f"{single.max():.3f}; todos juntos, con {test.loc[TOGETHER, 'value']:.3f}; la red, con {auc:.3f}."
    )
    return "\n".join(f"- {line}" for line in lines)
