"""El grafo del informe, con doit: un capítulo se rehace cuando cambia algo de lo que lo determina, y solo entonces."""

import ast
import contextlib
import functools
import json
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neumo.cache import library_versions, locked, modules_digest, write_atomically
from neumo.errors import NeumoError
from neumo.params import Params, digest
from neumo.report.execute import execute_chapter
from neumo.run import ARTEFACTS, Run, file_digest, prepare, project_root

_LIBRARY = Path(__file__).resolve().parents[1]
_PIXELS_PER_SECOND = 2e6
_LAST = ("14", "00")  # las conclusiones y el resumen leen a todos los demás


@dataclass(frozen=True)
class Chapter:
    """Un capítulo: su cuaderno y lo que la primera celda dice que lee y escribe."""

    path: Path
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    parameters: tuple[str, ...]
    cells: str
    modules: tuple[str, ...]

    @property
    def number(self) -> str:
        """Número de dos cifras del capítulo."""
        return self.path.stem[:2]


def _sources(notebook: dict, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def _names(header: str, label: str) -> tuple[str, ...]:
    line = re.search(rf"^{label}:(.*)$", header, re.M)
    if not line:
        return ()
    return tuple(re.findall(r"`(\w+)`", line[1]))


def _assigned(cell: str) -> tuple[str, ...]:
    targets = [node.targets[0] for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
    return tuple(t.id for t in targets if isinstance(t, ast.Name) and t.id in Params.model_fields)


def imported_modules(code: str) -> set[str]:
    r"""Devuelve los módulos de `neumo` que importa un texto de Python (`"store"`, `"report/display"`).

    Examples
    --------
    >>> sorted(imported_modules("from neumo import plots, split\nfrom neumo.report.display import table"))
    ['plots', 'report/display', 'split']
    """
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "neumo":
            parts = node.module.split(".")[1:]
            found |= {"/".join([*parts, alias.name]) for alias in node.names} | {"/".join(parts)}
        elif isinstance(node, ast.Import):
            found |= {"/".join(a.name.split(".")[1:]) for a in node.names if a.name.startswith("neumo.")}
    return {name for name in found if name and (_LIBRARY / f"{name}.py").is_file()}


@functools.cache
def _module_imports(name: str) -> frozenset[str]:
    return frozenset(imported_modules((_LIBRARY / f"{name}.py").read_text(encoding="utf-8")))


def _closure(names: set[str]) -> tuple[str, ...]:
    # progress y errors no cambian ningún resultado; los importan todos. Lo que `run` usa para preparar las imágenes y
    # hacer lo que falta llega a los capítulos en sus artefactos (`source`, `listing`), no en su código.
    seen, pending = set(), set(names)
    while pending:
        name = pending.pop()
        seen.add(name)
        outside = {"report/graph", "data/sources"} if name == "run" else set()
        pending |= _module_imports(name) - seen - outside
    return tuple(sorted(seen - {"progress", "errors"}))


def read_chapter(path: Path) -> Chapter:
    """Lee de un cuaderno qué artefactos lee y escribe, qué parámetros usa y qué módulos importa.

    Raises
    ------
    NeumoError
        Si no es un cuaderno, una celda no es Python o nombra artefactos que no existen.
    """
    try:
        return _read_chapter(path)
    except (SyntaxError, ValueError, LookupError) as error:
        place = f", línea {error.lineno} de una celda: {error.text}" if isinstance(error, SyntaxError) else ""
        raise NeumoError(
            f"No se entiende el cuaderno {path.name} ({type(error).__name__}{place.rstrip()}). Corríjalo en JupyterLab y "
            "guárdelo entero; sus celdas han de ser de Python, sin órdenes de IPython como «%%» o «?»."
        ) from error


def _read_chapter(path: Path) -> Chapter:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    header = _sources(notebook, "markdown")[0]
    code = _sources(notebook, "code")
    cell = next(
        ("".join(c["source"]) for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])), ""
    )
    cells = digest([[c["cell_type"], "".join(c["source"])] for c in notebook["cells"]])
    modules = set().union(*(imported_modules(_plain(source)) for source in code))
    chapter = Chapter(
        path, _names(header, "Lee"), _names(header, "Escribe"), _assigned(cell), cells, _closure(modules)
    )
    unknown = [name for name in (*chapter.reads, *chapter.writes) if name not in ARTEFACTS]
    if unknown:
        raise NeumoError(
            f"{path.name} nombra en su primera celda artefactos que no existen: {', '.join(unknown)}. Corrija el nombre o "
            "añádalos a `neumo.run.ARTEFACTS`."
        )
    return chapter


def _plain(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))


