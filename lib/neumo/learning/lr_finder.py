"""Búsqueda de la tasa de aprendizaje: una prueba de rango sobre un modelo desechable y cuatro reglas que la leen."""

import contextlib
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
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

_NEUTRAL = {
    "name": "prueba",
    "learning_rate": 0.001,
    "epochs": 1,
    "schedule": "constant",
    "warmup_epochs": 0.0,
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

    def run(self, batches: Iterable, *, seed: int = 0, class_weight: dict[int, float] | None = None) -> "pd.DataFrame":
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


def _check_batches(batches: Any) -> None:
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
        raise NeumoError("`build` devolvió un modelo ya entrenado: debe crear uno nuevo, porque se tira al acabar.")
    return model


def _batch_loss(model: "keras.Model", class_weight: dict[int, float] | None) -> Callable[[float, Any], float]:
    def losses(rate: float, batch: tuple) -> float:
        model.optimizer.learning_rate = rate
        model.reset_metrics()  # train_on_batch reports the mean since the last reset, not this batch's loss
        return float(model.train_on_batch(*batch, class_weight=class_weight, return_dict=True)["loss"])

    return losses


def find_learning_rate(
    experiment: "Experiment", train_set: "ImageSet", *, settings: "LrFinder", seeds: Sequence[int], cache: str | Path
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


def _measure(experiment: "Experiment", train_set: "ImageSet", *, settings: "LrFinder", seed: int) -> "pd.DataFrame":
    import tensorflow as tf

    from neumo.learning import training
    from neumo.learning.batches import experiment_generator

    tf.config.experimental.enable_op_determinism()
    finder = LearningRateFinder(lambda: training.new_model(experiment), **settings.model_dump(exclude={"repeats"}))
    epochs = math.ceil(settings.steps * experiment.batch_size / len(train_set))
    batches = experiment_generator(experiment, train_set, seed=seed, epochs=epochs)
    weights = training.class_weights(train_set.labels) if experiment.class_weight else None
    return finder.run(batches, seed=seed, class_weight=weights)
