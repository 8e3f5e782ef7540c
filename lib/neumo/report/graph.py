"""El grafo del informe, con doit: un capítulo se rehace cuando cambia algo de lo que lo determina, y solo entonces."""

import contextlib
import errno
import functools
import io
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from neumo.cache import file_digest, locked, write_atomically
from neumo.data.sources import prepare
from neumo.errors import NeumoError, machine_failure
from neumo.hardware import cores, has_bfloat16, thread_limits
from neumo.modules import closure, digest, modules_digest
from neumo.report.chapters import Chapter, read_chapters
from neumo.report.console import announce_duration, progress_shown, reporter
from neumo.report.downloads import files
from neumo.report.execute import execute_chapter, train_ahead
from neumo.report.kernel import own_environment
from neumo.report.nursery import Nursery
from neumo.run import Run, inherited_parameters, private_folder, versions

_TEMPLATE = Path(__file__).with_name("template")
_MANY = 6  # con más capítulos por hacer, se espera al vivero


def executed_path(chapter: Chapter, run: Run) -> Path:
    """Ruta del cuaderno ejecutado de un capítulo."""
    return run.folder / "notebooks" / chapter.path.name


def _execute(chapter: Chapter, run: Run, nursery: Nursery) -> None:
    values = run.params.model_dump(mode="json")
    given = {name: values[name] for name in chapter.parameters}
    output = executed_path(chapter, run)
    execute_chapter(chapter.path, output, run=run, values=given, uses=chapter.uses, nursery=nursery)
    missing = [name for name in chapter.writes if not run.is_whole(name)]
    if missing:
        raise NeumoError(f"El capítulo {chapter.path.stem} terminó sin escribir {', '.join(missing)}.")


def _render(chapters: list[Chapter], run: Run) -> None:
    from neumo.report.index import render_index
    from neumo.report.render import render

    notebooks = [executed_path(chapter, run) for chapter in chapters]
    render(notebooks, run.folder / "informe.html", meta=_meta(chapters, run))
    render_index(run.folder.parent)


def _meta(chapters: list[Chapter], run: Run) -> dict[str, Any]:
    """Reúne lo que la portada y el cierre dicen de la ejecución; las versiones, las que hicieron los capítulos."""
    source, seals = run.load("source"), [run.seal(chapter.number) for chapter in chapters]
    meta = {
        "run": run.folder.name,
        "source": source["description"],
        "synthetic": source["synthetic"],
        "files": files([chapter.path for chapter in chapters], run),
        "provenance": {
            "ejecución": run.folder.name,
            "parámetros": digest(
                run.params.model_dump(
                    mode="json",
                    exclude={
                        "data_dir": True,
                        "image_table": {"file", "images_dir"},
                        "external": {"__all__": {"data_dir"}},
                    },
                )
            ),
            "imágenes": file_digest(run.path("listing"))[:16] if source["synthetic"] else source["folder_name"],
            "neumo": " y ".join(sorted({seal["code"] for seal in seals if "code" in seal})),
            **next((seal["versions"] for seal in seals if "versions" in seal), versions()),
        },
    }
    written = {name for chapter in chapters for name in chapter.writes}
    if "manifest" in written:
        meta["unknown_patients"] = int((~run.load("manifest")["patient_known"]).sum())
    if "threshold_data" in written:
        meta["threshold_data"] = run.load("threshold_data")
    return meta


def _guarded(failures: list[str], run: Run, action: Callable, *arguments: Any) -> bool:
    """Hace una tarea; si falla, guarda la frase para la persona y, si no la había, el detalle en un registro."""
    try:
        action(*arguments)
    except NeumoError as error:
        failures.append(str(error))
    except Exception as error:
        if reason := machine_failure(error):
            failures.append(reason)
            return False
        log = run.folder / "logs" / "report.log"
        write_atomically(log, traceback.format_exc().encode())
        failures.append(f"{type(error).__name__}: {error}. El detalle está en {log}.")
    else:
        return True
    return False


def determined_by(chapter: Chapter, run: Run) -> dict[str, Any]:
    """Reúne lo que, además de los bytes que lee, determina un capítulo.

    Returns
    -------
    dict
        `cells`, `parameters` (los suyos), `inherited` (de los que salió lo que lee), `modules`, `versions` y, si entrena,
        `bfloat16` y `threads`: la precisión `auto` depende del procesador, y el orden de las sumas, de los hilos.
    """
    values = run.params.model_dump(mode="json")
    trains = not {"repaired", "improved", "attempts"}.isdisjoint(chapter.uses)
    return {
        "cells": chapter.cells,
        "parameters": {name: values[name] for name in chapter.uses},
        "inherited": inherited_parameters(run, chapter.reads),
        "modules": modules_digest(chapter.modules),
        "versions": versions(),
        "bfloat16": has_bfloat16() if trains else None,
        "threads": run.params.threads if trains else None,
    }


def _trained_by(chapter: Chapter, run: Run) -> dict[str, Any]:
    """Lo que determina lo que un capítulo entrena: de lo que lee, solo la partición, y esa es un archivo."""
    return determined_by(chapter, run) | {"inherited": None}


