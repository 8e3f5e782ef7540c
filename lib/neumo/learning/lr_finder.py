"""Búsqueda de la tasa de aprendizaje: una prueba de rango sobre un modelo desechable y cuatro reglas que la leen."""

import contextlib
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import cached_tables
from neumo.errors import NeumoError
from neumo.progress import announce

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from neumo.data.store import ImageSet
    from neumo.params import Experiment, LrFinder

LAST_POINTS = 5
"""Puntos finales que las reglas no miran: son los de la divergencia."""
MIN_POINTS = 10
FLAT = 0.01
"""Una curva cuya pérdida suavizada nunca baja esta fracción de su valor inicial es plana."""
_NEUTRAL = {
    "name": "prueba",
    "learning_rate": 0.001,
    "epochs": 1,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "weight_averaging": 0.0,
    "decision": "threshold",
}


@contextlib.contextmanager
def preserved_random_state(seed: int) -> Iterator[None]:
    """Fija las semillas de Python, NumPy, Keras y TensorFlow dentro del bloque y deja al salir lo que había."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    from keras.src.backend.common import global_state
    from tensorflow.python.eager import context

    # Neither Keras nor TensorFlow has a public way to read this state, and `set_random_seed` would also reset the
    # caller's seeded operations.
    eager = context.context()
    keras_seeds = {"global_random_seed": seed, "global_seed_generator": None}
    keras_state = {name: global_state.get_global_attribute(name) for name in keras_seeds}
    tensorflow_state = eager._seed, getattr(eager, "_rng", None)
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        eager._seed, eager._rng = seed, random.Random(seed)
        _set_all(global_state, keras_seeds)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        eager._seed, eager._rng = tensorflow_state
        _set_all(global_state, keras_state)


def _set_all(global_state: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        global_state.set_global_attribute(name, value)


def record(
    losses: Callable[[float, Any], float],
    rates: Sequence[float],
    batches: Iterable,
    *,
    smoothing: float = 0.98,
    divergence: float = 4.0,
) -> list[dict]:
    """Da un paso por tasa y anota la pérdida, hasta que diverge, deja de ser un número o se acaban las tasas.

    Parameters
    ----------
    losses : callable
        `losses(rate, batch)`: pérdida del lote, y un paso de entrenamiento con esa tasa.
    rates : sequence of float
        Tasas, una por paso.
    batches : iterable
        Lotes, al menos tantos como tasas.
    smoothing : float
        Inercia β de la media exponencial, corregida por 1 - βⁿ para que no parta de cero.
    divergence : float
        Se detiene cuando la pérdida suavizada pasa de tantas veces la mejor.

    Returns
    -------
    list of dict
        `step` (desde 1), `learning_rate`, `loss` y `smoothed`; la última fila es la que detuvo la prueba.

    Examples
    --------
    >>> rows = record(lambda rate, batch: batch, [0.1, 0.2, 0.4], [1.0, 1.0, 9.0], smoothing=0.0)
    >>> [row["smoothed"] for row in rows]
    [1.0, 1.0, 9.0]
    """
    rows, average, best = [], 0.0, math.inf
    for step, (rate, batch) in enumerate(zip(rates, batches, strict=False), start=1):
        loss = losses(rate, batch)
        average = smoothing * average + (1 - smoothing) * loss
        smoothed = average / (1 - smoothing**step)
        rows.append({"step": step, "learning_rate": rate, "loss": loss, "smoothed": smoothed})
        if not math.isfinite(loss) or smoothed > divergence * best:
            break
        best = min(best, smoothed)
    return rows


class LearningRateFinder:
    """Prueba de rango de la tasa de aprendizaje (Smith, 2017, §3.3), con crecimiento exponencial como en fastai.

    Parameters
    ----------
    build : callable
        Fábrica sin argumentos que devuelve un modelo **nuevo y compilado**: se entrena y se tira.
    min_lr, max_lr : float
        Primera y última tasa; entre ellas crece en progresión geométrica.
    steps : int
        Lotes de la prueba.
    smoothing, divergence : float
        Suavizado y parada; véase `record`.

    Raises
    ------
    NeumoError
        Si los límites no están en orden o los pasos son menos de dos.
    """

    def __init__(
        self,
        build: Callable[[], "keras.Model"],
        *,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        steps: int = 100,
        smoothing: float = 0.98,
        divergence: float = 4.0,
    ):
        if not 0 < min_lr < max_lr or steps < 2:
            raise NeumoError(
                f"La búsqueda va de {min_lr:g} a {max_lr:g} en {steps} pasos: se esperaba 0 < min_lr < max_lr "
                "y al menos 2 pasos. Revise lr_finder."
            )
        self.build = build
        self.rates = np.geomspace(min_lr, max_lr, steps).tolist()
        self.smoothing, self.divergence = smoothing, divergence

    def run(
        self, batches: Iterable, *, seed: int = 0, class_weight: dict[int, float] | None = None
    ) -> "pd.DataFrame":
        """Entrena un modelo desechable un lote por tasa y devuelve la curva.

        El modelo de quien llama, su estado aleatorio y sus iteradores quedan como estaban.

        Parameters
        ----------
        batches : iterable of (x, y)
            Un `tf.data.Dataset` o una lista; se recorre desde el principio tantas veces como haga falta.
        seed : int
            Semilla del modelo desechable.
        class_weight : dict, optional
            Pesos de las clases en la pérdida.

        Returns
        -------
        DataFrame
            `step`, `learning_rate`, `loss` (la del lote, no la media corrida de Keras) y `smoothed`.

        Raises
        ------
        NeumoError
            Si `batches` está vacío o es un iterador de un solo uso, o si `build` no da un modelo nuevo y compilado.
        """
        import pandas as pd

        _check_batches(batches)
        with preserved_random_state(seed):
            losses = _batch_loss(_checked(self.build()), class_weight)
            cycle = itertools.chain.from_iterable(itertools.repeat(batches))
            rows = record(losses, self.rates, cycle, smoothing=self.smoothing, divergence=self.divergence)
        return pd.DataFrame(rows)


def _check_batches(batches: Iterable) -> None:
    if isinstance(batches, Iterator):
        raise NeumoError(
            "La búsqueda recibió un iterador, que se gastaría: dele el conjunto de lotes (un Dataset o una lista)."
        )
    if len(batches) == 0:
        raise NeumoError("La búsqueda recibió un conjunto sin lotes: se esperaba al menos uno.")


def _checked(model: "keras.Model") -> "keras.Model":
    if not getattr(model, "compiled", False):
        raise NeumoError("`build` devolvió un modelo sin compilar: llame a compile() dentro de la fábrica.")
    if int(model.optimizer.iterations) > 0:
        raise NeumoError(
            "`build` devolvió un modelo ya entrenado: debe crear uno nuevo, porque se tira al acabar."
        )
    return model


def _batch_loss(model: "keras.Model", class_weight: dict[int, float] | None) -> Callable[[float, Any], float]:
    def losses(rate: float, batch: tuple) -> float:
        model.optimizer.learning_rate = rate
        model.reset_metrics()  # train_on_batch reports the mean since the last reset, not this batch's loss
        return float(model.train_on_batch(*batch, class_weight=class_weight, return_dict=True)["loss"])

    return losses


@dataclass(frozen=True)
class Suggestion:
    """Lo que sugiere una regla, y el punto de la curva suavizada donde se dibuja.

    Attributes
    ----------
    rule : str
        `valley`, `steep`, `minimum` o `slide`.
    learning_rate, loss : float
        Tasa sugerida y pérdida suavizada a esa tasa.
    index : int
        Fila de la tabla que la regla señala (para `minimum`, la del mínimo: la tasa sugerida es su décima parte).
    """

    rule: str
    learning_rate: float
    loss: float
    index: int


def valley(table: Mapping[str, Any], *, steps: int | None = None) -> Suggestion:
    """Sugiere la tasa a mitad del descenso más largo de la pérdida suavizada (la regla por omisión de fastai).

    Parameters
    ----------
    table : DataFrame or mapping of arrays
        Con `learning_rate` y `smoothed`, en orden.
    steps : int, optional
        Lotes que la prueba tenía previstos: se descarta su primera décima parte. Por omisión, las filas de la tabla.

    Returns
    -------
    Suggestion
        Con n = longitud de la subsucesión decreciente más larga: su final - n + n//3 + n//6.

    Raises
    ------
    NeumoError
        Si la curva es corta o plana.

    Examples
    --------
    >>> rates = np.geomspace(1e-6, 1.0, 61)
    >>> valley({"learning_rate": rates, "smoothed": 1 + (np.log10(rates) + 2) ** 2}).index
    21
    """
    curve = _usable(table, steps, MIN_POINTS)
    lengths = np.ones(len(curve.losses), dtype=int)
    for i, loss in enumerate(curve.losses):
        lengths[i] += lengths[:i][curve.losses[:i] > loss].max(initial=0)
    end, length = int(lengths.argmax()), int(lengths.max())
    return curve.suggestion("valley", max(0, end - length + length // 3 + length // 6))


def steep(table: Mapping[str, Any], *, steps: int | None = None) -> Suggestion:
    """Sugiere la tasa donde la pérdida suavizada baja más deprisa: el menor Δpérdida/Δln(tasa).

    Parámetros y errores, los de `valley`.
    """
    curve = _usable(table, steps, MIN_POINTS)
    slopes = np.diff(curve.losses) / np.diff(np.log(curve.rates))
    return curve.suggestion("steep", int(slopes.argmin()))


def minimum(table: Mapping[str, Any], *, steps: int | None = None) -> Suggestion:
    """Sugiere la décima parte de la tasa con la menor pérdida suavizada.

    Parámetros y errores, los de `valley`.
    """
    curve = _usable(table, steps, MIN_POINTS)
    return curve.suggestion("minimum", int(curve.losses.argmin()), factor=0.1)


def slide(
    table: Mapping[str, Any], *, steps: int | None = None, window: int = 15, threshold: float = 0.005
) -> Suggestion:
    """Sugiere la tasa a la que llega, desde el final, una regla de `window` puntos de largo.

    La regla se desliza hacia atrás mientras el gradiente en sus dos extremos difiera en más de `threshold`; la tasa es
    la del último extremo izquierdo que cumplió. Los demás parámetros y los errores, los de `valley`.
    """
    curve = _usable(table, steps, max(MIN_POINTS, window + 1))
    gradient = np.gradient(curve.losses)
    differs = np.abs(gradient[window:] - gradient[:-window]) > threshold
    stops = np.flatnonzero(~differs)  # left ends where the ruler would stop
    last = len(differs) - 1
    return curve.suggestion("slide", min(int(stops[-1]) + 1, last) if len(stops) else 0)


RULES = {"valley": valley, "steep": steep, "minimum": minimum, "slide": slide}


@dataclass(frozen=True)
class _Curve:
    rates: np.ndarray
    losses: np.ndarray
    offset: int

    def suggestion(self, rule: str, index: int, *, factor: float = 1.0) -> Suggestion:
        rate = float(self.rates[index]) * factor
        loss = float(np.interp(np.log(rate), np.log(self.rates), self.losses))
        return Suggestion(rule, rate, loss, self.offset + index)


def _usable(table: Mapping[str, Any], steps: int | None, needed: int) -> _Curve:
    """Quita la primera décima parte, los últimos puntos y lo que sigue a un NaN; rechaza curvas cortas o planas."""
    rates, losses = (np.asarray(table[name], dtype=float) for name in ("learning_rate", "smoothed"))
    start = (steps or len(rates)) // 10
    rates, losses = rates[start:-LAST_POINTS], losses[start:-LAST_POINTS]
    finite = len(losses) if np.isfinite(losses).all() else int(np.isfinite(losses).argmin())
    if finite < needed:
        raise NeumoError(
            f"La curva es corta: tras descartar los {start} primeros puntos y los {LAST_POINTS} últimos quedan "
            f"{finite} y hacen falta {needed}. Suba lr_finder.steps o baje lr_finder.max_lr."
        )
    rates, losses = rates[:finite], losses[:finite]
    drop = float((np.maximum.accumulate(losses) - losses).max())
    if drop < FLAT * abs(losses[0]):
        raise NeumoError(
            f"La curva es plana: la pérdida suavizada empieza en {losses[0]:.4g} y nunca baja más de {drop:.2g}. "
            "Amplíe lr_finder.min_lr y lr_finder.max_lr, o revise las imágenes y sus etiquetas."
        )
    return _Curve(rates, losses, start)


def suggest(curves: "pd.DataFrame", *, steps: int | None = None) -> "pd.DataFrame":
    """Aplica las cuatro reglas a la curva de cada semilla.

    Parameters
    ----------
    curves : DataFrame
        `seed`, `learning_rate` y `smoothed`, como la devuelve `find_learning_rate`.
    steps : int, optional
        Lotes previstos; véase `valley`.

    Returns
    -------
    DataFrame
        Una fila por semilla y regla: `seed`, `rule`, `learning_rate`, `loss`, `index` y `reason`: por qué una regla se
        negó (con tasa y pérdida NaN e índice -1), o vacío.
    """
    import pandas as pd

    rows = [
        {"seed": seed, **_answer(rule, curve, steps)}
        for seed, curve in curves.groupby("seed", sort=False)
        for rule in RULES
    ]
    return pd.DataFrame(rows)


def _answer(rule: str, curve: "pd.DataFrame", steps: int | None) -> dict:
    try:
        return {**asdict(RULES[rule](curve, steps=steps)), "reason": ""}
    except NeumoError as error:
        return {"rule": rule, "learning_rate": math.nan, "loss": math.nan, "index": -1, "reason": str(error)}


def agreement(suggestions: "pd.DataFrame") -> "pd.DataFrame":
    """Resume cuánto coincide cada regla consigo misma al cambiar de semilla.

    Parameters
    ----------
    suggestions : DataFrame
        La tabla de `suggest`.

    Returns
    -------
    DataFrame
        Una fila por regla: `rule`, `answers` (semillas con respuesta), `lowest`, `middle` (media geométrica), `highest`
        y `ratio` = la mayor entre la menor: 1 es acuerdo total.
    """
    import pandas as pd

    answered = suggestions.dropna(subset="learning_rate")
    rows = []
    for rule in RULES:
        rates = answered.loc[answered["rule"] == rule, "learning_rate"].to_numpy(float)
        low, high = (rates.min(), rates.max()) if len(rates) else (math.nan, math.nan)
        middle = float(np.exp(np.log(rates).mean())) if len(rates) else math.nan
        rows.append({"rule": rule, "answers": len(rates), "lowest": low, "middle": middle, "highest": high})
    return pd.DataFrame(rows).assign(ratio=lambda table: table["highest"] / table["lowest"])


def divergence_point(curve: Mapping[str, Any], *, divergence: float = 4.0) -> int | None:
    """Devuelve la fila donde la prueba se detuvo por divergencia o por NaN, o `None` si llegó al final.

    Examples
    --------
    >>> divergence_point({"loss": [1.0, 1.0, 9.0], "smoothed": [1.0, 1.0, 9.0]})
    2
    >>> divergence_point({"loss": [1.0, 1.0], "smoothed": [1.0, 1.0]})
    """
    loss, smoothed = (np.asarray(curve[name], dtype=float) for name in ("loss", "smoothed"))
    last = len(loss) - 1
    diverged = last > 0 and (
        not math.isfinite(loss[last]) or smoothed[last] > divergence * smoothed[:last].min()
    )
    return last if diverged else None


def find_learning_rate(
    experiment: "Experiment",
    train_set: "ImageSet",
    *,
    settings: "LrFinder",
    seeds: Sequence[int],
    cache: str | Path,
) -> "pd.DataFrame":
    """Hace la prueba de rango de un experimento con varias semillas; lo ya medido se lee de la caché.

    Parameters
    ----------
    experiment : Experiment
        Red y datos (con tamaño de imagen y canales resueltos); su tasa y sus épocas no cuentan.
    train_set : ImageSet
        Conjunto de entrenamiento.
    settings : LrFinder
        Rango, pasos, suavizado y parada.
    seeds : sequence of int
        Una prueba por semilla: cambian los pesos iniciales, el orden y el aumento.
    cache : Path
        Carpeta de la caché.

    Returns
    -------
    DataFrame
        `seed`, `step`, `learning_rate`, `loss`, `smoothed`.
    """
    import pandas as pd

    neutral = experiment.model_copy(update=_NEUTRAL)
    curves = []
    for seed in seeds:
        key = {
            "experiment": neutral.model_dump(mode="json"),
            "settings": settings.model_dump(mode="json", exclude={"repeats"}),
            "images": train_set.digest,
            "seed": seed,
        }

        def measure(seed: int = seed) -> "dict[str, pd.DataFrame]":
            announce(f"búsqueda de la tasa de aprendizaje: semilla {seed}, {settings.steps} lotes")
            return {"curve": _measure(neutral, train_set, settings=settings, seed=seed)}

        tables = cached_tables(cache, "lr_finder", key, measure, code=__name__, trains=True)
        curves.append(tables["curve"].assign(seed=seed))
    return pd.concat(curves, ignore_index=True)[["seed", "step", "learning_rate", "loss", "smoothed"]]


def _measure(
    experiment: "Experiment", train_set: "ImageSet", *, settings: "LrFinder", seed: int
) -> "pd.DataFrame":
    import tensorflow as tf

    from neumo.learning import batches as pipeline
    from neumo.learning import networks, training

    tf.config.experimental.enable_op_determinism()

    def build() -> "keras.Model":
        model = networks.build(experiment, experiment.image_size, experiment.channels)
        return training.compile_model(model, experiment)

    finder = LearningRateFinder(build, **settings.model_dump(exclude={"repeats"}))
    epochs = math.ceil(settings.steps * experiment.batch_size / len(train_set))
    batches = pipeline.train_generator(
        train_set,
        batch_size=experiment.batch_size,
        seed=seed,
        channels=experiment.channels,
        augmentation=experiment.augmentation,
        epochs=epochs,
    )
    weights = training.class_weights(train_set.labels) if experiment.class_weight else None
    return finder.run(batches, seed=seed, class_weight=weights)