def read_chapters(folder: Path | None = None) -> list[Chapter]:
    """Lee los capítulos, en orden de ejecución: por número, con las conclusiones y el resumen al final.

    Raises
    ------
    NeumoError
        Si un capítulo lee un artefacto que ningún otro escribe.
    """
    folder = folder or project_root() / "notebooks"
    chapters = [read_chapter(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    written = {name for chapter in chapters for name in chapter.writes}
    for chapter in chapters:
        for name in chapter.reads:
            if ARTEFACTS[name][1] and name not in written:
                raise NeumoError(
                    f"{chapter.path.name} lee `{name}` y ningún capítulo lo escribe: debería hacerlo el "
                    f"{ARTEFACTS[name][1]}. Devuelva ese cuaderno a notebooks/ o quite el nombre de «Lee:»."
                )
    return sorted(chapters, key=lambda c: (_LAST.index(c.number) + 1 if c.number in _LAST else 0, c.number))


def _execute(chapter: Chapter, run: Run, output: Path) -> None:
    values = run.params.model_dump(mode="json")
    execute_chapter(chapter.path, output, run=run, values={name: values[name] for name in chapter.parameters})
    missing = [name for name in chapter.writes if not run.exists(name)]
    if missing:
        raise NeumoError(f"El capítulo {chapter.path.stem} terminó sin escribir {', '.join(missing)}.")


def _render(chapters: list[Chapter], run: Run) -> None:
    from neumo.report.render import render, render_index

    notebooks = [executed_path(chapter, run) for chapter in chapters]
    render(notebooks, run.folder / "informe.html", meta=_meta(run))
    render_index(run.folder.parent)


def _meta(run: Run) -> dict[str, Any]:
    """Reúne lo que la portada y el cierre dicen de la ejecución."""
    source = run.load("source")
    meta = {
        "run": run.folder.name,
        "source": source["description"],
        "synthetic": source["synthetic"],
        "provenance": {
            "ejecución": run.folder.name,
            "parámetros": digest(run.params.model_dump(mode="json", exclude={"data_dir"})),
            "imágenes": file_digest(run.path("listing"))[:16]
            if source["synthetic"]
            else source["folder_name"],
            **{name: version for name, version in library_versions().items()},
        },
    }
    if run.exists("manifest"):
        meta["unknown_patients"] = int((~run.load("manifest")["patient_known"]).sum())
    if run.exists("predictions_test") and run.exists("chosen"):
        meta["threshold_data"] = _threshold_data(run)
    return meta


def _threshold_data(run: Run) -> dict[str, Any]:
    """Probabilidades en prueba del modelo elegido, con todas sus semillas, para el umbral interactivo."""
    from neumo.studies.card import chosen_scores

    chosen = run.load("chosen")
    scores = chosen_scores(run.load("predictions_test"), chosen)
    return {
        "y": scores["y_true"].astype(int).tolist(),
        "p": scores["probability"].tolist(),
        "threshold": chosen["threshold"],
    }


def executed_path(chapter: Chapter, run: Run) -> Path:
    """Ruta del cuaderno ejecutado de un capítulo."""
    return run.folder / "notebooks" / chapter.path.name


def _guarded(failures: list[str], run: Run, action: Callable, *arguments: Any) -> bool:
    """Hace una tarea; si falla, guarda la frase para la persona y, si no la había, el detalle en un registro."""
    try:
        action(*arguments)
    except NeumoError as error:
        failures.append(str(error))
    except Exception as error:
        log = run.folder / "logs" / "report.log"
        write_atomically(log, traceback.format_exc().encode())
        failures.append(f"{type(error).__name__}: {error}. El detalle está en {log}.")
    else:
        return True
    return False


def tasks(chapters: list[Chapter], run: Run, failures: list[str]) -> Iterator[dict]:
    """Genera las tareas de doit: una por capítulo y, al final, la composición del informe.

    Parameters
    ----------
    chapters : list of Chapter
    run : Run
    failures : list of str
        Recibe la frase de cada tarea que falle.
    """
    from doit.tools import config_changed

    values = run.params.model_dump(mode="json")
    for chapter in chapters:
        determined = {
            "cells": chapter.cells,
            "parameters": {name: values[name] for name in chapter.parameters},
            "modules": modules_digest(chapter.modules),
        }
        files = [run.path(name) for name in chapter.reads]
        # El sello también cuenta: un artefacto idéntico hecho con otros parámetros se tiene que volver a sellar.
        files += [run.seal_path(name) for name in chapter.reads if ARTEFACTS[name][1]]
        output = executed_path(chapter, run)
        outputs = [*(run.path(n) for n in chapter.writes), *(run.seal_path(n) for n in chapter.writes)]
        yield {
            "name": chapter.path.stem,
            "actions": [(_guarded, [failures, run, _execute, chapter, run, output])],
            "file_dep": [str(path) for path in files],
            "targets": [str(path) for path in (output, *outputs)],
            "uptodate": [config_changed(determined)],
            "io": {"capture": False},  # doit cambia sys.stdout mientras captura, y aquí hay dos hilos
        }
    template = _LIBRARY / "report" / "template"
    yield {
        "name": "informe",
        "actions": [(_guarded, [failures, run, _render, chapters, run])],
        "file_dep": [
            *(str(executed_path(chapter, run)) for chapter in chapters),
            *(str(path) for path in sorted(template.rglob("*")) if path.is_file()),
            *(
                str(_LIBRARY / name)
                for name in ("report/render.py", "report/display.py", "references.py", "references.yaml")
            ),
        ],
        "targets": [str(run.folder / "informe.html")],
        "io": {"capture": False},
    }


def _loader(chapters: list[Chapter], run: Run, reporter: type, failures: list[str]) -> Any:
    from doit.cmd_base import TaskLoader2
    from doit.task import dict_to_task

    class Loader(TaskLoader2):
        def load_doit_config(self) -> dict:
            return {
                "dep_file": str(run.folder / ".doit.db"),
                "backend": "sqlite3",
                "reporter": reporter,
                "num_process": 2,
                "par_type": "thread",
            }

        def load_tasks(self, cmd: Any, pos_args: list[str]) -> list:
            return [dict_to_task(task) for task in tasks(chapters, run, failures)]

    return Loader()


def _reporter(total: int, failures: list[str]) -> type:
    class Reporter:
        """Cuenta en español qué capítulo empieza, cuál termina y cuántos quedan."""

        desc = "español"

        def __init__(self, outstream: Any, options: dict) -> None:
            self.done, self.started = 0, {}

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
def _progress_shown(path: Path) -> Iterator[None]:
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


def estimated_minutes(params: Params, images: int) -> float:
    """Estima los minutos de entrenamiento de un informe entero, sin nada en la caché.

    Parameters
    ----------
    params : Params
    images : int
        Imágenes que hay en total.

    Notes
    -----
    Cuenta píxeles por época. La red de 13 capas recorre unos 2 millones de píxeles por segundo en dos núcleos (medido
    de 64 a 224 píxeles); es un orden de magnitud, no una promesa.
    """
    planned = [(params.experiment(attempt.name), 1) for attempt in params.attempts]
    planned += [(params.experiment(name), len(params.final_seeds)) for name in params.final_models]
    pixels = sum(e.epochs * n * images * (1 - params.val_fraction) * e.image_size**2 for e, n in planned)
    return pixels / _PIXELS_PER_SECOND / 60


def _announce_duration(run: Run) -> None:
    images = len(run.path("listing").read_text().splitlines()) - 1
    minutes = estimated_minutes(run.params, images)
    if minutes > 5:
        shown = f"{minutes / 60:.1f} horas" if minutes > 90 else f"{minutes:.0f} minutos"
        print(
            f"Entrenar todo lo que este informe pide lleva del orden de {shown} en dos núcleos, menos lo que ya esté "
            "hecho. Se puede parar y seguir.",
            flush=True,
        )


def build(run: Run, *, until: str | None = None) -> Path:
    """Construye el informe de una ejecución: hace solo lo que falta o ha cambiado.

    Parameters
    ----------
    run : Run
    until : str, optional
        Número de capítulo («09»): se construye ese, con lo que necesita, y no se compone el informe.

    Returns
    -------
    Path
        El informe en HTML (o el cuaderno ejecutado de `until`).

    Raises
    ------
    NeumoError
        Si un capítulo falla o si ya hay otra construcción de la misma ejecución en marcha.
    """
    from doit.doit_cmd import DoitMain

    chapters = read_chapters()
    numbers = [chapter.number for chapter in chapters]
    if until is not None and (until := until.zfill(2)) not in numbers:
        raise NeumoError(f"No hay capítulo «{until}». Los que hay: {', '.join(sorted(numbers))}.")
    failures: list[str] = []
    try:
        with locked(run.folder / ".lock", wait=False), _progress_shown(run.folder / "progress.log"):
            prepare(run)
            _announce_duration(run)
            loader = _loader(chapters, run, _reporter(len(chapters) + 1, failures), failures)
            selected = [c.path.stem for c in chapters if c.number == until] if until else []
            code = DoitMain(loader, config_filenames=()).run(["run", *selected])
    except BlockingIOError:
        raise NeumoError(
            f"Ya hay una construcción de «{run.folder.name}» en marcha. Espere a que termine o use otro RUN=nombre."
        ) from None
    if failures or code:
        raise NeumoError(" ".join(failures) or f"doit terminó con el código {code}.")
    return (
        executed_path(next(c for c in chapters if c.number == until), run)
        if until
        else run.folder / "informe.html"
    )
