"""Experimentos controlados de los capítulos 12 y 13: cada uno se entrena una vez y queda guardado."""

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import cached_tables
from neumo.learning.inference import load_network, predict_logits
from neumo.progress import announce

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from numpy.typing import ArrayLike

    from neumo.data.store import ImageSet
    from neumo.learning.training import Training
    from neumo.params import Experiment, LrFinder


_FREE = {"name", "decision", "epochs"}


def _measured(
    cache: Path, what: str, key: dict, measure: "Callable[[], dict[str, pd.DataFrame]]"
) -> "dict[str, pd.DataFrame]":
    """Hace una sola vez el experimento `what`, en el turno de los entrenamientos, y devuelve sus tablas."""

    def told() -> "dict[str, pd.DataFrame]":
        announce(f"anatomía: {what}")
        return measure()

    return cached_tables(cache, "anatomy", {"what": what, **key}, told, code=__name__, trains=True)


def experiment_key(experiment: "Experiment", *image_sets: "ImageSet", **more: Any) -> dict:
    """Describe en valores de JSON lo que determina un experimento: la receta, las imágenes y lo que se añada."""
    described = experiment.model_dump(mode="json", exclude=_FREE)
    return {"experiment": described, "images": [images.digest for images in image_sets], **more}


def fresh_model(experiment: "Experiment", seed: int) -> "keras.Model":
    """Construye la red de un experimento desde una semilla y la compila con su tasa, constante."""
    import keras

    from neumo.learning import training

    keras.backend.clear_session(free_memory=False)
    training.set_seed(seed)
    return training.new_model(experiment.model_copy(update={"schedule": "constant", "warmup_epochs": 0.0}))


