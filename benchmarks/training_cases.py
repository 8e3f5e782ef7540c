"""Entrenar: una época de cada red, la búsqueda de la tasa y el tiempo hasta acertar."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import Bench, Torch
from inputs import ORIGINAL, SIZE, drain, generator

from neumo import hardware
from neumo.data import manifest, split, store, verify
from neumo.learning import networks, training
from neumo.learning.batches import train_generator
from neumo.learning.lr_finder import LearningRateFinder
from neumo.params import Experiment, Params


def original(precision: str = "float32") -> Experiment:
    """La red de 13 capas como en el original: 224 píxeles, RGB."""
    changes = {"image_size": SIZE, "channels": 3, "precision": precision}
    return Params().tried()[0].model_copy(update=changes)


def build(experiment: Experiment) -> Any:
    """Red nueva, compilada."""
    size, channels = experiment.image_size or SIZE, experiment.channels or 1
    return training.compile_model(networks.build(experiment, size, channels), experiment)


def reduced(images: store.ImageSet, count: int) -> store.ImageSet:
    """Las primeras `count` imágenes, en memoria y a 64 píxeles de lado."""
    part = images.where(np.arange(len(images)) < count)
    small = part.pixels()[:, ::3, ::3][:, :64, :64]
    return store.ImageSet(part.table, small, np.arange(len(small)))


def fit(model: Any, data: Any, steps: int) -> None:
    """Una época de `steps` lotes."""
    model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)


def save_weights(model: Any, file: Path) -> str:
    """Guarda los pesos en su orden, para el otro lado."""
    np.savez(file, **{f"w{position}": values for position, values in enumerate(model.get_weights())})
    return str(file)


def same_losses(bench: Bench, torch: Torch, name: str, experiment: Experiment, told: dict, scratch: Path) -> None:
    """Antes de medir: desde los mismos pesos y con el mismo lote, la misma pérdida, y la misma tras cada paso."""
    still = experiment.model_copy(update={"dropout": 0.0, "learning_rate": 0.001})
    model, rng = build(still), np.random.default_rng(0)
    size, channels = experiment.image_size or SIZE, experiment.channels or 1
    images = rng.uniform(0, 255, (8, size, size, channels)).astype(np.float32)
    labels = (np.arange(8) % 2).astype(np.float32)
    batch = scratch / f"{name}-lote.npz"
    np.savez(batch, images=images.transpose(0, 3, 1, 2), labels=labels)
    options = {**told, "dropout": 0.0, "weights": save_weights(model, scratch / f"{name}-igual.npz")}
    theirs = torch.ask("losses", batch=str(batch), steps=3, **options)
    mine = []
    for _ in range(3):
        model.reset_metrics()
        mine.append(float(model.train_on_batch(images, labels[:, None], return_dict=True)["loss"]))
    difference = float(np.max(np.abs(np.subtract(mine, theirs)) / np.maximum(np.abs(theirs), 1e-3)))
    bench.take(f"{name}: mayor diferencia de la pérdida con PyTorch, 3 pasos", difference, unit="relativa", target=0.02)


def epoch(bench: Bench, folder: Path, images: store.ImageSet, torch: Torch, scratch: Path) -> None:
    """Una época de la red de 13 capas a 224×224×3, de la imagen al gradiente."""
    part = images.where(np.arange(len(images)) < (64 if bench.quick else 128))
    steps = len(part) // 32
    recipe = build(original())
    theirs = generator(folder, mode="rgb", **ORIGINAL)
    told = {"network": "original", "side": SIZE, "channels": 3, "momentum": 0.99}
    data = {"folder": str(folder), "channels": 3, "augment": True, "side": SIZE}
    if torch.version:
        same_losses(bench, torch, "red de 13 capas", original(), told, scratch)
    options = {**told, "dropout": 0.5, "weights": save_weights(recipe, scratch / "13.npz"), "compiled": False}
    for precision, target in (("float32", 1.05), ("bfloat16", 1.5)):
        if precision == "bfloat16" and not hardware.has_bfloat16():
            bench.note(
                "Este procesador no calcula en bfloat16: la época de la red de 13 capas se mide solo en float32."
            )
            continue
        experiment = original(precision)
        model = build(experiment)
        batches = train_generator(part, batch_size=32, augmentation=experiment.augmentation, channels=3)
        # El par recibe [0, 1]; la red escala dentro: cuesta lo mismo a las dos.
        peers: dict[str, tuple[Callable, float | None]] = {
            "la receta del original, float32": (lambda: fit(recipe, theirs, steps), target)
        }
        if torch.version and precision == "float32":
            peers["PyTorch con DataLoader"] = (lambda: torch.ask("train", count=steps * 32, data=data, **options), 1)
        case = f"época de la red de 13 capas, {precision}"
        bench.compare(case, lambda m=model, b=batches: fit(m, b, steps), peers, images=steps * 32)
        if precision == "float32":
            alone = train_generator(part, batch_size=32, augmentation=experiment.augmentation, channels=3)
            waiting(bench, model, batches, alone, steps)


def waiting(bench: Bench, model: Any, batches: Any, alone: Any, steps: int) -> None:
    """Cuánto de la época espera a los datos, sin contar el primer lote, y cuánto cuesta prepararlos solos."""
    iterator = iter(batches)
    model.train_on_batch(*next(iterator))
    waited, started = 0.0, time.perf_counter()
    for _ in range(steps - 1):
        asked = time.perf_counter()
        batch = next(iterator)
        waited += time.perf_counter() - asked
        model.train_on_batch(*batch)
    whole = time.perf_counter() - started
    bench.take("  de esa época, esperando a los datos", 100 * waited / whole, unit="%", target=3)
    started = time.perf_counter()
    drain(alone, steps * 32)
    bench.take("  preparar solos sus lotes", 100 * (time.perf_counter() - started) / whole, unit="% de la época")


def improved_epoch(bench: Bench, images: store.ImageSet, torch: Torch, scratch: Path) -> None:
    """Una época de la red mejorada a 64 píxeles, con las imágenes ya en memoria y sin aumento a los dos lados."""
    if not torch.version:
        return
    experiment = (
        Params().experiment("mejorado").model_copy(update={"image_size": 64, "channels": 1, "precision": "float32"})
    )
    experiment = experiment.model_copy(update={"schedule": "constant", "warmup_epochs": 0.0})
    part = reduced(images, 256 if bench.quick else 1024)
    small = part.pixels()
    steps = len(small) // 32
    batches = train_generator(part, batch_size=32, augmentation=None, channels=1)
    model = build(experiment)
    told = {"network": "residual", "side": 64, "channels": 1, "momentum": experiment.batchnorm_momentum}
    told["width"] = experiment.width
    same_losses(bench, torch, "red mejorada", experiment, told, scratch)
    memory = scratch / "memoria.npz"
    np.savez(memory, images=small[:, None], labels=part.labels)
    options = {**told, "dropout": experiment.dropout, "weights": save_weights(model, scratch / "m.npz")}
    peers: dict[str, tuple[Callable, float | None]] = {}
    for compiled, name in ((False, "PyTorch"), (True, "PyTorch con torch.compile")):
        peers[name] = (
            lambda c=compiled: torch.ask("train", count=len(small), memory=str(memory), compiled=c, **options),
            1,
        )
    bench.compare("época de la red mejorada, 64 px", lambda: fit(model, batches, steps), peers, images=steps * 32)


def finder(bench: Bench, images: store.ImageSet) -> None:
    """La búsqueda de la tasa frente a los mismos cien pasos de entrenamiento, con la red ya trazada."""
    experiment = original().model_copy(update={"image_size": 64, "channels": 1})
    batches = train_generator(reduced(images, 1024), batch_size=32, augmentation=None, channels=1, epochs=4)
    model = build(experiment)

    def again() -> Any:
        model.optimizer.iterations.assign(0)
        return model

    def search() -> None:
        LearningRateFinder(again, min_lr=1e-7, max_lr=1e-2, steps=100, divergence=1e9).run(batches)

    peers: dict[str, tuple[Callable, float | None]] = {
        "cien pasos de fit": (lambda: fit(model, batches, 100), 1 / 1.05)
    }
    bench.compare("búsqueda de la tasa, 100 pasos", search, peers)


def separable(experiment: Experiment) -> Any:
    """La red del ejemplo de keras.io sobre neumonía (convoluciones separables, 180 píxeles), en gris."""
    from keras import Input, Sequential, layers

    def convolutions(filters: int, dropout: float = 0.0) -> list[Any]:
        pair = [layers.SeparableConv2D(filters, 3, activation="relu", padding="same") for _ in range(2)]
        return [*pair, layers.BatchNormalization(), layers.MaxPooling2D(), *([layers.Dropout(dropout)] * bool(dropout))]

    def dense(units: int, dropout: float) -> list[Any]:
        return [layers.Dense(units, activation="relu"), layers.BatchNormalization(), layers.Dropout(dropout)]

    first = [layers.Conv2D(16, 3, activation="relu", padding="same") for _ in range(2)]
    body = [*first, layers.MaxPooling2D(), *convolutions(32), *convolutions(64), *convolutions(128, 0.2)]
    head = [*convolutions(256, 0.2), layers.Flatten(), *dense(512, 0.7), *dense(128, 0.5), *dense(64, 0.3)]
    size = experiment.image_size or SIZE
    network = Sequential(
        [Input((size, size, 1)), layers.Rescaling(1 / 255), *body, *head, layers.Dense(1, activation="sigmoid")]
    )
    return training.compile_model(network, experiment)


def until_auc(bench: Bench, folder: Path, goal: float, limit: float) -> None:
    """Segundos, desde los JPEG, hasta el AUC de validación por pacientes, frente a la red original y al ejemplo de keras.io.

    A las tres se les da lo mismo: la entrada y la partición por pacientes de aquí, los pesos de clase y, a las dos primeras, su
    receta; la tasa no decae, porque no se sabe cuándo se llegará. Cada una se mira tras cada época.
    """
    table = verify.inspect(manifest.scan(folder), folder)
    table = split.split(table, val_fraction=0.2, test_fraction=0.15, seed=0)
    table = table[table["partition"] != ""]
    still = {"schedule": "constant", "warmup_epochs": 0.0, "views": 1}
    plain = Experiment(name="keras.io", augmentation=None, learning_rate=0.001, **still)
    repaired = Params().experiment("reparado").model_copy(update={"image_size": SIZE, "channels": 3, **still})
    improved = Params().experiment("mejorado").model_copy(update=still)
    recipes = {
        "la red mejorada, 64 px": (improved, build),
        "la red original reparada, 224 px": (repaired, build),
        "la del ejemplo de keras.io, 180 px": (plain.model_copy(update={"image_size": 180, "channels": 1}), separable),
    }
    for name, (experiment, make) in recipes.items():
        taken, best, epochs = _race(table, folder, experiment, make, goal=goal, limit=limit)
        short = "" if best >= goal else f": no llega en {limit:g} s ({best:.3f})"
        bench.take(f"hasta AUC {goal:g}, {name}, {epochs} épocas{short}", taken)


def _race(table: Any, folder: Path, experiment: Experiment, make: Callable, *, goal: float, limit: float) -> tuple:
    from sklearn.metrics import roc_auc_score

    from neumo.learning.inference import predict_logits

    size, channels = experiment.image_size or SIZE, experiment.channels or 1
    with tempfile.TemporaryDirectory() as cache:
        started, best, epochs = time.perf_counter(), 0.0, 0
        every = store.load(table, folder, image_size=size, cache=cache)
        train, val = every.partition("train"), every.partition("val")
        training.set_seed(0)
        model = make(experiment)
        weights = training.class_weights(train.labels) if experiment.class_weight else None
        while best < goal and time.perf_counter() - started < limit:
            options = {
                "batch_size": experiment.batch_size,
                "augmentation": experiment.augmentation,
                "channels": channels,
            }
            batches = train_generator(train, first_epoch=epochs, **options)
            model.fit(batches, epochs=1, verbose=0, class_weight=weights, shuffle=False)
            if experiment.recompute_batchnorm:
                training.recompute_batchnorm(model, batches)
            best, epochs = float(roc_auc_score(val.labels, predict_logits(model, val.pixels()))), epochs + 1
        return time.perf_counter() - started, best, epochs
