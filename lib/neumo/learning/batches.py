"""Generadores de lotes (`tf.data`) y aumento de datos; todo sorteo es función de (semilla, época, imagen)."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from neumo.data.store import ImageSet
    from neumo.params import Augmentation, Experiment

DRAWS = (
    "rotation",
    "height_shift",
    "width_shift",
    "shear",
    "zoom_y",
    "zoom_x",
    "flip",
    "spectrum",
    "partner",
    "gamma",
    "contrast",
    "brightness",
    "blur",
    "noise",
    "noise_seed",
    "cutout_y",
    "cutout_x",
    "crop_area",
    "crop_ratio",
    "crop_y",
    "crop_x",
)
"""Lo que se sortea por imagen: una columna de números uniformes en [0, 1) para cada nombre."""
_CROP = ("crop_area", "crop_ratio", "crop_y", "crop_x")


def draw_order(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Sortea el orden de una época: una permutación de `count` que solo depende de (`seed`, `epoch`).

    Examples
    --------
    >>> sorted(draw_order(4, seed=7, epoch=0).tolist())
    [0, 1, 2, 3]
    """
    return np.random.default_rng([seed, epoch, 1]).permutation(count)


def draw_uniform(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Sortea los números uniformes de una época, una fila por imagen y una columna por nombre de `DRAWS`.

    La fila es la de la imagen en su conjunto, no la de su turno: barajar no cambia lo que le toca. Los del recorte salen
    de otro sorteo: añadirlos no movió los demás.

    Examples
    --------
    >>> draw_uniform(4, seed=7, epoch=0).shape == (4, len(DRAWS))
    True
    """
    columns = (len(DRAWS) - len(_CROP), len(_CROP))
    parts = [
        np.random.default_rng([seed, epoch, stream]).random((count, width), dtype=np.float32)
        for stream, width in zip((2, 3), columns, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def _column(uniform: np.ndarray, name: str) -> np.ndarray:
    return uniform[..., DRAWS.index(name)]


def _signed(uniform: np.ndarray, name: str, limit: float) -> np.ndarray:
    return (2 * _column(uniform, name).astype(np.float64) - 1) * limit


def _stack(rows: list[list[Any]]) -> np.ndarray:
    flat = np.broadcast_arrays(*(entry for row in rows for entry in row))
    return np.stack(flat, axis=-1).reshape(*flat[0].shape, 3, 3)


def _crop_matrices(uniform: np.ndarray, augmentation: "Augmentation", size: int) -> np.ndarray:
    """Matrices que llevan la salida a un rectángulo al azar de la imagen (recorte con cambio de tamaño).

    Área uniforme entre `crop_area` y 1 y proporción log-uniforme, como el `RandomResizedCrop` de torchvision; este
    repite el sorteo si un lado no cabe, y aquí ese lado es el de la imagen: así no hay sorteos de más.
    """
    area = augmentation.crop_area + (1 - augmentation.crop_area) * _column(uniform, "crop_area").astype(np.float64)
    stretch = np.exp(_signed(uniform, "crop_ratio", np.log(augmentation.crop_ratio)))
    width, height = (np.minimum(np.sqrt(area * ratio), 1) for ratio in (stretch, 1 / stretch))
    left = (1 - width) * _column(uniform, "crop_x") * size + (width - 1) / 2
    top = (1 - height) * _column(uniform, "crop_y") * size + (height - 1) / 2
    return _stack([[width, 0, left], [0, height, top], [0, 0, 1]])


def affine_matrices(
    uniform: np.ndarray, augmentation: "Augmentation", size: int, *, source_size: int | None = None
) -> np.ndarray:
    """Compone recorte, giro, desplazamientos, cizallamiento, zoom y volteo en una sola matriz por imagen.

    El orden y los signos son los de `apply_affine_transform` de Keras: la matriz lleva cada píxel de la
    salida al punto de la entrada de donde se toma, girando alrededor del centro. A diferencia de
    `ImageDataGenerator` en Keras 3.15, `width_shift_range` mueve columnas y `height_shift_range` filas.

    Parameters
    ----------
    uniform : ndarray
        (n, len(DRAWS)), números en [0, 1); .5 es «sin cambio» salvo en el volteo, que ocurre desde .5.
    augmentation : Augmentation
        Rangos: grados en giro y cizallamiento, fracción del lado en los desplazamientos.
    size : int
        Lado de la salida, en píxeles.
    source_size : int, optional
        Lado de la imagen de la que se toma; por omisión, el de la salida.

    Returns
    -------
    ndarray
        (n, 3, 3) float64, en coordenadas (columna, fila).

    Examples
    --------
    >>> from neumo.params import Augmentation
    >>> still = np.full((1, len(DRAWS)), 0.5) * (np.array(DRAWS) != "flip")
    >>> np.allclose(affine_matrices(still, Augmentation(), 64), np.eye(3))
    True
    """
    theta = np.deg2rad(_signed(uniform, "rotation", augmentation.rotation_range))
    shear = np.deg2rad(_signed(uniform, "shear", augmentation.shear_range))
    down = _signed(uniform, "height_shift", augmentation.height_shift_range) * size
    right = _signed(uniform, "width_shift", augmentation.width_shift_range) * size
    zoom_y = 1 + _signed(uniform, "zoom_y", augmentation.zoom_range)
    zoom_x = 1 + _signed(uniform, "zoom_x", augmentation.zoom_range)
    mirror = np.where((_column(uniform, "flip") >= 0.5) & augmentation.horizontal_flip, -1.0, 1.0)
    cos, sin, centre = np.cos(theta), np.sin(theta), (size - 1) / 2
    # Keras piensa en (fila, columna); aquí x es la columna, y de ahí los signos cambiados del seno.
    rotate = _stack([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    shift = _stack([[1, 0, right], [0, 1, down], [0, 0, 1]])
    slant = _stack([[np.cos(shear), 0, 0], [-np.sin(shear), 1, 0], [0, 0, 1]])
    scale = _stack([[zoom_x * mirror, 0, 0], [0, zoom_y, 0], [0, 0, 1]])
    to_centre = np.array([[1, 0, -centre], [0, 1, -centre], [0, 0, 1]])
    matrices = np.linalg.inv(to_centre) @ rotate @ shift @ slant @ scale @ to_centre
    if augmentation.crop_area:
        matrices = _crop_matrices(uniform, augmentation, size) @ matrices
    ratio = (source_size or size) / size
    half = (ratio - 1) / 2  # el centro del píxel x está en x + 1/2
    return np.array([[ratio, 0, half], [0, ratio, half], [0, 0, 1]]) @ matrices if ratio != 1 else matrices


def warp(images: Any, matrices: Any, *, fill_mode: str = "nearest", size: int | None = None) -> "tf.Tensor":
    """Aplica una matriz afín a cada imagen, con una sola interpolación bilineal.

    Parameters
    ----------
    images : array or Tensor
        (n, S, S, C), uint8 o float32, en 0..255.
    matrices : array or Tensor
        (n, 3, 3), de salida a entrada, como las de `affine_matrices`.
    fill_mode : str
        Relleno de lo que queda fuera: "nearest", "reflect", "wrap" o "constant" (negro).
    size : int, optional
        Lado de la salida, en píxeles; por omisión, S.

    Returns
    -------
    Tensor
        (n, size, size, C) float32.
    """
    import tensorflow as tf

    images = tf.cast(images, tf.float32)
    rows = tf.reshape(tf.cast(matrices, tf.float32), [-1, 9])[:, :8]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=rows,
        output_shape=tf.shape(images)[1:3] if size is None else [size, size],
        interpolation="BILINEAR",
        fill_mode=fill_mode.upper(),
        fill_value=0.0,
    )


def _per_image(uniform: "tf.Tensor", name: str) -> "tf.Tensor":
    return uniform[:, DRAWS.index(name), None, None, None]


def _spectrum(images: "tf.Tensor", uniform: "tf.Tensor", augmentation: "Augmentation") -> "tf.Tensor":
    """Acerca el espectro de amplitud al de otra imagen del lote y conserva la fase (Xu et al. 2021, FACT).

    La fase guarda las formas; la amplitud, el contraste, la nitidez y el grano del equipo. Tres de cada diez
    imágenes quedan como están; en las demás la mezcla es geométrica.
    """
    import tensorflow as tf

    if not augmentation.spectrum_range:
        return images
    share = augmentation.spectrum_range * tf.nn.relu(uniform[:, DRAWS.index("spectrum")] - 0.3) / 0.7
    partner = tf.argsort(uniform[:, DRAWS.index("partner")], stable=True)
    waves = tf.signal.rfft2d(tf.transpose(images, [0, 3, 1, 2]))
    amplitude = tf.abs(waves) + 1e-3
    gain = tf.pow(tf.gather(amplitude, partner) / amplitude, share[:, None, None, None])
    mixed = tf.signal.irfft2d(waves * tf.cast(gain, waves.dtype), tf.shape(images)[1:3])
    return tf.clip_by_value(tf.transpose(mixed, [0, 2, 3, 1]), 0.0, 255.0)


def _tone(images: "tf.Tensor", uniform: "tf.Tensor", augmentation: "Augmentation") -> "tf.Tensor":
    """Gamma, contraste y brillo, en ese orden, recortados a 0..255."""
    import tensorflow as tf

    def signed(name: str) -> tf.Tensor:
        return 2 * _per_image(uniform, name) - 1

    if augmentation.gamma_range:
        exponent = tf.exp(augmentation.gamma_range * signed("gamma"))
        images = 255 * tf.pow(tf.maximum(images, 0) / 255, exponent)
    if augmentation.contrast_range:
        mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
        images = mean + (images - mean) * (1 + augmentation.contrast_range * signed("contrast"))
    if augmentation.brightness_range:
        images = images + 255 * augmentation.brightness_range * signed("brightness")
    return images


def _smooth(images: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    padded = tf.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="SYMMETRIC")
    once = tf.nn.avg_pool2d(padded, 3, 1, "VALID")
    return tf.nn.avg_pool2d(once, 3, 1, "VALID")


def _sharpness(images: "tf.Tensor", uniform: "tf.Tensor", augmentation: "Augmentation") -> "tf.Tensor":
    """Desenfoca (sorteo positivo, hasta el suavizado entero) o realza los bordes (negativo)."""
    if not augmentation.blur_range:
        return images
    amount = augmentation.blur_range * (2 * _per_image(uniform, "blur") - 1)
    return images + amount * (_smooth(images) - images)


def _noise(images: "tf.Tensor", uniform: "tf.Tensor", augmentation: "Augmentation") -> "tf.Tensor":
    import tensorflow as tf

    if not augmentation.noise_stddev:
        return images
    # La semilla del lote sale de lo sorteado para su primera imagen: no hay estado que se pierda al parar.
    seed = tf.bitcast(tf.stack([uniform[0, DRAWS.index("noise_seed")], uniform[0, 0]]), tf.int32)
    normal = tf.random.stateless_normal(tf.shape(images), seed)
    return images + 255 * augmentation.noise_stddev * _per_image(uniform, "noise") * normal


def _cutout(images: "tf.Tensor", uniform: "tf.Tensor", augmentation: "Augmentation") -> "tf.Tensor":
    """Tapa un cuadrado con el gris medio de la imagen (DeVries y Taylor 2017); puede asomar por el borde."""
    import tensorflow as tf

    if not augmentation.cutout_fraction:
        return images
    size = tf.cast(tf.shape(images)[1], tf.float32)
    along = tf.range(size) + 0.5
    half = augmentation.cutout_fraction * size / 2
    rows = tf.abs(along[None, :, None, None] - size * _per_image(uniform, "cutout_y")) < half
    columns = tf.abs(along[None, None, :, None] - size * _per_image(uniform, "cutout_x")) < half
    mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
    return tf.where(rows & columns, mean, images)


def _augment(images: Any, uniform: Any, matrices: Any, augmentation: "Augmentation", size: int) -> "tf.Tensor":
    import tensorflow as tf

    warped = warp(images, matrices, fill_mode=augmentation.fill_mode, size=size)
    images = warped
    for step in (_spectrum, _tone, _sharpness, _noise, _cutout):
        images = step(images, uniform, augmentation)
    # La interpolación no sale de 0..255; los demás pasos, sí.
    return images if images is warped else tf.clip_by_value(images, 0.0, 255.0)


def augment(images: Any, uniform: np.ndarray, augmentation: "Augmentation") -> "tf.Tensor":
    """Aumenta un lote: la transformación afín de una vez y después espectro, tono, nitidez, ruido y parche.

    Parameters
    ----------
    images : array or Tensor
        (n, S, S, C), en 0..255.
    uniform : ndarray
        (n, len(DRAWS)) float32 en [0, 1), como los de `draw_uniform`.
    augmentation : Augmentation
        Rangos; los que valen 0 no hacen nada.

    Returns
    -------
    Tensor
        (n, S, S, C) float32 en 0..255.
    """
    uniform, size = np.asarray(uniform, np.float32), images.shape[1]
    return _augment(images, uniform, affine_matrices(uniform, augmentation, size), augmentation, size)


@dataclass(frozen=True)
class _Plan:
    """Lo sorteado para una época: el orden y, si hay aumento, números y matrices por imagen."""

    order: np.ndarray
    uniform: np.ndarray
    matrices: np.ndarray


class _Batches:
    """Da el lote número `step` (contado desde la época 0) sin guardar más estado que la última época."""

    def __init__(
        self, image_set: "ImageSet", batch_size: int, seed: int, augmentation: Any, shuffle: bool, size: int | None
    ):
        self.images, self.rows = np.asarray(image_set.images), np.asarray(image_set.rows)
        self.labels = np.asarray(image_set.labels, np.float32)[:, None]
        self.batch_size, self.seed, self.augmentation, self.shuffle = batch_size, seed, augmentation, shuffle
        self.size = size or self.images.shape[1]
        self.steps = -(-len(self.rows) // batch_size)
        self.plan = functools.lru_cache(maxsize=2)(self._plan)

    def _plan(self, epoch: int) -> _Plan:
        count = len(self.rows)
        order = draw_order(count, seed=self.seed, epoch=epoch) if self.shuffle else np.arange(count)
        if self.augmentation is None:
            return _Plan(order, np.zeros((count, 0), np.float32), np.zeros((count, 0), np.float32))
        uniform = draw_uniform(count, seed=self.seed, epoch=epoch)
        matrices = affine_matrices(uniform, self.augmentation, self.size, source_size=self.images.shape[1])
        return _Plan(order, uniform, matrices.astype(np.float32))

    def __call__(self, step: int) -> tuple[np.ndarray, ...]:
        epoch, place = divmod(int(step), self.steps)
        plan = self.plan(epoch)
        chosen = plan.order[place * self.batch_size : (place + 1) * self.batch_size]
        images = self.images[self.rows[chosen]][..., None]
        return images, self.labels[chosen], plan.uniform[chosen], plan.matrices[chosen]


def _scale(images: Any, factor: float) -> "tf.Tensor":
    """Pasa a float32 y multiplica; compilado, en una sola pasada por la memoria (el doble de lotes por segundo)."""
    import tensorflow as tf

    if factor == 1:
        return tf.cast(images, tf.float32)
    scaled = tf.function(lambda pixels: tf.cast(pixels, tf.float32) * tf.constant(factor, tf.float32), jit_compile=True)
    return scaled(images)


def _finish(
    images: Any, uniform: Any, matrices: Any, *, augmentation: Any, size: int, channels: int, rescale: Any
) -> Any:
    import tensorflow as tf

    if augmentation is not None:
        images = _augment(images, uniform, matrices, augmentation, size)
    images = _scale(images, 1.0 if rescale is None else rescale)
    return images if channels == 1 else tf.repeat(images, channels, axis=-1)


def image_generator(
    image_set: "ImageSet",
    *,
    batch_size: int,
    seed: int = 0,
    augmentation: "Augmentation | None" = None,
    shuffle: bool = False,
    channels: int = 1,
    rescale: float | None = None,
    first_epoch: int = 0,
    epochs: int = 1,
    image_size: int | None = None,
) -> "tf.data.Dataset":
    """Construye el generador de lotes de un conjunto de imágenes.

    Parameters
    ----------
    image_set : ImageSet
        Imágenes uint8 (N, S, S) proyectadas en memoria, filas y etiquetas.
    batch_size : int
        Imágenes por lote; el último de cada época puede traer menos.
    seed : int
        Semilla del orden y del aumento.
    augmentation : Augmentation or None
        Aumento de datos; None lo apaga.
    shuffle : bool
        Baraja cada época.
    channels : int
        1 (gris) o 3 (el gris, repetido).
    rescale : float or None
        Factor final, como en `ImageDataGenerator` (1/255 da [0, 1]); None deja 0..255.
    first_epoch, epochs : int
        Primera época y número de épocas, que van una tras otra: empezar en la 3 da lo mismo que haber
        pasado por las tres anteriores.
    image_size : int, optional
        Lado de la salida; por omisión, S. Si es otro, el aumento lleva de uno a otro de una vez.

    Returns
    -------
    tf.data.Dataset
        Pares (B, S, S, C) float32 y (B, 1) float32, de cardinalidad conocida.
    """
    import tensorflow as tf

    batches = _Batches(image_set, batch_size, seed, augmentation, shuffle, image_size)
    stored, size = batches.images.shape[1], batches.size
    finish = functools.partial(_finish, augmentation=augmentation, size=size, channels=channels, rescale=rescale)

    @tf.autograph.experimental.do_not_convert  # solo hay `if` de Python: convertirlos cuesta más que trazarlos
    def load(step: tf.Tensor) -> tuple:
        kinds = [tf.uint8, tf.float32, tf.float32, tf.float32]
        # stateful=False deja que varios hilos preparen lotes, también en modo determinista.
        images, labels, uniform, matrices = tf.numpy_function(batches, [step], kinds, stateful=False)
        images = finish(tf.ensure_shape(images, (None, stored, stored, 1)), uniform, matrices)
        return tf.ensure_shape(images, (None, size, size, channels)), tf.ensure_shape(labels, (None, 1))

    # Los hilos y los lotes que se preparan son fijos: no hay nada que TensorFlow deba ajustar mientras, y el hilo con que
    # lo haría puede tardar segundos en enterarse de que se acabó.
    options = tf.data.Options()
    options.autotune.enabled = False
    steps = tf.data.Dataset.range(first_epoch * batches.steps, (first_epoch + epochs) * batches.steps)
    return steps.map(load, num_parallel_calls=2, deterministic=True).prefetch(2).with_options(options)


def train_generator(
    image_set: "ImageSet",
    *,
    batch_size: int = 32,
    seed: int = 0,
    augmentation: "Augmentation | None" = None,
    **options: Any,
) -> "tf.data.Dataset":
    """Construye el generador de entrenamiento: barajado y, si se pide, con aumento de datos."""
    return image_generator(
        image_set, batch_size=batch_size, seed=seed, augmentation=augmentation, shuffle=True, **options
    )


def experiment_generator(
    experiment: "Experiment", image_set: "ImageSet", *, seed: int, first_epoch: int = 0, epochs: int = 1
) -> "tf.data.Dataset":
    """Construye el generador de entrenamiento de un experimento: su lote, sus canales y su aumento."""
    return train_generator(
        image_set,
        batch_size=experiment.batch_size,
        seed=seed,
        channels=experiment.channels,
        augmentation=experiment.augmentation,
        first_epoch=first_epoch,
        epochs=epochs,
        image_size=experiment.image_size,
    )


def val_generator(image_set: "ImageSet", *, batch_size: int = 64, **options: Any) -> "tf.data.Dataset":
    """Construye el generador de validación: en orden y sin aumento."""
    return image_generator(image_set, batch_size=batch_size, **options)


def test_generator(image_set: "ImageSet", **options: Any) -> "tf.data.Dataset":
    """Construye el generador de prueba: el mismo que el de validación, en orden y sin aumento."""
    return val_generator(image_set, **options)
