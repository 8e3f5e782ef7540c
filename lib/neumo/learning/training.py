"""Compilar, entrenar y retomar: una configuración que ya se entrenó no se vuelve a entrenar."""

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import cached, write_atomically
from neumo.errors import NeumoError
from neumo.learning.model_file import check
from neumo.params import Experiment
from neumo.progress import announce

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from neumo.data.store import ImageSet

_NOT_DETERMINING = {"name", "decision"}
_NOT_COMPILED = _NOT_DETERMINING | {"augmentation", "batch_size", "class_weight", "recompute_batchnorm", "source_scale"}
_UNSAVED_SECONDS = 15.0  # lo que, como mucho, se pierde al interrumpir, más una época
_compiled: dict[str, tuple["keras.Model", list]] = {}  # las últimas redes, con el estado inicial de su optimizador
_KEPT = 3  # redes compiladas que se guardan


@dataclass(frozen=True)
class Training:
    """Un entrenamiento terminado, en su carpeta de la caché."""

    folder: Path
    experiment: Experiment
    seed: int

    @property
    def model_path(self) -> Path:
        """Archivo `.keras`: solo, con Keras y sin esta biblioteca, da las mismas probabilidades."""
        return self.folder / "model.keras"

    @property
    def history(self) -> "pd.DataFrame":
        """Tabla por época: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate y seconds."""
        import pandas as pd

        return pd.DataFrame(json.loads((self.folder / "history.json").read_text()))

    @property
    def seconds(self) -> float:
        """Segundos de entrenamiento, sumadas las épocas."""
        return float(self.history["seconds"].sum())

    @property
    def epochs(self) -> int:
        """Épocas entrenadas."""
        return len(self.history)


def class_weights(labels: np.ndarray) -> dict[int, float]:
    """Calcula pesos con los que ambas clases suman lo mismo: n / (2 n_clase).

    Parameters
    ----------
    labels : (n,) int array
        Etiquetas 0 (NORMAL) y 1 (PNEUMONIA).

    Raises
    ------
    NeumoError
        Si falta una de las dos clases.

    Examples
    --------
    >>> class_weights(np.array([0, 1, 1, 1]))
    {0: 2.0, 1: 0.6666666666666666}
    """
    from sklearn.utils.class_weight import compute_class_weight

    if len(np.unique(labels)) < 2:
        raise NeumoError("No se pueden pesar las clases: en el entrenamiento falta una de las dos.")
    return dict(enumerate(compute_class_weight("balanced", classes=np.arange(2), y=labels).tolist()))


def learning_rate_schedule(experiment: Experiment, steps_per_epoch: int) -> Any:
    """Devuelve la tasa de `experiment`: un número, o una curva de Keras con calentamiento y coseno."""
    import keras

    if experiment.schedule == "constant" and not experiment.warmup_epochs:
        return experiment.learning_rate
    warmup = round(experiment.warmup_epochs * steps_per_epoch)
    total = experiment.epochs * steps_per_epoch
    flat = experiment.schedule == "constant"
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=experiment.learning_rate / 100 if warmup else experiment.learning_rate,
        decay_steps=max(total - warmup, 1),
        alpha=1.0 if flat else 0.01,
        warmup_target=experiment.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def compile_model(model: "keras.Model", experiment: Experiment, *, steps_per_epoch: int = 1) -> "keras.Model":
    """Compila con Adam, entropía cruzada binaria y exactitud; devuelve el mismo modelo.

    Parameters
    ----------
    model : keras.Model
        Salida (n, 1) con la probabilidad de PNEUMONIA.
    experiment : Experiment
        Tasa, curva de la tasa y suavizado de etiquetas.
    steps_per_epoch : int
        Lotes por época; solo lo usan las curvas de la tasa.
    """
    import keras

    optimizer = keras.optimizers.Adam(learning_rate_schedule(experiment, steps_per_epoch))
    # Con sus variables ya hechas, TensorFlow traza el paso de entrenamiento una vez y no dos: mismos pesos, menos espera.
    optimizer.build(model.trainable_variables)
    loss = keras.losses.BinaryCrossentropy(label_smoothing=experiment.label_smoothing)
    model.compile(optimizer=optimizer, loss=loss, metrics=[keras.metrics.BinaryAccuracy(name="accuracy")])
    return model


