"""Lo demás que espera quien lo usa: intervalos, predicciones, radiografías sintéticas, el informe y cómo crece todo."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from harness import Bench, seconds
from inputs import CLASSES, drain

from neumo.data import duplicates, manifest, split, store, verify
from neumo.data.phantom import make_phantom
from neumo.evaluation.intervals import intervals
from neumo.learning.batches import train_generator

ROOT = Path(__file__).parents[1]


def bootstrap(bench: Bench) -> None:
    """Intervalos por paciente de todas las métricas, frente a un bucle con scikit-learn."""
    rng = np.random.default_rng(0)
    y = (np.arange(624) >= 234).astype(int)
    prob = 1 / (1 + np.exp(-rng.normal(2.5 * y - 1.2, 1.5)))
    groups = np.arange(624) // 2
    resamples, measured = 10_000, 20 if bench.quick else 100

    def loop() -> float:
        """Un centésimo de los remuestreos, y por cien: entero tardaría minutos."""
        started = time.perf_counter()
        members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
        for _ in range(measured):
            chosen = np.concatenate([members[group] for group in rng.integers(0, len(members), len(members))])
            one_by_one(y[chosen], prob[chosen])
        return (time.perf_counter() - started) * resamples / measured

    peers: dict[str, tuple[Callable, float | None]] = {"bucle con scikit-learn": (loop, 50)}
    bench.compare(
        "intervalos: 10 000 remuestreos por paciente, 624 imágenes",
        lambda: intervals(y, prob, groups=groups, resamples=resamples),
        peers,
    )
    bench.note(f"Del bucle con scikit-learn se hacen {measured} remuestreos de los 10 000, y se multiplica.")


def one_by_one(y: np.ndarray, prob: np.ndarray) -> list[float]:
    """Doce métricas de scikit-learn."""
    from sklearn import metrics

    pred = (prob >= 0.5).astype(int)
    return [
        metrics.accuracy_score(y, pred),
        metrics.balanced_accuracy_score(y, pred),
        metrics.recall_score(y, pred),
        metrics.recall_score(y, pred, pos_label=0),
        metrics.precision_score(y, pred, zero_division=0),
        metrics.precision_score(y, pred, pos_label=0, zero_division=0),
        metrics.f1_score(y, pred),
        metrics.matthews_corrcoef(y, pred),
        metrics.roc_auc_score(y, prob),
        metrics.average_precision_score(y, prob),
        metrics.log_loss(y, prob),
        metrics.brier_score_loss(y, prob),
    ]


def predictions(bench: Bench, run: Path, folder: Path, scratch: Path) -> None:
    """De los archivos a la probabilidad, con una red de seis vistas, frente a `load_img` y `predict` de Keras."""
    import keras

    from neumo.predict import predict_paths

    file = run / "models" / "mejorado-0.keras"
    if not file.is_file():
        bench.note(f"Sin {file}, no se mide predict: haga antes `make report`.")
        return
    many = scratch / "para-predecir"
    many.mkdir()
    found = sorted(manifest.image_paths(folder))
    for number in range(len(found) if bench.quick else 640):  # una carpeta como la que se trae, no unas pocas
        (many / f"{number:04d}.jpeg").symlink_to(found[number % len(found)].resolve())
    paths = sorted(map(str, many.iterdir()))
    side = keras.models.load_model(file, compile=False).input_shape[1]

    def plain() -> None:
        model = keras.models.load_model(file, compile=False)
        for start in range(0, len(paths), 32):
            loaded = [
                keras.utils.load_img(path, color_mode="grayscale", target_size=(side, side))
                for path in paths[start : start + 32]
            ]
            model.predict(np.stack([keras.utils.img_to_array(image) for image in loaded]), verbose=0)

    peers: dict[str, tuple[Callable, float | None]] = {"load_img y predict de Keras": (plain, 3)}
    title = "predecir, JPEG originales, seis vistas"
    bench.compare(title, lambda: predict_paths(run, paths, model="mejorado-0"), peers, images=len(paths))


def phantom(bench: Bench) -> None:
    """Mil radiografías sintéticas de 256 píxeles."""
    count = 200 if bench.quick else 1000
    with tempfile.TemporaryDirectory() as folder:
        taken = seconds(lambda: make_phantom(folder, images=count, size=256))
    bench.take("mil radiografías sintéticas de 256 px", taken * 1000 / count, target=20)


def report(bench: Bench, run: Path) -> None:
    """El informe con todo ya entrenado y decodificado, frente a `jupyter nbconvert --execute` cuaderno a cuaderno."""
    trained = run.parent / "cache"
    if not (run / "informe.html").is_file():
        bench.note(f"Sin {run / 'informe.html'}, no se mide el informe: haga antes `make report`.")
        return
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch)
        for name in ("notebooks", "params"):
            shutil.copytree(ROOT / name, project / name)
        shutil.copytree(trained, project / "build" / "cache")  # una copia: la de verdad no se toca
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}

        def order(*arguments: str) -> float:
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments],
                cwd=project,
                env=env,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return time.perf_counter() - started

        whole = ["-m", "neumo", "report"]
        order(*whole)  # lo que depende de dónde está el proyecto queda en la caché
        shutil.rmtree(project / "build" / "demo")
        with Peak() as peak:
            ours = order(*whole)
        bench.take("informe, con todo ya entrenado y decodificado", ours, target=45)
        bench.take("  memoria de todos sus procesos", peak.bytes / 1e9, unit="GB", target=2)
        bench.take("informe, nada ha cambiado", min(order(*whole) for _ in range(3)), target=1)
        chapter = next((project / "notebooks").glob("04*.ipynb"))
        chapter.write_text(chapter.read_text().replace("## ", "## Otra vez: ", 1))
        bench.take("informe, cambia la prosa de un capítulo", order(*whole), target=15)
        if not bench.quick:
            started = time.perf_counter()
            for notebook in sorted((project / "notebooks").glob("*.ipynb")):
                order(
                    "-m", "nbconvert", "--execute", "--to", "html", "--output-dir", str(project / "html"), str(notebook)
                )
            theirs = time.perf_counter() - started
            bench.take("  los mismos cuadernos, uno a uno, con nbconvert --execute", theirs)
            bench.take("  cociente entre los dos", theirs / ours, unit="veces")


class Peak:
    """Lo más que ocupan a la vez los procesos que nacen de este mientras dura el bloque (memoria propia, no compartida)."""

    bytes = 0

    def __enter__(self) -> "Peak":
        import threading

        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            used = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    used += process.memory_full_info().pss
                except (psutil.Error, AttributeError):
                    continue
            self.bytes = max(self.bytes, used)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def growth(bench: Bench, largest: int) -> dict[str, dict[int, float]]:
    """Cómo crece cada parte con el número de imágenes: la pendiente de la recta en logaritmos."""
    sizes = [1000, 3000] if bench.quick else [size for size in (1000, 5000, 25_000, 100_000) if size <= largest]
    taken: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "fuente"
        make_phantom(source, images=300, size=64, defects=False)
        for size in sizes:
            folder = Path(scratch) / str(size)
            _many(source, folder, size)
            for part, value in _parts(folder, Path(scratch) / f"cache-{size}"):
                taken.setdefault(part, {})[size] = value
                print(f"    {part}, {size} imágenes: {value:.2f} s", flush=True)
            shutil.rmtree(folder)
    for part, measured in taken.items():
        slope = np.polyfit(np.log(list(measured)), np.log(list(measured.values())), 1)[0]
        bench.take(f"crecimiento, {part}", float(slope), unit="pendiente", target=1.1)
    return taken


def _many(source: Path, folder: Path, count: int) -> None:
    """Escribe `count` JPEG distintos: los de `source`, con unos bytes detrás que los distinguen, de pacientes distintos."""
    files = {name: [path.read_bytes() for path in (source / "train" / name).glob("*.jp*g")] for name in CLASSES}
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for number in range(count):
        name = CLASSES[number % 4 > 0]
        content = files[name][number % len(files[name])] + number.to_bytes(8, "big")
        prefix = f"IM-{number:07d}-0001" if name == "NORMAL" else f"person{number}_bacteria_1"
        (folder / name / f"{prefix}.jpeg").write_bytes(content)


def _parts(folder: Path, cache: Path) -> list[tuple[str, float]]:
    """Mide cada parte sobre una carpeta de radiografías."""
    kept: dict[str, Any] = {}

    def do(name: str, action: Callable[[], Any]) -> tuple[str, float]:
        return name, seconds(lambda: kept.__setitem__(name, action()) or None)

    rng = np.random.default_rng(0)
    found = [do("verificar", lambda: verify.inspect(manifest.scan(folder), folder))]
    table = kept["verificar"]
    looks = [f"{int.from_bytes(rng.bytes(32), 'big') >> 1:064x}" for _ in range(len(table))]
    plain = table.assign(excluded=False)
    found.append(do("partir por pacientes", lambda: split.split(plain, test_fraction=0.15)))
    found.append(do("buscar casi iguales", lambda: duplicates.alike(looks)))
    found.append(do("decodificar a 64 px", lambda: store.load(plain, folder, image_size=64, cache=cache)))
    images = kept["decodificar a 64 px"]
    batches = train_generator(images, batch_size=64, augmentation=None, channels=1)
    found.append(do("recorrer una época", lambda: drain(batches, len(images))))
    y, prob = images.labels, rng.random(len(images))
    found.append(do("intervalos, 1000 remuestreos", lambda: intervals(y, prob, groups=table["group"], resamples=1000)))
    return found
