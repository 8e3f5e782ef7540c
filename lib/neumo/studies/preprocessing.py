"""Lo que los capítulos 04 y 05 enseñan del preprocesamiento, y `ImageDataGenerator`, para compararse con él."""

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.learning.batches import DRAWS, affine_matrices, augment, draw_uniform, train_generator, warp

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf

    from neumo.data.store import ImageSet
    from neumo.params import Augmentation


TRANSFORMS = {
    "giro": ("rotation",),
    "desplazamiento horizontal": ("width_shift",),
    "desplazamiento vertical": ("height_shift",),
    "cizallamiento": ("shear",),
    "zoom": ("zoom_y", "zoom_x"),
    "volteo horizontal": ("flip",),
}
"""Nombre en español de cada transformación geométrica y los sorteos que la deciden."""


def _still(**drawn: float) -> np.ndarray:
    row = {name: 0.0 if name == "flip" else 0.5 for name in DRAWS} | drawn
    return np.array([[row[name] for name in DRAWS]], np.float32)


def _to_pixels(images: Any) -> np.ndarray:
    return np.asarray(images)[0, ..., 0].round().astype(np.uint8)


def augmentation_examples(pixels: np.ndarray, augmentation: "Augmentation", *, seed: int) -> dict[str, np.ndarray]:
    """Aplica a una radiografía cada transformación por separado, en su extremo, y todas juntas, al azar.

    Parameters
    ----------
    pixels : (S, S) uint8 array
    augmentation : Augmentation
    seed : int
        Decide los dos ejemplos con todas.

    Returns
    -------
    dict
        Título en español → (S, S) uint8, con la imagen de partida primero.
    """
    images = pixels[None, ..., None]
    examples = {"sin aumento": pixels}
    for title, draws in TRANSFORMS.items():
        examples[title] = _to_pixels(augment(images, _still(**dict.fromkeys(draws, 1.0)), augmentation))
    for index, uniform in enumerate(draw_uniform(2, seed=seed, epoch=0), start=1):
        examples[f"todas, sorteo {index}"] = _to_pixels(augment(images, uniform[None], augmentation))
    return examples


