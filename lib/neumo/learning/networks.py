"""La CNN de 13 capas del informe y la red residual mejorada."""

from typing import TYPE_CHECKING, Any

from neumo.hardware import resolved_precision

if TYPE_CHECKING:
    import keras

    from neumo.params import Experiment

_ONE_VIEW = "one_view"


def policy_name(precision: str) -> str:
    """Traduce `precision` al nombre de la política de tipos de Keras.

    Parameters
    ----------
    precision : str
        "float32", "bfloat16" o "auto" (bfloat16 donde el procesador gana con él).

    Examples
    --------
    >>> policy_name("float32"), policy_name("bfloat16")
    ('float32', 'mixed_bfloat16')
    """
    return "mixed_bfloat16" if resolved_precision(precision) == "bfloat16" else "float32"


def original_cnn(experiment: "Experiment", image_size: int, channels: int) -> "keras.Sequential":
    """Construye las 13 capas del informe original, en su orden, tras el paso de 0..255 a [0, 1].

    Parameters
    ----------
    experiment : Experiment
        `kernel_size`, `batchnorm_momentum`, `dropout`, `l2` (de la Dense de 128) y `precision`.
    image_size, channels : int
        Forma de la entrada: (image_size, image_size, channels).

    Returns
    -------
    keras.Sequential
        Sin compilar; la última activación, en float32.
    """
    from keras import Input, Sequential, layers, regularizers

    dtype = policy_name(experiment.precision)
    blocks = []
    for filters in (32, 64, 128):
        blocks += [
            layers.Conv2D(filters, experiment.kernel_size, activation="relu", dtype=dtype),
            layers.MaxPooling2D(dtype=dtype),
            layers.BatchNormalization(momentum=experiment.batchnorm_momentum, dtype=dtype),
        ]
    penalty = regularizers.L2(experiment.l2) if experiment.l2 else None
    head = [
        layers.Flatten(dtype=dtype),
        layers.Dropout(experiment.dropout, dtype=dtype),
        layers.Dense(128, activation="relu", kernel_regularizer=penalty, dtype=dtype),
        layers.Dense(1, activation="sigmoid", dtype="float32"),
    ]
    shape = Input((image_size, image_size, channels), name="pixels")
    return Sequential([shape, layers.Rescaling(1 / 255), *blocks, *head], name="original")


def _standardise(pixels: Any) -> Any:
    """Resta a cada imagen su media y la divide por su desviación: la exposición deja de ser una pista."""
    from keras import layers

    return layers.LayerNormalization(
        axis=(1, 2, 3), center=False, scale=False, epsilon=1.0, dtype="float32", name="standardise"
    )(pixels)


class _Blocks:
    """Los ladrillos de la red residual, con su política de tipos y su inercia."""

    def __init__(self, dtype: str, momentum: float):
        self.dtype, self.momentum = dtype, momentum

    def conv(self, x: Any, filters: int, *, kernel: int = 3, strides: int = 1) -> Any:
        from keras import layers

        x = layers.Conv2D(
            filters,
            kernel,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype,
        )(x)
        return layers.BatchNormalization(momentum=self.momentum, dtype=self.dtype)(x)

    def residual(self, x: Any, filters: int, *, strides: int) -> Any:
        from keras import layers

        y = layers.ReLU(dtype=self.dtype)(self.conv(x, filters, strides=strides))
        y = self.conv(y, filters)
        if strides > 1:
            x = layers.AveragePooling2D(strides, padding="same", dtype=self.dtype)(x)
        if x.shape[-1] != filters:
            x = self.conv(x, filters, kernel=1)
        return layers.ReLU(dtype=self.dtype)(layers.Add(dtype=self.dtype)([x, y]))


