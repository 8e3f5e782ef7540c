"""El único camino para predecir: cargar una red, sus logits, la media de las semillas y la probabilidad calibrada."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neumo.cache import write_atomically
from neumo.learning.model_file import check, damaged

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from neumo.data.store import ImageSet
    from neumo.learning.training import Training
    from neumo.run import Run


BLOCK = 32
"""Imágenes que pasan juntas por la red."""


def input_size(file: Path) -> int:
    """Lee en un archivo `.keras` el lado de la imagen que espera la red, sin cargarla."""
    layers = check(file)["config"]["layers"]
    return int(next(layer["config"]["batch_shape"][1] for layer in layers if "batch_shape" in layer["config"]))


def load_network(path: Path) -> "keras.Model":
    """Carga una red de un archivo `.keras`, sin compilar.

    Raises
    ------
    NeumoError
        Si el archivo no está, no es una red entera, o trae lo que `neumo.learning.model_file.check` no acepta.
    """
    check(path)
    with quiet_tensorflow():
        import keras

        try:
            network = keras.models.load_model(path, compile=False, safe_mode=True)
            side, channels = network.input_shape[1], network.input_shape[-1]
            if (network.input_shape, network.output_shape) != ((None, side, side, channels), (None, 1)):
                raise ValueError("no es una red de una imagen a una probabilidad")
        except Exception as error:  # Keras avisa de un archivo dañado con casi cualquier clase de error
            raise damaged(path, error) from error
    return network


def logits(training: "Training", image_set: "ImageSet") -> np.ndarray:
    """Calcula el logit de PNEUMONIA de cada imagen, o lo lee si ya se calculó.

    Returns
    -------
    (n,) float64 array
        En el orden de `image_set`.
    """
    path = training.folder / f"logits-{image_set.digest[:16]}.npy"
    if not path.is_file():
        values = predict_logits(load_network(training.model_path), image_set.pixels())
        temporary = path.with_name(f"tmp-{os.getpid()}.npy")
        np.save(temporary, values)
        os.replace(temporary, path)
    return np.load(path)


def predict_logits(model: "keras.Model", pixels: np.ndarray) -> np.ndarray:
    """Aplica la red a imágenes en memoria, sin la sigmoide final.

    Parameters
    ----------
    pixels : (n, lado, lado) uint8 array
        En gris; se repite hasta los canales que pida la red.

    Returns
    -------
    (n,) float64 array
    """
    from neumo.learning.networks import logit_model

    return network_logits(logit_model(model), pixels)


def network_logits(network: "keras.Model", pixels: np.ndarray) -> np.ndarray:
    """Aplica una red que ya da logits (`neumo.learning.networks.logit_model`), en bloques de `BLOCK` imágenes.

    Parámetros y resultado, los de `predict_logits`.
    """
    channels, forward = network.input_shape[-1], _compiled(network)
    blocks = (pixels[start : start + BLOCK, ..., None] for start in range(0, len(pixels), BLOCK))
    batches = [forward(np.repeat(block, channels, axis=-1)).numpy() for block in blocks]
    return np.concatenate(batches).reshape(-1).astype("float64")


@functools.lru_cache(maxsize=8)
def _compiled(network: "keras.Model") -> Callable:
    """La red como una función de TensorFlow, trazada una vez: sin ella, cada operación recorre la memoria por su cuenta."""
    import tensorflow as tf

    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)
    return tf.function(functools.partial(network, training=False), input_signature=[signature], autograph=False)


def predictions(
    trainings: Sequence["Training"], image_set: Callable[..., "ImageSet"], *, partition: str
) -> "pd.DataFrame":
    """Predice una partición con cada entrenamiento.

    Returns
    -------
    DataFrame
        Columnas model, seed, partition, path, group, subtype, y_true, logit; una fila por imagen y entrenamiento.
    """
    import pandas as pd

    tables = []
    for training in trainings:
        images = image_set(partition, image_size=training.experiment.image_size)
        table = images.table[["path", "group", "subtype"]].copy()
        table.insert(0, "model", training.experiment.name)
        table.insert(1, "seed", training.seed)
        table.insert(2, "partition", partition)
        tables.append(table.assign(y_true=images.labels, logit=logits(training, images)))
    return pd.concat(tables, ignore_index=True)


def export_models(run: "Run", trainings: Sequence["Training"]) -> dict[str, list[str]]:
    """Copia las redes finales a `models/` de la ejecución, para que `predict` no dependa de la caché.

    Parameters
    ----------
    run : Run
    trainings : sequence of Training
        Los modelos finales, todas sus semillas.

    Returns
    -------
    dict of str to list of str
        Archivos de cada modelo, relativos a la carpeta de la ejecución: la clave `files` del artefacto `chosen`.
    """
    folder = run.path("models")
    files: dict[str, list[str]] = {}
    for training in trainings:
        path = folder / f"{training.experiment.name}-{training.seed}.keras"
        write_atomically(path, training.model_path.read_bytes())
        files.setdefault(training.experiment.name, []).append(path.relative_to(run.folder).as_posix())
    for stale in set(folder.glob("*.keras")) - set(run.files("models")):
        stale.unlink()
    run.stamp("models")
    return files


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Calla lo que TensorFlow escribe por su cuenta al arrancar: nada de ello es para quien clasifica imágenes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)
