"""Experimentos controlados del capítulo 12: cada sospechoso del fracaso original, aislado."""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo import references
from neumo.cache import cached, locked
from neumo.evaluation.metrics import argmax_decision, classification_report, metrics_table
from neumo.progress import announce

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from neumo.data.store import ImageSet
    from neumo.params import Experiment, LrFinder

CLIPPED = -math.log(1e-7)
"""Lo más que puede valer, por imagen, una entropía cruzada calculada sobre probabilidades recortadas como Keras."""
_MODULES = (
    "studies/anatomy",
    "learning/networks",
    "learning/batches",
    "learning/training",
    "data/store",
    "learning/lr_finder",
)
_FREE = {"name", "decision", "epochs"}


def verdict(
    *, reproduces: bool, cures: bool = False, possible: bool = False, contradicts: bool = False
) -> str:
    """Falla sobre un sospechoso según lo que dieron sus experimentos.

    Parameters
    ----------
    reproduces : bool
        En las condiciones que el informe original dice, aparece el síntoma.
    cures : bool
        Y al quitar solo esa causa, desaparece.
    possible : bool
        El síntoma aparece en otras condiciones, o la aritmética lo permite.
    contradicts : bool
        Algo medido es incompatible con la sospecha.

    Examples
    --------
    >>> verdict(reproduces=True, cures=True), verdict(reproduces=True), verdict(reproduces=False)
    ('demostrado', 'compatible', 'no demostrado')
    >>> verdict(reproduces=True, cures=True, contradicts=True)
    'descartado'
    """
    if contradicts:
        return "descartado"
    if reproduces and cures:
        return "demostrado"
    return "compatible" if reproduces or possible else "no demostrado"


# --- La tabla del original ---------------------------------------------------------------------