def new_model(experiment: Experiment, *, steps_per_epoch: int = 1) -> "keras.Model":
    """Construye, con pesos nuevos, la red de `experiment` y la compila.

    Si una de las últimas que se compilaron solo difiere en los pesos o en una tasa constante, se devuelve esa, puesta como nueva:
    trazar otra vez su paso de entrenamiento cuesta más que varias épocas de un conjunto pequeño, y daría lo mismo.
    """
    from neumo.learning import networks

    fresh = networks.build(experiment, experiment.image_size, experiment.channels)
    constant = experiment.schedule == "constant" and not experiment.warmup_epochs
    described = experiment.model_dump(mode="json", exclude=_NOT_COMPILED)
    described |= {"learning_rate": None, "epochs": None} if constant else {"steps": steps_per_epoch}
    key = json.dumps(described, sort_keys=True)
    if key not in _compiled:
        if len(_compiled) == _KEPT:
            _compiled.pop(next(iter(_compiled)))
        compile_model(fresh, experiment, steps_per_epoch=steps_per_epoch)
        _compiled[key] = fresh, [variable.numpy() for variable in fresh.optimizer.variables]
        return fresh
    model, initial = _compiled[key]
    model.set_weights(fresh.get_weights())
    for layer, new in zip(_seeded_layers(model), _seeded_layers(fresh), strict=True):
        layer.seed_generator.state.assign(new.seed_generator.state)
    for variable, value in zip(model.optimizer.variables, initial, strict=True):
        variable.assign(value)
    if constant:
        model.optimizer.learning_rate = experiment.learning_rate
    return model


