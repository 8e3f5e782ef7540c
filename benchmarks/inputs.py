"""La entrada de datos: de los JPEG a los lotes, la primera vez y las siguientes, con y sin aumento."""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from harness import Bench, Torch

from neumo.data import manifest, store
from neumo.learning.batches import image_generator, train_generator
from neumo.params import Augmentation
from neumo.studies.preprocessing import image_data_generator

SIZE = 224
CLASSES = ["NORMAL", "PNEUMONIA"]
ORIGINAL = {
    "rotation_range": 20,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 0.2,
    "zoom_range": 0.2,
    "horizontal_flip": True,
}


def generator(folder: Path, *, mode: str = "grayscale", **options: Any) -> Any:
    """`ImageDataGenerator.flow_from_directory` sobre `folder/train`, en [0, 1]."""
    keras = image_data_generator(rescale=1 / 255, **options)
    with contextlib.redirect_stdout(io.StringIO()):  # anuncia cuántas imágenes encuentra
        return keras.flow_from_directory(
            folder / "train",
            target_size=(SIZE, SIZE),
            color_mode=mode,
            classes=CLASSES,
            class_mode="binary",
            batch_size=32,
            shuffle=False,
            interpolation="bilinear",
        )


def directory(folder: Path) -> Any:
    """`image_dataset_from_directory` sobre `folder/train`, en gris y en [0, 1]."""
    import keras

    with contextlib.redirect_stdout(io.StringIO()):
        images = keras.utils.image_dataset_from_directory(
            folder / "train",
            label_mode="binary",
            class_names=CLASSES,
            color_mode="grayscale",
            batch_size=32,
            image_size=(SIZE, SIZE),
            shuffle=False,
        )
    return images.map(lambda x, y: (x / 255, y), num_parallel_calls=2).prefetch(2)


def ours(folder: Path, cache: Path) -> store.ImageSet:
    """Las imágenes de `folder/train`, decodificadas por la biblioteca."""
    table = manifest.scan(folder)
    table = table[table["original_split"] == "train"].reset_index(drop=True)
    return store.load(table, folder, image_size=SIZE, cache=cache)


def repeated(folder: Path, target: Path, count: int) -> Path:
    """Copia los JPEG de entrenamiento hasta que son `count`, con unos bytes detrás que los distinguen: no hay dos iguales."""
    found = sorted(manifest.image_paths(folder / "train"))
    for number in range(max(count, len(found))):
        file = found[number % len(found)]
        copy = target / "train" / file.parent.name / f"{number:05d}-{file.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes() + number.to_bytes(8, "big"))
    return target


def drain(batches: Iterable, count: int) -> None:
    """Recorre un generador hasta `count` imágenes."""
    seen = 0
    for images, _ in batches:
        seen += len(images)
        if seen >= count:
            break


def pillow(folder: Path) -> None:
    """Un bucle de Pillow, como el que se escribe en un cuaderno."""
    from PIL import Image

    batch = []
    for path in sorted((folder / "train").rglob("*.jp*g")):
        with Image.open(path) as image:
            batch.append(
                np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32) / 255
            )
        if len(batch) == 32:
            np.stack(batch)
            batch.clear()


def same_pixels(bench: Bench, folder: Path, cache: Path) -> None:
    """Antes de medir, comprueba que las dos entradas dan las mismas imágenes."""
    images, peer = ours(folder, cache), generator(folder)
    names = [Path(name).as_posix() for name in peer.filenames]
    rows = images.table.set_index(images.table["path"].str.removeprefix("train/"))
    order = [rows.index.get_loc(name) for name in names]
    reference = np.concatenate([next(peer)[0] for _ in range(len(peer))])[..., 0] * 255
    difference = float(np.abs(images.pixels()[order].astype(float) - reference).mean())
    bench.take("diferencia con los píxeles de ImageDataGenerator", difference, unit="niveles de 255", target=2)


def first_pass(bench: Bench, folder: Path, torch: Torch) -> None:
    """De los originales a lotes de 224 píxeles, con todo lo que cada uno hace antes."""
    count = len(list(manifest.image_paths(folder / "train")))

    def mine() -> None:
        with tempfile.TemporaryDirectory() as cache:
            drain(image_generator(ours(folder, Path(cache)), batch_size=32, rescale=1 / 255), count)

    peers: dict[str, tuple[Callable, float | None]] = {
        "ImageDataGenerator, RGB (su omisión)": (lambda: drain(generator(folder, mode="rgb"), count), 2.5),
        "ImageDataGenerator, gris": (lambda: drain(generator(folder), count), None),
        "image_dataset_from_directory": (lambda: drain(directory(folder), count), 1.5),
        "bucle de Pillow": (lambda: pillow(folder), 5),
    }
    if torch.version:
        told = {"folder": str(folder), "channels": 1, "augment": False, "side": SIZE}
        peers["DataLoader de PyTorch"] = (lambda: torch.ask("drain", count=count, fresh=True, **told), 2)
    bench.compare("primera pasada, JPEG originales a 224 px", mine, peers, images=count)


def later_epochs(bench: Bench, folder: Path, images: store.ImageSet, torch: Torch) -> None:
    """Épocas posteriores, en gris, sin aumento y con el del original."""
    count = min(len(images), 512 if bench.quick else 4096)
    plain = train_generator(images, batch_size=32, augmentation=None, channels=1, rescale=1 / 255)
    cached, decoded = directory(folder).cache().prefetch(2), directory(folder)
    drain(cached, len(images))
    still = generator(folder)
    peers: dict[str, tuple[Callable, float | None]] = {
        "ImageDataGenerator": (lambda: drain(still, count), 10),
        "image_dataset_from_directory": (lambda: drain(decoded, count), 5),
        "tf.data con .cache()": (lambda: drain(cached, count), 1),
    }
    told = {"folder": str(folder), "channels": 1, "side": SIZE}
    if torch.version:
        peers["DataLoader de PyTorch"] = (lambda: torch.ask("drain", count=count, augment=False, **told), 5)
    bench.compare("época posterior, sin aumento", lambda: drain(plain, count), peers, images=count)

    count = min(count, 1024)
    moved = train_generator(images, batch_size=32, augmentation=Augmentation(), channels=1, rescale=1 / 255)
    theirs, layers = generator(folder, **ORIGINAL), random_layers(cached)
    peers = {
        "ImageDataGenerator": (lambda: drain(theirs, count), 4),
        "capas aleatorias de Keras": (lambda: drain(layers, count), 4),
    }
    if torch.version:
        peers["torchvision v2 en un DataLoader"] = (lambda: torch.ask("drain", count=count, augment=True, **told), 1.5)
    bench.compare("época posterior, con el aumento del original", lambda: drain(moved, count), peers, images=count)


def random_layers(batches: Any) -> Any:
    """Las capas aleatorias de Keras sobre lotes ya en memoria."""
    from keras import Sequential, layers

    moved = Sequential(
        [
            layers.RandomRotation(20 / 360, fill_mode="nearest"),
            layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),
            layers.RandomZoom(0.2, 0.2, fill_mode="nearest"),
            layers.RandomFlip("horizontal"),
        ]
    )
    return batches.map(lambda x, y: (moved(x, training=True), y), num_parallel_calls=2).prefetch(2)