def residual(experiment: "Experiment", image_size: int, channels: int) -> "keras.Model":
    """Construye la red mejorada: residual (He et al. 2016), pequeña, que se entrena desde cero.

    Parameters
    ----------
    experiment : Experiment
        `width` (filtros del primer bloque), `batchnorm_momentum`, `dropout` y `precision`.
    image_size, channels : int
        Forma de la entrada: (image_size, image_size, channels), píxeles 0..255.

    Returns
    -------
    keras.Model
        Sin compilar; estandariza cada imagen dentro, y su salida es la probabilidad en float32.
    """
    from keras import Input, Model, layers

    dtype = policy_name(experiment.precision)
    blocks = _Blocks(dtype, experiment.batchnorm_momentum)
    pixels = Input((image_size, image_size, channels), name="pixels")
    x = blocks.conv(_standardise(pixels), experiment.width, strides=2)
    x = layers.ReLU(dtype=dtype)(x)
    for stage, filters in enumerate(experiment.width * factor for factor in (1, 2, 4, 8)):
        x = blocks.residual(x, filters, strides=2 if stage else 1)
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    x = layers.Dropout(experiment.dropout, dtype="float32")(x)
    probability = layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")(x)
    return Model(pixels, probability, name="residual")


def build(experiment: "Experiment", image_size: int, channels: int) -> "keras.Model":
    """Construye la red de un experimento, sin compilar.

    Parameters
    ----------
    experiment : Experiment
        `network` elige entre "original" y "residual".
    image_size : int
        Lado de la imagen, en píxeles.
    channels : int
        1 o 3.

    Returns
    -------
    keras.Model
        De píxeles sin escalar (B, S, S, C), en 0..255, a la probabilidad de PNEUMONIA (B, 1) float32.
    """
    builder = {"original": original_cnn, "residual": residual}[experiment.network]
    return builder(experiment, image_size, channels)


def logit_model(model: "keras.Model") -> "keras.Model":
    """Devuelve la misma red sin la sigmoide final: con los mismos pesos, da logits (B, 1) float32.

    La sigmoide satura (en bfloat16, a 15.94) y de la probabilidad no se recupera el logit.
    """
    from keras import Model, layers

    last = model.layers[-1]
    if isinstance(last, layers.Activation):
        return Model(model.inputs[0], last.input)
    dense = layers.Dense(last.units, dtype="float32", name="logit")
    logits = dense(last.input)
    dense.set_weights(last.get_weights())
    return Model(model.inputs[0], logits)


def with_views(model: "keras.Model", views: int) -> "keras.Model":
    """Envuelve `model` para que promedie los logits de varias vistas de cada imagen (aumento al predecir).

    Dos vistas son la imagen y su espejo; seis, además, las de un 9 % más cerca y un 9 % más lejos, con los suyos. Es una
    red de Keras corriente: se guarda y se carga sola. Con una vista es la misma red.
    """
    from keras import Input, Model, layers, ops

    if views == 1:
        return model
    logits = logit_model(model)
    logits.name = _ONE_VIEW
    height, width, _ = shape = model.input_shape[1:]
    seen = [pixels := Input(shape, name="pixels")]
    if views == 6:
        border = max(1, round(0.045 * height))
        wider = ops.pad(pixels, [[0, 0], [border, border], [border, border], [0, 0]], mode="symmetric")
        # `layers.Resizing` no sirve: llamada sin `training`, pone en modo de entrenamiento a las capas que la siguen.
        seen += [ops.image.resize(x, (height, width)) for x in (layers.Cropping2D(border)(pixels), wider)]
    seen += [ops.flip(view, axis=2) for view in seen]
    # Todas las vistas pasan por la red de una vez: el grafo la contiene una sola vez, y se traza antes.
    every = ops.reshape(logits(ops.concatenate(seen, axis=0)), (len(seen), -1, 1))
    probability = layers.Activation("sigmoid", dtype="float32", name="probability")(ops.mean(every, axis=0))
    return Model(pixels, probability, name=f"{model.name}_views")


def one_view_logits(model: "keras.Model") -> "keras.Model":
    """Devuelve la red de logits que ve la imagen tal cual, sin las demás vistas de `with_views`."""
    inner = [layer for layer in model.layers if layer.name == _ONE_VIEW]
    return inner[0] if inner else logit_model(model)


def leaf_layers(model: "keras.Model") -> list["keras.layers.Layer"]:
    """Devuelve las capas de una red en orden, entrando en las redes anidadas."""
    nested = ((leaf_layers(layer) if hasattr(layer, "layers") else [layer]) for layer in model.layers)
    return [layer for layers in nested for layer in layers]