def set_seed(seed: int) -> None:
    """Fija las semillas de Python, NumPy y TensorFlow y pide operaciones deterministas."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def train(experiment: Experiment, train_set: "ImageSet", val_set: "ImageSet", *, seed: int, cache: Path) -> Training:
    """Entrena `experiment`, o devuelve lo ya entrenado; si se interrumpió, sigue desde la última época.

    Parameters
    ----------
    experiment : Experiment
        Con `image_size` y `channels` resueltos (`Params.experiment`).
    train_set, val_set : ImageSet
        Imágenes (n, lado, lado) uint8 y etiquetas: las de entrenamiento, de lado `experiment.source_size`; las de
        validación, de lado `experiment.image_size`.
    seed : int
        Decide pesos iniciales, orden, aumento y `Dropout`.
    cache : Path
        Carpeta de la caché.

    Returns
    -------
    Training

    Notes
    -----
    El orden de las imágenes y el aumento son funciones de (semilla, época, índice) y el estado que falta (pesos,
    optimizador, `Dropout`) está en el punto de control de cada época: retomar da los mismos pesos que no parar.
    """
    if len(train_set) < experiment.batch_size:
        raise NeumoError(
            f"El conjunto de entrenamiento tiene {len(train_set)} imágenes, menos que un lote "
            f"({experiment.batch_size}). Use más imágenes o un batch_size menor."
        )
    key = {
        "experiment": experiment.model_dump(mode="json", exclude=_NOT_DETERMINING),
        "train": train_set.digest,
        "val": val_set.digest,
        "seed": seed,
    }

    def build(folder: Path) -> None:
        _fit(folder, experiment, train_set, val_set, seed)

    folder = cached(cache, "training", key, build, code=__name__, trains=True)
    return Training(folder=folder, experiment=experiment, seed=seed)


def _fit(folder: Path, experiment: Experiment, train_set: "ImageSet", val_set: "ImageSet", seed: int) -> None:
    import keras

    from neumo.learning.batches import experiment_generator, val_generator

    if (folder / "history.json").is_file():  # se interrumpió al retirar los puntos de control
        _retire_checkpoints(folder)
        return
    keras.backend.clear_session(free_memory=False)
    set_seed(seed)
    history, model = _resumed(folder)
    steps = -(-len(train_set) // experiment.batch_size)
    model = model or new_model(experiment, steps_per_epoch=steps)
    left = {"first_epoch": len(history), "epochs": experiment.epochs - len(history)}
    batches = experiment_generator(experiment, train_set, seed=seed, **left)
    if len(history) < experiment.epochs:
        model.fit(
            batches,
            epochs=experiment.epochs,
            initial_epoch=len(history),
            steps_per_epoch=steps,
            validation_data=val_generator(val_set, batch_size=128, channels=experiment.channels),
            class_weight=class_weights(train_set.labels) if experiment.class_weight else None,
            shuffle=False,  # el generador ya baraja, según la época
            callbacks=[_checkpoint_callback(folder, history, experiment, seed)],
            verbose=0,
        )
    if experiment.recompute_batchnorm:
        recompute_batchnorm(model, experiment_generator(experiment, train_set, seed=seed))
    _inference_model(model, experiment).save(folder / "model.keras")
    write_atomically(folder / "history.json", json.dumps(history).encode())
    _retire_checkpoints(folder)


def _retire_checkpoints(folder: Path) -> None:
    for leftover in folder.glob("epoch-*"):
        leftover.unlink()


def _inference_model(model: "keras.Model", experiment: Experiment) -> "keras.Model":
    """Copia la red sin el optimizador, que triplica el archivo, con las vistas que pida el experimento dentro."""
    import keras

    from neumo.learning.networks import with_views

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return with_views(copy, experiment.views)


def _checkpoint_path(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:03d}.keras"


def _resumed(folder: Path) -> tuple[list[dict], "keras.Model | None"]:
    """Lee la historia y la red del último punto de control; si no lo hay, o el disco lo estropeó, se empieza de nuevo."""
    import keras

    try:
        history = json.loads((folder / "epoch-latest.json").read_text())
        checkpoint = _checkpoint_path(folder, len(history))
        check(checkpoint)
        return history, keras.models.load_model(checkpoint, safe_mode=True)
    except FileNotFoundError:
        return [], None
    except (NeumoError, OSError, ValueError, LookupError):
        _retire_checkpoints(folder)
        return [], None


def _seeded_layers(model: "keras.Model") -> list:
    return [layer for layer in model.layers if hasattr(layer, "seed_generator")]


def _checkpoint_callback(
    folder: Path, history: list[dict], experiment: Experiment, seed: int
) -> "keras.callbacks.Callback":
    import keras

    class Checkpoint(keras.callbacks.Callback):
        """Guarda pesos, optimizador e historia al final de una época, de una pieza, cada pocos segundos."""

        saved, unsaved = len(history), 0.0

        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            self.started = time.perf_counter()
            # Keras no guarda el estado de `Dropout`: se pone en función de (semilla, época, capa).
            for index, layer in enumerate(_seeded_layers(self.model)):
                layer.seed_generator.state.assign([(seed + 1) * 1009 + index, epoch])

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            rate = float(self.model.optimizer.learning_rate)
            seconds = round(time.perf_counter() - self.started, 3)
            values = {name: float(value) for name, value in (logs or {}).items()}
            history.append({"epoch": epoch + 1, **values, "learning_rate": rate, "seconds": seconds})
            self.unsaved += seconds
            if self.unsaved >= _UNSAVED_SECONDS:
                self.keep(epoch + 1)
            left = (experiment.epochs - epoch - 1) * seconds
            announce(f"{experiment.name}: época {epoch + 1} de {experiment.epochs}, quedan unos {left:.0f} s")

        def keep(self, epochs: int) -> None:
            temporary = folder / f"epoch-tmp-{os.getpid()}.keras"
            self.model.save(temporary)
            os.replace(temporary, _checkpoint_path(folder, epochs))
            # La historia señala el último punto de control entero: se escribe después de él.
            write_atomically(folder / "epoch-latest.json", json.dumps(history).encode())
            _checkpoint_path(folder, self.saved).unlink(missing_ok=True)
            self.saved, self.unsaved = epochs, 0.0

    return Checkpoint()


def recompute_batchnorm(model: "keras.Model", batches: Iterable) -> None:
    """Sustituye las medias móviles de cada `BatchNormalization` por el promedio exacto sobre `batches`.

    Notes
    -----
    Con inercia 0, la media móvil de una capa es la del último lote. Método: Izmailov et al. 2018 (SWA), sección 3.2.
    """
    import keras
    import tensorflow as tf

    from neumo.learning.networks import leaf_layers

    layers = [layer for layer in leaf_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    pass_on = tf.function(lambda images: model(images, training=True), reduce_retracing=True)
    statistics = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    seen = []
    for images, _ in batches:
        pass_on(images)
        seen.append([variable.numpy() for variable in statistics])
    for variable, values in zip(statistics, zip(*seen, strict=True), strict=True):
        variable.assign(np.mean(values, axis=0, dtype=np.float64))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def train_all(
    experiments: Sequence[Experiment], image_set: Callable[..., "ImageSet"], *, seeds: Sequence[int], cache: Path
) -> list[Training]:
    """Entrena cada experimento con cada semilla.

    Parameters
    ----------
    experiments : sequence of Experiment
    image_set : callable
        `image_set(partition, image_size=…)`, de `neumo.data.store.image_sets`.
    seeds : sequence of int
    cache : Path
    """
    trainings = []
    for experiment in experiments:
        train_set = image_set("train", image_size=experiment.source_size)
        val_set = image_set("val", image_size=experiment.image_size)
        trainings += [train(experiment, train_set, val_set, seed=seed, cache=cache) for seed in seeds]
    return trainings


def histories(trainings: Sequence[Training]) -> "pd.DataFrame":
    """Reúne las historias por época, con las columnas `model` y `seed` delante."""
    import pandas as pd

    return pd.concat(
        [t.history.assign(model=t.experiment.name, seed=t.seed) for t in trainings], ignore_index=True
    ).pipe(lambda table: table[["model", "seed", *table.columns.drop(["model", "seed"])]])


def summary(trainings: Sequence[Training]) -> "pd.DataFrame":
    """Tabla de una fila por entrenamiento: model, seed, epochs y seconds."""
    import pandas as pd

    rows = [{"model": t.experiment.name, "seed": t.seed, "epochs": t.epochs, "seconds": t.seconds} for t in trainings]
    return pd.DataFrame(rows)


def differences(experiments: Sequence[Experiment], *, augmentation: bool = False) -> "pd.DataFrame":
    """Tabula los parámetros en los que no coinciden todos los experimentos, una columna por cada uno.

    Parameters
    ----------
    experiments : sequence of Experiment
    augmentation : bool
        Compara los rangos del aumento de datos en lugar de lo demás.
    """
    import pandas as pd

    values = {
        e.name: dict(e.augmentation or {}) if augmentation else e.model_dump(exclude={"augmentation"})
        for e in experiments
    }
    table = pd.DataFrame(values, dtype=object).map(lambda v: f"{v:g}" if isinstance(v, float) else v)
    return table[table.astype(str).nunique(axis=1) > 1]