def one_by_one(pixels: np.ndarray, augmentation: "Augmentation", *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Aplica un mismo sorteo de dos maneras: de una vez, y una transformación tras otra.

    Returns
    -------
    tuple of (S, S) uint8 arrays
        Con una sola interpolación, y con una por transformación: cada una emborrona un poco más.
    """
    uniform = draw_uniform(1, seed=seed, epoch=0)
    matrices = affine_matrices(uniform, augmentation, pixels.shape[0])
    step = pixels[None, ..., None].astype(np.float32)
    for draws in TRANSFORMS.values():
        single = _still(**{name: float(uniform[0, DRAWS.index(name)]) for name in draws})
        step = warp(step, affine_matrices(single, augmentation, pixels.shape[0]), fill_mode=augmentation.fill_mode)
    once = warp(pixels[None, ..., None], matrices, fill_mode=augmentation.fill_mode)
    return _to_pixels(once), _to_pixels(step)


def detail(pixels: np.ndarray) -> float:
    """Mide el detalle de una imagen: diferencia absoluta media entre píxeles vecinos, en niveles de gris.

    Examples
    --------
    >>> detail(np.array([[0, 10], [0, 10]], np.uint8))
    5.0
    """
    values = pixels.astype(float)
    return float((np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean()) / 2)


def describe(generators: dict[str, "tf.data.Dataset"], sets: dict[str, "ImageSet"]) -> "pd.DataFrame":
    """Resume cada generador mirando su primer lote: imágenes, lotes, forma, tipo, rango y orden."""
    import pandas as pd

    from neumo.words import PARTITIONS

    rows = []
    for name, generator in generators.items():
        images, labels = (part.numpy() for part in next(iter(generator)))
        rows.append(
            {
                "partición": PARTITIONS.get(name, name),
                "imágenes": len(sets[name]),
                "lotes": int(generator.cardinality()),
                "forma": " × ".join(str(side) for side in images.shape),
                "tipo": str(images.dtype),
                "rango": f"{images.min():.0f}…{images.max():.0f}",
                "clases del lote": f"{int((labels == 0).sum())} NORMAL, {int((labels == 1).sum())} PNEUMONIA",
                "orden": "barajado en cada época" if name == "train" else "el de la tabla",
            }
        )
    return pd.DataFrame(rows)


def largest_difference(one: "tf.data.Dataset", other: "tf.data.Dataset") -> float:
    """Devuelve la mayor diferencia entre píxeles de dos generadores de igual longitud, lote a lote."""
    pairs = zip(one, other, strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for (a, _), (b, _) in pairs)


def speed(
    image_set: "ImageSet", *, augmentation: "Augmentation", batch_size: int, channels: int, repeats: int = 3
) -> "pd.DataFrame":
    """Mide el generador de entrenamiento con y sin aumento: imágenes por segundo, mediana de `repeats` pasadas."""
    import pandas as pd

    rows = []
    for title, settings in (("sin aumento", None), ("con el aumento del original", augmentation)):
        batches = train_generator(image_set, batch_size=batch_size, augmentation=settings, channels=channels)
        seconds = []
        for _ in range(repeats):
            started = time.perf_counter()
            count = sum(len(labels) for _, labels in batches)
            seconds.append(time.perf_counter() - started)
        rows.append({"generador": title, "imágenes por segundo": count / float(np.median(seconds))})
    return pd.DataFrame(rows)


def image_data_generator(**options: Any) -> Any:
    """Construye un `ImageDataGenerator` con las opciones de Keras; está en desuso, pero es el del informe original."""
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    return ImageDataGenerator(**options)


def transform(pixels: np.ndarray, *, seed: int = 1, **options: Any) -> np.ndarray:
    """Aplica a una imagen una transformación al azar de `ImageDataGenerator`.

    Parameters
    ----------
    pixels : (S, S) array
    **options
        Las de `ImageDataGenerator`, por ejemplo `width_shift_range=0.2`.

    Returns
    -------
    (S, S) float32 array
    """
    with warnings.catch_warnings():
        # Usa un espacio de nombres de SciPy en desuso; aquí no hay nada que arreglar.
        warnings.simplefilter("ignore", DeprecationWarning)
        generator = image_data_generator(**options)
        return generator.random_transform(pixels[..., None].astype("float32"), seed=seed)[..., 0]


def moved(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """Dice cuántas filas y columnas se movió el punto más claro de una imagen."""
    start, end = (np.unravel_index(int(np.argmax(image)), image.shape) for image in (before, after))
    return int(end[0] - start[0]), int(end[1] - start[1])


def surprises(*, size: int = 64) -> "pd.DataFrame":
    """Comprueba qué hace `ImageDataGenerator` con cada opción y qué cree quien lo usa.

    Returns
    -------
    DataFrame
        Una fila por opción: lo pedido, lo esperado, lo que hizo la versión instalada y lo que hace esta biblioteca.
    """
    import pandas as pd

    from neumo.params import Augmentation

    dot = np.zeros((size, size), np.uint8)
    dot[size // 2, size // 2] = 255
    off = dict.fromkeys(("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range"), 0.0)

    def ours(draw: str, **ranges: float) -> np.ndarray:
        uniform = np.array([[1.0 if n == draw else 0.0 if n == "flip" else 0.5 for n in DRAWS]], np.float32)
        settings = Augmentation.model_validate(off | ranges | {"horizontal_flip": False, "fill_mode": "constant"})
        return np.asarray(augment(dot[None, ..., None], uniform, settings))[0, ..., 0]

    def shift(option: str, draw: str, expected: str) -> dict[str, str]:
        options: dict[str, Any] = {"fill_mode": "constant", option: [size // 4]}
        theirs = transform(dot, **options)
        named = ("filas", "columnas")
        texts = [
            " y ".join(f"{abs(n)} {axis}" for n, axis in zip(moved(dot, image), named, strict=True) if n)
            for image in (theirs, ours(draw, **{option: 0.25}))
        ]
        return {"se pide": f"{option}=0.25", "se espera": expected, "ImageDataGenerator": texts[0], "aquí": texts[1]}

    noise = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    change = float(np.abs(transform(noise, shear_range=0.2) - noise).mean())
    radians = np.degrees(0.2)
    rows = [
        shift("width_shift_range", "width_shift", f"mueve {size // 4} columnas"),
        shift("height_shift_range", "height_shift", f"mueve {size // 4} filas"),
        {
            "se pide": "shear_range=0.2",
            "se espera": f"inclinar hasta 0.2 radianes ({radians:.1f}°)",
            "ImageDataGenerator": f"inclina hasta 0.2°: una imagen de ruido puro cambia {change:.1f} niveles de 255",
            "aquí": "lo mismo, dicho en la ayuda del parámetro: grados",
        },
        {
            "se pide": "target_size",
            "se espera": "reducir promediando",
            "ImageDataGenerator": "toma el vecino más próximo (interpolation='nearest')",
            "aquí": "promedia el área al reducir",
        },
    ]
    return pd.DataFrame(rows)
