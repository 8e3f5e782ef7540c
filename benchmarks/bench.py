"""Mide la entrada de datos y una época de la red frente a `ImageDataGenerator.flow_from_directory`.

Cada comparación alterna las dos cosas en un mismo proceso y da la mediana del cociente pareja a pareja: la velocidad de
la máquina puede variar, el cociente mucho menos. Sin carpetas, usa radiografías sintéticas.

    make bench
    make bench SET="originals=chest_xray_original resized=chest_xray_224"
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from neumo import hardware
from neumo.data import manifest, sources, store
from neumo.data.phantom import make_phantom
from neumo.errors import NeumoError
from neumo.learning import networks, training
from neumo.learning.batches import image_generator, train_generator
from neumo.params import Augmentation, Params
from neumo.params_reader import parse_overrides
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


def theirs(folder: Path, *, mode: str = "grayscale", batch_size: int = 32, **options):
    """Generador de Keras sobre `folder/train`, en [0, 1]."""
    generator = image_data_generator(rescale=1 / 255, **options)
    with contextlib.redirect_stdout(io.StringIO()):  # anuncia cuántas imágenes encuentra
        return generator.flow_from_directory(
            folder / "train",
            target_size=(SIZE, SIZE),
            color_mode=mode,
            classes=CLASSES,
            class_mode="binary",
            batch_size=batch_size,
            shuffle=False,
            interpolation="bilinear",
        )


def ours(folder: Path, cache: Path) -> store.ImageSet:
    """Las mismas imágenes, decodificadas por la biblioteca."""
    table = manifest.scan(folder)
    table = table[table["original_split"] == "train"].reset_index(drop=True)
    return store.load(table, folder, image_size=SIZE, cache=cache)


def drain(batches, count: int) -> int:
    """Recorre un generador hasta `count` imágenes."""
    seen = 0
    for images, _ in batches:
        seen += len(images)
        if seen >= count:
            break
    return seen


def seconds(action: Callable[[], object]) -> float:
    """Segundos que tarda una acción."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def compare(title: str, count: int, mine: Callable, other: Callable, *, target: float | None, repeats: int) -> None:
    """Alterna las dos acciones y escribe imágenes por segundo y la mediana del cociente."""
    pairs = [(seconds(mine), seconds(other)) for _ in range(repeats)]
    fast, slow = (count / np.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(b / a for a, b in pairs)
    goal = f"   se pide ≥ {target:g}" if target else ""
    spread = f"{np.median(ratios):6.2f}× [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
    print(f"{title:<46} {fast:9.0f} {slow:9.0f}   {spread}{goal}", flush=True)


def pixels(folder: Path, cache: Path) -> None:
    """Antes de medir, comprueba que las dos entradas dan las mismas imágenes."""
    images = ours(folder, cache)
    generator = theirs(folder)
    names = [Path(name).as_posix() for name in generator.filenames]
    rows = images.table.set_index(images.table["path"].str.removeprefix("train/"))
    order = [rows.index.get_loc(name) for name in names]
    reference = np.concatenate([next(generator)[0] for _ in range(len(generator))])[..., 0] * 255
    difference = np.abs(images.pixels()[order].astype(float) - reference).mean()
    print(f"Diferencia media entre píxeles: {difference:.2f} niveles de 255   se pide ≤ 2\n")


def first_pass(folder: Path, repeats: int) -> None:
    """Primera pasada por los originales: de JPEG a lotes de 224 píxeles, con todo lo que cada uno hace antes."""
    count = len(list(manifest.image_paths(folder / "train")))

    def mine() -> None:
        with tempfile.TemporaryDirectory() as cache:
            drain(image_generator(ours(folder, Path(cache)), batch_size=32, rescale=1 / 255), count)

    mine()  # la primera vez, TensorFlow y los archivos no están en memoria
    for mode, name, target in (("rgb", "RGB, su omisión", 2.5), ("grayscale", "gris", None)):
        compare(
            f"primera pasada por los originales, ellos {name}",
            count,
            mine,
            lambda m=mode: drain(theirs(folder, mode=m), count),
            target=target,
            repeats=repeats,
        )


def later_epochs(folder: Path, images: store.ImageSet, repeats: int) -> None:
    """Épocas posteriores, con y sin el aumento del original, en gris y en RGB."""
    count = min(len(images), 2048)
    for channels, mode in ((1, "grayscale"), (3, "rgb")):
        for title, augmentation, options, target in (
            ("sin aumento", None, {}, 10.0),
            ("con el aumento del original", Augmentation(), ORIGINAL, 4.0),
        ):
            batches = train_generator(
                images, batch_size=32, augmentation=augmentation, channels=channels, rescale=1 / 255
            )
            peer = theirs(folder, mode=mode, **options)
            drain(batches, 256)
            compare(
                f"época posterior, {'gris' if channels == 1 else 'RGB'}, {title}",
                count,
                lambda b=batches: drain(b, count),
                lambda p=peer: drain(p, count),
                target=target if channels == 1 else None,
                repeats=repeats,
            )


def epoch(folder: Path, images: store.ImageSet, repeats: int) -> None:
    """Una época de la red de 13 capas a 224×224×3, de la imagen al gradiente, y lo que espera a los datos."""
    part = images.where(np.arange(len(images)) < 512)
    steps = len(part) // 32
    base = Params().tried()[0].model_copy(update={"image_size": SIZE, "channels": 3})
    peer_model = training.compile_model(networks.build(base, SIZE, 3), base)
    peer = theirs(folder, mode="rgb", **ORIGINAL)
    # El par recibe [0, 1]; la red escala dentro, así que se le devuelven los 0..255: cuesta lo mismo a las dos.
    for precision, target in (("float32", 1.05), ("bfloat16", 1.5)):
        if precision == "bfloat16" and not hardware.has_bfloat16():
            print("época de la red en bfloat16: este procesador no lo tiene")
            continue
        experiment = base.model_copy(update={"precision": precision})
        model = training.compile_model(networks.build(experiment, SIZE, 3), experiment)

        def batches(experiment=experiment):
            return train_generator(part, batch_size=32, augmentation=experiment.augmentation, channels=3)

        def fit(network, data) -> None:
            network.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)

        fit(model, batches())
        fit(peer_model, peer)
        title = f"época de la red de 13 capas, {precision}"
        mine, other = (lambda m=model, b=batches: fit(m, b())), (lambda: fit(peer_model, peer))
        compare(title, steps * 32, mine, other, target=target, repeats=repeats)
        waited, total = waiting(model, batches(), steps)
        alone = seconds(lambda b=batches: drain(b(), steps * 32))
        print(
            f"    espera a los datos: {waited / total:.1%} de la época (se pide ≤ 3 %); "
            f"preparar los lotes solos: {alone / total:.1%}",
            flush=True,
        )