def at_original_counts(
    y_true: np.ndarray, y_prob: np.ndarray, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Sortea con reemplazo tantas imágenes de cada clase como tenía la validación del original.

    Returns
    -------
    tuple of ndarray
        Etiquetas y probabilidades, en el mismo orden.

    Examples
    --------
    >>> y, prob = at_original_counts(np.array([0, 1]), np.array([0.2, 0.9]))
    >>> np.bincount(y).tolist(), sorted(set(prob.tolist()))
    ([277, 783], [0.2, 0.9])
    """
    rng = np.random.default_rng(seed)
    counts = references.original()["partitions"]["val"].values()
    chosen = [rng.choice(np.flatnonzero(y_true == label), count) for label, count in enumerate(counts)]
    rows = np.concatenate(chosen)
    return np.asarray(y_true)[rows], np.asarray(y_prob)[rows]


def original_digits(y_true: np.ndarray, y_prob: np.ndarray) -> "pd.DataFrame":
    """Lee unas probabilidades con arg-max y pone cada cifra de su informe junto a la del original.

    Returns
    -------
    DataFrame
        `row`, `figure`, `original`, `computed` (con los decimales del original) y `equal`.
    """
    import pandas as pd

    computed = classification_report(y_true, argmax_decision(y_prob))
    computed.index = ["NORMAL", "PNEUMONIA", "macro", "weighted", "accuracy"]
    computed.columns = ["precision", "recall", "f1", "support"]
    quoted = dict(references.original()["report"])
    quoted["accuracy"] = {"precision": quoted["accuracy"]}
    rows = [
        {"row": row, "figure": figure, "original": value, "computed": round(computed.loc[row, figure], 2)}
        for row, figures in quoted.items()
        for figure, value in figures.items()
        if figure != "support"
    ]
    table = pd.DataFrame(rows)
    table.loc[table["row"] == "accuracy", "figure"] = "accuracy"
    return table.assign(equal=np.isclose(table["original"], table["computed"]))


def wrong_logit(loss: float, accuracy: float) -> float:
    """Estima el logit medio de las imágenes falladas: lo que deben costar para que la media sea `loss`.

    Examples
    --------
    >>> round(wrong_logit(1.2, 0.9), 6)
    12.0
    """
    return loss / (1 - accuracy)


def shuffled_accuracy(positive_share: float, predicted_share: float) -> float:
    """Exactitud esperada al comparar unas decisiones con etiquetas que van en otro orden.

    Examples
    --------
    >>> shuffled_accuracy(0.75, 0.75)
    0.625
    """
    return positive_share * predicted_share + (1 - positive_share) * (1 - predicted_share)


def hits(accuracy: float, images: int, *, digits: int = 4) -> list[int]:
    """Enumera los aciertos, entre `images`, cuya proporción se escribe como `accuracy` con `digits` decimales.

    Examples
    --------
    >>> hits(0.7386, 352), hits(0.7386, 1060)
    ([260], [])
    """
    return [k for k in range(images + 1) if round(k / images, digits) == round(accuracy, digits)]


# --- Experimentos guardados --------------------------------------------------------------------


def measured_once(
    cache: Path,
    what: str,
    key: dict,
    measure: Callable[[], dict[str, "pd.DataFrame"]],
    *,
    modules: Sequence[str] = _MODULES,
) -> dict[str, "pd.DataFrame"]:
    """Hace un experimento una sola vez y devuelve sus tablas, guardadas en CSV.

    Parameters
    ----------
    what : str
        Nombre del experimento, que también se anuncia.
    key : dict
        Lo demás que lo determina.
    measure : callable
        Lo hace, con el cerrojo de los entrenamientos: devuelve cada tabla por su nombre.
    """
    import pandas as pd

    def build(folder: Path) -> None:
        announce(f"anatomía: {what}")
        with locked(Path(cache) / "training.lock"):
            for name, table in measure().items():
                table.to_csv(folder / f"{name}.csv", index=False)

    folder = cached(cache, "anatomy", {"what": what, **key}, build, modules=modules)
    return {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}


def experiment_key(experiment: "Experiment", *image_sets: "ImageSet", **more: Any) -> dict:
    """Describe en valores de JSON lo que determina un experimento: la receta, las imágenes y lo que se añada."""
    described = experiment.model_dump(mode="json", exclude=_FREE)
    return {"experiment": described, "images": [images.digest for images in image_sets], **more}


def fresh_model(experiment: "Experiment", seed: int) -> "keras.Model":
    """Construye la red de un experimento desde una semilla y la compila con su tasa, constante."""
    import keras

    from neumo.learning import networks as models
    from neumo.learning import training

    keras.backend.clear_session()
    training.set_seed(seed)
    model = models.build(experiment, experiment.image_size, experiment.channels)
    constant = experiment.model_copy(update={"schedule": "constant", "warmup_epochs": 0.0})
    return training.compile_model(model, constant)


def fit_batches(experiment: "Experiment", train_set: "ImageSet", seed: int, epochs: int) -> dict:
    """Devuelve los argumentos de `fit`: lotes de entrenamiento y sus épocas."""
    from neumo.learning import batches as pipeline

    batches = pipeline.train_generator(
        train_set,
        batch_size=experiment.batch_size,
        seed=seed,
        channels=experiment.channels,
        augmentation=experiment.augmentation,
        epochs=epochs,
    )
    return {
        "x": batches,
        "epochs": epochs,
        "steps_per_epoch": len(batches) // epochs,
        "shuffle": False,
        "verbose": 0,
    }


def untrained_logits(
    experiment: "Experiment", image_set: "ImageSet", *, seed: int, cache: Path
) -> np.ndarray:
    """Calcula los logits (n,) de la red recién iniciada, sin un solo paso de entrenamiento."""
    import pandas as pd

    def measure() -> dict[str, "pd.DataFrame"]:
        from neumo.learning.training import predict_logits

        logits = predict_logits(fresh_model(experiment, seed), image_set.pixels())
        return {"logits": pd.DataFrame({"logit": logits})}

    key = experiment_key(experiment, image_set, seed=seed)
    return measured_once(cache, "red sin entrenar", key, measure)["logits"]["logit"].to_numpy()


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
    measured = measured_once(
        cache, "class_mode", key, lambda: {"errors": pd.DataFrame([attempt(loss) for loss in losses])}
    )
    return measured["errors"].fillna("")


# --- El retraso de la normalización ------------------------------------------------------------


def lag_steps(initial: float, true: float, momentum: float, *, factor: float = 2.0) -> int:
    """Cuenta los pasos hasta que una media móvil está a menos de `factor` veces de un valor constante.

    Tras n pasos vale true + (initial - true)·momentumⁿ.

    Examples
    --------
    >>> lag_steps(1.0, 3.5e-5, 0.99), lag_steps(1.0, 3.5e-5, 0.9), lag_steps(1.0, 0.6, 0.99)
    (1021, 98, 0)
    """
    ratio = initial / true
    excess, allowed = (ratio - 1, factor - 1) if ratio > 1 else (1 - ratio, 1 - 1 / factor)
    if excess <= allowed:
        return 0
    return math.ceil(math.log(allowed / excess) / math.log(momentum))


def moving_average(values: np.ndarray, *, momentum: float, initial: float = 1.0) -> np.ndarray:
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
    values = np.asarray(values, dtype=np.float64)
    start = np.full(values.shape[1:], initial)
    steps = itertools.accumulate(
        values, lambda old, new: momentum * old + (1 - momentum) * new, initial=start
    )
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
    return measured_once(
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

    from neumo.learning import batches as pipeline
    from neumo.learning import training

    model = fresh_model(experiment.model_copy(update={"batchnorm_momentum": 0.0}), seed)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    evaluate = _evaluator(model, val_set, pipeline.draw_order(len(val_set), seed=seed, epoch=0), experiment)
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
    training.recompute_batchnorm(model, fit_batches(experiment, train_set, seed, 1)["x"])
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


def lag_metrics(logits: "pd.DataFrame") -> "pd.DataFrame":
    """Mide cada época y modo de `batchnorm_lag`: `epoch`, `mode`, exactitudes, AUC y `predicted_positive`."""
    table = metrics_table(logits.assign(model=logits["mode"], seed=logits["epoch"], partition="val"))
    matrices = np.array(table["confusion_matrix"].tolist())
    table["predicted_positive"] = matrices[:, :, 1].sum(axis=1) / table["n"]
    columns = ["accuracy", "balanced_accuracy", "auc", "log_loss", "predicted_positive"]
    return table.rename(columns={"model": "mode", "seed": "epoch"})[["epoch", "mode", *columns]]


def lag_table(variances: "pd.DataFrame", *, factor: float = 2.0) -> "pd.DataFrame":
    """Resume el retraso de cada capa e inercia al terminar el entrenamiento medido.

    Returns
    -------
    DataFrame
        `layer`, `momentum`, `steps`, `true` (media de los últimos diez lotes), `moving`, `times_too_large`, `analytic`
        (`lag_steps` desde 1 hasta esa verdadera) y `measured`: el paso desde el que ya no se aleja más de `factor`
        veces de la verdadera de su lote y los nueve anteriores (NaN si no llegó).
    """
    import pandas as pd

    rows = []
    for layer, part in variances.groupby("layer"):
        curves = part.pivot(index="step", columns="mode", values="variance")
        smooth = curves["batch"].rolling(10, min_periods=1).mean()
        true = float(smooth.iloc[-1])
        for mode in sorted(set(curves) - {"batch"}, key=float, reverse=True):
            ratio = curves[mode] / smooth
            outside = ratio.index[(ratio > factor) | (ratio < 1 / factor)]
            last = int(outside[-1]) if len(outside) else 0
            row = {"layer": layer, "momentum": float(mode), "steps": int(ratio.index[-1]), "true": true}
            row |= {"moving": float(curves[mode].iloc[-1]), "times_too_large": float(ratio.iloc[-1])}
            row["analytic"] = lag_steps(1.0, true, float(mode), factor=factor)
            rows.append({**row, "measured": last + 1 if last < ratio.index[-1] else math.nan})
    return pd.DataFrame(rows)


def lag_evidence(metrics: "pd.DataFrame", *, momentum: float) -> dict[str, Any]:
    """Busca en `lag_metrics` la época en que más separa a los mismos pesos su manera de normalizar.

    Returns
    -------
    dict
        `epoch`, `inference` y `batch` (exactitudes), `gap` (diferencia de exactitud equilibrada), `predicted_positive`
        en inferencia, `stuck` (si la inferencia responde, salvo un 2 %, siempre lo mismo) y `verdict`.
    """
    slow = metrics[metrics["mode"] == f"{momentum:g}"].set_index("epoch")
    true = metrics[metrics["mode"] == "batch"].set_index("epoch")
    gap = true["balanced_accuracy"] - slow["balanced_accuracy"]
    epoch = int(gap.idxmax())
    share = float(slow["predicted_positive"][epoch])
    stuck = min(share, 1 - share) <= 0.02
    found = {"epoch": epoch, "inference": float(slow["accuracy"][epoch]), "gap": float(gap[epoch])}
    found |= {"batch": float(true["accuracy"][epoch]), "predicted_positive": share, "stuck": stuck}
    return {**found, "verdict": verdict(reproduces=stuck, cures=bool(gap[epoch] >= 0.1))}


# --- La tasa -----------------------------------------------------------------------------------

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

    conditions = [(f"tasa {rate:g}", rate, None) for rate in rates]
    conditions += [(name, named_rate, stops) for name, stops in SEARCHED.items()]
    measured = []
    for name, rate, stops in conditions:
        followed = experiment.model_copy(update={"learning_rate": rate})
        options = {"settings": settings, "stops": stops, "epochs": epochs, "seed": seed}
        searched = settings.model_dump() if stops is not None else None
        key = experiment_key(followed, train_set, val_set, **options | {"settings": searched})
        tables = measured_once(
            cache, name, key, lambda e=followed, o=options: _follow(e, train_set, val_set, **o)
        )
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
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: tables.append(evaluate("", epoch + 1))
    )
    history = pd.DataFrame(model.fit(**batches, callbacks=[callback]).history)
    logits = pd.concat(tables).drop(columns="mode")
    return {"logits": logits, "histories": history.assign(epoch=np.arange(1, epochs + 1))}


def rate_metrics(measured: dict[str, "pd.DataFrame"]) -> "pd.DataFrame":
    """Mide cada condición de `rate_experiment` en su peor época: la de mayor pérdida, de entrenamiento o validación.

    Returns
    -------
    DataFrame
        `condition`, `epoch`, `train_loss`, `train_accuracy` (NaN en la época 0), `loss` y `accuracy` (validación, desde
        los logits), `clipped_loss` (la misma, recortando la probabilidad como Keras), `median_logit`, `largest_logit`
        (valores absolutos) y `worst`: la mayor de las dos pérdidas.
    """
    logits = measured["logits"]
    by = ["condition", "epoch"]
    loss = np.logaddexp(0, np.where(logits["y_true"] == 1, -1, 1) * logits["logit"])
    columns = {"size": logits["logit"].abs(), "clipped": np.minimum(loss, CLIPPED)}
    grouped = logits.assign(**columns).groupby(by, sort=False)
    table = metrics_table(logits.assign(model=logits["condition"], seed=logits["epoch"], partition="val"))
    table = table.rename(columns={"model": "condition", "seed": "epoch", "log_loss": "loss"}).set_index(by)
    table = table[["loss", "accuracy"]].assign(
        clipped_loss=grouped["clipped"].mean(),
        median_logit=grouped["size"].median(),
        largest_logit=grouped["size"].max(),
    )
    training = measured["histories"].set_index(by)[["loss", "accuracy"]].add_prefix("train_")
    table = (
        table.join(training)
        .assign(worst=lambda t: np.fmax(t["loss"].fillna(np.inf), t["train_loss"]))
        .reset_index()
    )
    worst = table.loc[table.groupby("condition", sort=False)["worst"].idxmax()]
    return worst[[*by, *training, *(c for c in table if c not in (*by, *training))]].reset_index(drop=True)