def fit_batches(experiment: "Experiment", train_set: "ImageSet", seed: int, epochs: int) -> dict:
    """Devuelve los argumentos de `fit`: lotes de entrenamiento y sus épocas."""
    from neumo.learning.batches import experiment_generator

    batches = experiment_generator(experiment, train_set, seed=seed, epochs=epochs)
    return {"x": batches, "epochs": epochs, "steps_per_epoch": len(batches) // epochs, "shuffle": False, "verbose": 0}


def untrained_logits(experiment: "Experiment", image_set: "ImageSet", *, seed: int, cache: Path) -> np.ndarray:
    """Calcula los logits (n,) de la red recién iniciada, sin un solo paso de entrenamiento."""
    import pandas as pd

    def measure() -> dict[str, "pd.DataFrame"]:
        logits = predict_logits(fresh_model(experiment, seed), image_set.pixels())
        return {"logits": pd.DataFrame({"logit": logits})}

    key = experiment_key(experiment, image_set, seed=seed)
    return _measured(cache, "red sin entrenar", key, measure)["logits"]["logit"].to_numpy()


def categorical_errors(*, cache: Path) -> "pd.DataFrame":
    """Entrena de verdad un `Dense(1)` con etiquetas de `class_mode='categorical'` y anota qué responde Keras.

    Returns
    -------
    DataFrame
        `loss`, `error` (clase del error, o vacío si no lo hay) y `message`.
    """
    import pandas as pd

    def attempt(loss: str) -> dict:
        import keras

        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
        model.compile(loss=loss)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.train_on_batch(np.zeros((8, 4), "float32"), np.eye(2, dtype="float32")[[0, 1] * 4])
        except ValueError as error:
            return {"loss": loss, "error": type(error).__name__, "message": str(error).splitlines()[0]}
        return {"loss": loss, "error": "", "message": ""}

    losses = ("binary_crossentropy", "categorical_crossentropy")
    key: dict = {"losses": losses}
    measured = _measured(cache, "class_mode", key, lambda: {"errors": pd.DataFrame([attempt(loss) for loss in losses])})
    return measured["errors"].fillna("")


def moving_average(values: "ArrayLike", *, momentum: float, initial: float = 1.0) -> np.ndarray:
    """Promedia como `BatchNormalization`: cada paso guarda `momentum` partes de lo anterior.

    Parameters
    ----------
    values : (pasos, …) array
    momentum, initial : float

    Returns
    -------
    (pasos, …) float64 array
        El valor tras cada paso.

    Examples
    --------
    >>> moving_average(np.zeros(3), momentum=0.5).tolist()
    [0.5, 0.25, 0.125]
    """
    series = np.asarray(values, dtype=np.float64)
    start = np.full(series.shape[1:], initial)
    steps = itertools.accumulate(series, lambda old, new: momentum * old + (1 - momentum) * new, initial=start)
    return np.stack(list(steps)[1:])


def batchnorm_lag(
    experiment: "Experiment",
    train_set: "ImageSet",
    val_set: "ImageSet",
    *,
    momenta: Sequence[float] = (0.99, 0.9),
    epochs: int,
    seed: int,
    cache: Path,
) -> dict[str, "pd.DataFrame"]:
    """Entrena una vez la red original y la evalúa, época a época, con varias estadísticas de normalización.

    Parameters
    ----------
    experiment : Experiment
        La red `original`, con tamaño y canales resueltos; su `batchnorm_momentum` y sus épocas no cuentan.
    momenta : sequence of float
        Inercias que se comparan.

    Returns
    -------
    dict of DataFrame
        `logits`: `epoch`, `mode` (una inercia, `batch` o, al final, `recomputed`), `path`, `group`, `y_true`, `logit`
        de validación. `variances`: `layer` (1 es la primera), `step`, `mode` (una inercia o `batch`: la verdadera) y
        `variance`, la del canal mediano.

    Notes
    -----
    Al entrenar, cada capa usa las estadísticas del lote: la inercia no toca los pesos. Basta un entrenamiento con
    inercia 0, en el que la media móvil *es* la del lote, y las demás se calculan de esa sucesión.
    """
    key = experiment_key(experiment, train_set, val_set, momenta=list(momenta), epochs=epochs, seed=seed)
    key["experiment"].pop("batchnorm_momentum")
    return _measured(
        cache,
        f"normalización por lotes, {epochs} épocas",
        key,
        lambda: _measure_lag(experiment, train_set, val_set, momenta=momenta, epochs=epochs, seed=seed),
    )


def _measure_lag(
    experiment: "Experiment",
    train_set: "ImageSet",
    val_set: "ImageSet",
    *,
    momenta: Sequence[float],
    epochs: int,
    seed: int,
) -> dict[str, "pd.DataFrame"]:
    import keras
    import pandas as pd

    from neumo.learning import training
    from neumo.learning.batches import draw_order, experiment_generator

    model = fresh_model(experiment.model_copy(update={"batchnorm_momentum": 0.0}), seed)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    evaluate = _evaluator(model, val_set, draw_order(len(val_set), seed=seed, epoch=0), experiment)
    means: list[list] = [[] for _ in norms]
    variances: list[list] = [[] for _ in norms]
    tables = []

    class Tracker(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            for index, layer in enumerate(norms):
                means[index].append(layer.moving_mean.numpy())
                variances[index].append(layer.moving_variance.numpy())

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            tables.append(evaluate("batch", epoch + 1, batch_statistics=True))
            for momentum in momenta:
                for layer, mean, variance in zip(norms, means, variances, strict=True):
                    layer.moving_mean.assign(moving_average(mean, momentum=momentum, initial=0.0)[-1])
                    layer.moving_variance.assign(moving_average(variance, momentum=momentum)[-1])
                tables.append(evaluate(f"{momentum:g}", epoch + 1))
            announce(f"anatomía: normalización, época {epoch + 1} de {epochs}")

    model.fit(**fit_batches(experiment, train_set, seed, epochs), callbacks=[Tracker()])
    training.recompute_batchnorm(model, experiment_generator(experiment, train_set, seed=seed))
    tables.append(evaluate("recomputed", epochs))
    told = [_variances(index, values, momenta) for index, values in enumerate(variances, start=1)]
    return {"logits": pd.concat(tables), "variances": pd.concat(told)}


def _evaluator(
    model: "keras.Model", val_set: "ImageSet", order: np.ndarray, experiment: "Experiment"
) -> Callable[..., "pd.DataFrame"]:
    """Prepara la evaluación de validación, barajada: con las estadísticas del lote, el orden cuenta."""
    import keras
    import tensorflow as tf

    shuffled = np.asarray(val_set.images[val_set.rows[order]])[..., None]
    shuffled = np.repeat(shuffled, experiment.channels, axis=-1)
    blocks = np.array_split(shuffled, max(1, len(order) // experiment.batch_size))
    *body, last = model.layers

    @tf.function(reduce_retracing=True)
    def logits(images: tf.Tensor, batch_statistics: bool) -> tf.Tensor:
        x = tf.cast(images, tf.float32)
        for layer in body:
            normalises = isinstance(layer, keras.layers.BatchNormalization)
            if not isinstance(layer, keras.layers.Dropout):
                x = layer(x, training=batch_statistics) if normalises else layer(x)
        return tf.matmul(tf.cast(x, tf.float32), last.kernel) + last.bias

    def evaluate(mode: str, epoch: int, *, batch_statistics: bool = False) -> "pd.DataFrame":
        values = np.concatenate([logits(block, batch_statistics).numpy()[:, 0] for block in blocks])
        table = val_set.table.iloc[order][["path", "group"]]
        measured = table.assign(y_true=val_set.labels[order], logit=values.astype(np.float64))
        return measured.assign(epoch=epoch, mode=mode)

    return evaluate


def _variances(layer: int, values: list, momenta: Sequence[float]) -> "pd.DataFrame":
    import pandas as pd

    true = np.asarray(values, dtype=np.float64)
    curves = {"batch": true} | {f"{m:g}": moving_average(true, momentum=m) for m in momenta}
    steps = np.arange(1, len(true) + 1)
    tables = [
        pd.DataFrame({"layer": layer, "step": steps, "mode": mode, "variance": np.median(curve, axis=1)})
        for mode, curve in curves.items()
    ]
    return pd.concat(tables)


SEARCHED = {"tras la búsqueda detenida": True, "tras la búsqueda entera": False}
"""Condiciones que siguen desde los pesos que deja la búsqueda de la tasa, y si se detuvo al divergir."""


def rate_experiment(
    experiment: "Experiment",
    train_set: "ImageSet",
    val_set: "ImageSet",
    *,
    rates: Sequence[float],
    named_rate: float,
    settings: "LrFinder",
    epochs: int,
    seed: int,
    cache: Path,
) -> dict[str, "pd.DataFrame"]:
    """Entrena la red original con varias tasas, y otras dos veces con los pesos que deja la búsqueda de la tasa.

    Parameters
    ----------
    rates : sequence of float
        Tasas desde pesos nuevos.
    named_rate : float
        Tasa con la que se sigue desde los últimos pesos de la búsqueda: detenida al divergir, y entera.
    settings : LrFinder
        Rango y pasos de la búsqueda.

    Returns
    -------
    dict of DataFrame
        `logits` de validación tras cada época (`condition`, `epoch`, `path`, `group`, `y_true`, `logit`; época 0: los
        pesos de la búsqueda) e `histories` (`condition`, `epoch`, `loss` y `accuracy` de entrenamiento).
    """
    import pandas as pd

    conditions: list[tuple[str, float, bool | None]] = [(f"tasa {rate:g}", rate, None) for rate in rates]
    conditions += [(name, named_rate, stops) for name, stops in SEARCHED.items()]
    measured = []
    for name, rate, stops in conditions:
        followed = experiment.model_copy(update={"learning_rate": rate})
        options: dict[str, Any] = {"settings": settings, "stops": stops, "epochs": epochs, "seed": seed}
        searched = settings.model_dump() if stops is not None else None
        key = experiment_key(followed, train_set, val_set, **options | {"settings": searched})
        measure = functools.partial(_follow, followed, train_set, val_set, **options)
        tables = _measured(cache, name, key, measure)
        measured.append((name, tables))
    return {
        kind: pd.concat([tables[kind].assign(condition=name) for name, tables in measured], ignore_index=True)
        for kind in ("logits", "histories")
    }


def _follow(
    experiment: "Experiment",
    train_set: "ImageSet",
    val_set: "ImageSet",
    *,
    settings: "LrFinder",
    stops: bool | None,
    epochs: int,
    seed: int,
) -> dict[str, "pd.DataFrame"]:
    """Entrena y anota los logits de validación de cada época; desde la búsqueda si `stops` no es None."""
    import keras
    import pandas as pd

    batches = fit_batches(experiment, train_set, seed, epochs)
    model = fresh_model(experiment, seed)
    if stops is not None:
        from neumo.learning.lr_finder import LearningRateFinder

        options = settings.model_dump(exclude={"repeats"}) | ({} if stops else {"divergence": math.inf})
        LearningRateFinder(lambda: model, **options).run(batches["x"], seed=seed)
        model.optimizer.learning_rate = experiment.learning_rate
    evaluate = _evaluator(model, val_set, np.arange(len(val_set)), experiment)
    tables = [] if stops is None else [evaluate("", 0)]
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tables.append(evaluate("", epoch + 1)))
    history = pd.DataFrame(model.fit(**batches, callbacks=[callback]).history)
    logits = pd.concat(tables).drop(columns="mode")
    return {"logits": logits, "histories": history.assign(epoch=np.arange(1, epochs + 1))}


def recomputed_logits(done: "Training", train_set: "ImageSet", val_set: "ImageSet", *, cache: Path) -> np.ndarray:
    """Calcula los logits de validación (n,) tras recalcular las estadísticas de normalización de un entrenamiento."""
    import pandas as pd

    def measure() -> dict[str, "pd.DataFrame"]:
        from neumo.learning.batches import experiment_generator
        from neumo.learning.training import recompute_batchnorm

        model = load_network(done.model_path)
        recompute_batchnorm(model, experiment_generator(done.experiment, train_set, seed=done.seed))
        return {"logits": pd.DataFrame({"logit": predict_logits(model, val_set.pixels())})}

    key = experiment_key(done.experiment, train_set, val_set, seed=done.seed, training=done.folder.name)
    what = f"estadísticas recalculadas, {done.experiment.name}"
    return _measured(cache, what, key, measure)["logits"]["logit"].to_numpy()


def parameter_counts(experiments: Sequence["Experiment"], *, cache: Path) -> dict[str, int]:
    """Cuenta los parámetros que el gradiente aprende en la red de cada experimento."""
    import pandas as pd

    def measure(experiment: "Experiment") -> dict[str, "pd.DataFrame"]:
        model = fresh_model(experiment, 0)
        count = sum(math.prod(weight.shape) for weight in model.trainable_weights)
        return {"parameters": pd.DataFrame({"parameters": [count]})}

    counts = {}
    for experiment in experiments:
        told = functools.partial(measure, experiment)
        tables = _measured(cache, "parámetros de la red", experiment_key(experiment), told)
        counts[experiment.name] = int(tables["parameters"]["parameters"].iloc[0])
    return counts
