"""Lo que el capítulo 06 cuenta de una red: sus capas, con la forma de su salida y sus parámetros."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import pandas as pd


_TYPES = {
    "Rescaling": "escala",
    "Conv2D": "convolución",
    "MaxPooling2D": "submuestreo por máximo",
    "AveragePooling2D": "submuestreo por media",
    "BatchNormalization": "normalización por lotes",
    "LayerNormalization": "estandarización por imagen",
    "GlobalAveragePooling2D": "media global",
    "Flatten": "aplanado",
    "Dropout": "dropout",
    "Dense": "densa",
    "ReLU": "activación ReLU",
    "Activation": "activación",
    "Add": "suma",
    "Multiply": "producto",
    "Average": "promedio",
    "Concatenate": "concatenación",
}


def layer_table(model: "keras.Model") -> "pd.DataFrame":
    """Describe las capas de una red, una por fila.

    Parameters
    ----------
    model : keras.Model
        Red construida; no hace falta que esté compilada ni entrenada.

    Returns
    -------
    DataFrame
        type (clase de Keras), description (en español), output_shape (por ejemplo «62 × 62 × 32»), parameters
        (enteros) y trainable (los que aprende el gradiente). Sin el nombre de la capa: Keras lo numera según
        cuántas haya hecho antes el proceso, y la misma red daría otra tabla.
    """
    import pandas as pd

    rows = [
        {
            "type": type(layer).__name__,
            "description": _TYPES.get(type(layer).__name__, ""),
            "output_shape": " × ".join(str(side) for side in layer.output.shape[1:]),
            "parameters": layer.count_params(),
            "trainable": sum(math.prod(weight.shape) for weight in layer.trainable_weights),
        }
        for layer in model.layers
        if type(layer).__name__ != "InputLayer"
    ]
    return pd.DataFrame(rows)
