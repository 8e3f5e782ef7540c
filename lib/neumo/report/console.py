"""Lo que una construcción dice en la terminal: cuánto tardará, qué capítulo va y lo que anuncian los cuadernos."""

import contextlib
import sys
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from neumo.params import Params
from neumo.report.chapters import Chapter
from neumo.run import Run

_PIXELS_PER_SECOND = 2e6


def reporter(total: int, failures: list[str]) -> type:
    """Devuelve la clase con que doit cuenta en español el avance de `total` tareas; los errores van a `failures`."""

    class Reporter:
        """Cuenta en español qué capítulo empieza, cuál termina y cuántos quedan."""

        desc = "español"

        def __init__(self, outstream: Any, options: dict) -> None:
            self.done = 0
            self.started: dict[str, float] = {}

        def _line(self, task: Any, text: str) -> None:
            sys.stdout.write(f"[{self.done:2d}/{total}] {task.name}: {text}\n")
            sys.stdout.flush()

        def execute_task(self, task: Any) -> None:
            self.started[task.name] = time.monotonic()
            self._line(task, "empieza")

        def add_success(self, task: Any) -> None:
            self.done += 1
            seconds = time.monotonic() - self.started[task.name]
            left = total - self.done
            self._line(task, f"hecho en {seconds:.0f} s" + (f"; quedan {left}" if left else ""))

        def skip_uptodate(self, task: Any) -> None:
            self.done += 1

        def runtime_error(self, message: str) -> None:
            failures.append(message)

        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: None

    return Reporter


@contextlib.contextmanager
def progress_shown(path: Path) -> Iterator[None]:
    """Escribe en la terminal, mientras dura el bloque, lo que los cuadernos anuncian en el archivo `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    stop = threading.Event()

    def follow() -> None:
        with path.open(encoding="utf-8") as file:
            while not stop.wait(0.3):
                for line in file:
                    sys.stdout.write(f"        {line}")
                sys.stdout.flush()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True)


def estimated_minutes(params: Params, images: int, *, written: Collection[str] = ("attempts", "final")) -> float:
    """Estima los minutos de entrenamiento de unos capítulos, sin nada en la caché.

    Parameters
    ----------
    params : Params
    images : int
        Imágenes que hay en total.
    written : collection of str
        Artefactos que se van a escribir: con `attempts` se entrenan los intentos y con `final`, los modelos finales.

    Notes
    -----
    Cuenta píxeles por época. La red de 13 capas recorre unos 2 millones de píxeles por segundo en dos núcleos (medido
    de 64 a 224 píxeles); es un orden de magnitud, no una promesa.
    """
    planned = [(attempt, 1) for attempt in params.tried() if "attempts" in written]
    planned += [(params.experiment(n), len(params.final_seeds)) for n in params.final_models if "final" in written]
    pixels = sum(e.epochs * n * images * (1 - params.val_fraction) * e.image_size**2 for e, n in planned)
    return pixels / _PIXELS_PER_SECOND / 60


def announce_duration(run: Run, chapters: list[Chapter]) -> None:
    """Dice, antes de empezar, cuánto llevarán los entrenamientos de unos capítulos, si es más de cinco minutos."""
    images = len(run.path("listing").read_text().splitlines()) - 1
    written = {name for chapter in chapters for name in chapter.writes}
    minutes = estimated_minutes(run.params, images, written=written)
    if minutes > 5:
        shown = f"{minutes / 60:.1f} horas" if minutes > 90 else f"{minutes:.0f} minutos"
        print(
            f"Entrenar lo que esta orden pide lleva del orden de {shown} en dos núcleos, menos lo que ya esté hecho. Se "
            "puede parar y seguir.",
            flush=True,
        )