def _unchanged(describe: Callable[[], Any]) -> Callable:
    """`uptodate` de doit que compara un valor calculado cuando le toca a la tarea, hechas ya las anteriores."""

    def uptodate(task: Any, values: dict) -> bool:
        determined = digest(describe())
        task.value_savers.append(lambda: {"determined": determined})
        return values.get("determined") == determined

    return uptodate


def tasks(chapters: list[Chapter], run: Run, failures: list[str], nursery: Nursery) -> Iterator[dict]:
    """Genera las tareas de doit: una por capítulo y, al final, la composición del informe.

    Parameters
    ----------
    chapters : list of Chapter
    run : Run
    failures : list of str
        Recibe la frase de cada tarea que falle.
    nursery : Nursery
        De donde salen los procesos.
    """
    for chapter in chapters:
        if "ablation" in chapter.writes and _has_idle_cores(run):
            yield {
                "name": f"{chapter.number}_adelanto",
                "actions": [(_guarded, [[], run, train_ahead, run, nursery])],
                "file_dep": [str(path) for path in run.files("partition")],
                "uptodate": [_unchanged(functools.partial(_trained_by, chapter, run))],
                "io": {"capture": False},
            }
        written = [path for name in chapter.writes for path in run.files(name)]
        yield {
            "name": chapter.path.stem,
            "actions": [(_guarded, [failures, run, _execute, chapter, run, nursery])],
            "file_dep": [str(path) for name in chapter.reads for path in run.files(name)],
            "targets": [str(path) for path in (executed_path(chapter, run), *written)],
            "uptodate": [
                _unchanged(functools.partial(determined_by, chapter, run)),
                lambda chapter=chapter: all(map(run.is_whole, chapter.writes)),
            ],
            "io": {"capture": False},  # doit cambia sys.stdout mientras captura, y aquí hay dos hilos
        }
    template = [path for path in sorted(_TEMPLATE.rglob("*")) if path.is_file()]
    code = closure(["report/render", "report/index"])
    yield {
        "name": "informe",
        "actions": [(_guarded, [failures, run, _render, chapters, run])],
        "file_dep": [str(path) for path in (*(executed_path(c, run) for c in chapters), *template)],
        "targets": [str(run.folder / "informe.html")],
        "uptodate": [_unchanged(lambda: [modules_digest(code), versions()])],
        "io": {"capture": False},
    }


def _has_idle_cores(run: Run) -> bool:
    """Dice si, mientras un capítulo entrena, queda algún núcleo para entrenar lo de otro."""
    return (run.params.threads or cores()) < cores()


def _loader(planned: list[dict], run: Run, reporter: type) -> Any:
    from doit.cmd_base import TaskLoader2
    from doit.task import dict_to_task

    class Loader(TaskLoader2):
        def load_doit_config(self) -> dict:
            return {
                "dep_file": str(private_folder(run.folder) / "graph.db"),
                "backend": "sqlite3",
                "reporter": reporter,
                "num_process": 4 if _has_idle_cores(run) else 2,
                "par_type": "thread",
            }

        def load_tasks(self, cmd: Any, pos_args: list[str]) -> list:
            return [dict_to_task(task) for task in planned]

    return Loader()


def needed(chapters: list[Chapter], number: str) -> list[Chapter]:
    """Devuelve, en orden, un capítulo y los que escriben, directa o indirectamente, lo que él lee."""
    writers = {name: chapter for chapter in chapters for name in chapter.writes}
    pending, found = [c for c in chapters if c.number == number], set()
    while pending:
        chapter = pending.pop()
        if chapter.number not in found:
            found.add(chapter.number)
            pending += [writers[name] for name in chapter.reads if name in writers]
    return [chapter for chapter in chapters if chapter.number in found]


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
    wanted = needed(chapters, until) if until else chapters
    failures: list[str] = []
    try:
        with (
            locked(run.folder / ".lock", wait=False),
            progress_shown(run.folder / "progress.log"),
            Nursery(lambda folder: own_environment(folder) | thread_limits(run.params.threads)) as nursery,
        ):
            if sum(not executed_path(chapter, run).is_file() for chapter in wanted) > _MANY:
                nursery.open()
            for told in prepare(run).notes:
                print(told)
            announce_duration(run, wanted)
            planned = list(tasks(wanted, run, failures, nursery))[: -1 if until else None]
            loader = _loader(planned, run, reporter(len(planned), failures))
            with contextlib.redirect_stderr(
                io.StringIO()
            ) as trace:  # doit escribe ahí sus fallos, que no son de quien lee
                code = DoitMain(loader, config_filenames=()).run(["run"])
    except BlockingIOError:
        raise NeumoError(
            f"Ya hay una construcción de «{run.folder.name}» en marcha. Espere a que termine o use otro RUN=nombre."
        ) from None
    if not failures and code:
        if "disk is full" in trace.getvalue():
            raise OSError(errno.ENOSPC, "")
        write_atomically(run.folder / "logs" / "report.log", trace.getvalue().encode())
        failures.append(f"doit terminó con el código {code}. El detalle está en {run.folder.name}/logs/report.log.")
    if failures:
        raise NeumoError(" ".join(dict.fromkeys(failures)))
    last = next((chapter for chapter in wanted if chapter.number == until), None)
    return executed_path(last, run) if last else run.folder / "informe.html"
