"""Grad-CAM: qué zonas de la imagen empujan el logit."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.errors import NeumoError
from neumo.learning.networks import leaf_layers, one_view_logits

if TYPE_CHECKING:
    import keras


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
    raise NeumoError(f"La red «{model.name}» no tiene capas con plano de imagen: Grad-CAM no se puede aplicar.")


def grad_cam(model: "keras.Model", images: np.ndarray, *, toward: int = 1, batch_size: int = 32) -> np.ndarray:
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
    (network, heat), channels = _traced(model, toward), model.input_shape[-1]
    network.set_weights(model.get_weights())  # pueden haber cambiado desde que se trazó
    blocks = (images[start : start + batch_size, ..., None] for start in range(0, len(images), batch_size))
    raw = np.concatenate([heat(np.repeat(block, channels, axis=-1)).numpy() for block in blocks])
    highest = raw.max(axis=(1, 2), keepdims=True)
    return np.divide(raw, highest, out=np.zeros_like(raw), where=highest > 0)


@functools.lru_cache(maxsize=8)
def _traced(model: "keras.Model", toward: int) -> tuple["keras.Model", Callable]:
    """La red de logits de `model` y la función, trazada una vez, que lleva de los píxeles al mapa sin dividir por su máximo."""
    import tensorflow as tf

    layer, network = target_layer(model), one_view_logits(model)
    call = layer.call

    def heat(pixels: tf.Tensor) -> tf.Tensor:
        tape, seen = tf.GradientTape(), []

        def recording(*args: Any, **kwargs: Any) -> Any:
            seen.append(call(*args, **kwargs))
            tape.watch(seen[-1])
            return seen[-1]

        layer.call = recording  # así se ve la activación aunque la capa esté dentro de otra red
        try:
            with tape:
                score = tf.reduce_sum(network(tf.cast(pixels, tf.float32), training=False))
        finally:
            del layer.call
        gradient = tf.cast(tape.gradient(score, seen[0]), tf.float32) * (1.0 if toward else -1.0)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        found = tf.nn.relu(tf.reduce_sum(weights * tf.cast(seen[0], tf.float32), axis=-1, keepdims=True))
        return tf.image.resize(found, model.input_shape[1:3], "bilinear")[..., 0]

    signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    return network, tf.function(heat, input_signature=[signature], autograph=False)