def waiting(model, batches, steps: int) -> tuple[float, float]:
    """Segundos que el entrenamiento pasa esperando un lote, y segundos de la época, sin contar el primer lote.

    El primero no cuenta porque el generador se abre una vez por entrenamiento, no por época.
    """
    iterator = iter(batches)
    model.train_on_batch(*next(iterator))
    waited, started = 0.0, time.perf_counter()
    for _ in range(steps - 1):
        asked = time.perf_counter()
        batch = next(iterator)
        waited += time.perf_counter() - asked
        model.train_on_batch(*batch)
    return waited, time.perf_counter() - started


def main(argv: list[str] | None = None) -> int:
    """Ejecuta las mediciones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="", help='"originals=carpeta resized=carpeta repeats=3"')
    options = parse_overrides(parser.parse_args(argv).set)
    repeats = int(options.get("repeats", 3))
    warnings.simplefilter("ignore", DeprecationWarning)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {}
        for name, count, size in (("originals", 120, 1100), ("resized", 1200, SIZE)):
            folders[name] = Path(options[name]) if name in options else Path(scratch) / name
            if name not in options:
                print(f"Generando {count} radiografías sintéticas de {size} píxeles…", flush=True)
                make_phantom(folders[name], images=count, size=size, defects=False)
            sources.find_images(folders[name], class_names=CLASSES)
        cache = Path(scratch) / "cache"
        pixels(folders["originals"], cache)
        print(f"{'':<46} {'aquí':>9} {'ellos':>9}   cociente (mediana de {repeats} parejas)   [imágenes/s]")
        first_pass(folders["originals"], repeats)
        images = ours(folders["resized"], cache)
        later_epochs(folders["resized"], images, repeats)
        epoch(folders["resized"], images, repeats)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NeumoError as error:
        sys.exit(f"Error: {error}")
