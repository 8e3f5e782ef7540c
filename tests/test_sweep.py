"""Muchas ejecuciones con una orden: cada una, igual que hecha sola."""

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from neumo.cache import TURN, cached_tables, locked, training_turn
from neumo.data import store, verify
from neumo.data.blocks import BLOCK
from neumo.data.table import scan_source
from neumo.errors import NeumoError
from neumo.hardware import cores, thread_limits
from neumo.params_reader import load, parse_overrides
from neumo.report.chapters import read_chapters
from neumo.run import Run
from neumo.sweep import figures, tables
from neumo.sweep.comparison import compare
from neumo.sweep.plan import read_plan, write_plan
from neumo.sweep.point import DONE
from small_project import skeleton


@pytest.fixture
def measured(tmp_path):
    """Un entrenamiento que apunta las veces que se hace."""
    times = []

    def measure():
        times.append(1)
        return {"tabla": pd.DataFrame({"a": [len(times)]})}

    def run():
        cached_tables(tmp_path, "prueba", {"k": 1}, measure, code="neumo.evaluation.metrics", trains=True)
        return len(times)

    return run


def test_another_number_of_threads_is_another_training(measured, monkeypatch):
    """Suman en otro orden: si compartieran la clave, un resultado dependería de quién lo hizo antes."""
    assert [measured(), measured()] == [1, 1]
    for name, value in thread_limits(1).items():
        monkeypatch.setenv(name, value)
    assert [measured(), measured()] == [2, 2]


def test_who_has_a_turn_of_its_own_does_not_wait_for_the_others(tmp_path, monkeypatch):
    with training_turn(tmp_path / "cache"):
        monkeypatch.setenv(TURN, str(tmp_path / "punto"))
        with training_turn(tmp_path / "cache"), pytest.raises(BlockingIOError):
            locked(tmp_path / "punto" / "training-0.lock", wait=False).__enter__()


def test_with_one_thread_each_core_trains_a_network_and_with_all_only_one_does(tmp_path, monkeypatch):
    def free_cores():
        with contextlib.ExitStack() as taken:
            for core in range(cores()):
                with contextlib.suppress(BlockingIOError):
                    taken.enter_context(locked(tmp_path / f"training-{core}.lock", wait=False))
                    yield core

    with training_turn(tmp_path):
        assert not list(free_cores())
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    with training_turn(tmp_path):
        assert len(list(free_cores())) == cores() - 1


# --- El plan, los puntos hechos y la comparación --------------------------------------------------------------

BASE = """
threads: 1
attempts: {intento_2: null, intento_3: null, intento_4: null}
repaired: {learning_rate: 0.001}
final_models: [original, reparado]
"""
GRID = "sweep: {seeds: [0, 1], grid: {repaired.learning_rate: [0.001, 0.003]}}\n"


def plan_of(folder, text, **options):
    path = folder / "barrido.yaml"
    path.write_text(BASE + text)
    return read_plan(path, folder / "build" / "barrido", **options)


def test_the_grid_is_expanded_with_the_base_first_and_nothing_twice(tmp_path):
    _, points = plan_of(tmp_path, GRID, overrides={"image_size": 48})
    assert [(p.config, p.params.repaired.learning_rate, p.params.final_seeds) for p in points] == [
        ("base", 0.001, [0]),
        ("base", 0.001, [1]),
        ("repaired.learning_rate = 0.003", 0.003, [0]),
        ("repaired.learning_rate = 0.003", 0.003, [1]),
    ]
    order = points[2].order(tmp_path / "barrido.yaml")
    again = load(tmp_path / "barrido.yaml", parse_overrides(order[order.index("--set") + 1]))
    assert again == points[2].params
    assert again.image_size == 48
    assert len({p.folder for p in points}) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no dice qué barrer"),
        ("sweep: {grdi: {}}\n", "¿Quiso decir «grid»?"),
        ("sweep: {grid: {repaired.learning_rat: [1]}}\n", "«repaired.learning_rat» no es un parámetro"),
        ("sweep: {grid: {repaired.epochs: [0]}}\n", "debe ser mayor o igual que 1"),
        ("sweep: {until: '09', seeds: [0, 1]}\n", "Suba until"),
        ("sweep: {final: {seed: 3}}\n", "final no es ninguna de las configuraciones"),
        ("sweep: {until: '77'}\n", "debe ser uno de: '09', '10' o '11'"),
    ],
)
def test_what_cannot_be_swept_is_said_before_starting(tmp_path, text, told):
    with pytest.raises(NeumoError, match=re.escape(told)):
        plan_of(tmp_path, text)


def test_the_final_configuration_and_only_it_reaches_the_test(tmp_path):
    _, points = plan_of(tmp_path, GRID.replace("}}\n", "}, final: {repaired.learning_rate: 0.003}}\n"))
    assert [(p.until, p.final) for p in points] == [("10", False)] * 2 + [("11", True)] * 2


@pytest.fixture
def done(tmp_path):
    """Un barrido cuyos puntos, menos el último, están hechos: carpetas con la forma de las de verdad."""
    _, points = plan_of(tmp_path, GRID)
    folder = points[0].folder.parent
    folder.mkdir(parents=True)
    write_plan(folder, points, images="imágenes")
    for point in points[:-1]:
        fabricate(point)
    (folder / "params.json").write_text(points[0].params.model_dump_json())
    Run(folder=folder, params=points[0].params).save("source", {"description": "radiografías", "synthetic": True})
    return folder, points


def fabricate(point, count=60):
    """Aprende más quien tiene la tasa más alta, y la otra red no cambia."""
    rng = np.random.default_rng(point.params.final_seeds[0])
    y = np.arange(count) % 2
    images = {"path": [f"{i}.png" for i in range(count)], "group": [f"p{i // 2}" for i in range(count)], "y_true": y}
    tables, curves = [], []
    for name, gain in (("original", 0.5), ("reparado", 1000 * point.params.repaired.learning_rate)):
        logit = gain * (y - 0.5) + rng.normal(0, 1, count)
        identity = {"model": name, "seed": point.params.final_seeds[0]}
        tables.append(pd.DataFrame({**images, **identity, "partition": "val", "subtype": "", "logit": logit}))
        epochs = {"epoch": [1, 2], "loss": [0.9, 0.5], "val_loss": [0.8, 0.6], "accuracy": 0.8, "val_accuracy": 0.7}
        curves.append(pd.DataFrame({**identity, **epochs}))
    point.run.save("predictions_final", pd.concat(tables))
    point.run.save("history_final", pd.concat(curves))
    record = {"digest": point.digest("imágenes"), "seconds": 12.5, "memory_mb": 700}
    (point.folder / DONE).write_text(json.dumps(record))


def test_a_finished_point_is_known_until_something_of_it_changes(done):
    _, points = done
    assert [bool(p.done("imágenes")) for p in points] == [True, True, True, False]
    assert not points[0].done("otras imágenes")
    assert not dataclasses.replace(points[0], params=points[2].params).done("imágenes")
    (points[1].folder / DONE).write_text("{a medias")
    assert points[1].done("imágenes") is None


def test_the_tables_compare_what_changes_and_say_what_is_missing(done):
    folder, _ = done
    results = tables.load(folder)
    rate = "repaired.learning_rate"
    assert list(results.points["state"]) == ["hecho", "hecho", "hecho", "falta"]
    assert list(results.points[rate]) == [0.001, 0.001, 0.003, 0.003]
    assert set(results.points["variant"].dropna()) == {"base", f"{rate} = 0.003"}, "la red que no cambia no se compara"
    found = tables.differences(results, resamples=200).set_index("metric")
    assert set(found["variant"]) == {f"{rate} = 0.003"}
    means = results.points.groupby("config")["auc"].mean()
    assert found.loc["auc", "difference"] == pytest.approx(means[f"{rate} = 0.003"] - means["base"])
    assert figures.numeric_keys(results.points, results.keys) == [rate]
    assert "test" not in results.predictions
    assert len(tables.intervals(results, resamples=200)) == 2 * len(tables.METRICS)


def test_another_folder_is_not_a_sweep(tmp_path):
    with pytest.raises(NeumoError, match="make sweep"):
        tables.load(tmp_path)


def test_a_worker_with_other_packages_is_refused_with_a_sentence():
    from neumo.sweep.point import environment, refusal

    assert refusal(environment()) == ""
    told = refusal(environment() | {"requirements.lock": "otro"})
    assert "requirements.lock" in told
    assert "Instale" in told


def test_without_the_sweeps_the_report_is_made_just_the_same():
    used = {module for chapter in read_chapters() for module in chapter.modules}
    assert not [module for module in used if module.startswith("sweep/")]


@pytest.mark.slow
def test_the_comparison_is_a_page_like_the_report(done):
    folder, _ = done
    text = compare(folder).read_text(encoding="utf-8")
    for told in ("De 4 puntos faltan 1", "tab-diferencias", "fig-parametro-1", "la prueba no se mira", "regla elige"):
        assert told in text
    assert len(pd.read_csv(folder / "points.csv")) == 4


# --- Con un clúster de verdad y puntos baratos -----------------------------------------------------------------

CHAPTER = """import time
import numpy as np
import pandas as pd
from neumo.notebook import open_run

run = open_run(globals())
seed, rate = run.params.final_seeds[0], run.params.repaired.learning_rate
time.sleep(2)
y = np.arange(40) % 2
logit = 1000 * rate * (y - 0.5) + np.random.default_rng(seed).normal(size=40)
one = pd.DataFrame({"model": "reparado", "seed": seed, "partition": "val", "path": np.arange(40).astype(str)})
run.save("predictions_final", one.assign(group=one["path"], y_true=y, subtype="", logit=logit))
curve = {"epoch": [1, 2], "loss": [0.9, 0.5], "val_loss": [0.8, 0.6], "accuracy": 0.8, "val_accuracy": 0.7}
run.save("history_final", pd.DataFrame({"model": "reparado", "seed": seed, **curve}))
run.save("final", one.head(1))"""


@pytest.fixture
def project(tmp_path):
    """Un proyecto mínimo: un capítulo que tarda dos segundos, unas radiografías y un barrido de tres puntos."""
    skeleton(tmp_path)
    for number in range(300):  # más de dos bloques
        pixels = np.random.default_rng([1, number]).integers(0, 255, (24, 24), dtype=np.uint8)
        label = ("NORMAL", "PNEUMONIA")[number % 2]
        Image.fromarray(pixels).save(tmp_path / "placas" / label / f"IM-{number + 3:04d}-0001.png")
    rates = "sweep: {seeds: [0], grid: {repaired.learning_rate: [0.001, 0.002, 0.003]}}\n"
    (tmp_path / "params" / "barrido.yaml").write_text(f"{BASE}source: folder\ndata_dir: placas\n{rates}")
    cells = [
        new_markdown_cell(
            "# Entrenar\n\nLee: nada.\n\nEscribe: `final`, `history_final`, `predictions_final`.", id="titulo"
        ),
        new_code_cell('run_dir = "build/interactivo"  # carpeta', id="parametros", metadata={"tags": ["parameters"]}),
        new_code_cell(CHAPTER, id="cuerpo"),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "10_entrenar.ipynb")
    return tmp_path


def _order(project, *arguments, **options):
    environment = {**os.environ, "TMPDIR": str(project)}  # los núcleos que se reparten son los de esta prueba
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, "-m", "neumo", *arguments]
    return subprocess.Popen(command, cwd=project, env=environment, **streams, **options)


def _wait_for(found, seconds=300):
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "no llegó a pasar"
        time.sleep(0.05)
    return value


def _kernels(root):
    """Los núcleos que descienden de un proceso, con el de `neumo.sweep.point` que los lanzó."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(root).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any("ipykernel_launcher" in part for part in process.cmdline()):
                    found.append((process, process.parent()))
    return found


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_leaves_no_kernel_and_changes_no_result(project):
    sweep = _order(project, "sweep", "--workers", "2")
    kernel, point = _wait_for(lambda: _kernels(sweep.pid))[0]
    point.parent().kill()
    _wait_for(lambda: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE, seconds=60)
    told = sweep.communicate()[0]
    assert sweep.returncode == 0, told
    assert "[ 3/3]" in told
    folder = project / "build" / "barrido"
    records = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/hecho.json"))}
    assert len(records) == 3
    assert (folder / "comparacion.html").is_file()
    point = "repaired.learning_rate-0.003-semilla-0"
    values = "repaired.learning_rate=0.003 final_seeds=[0]"
    run = Run(folder, load(project / "params" / "barrido.yaml"))
    inspection = verify.inspect(scan_source(run.params, project / "placas"), project / "placas")
    kept = inspection[~inspection["excluded"]]
    assert f"Imágenes, verificadas y descodificadas: {len(kept)}." in told
    assert len(kept) > 2 * BLOCK
    there = {path: path.stat().st_mtime_ns for path in (project / "build" / "cache").glob("store/*/images.npy")}
    with tempfile.TemporaryDirectory() as elsewhere:
        here = store.load(kept, project / "placas", image_size=run.params.image_size, cache=elsewhere).pixels()
    np.testing.assert_array_equal(
        store.load(kept, project / "placas", image_size=run.params.image_size, cache=run.cache).pixels(), here
    )
    assert there == {path: path.stat().st_mtime_ns for path in there}
    assert len(there) == len(list((project / "build" / "cache").glob("store/*/images.npy")))
    alone = _order(
        project, "report", "--params", "params/barrido.yaml", "--run", "solo", "--set", values, "--until", "10"
    )
    told = alone.communicate()[0]
    assert alone.returncode == 0, told
    for name in ("predictions_final.csv", "history_final.csv"):
        assert (project / "build" / "solo" / name).read_bytes() == (folder / point / name).read_bytes()
    again = _order(project, "sweep")
    assert "3 ya hechos" in again.communicate()[0]
    assert {path: path.stat().st_mtime_ns for path in records} == records


@pytest.mark.slow
def test_a_failing_point_is_told_with_its_log_and_the_others_go_on(project):
    path = project / "notebooks" / "10_entrenar.ipynb"
    path.write_text(path.read_text().replace("time.sleep(2)", "assert rate != 0.002, 'esta no'"))
    sweep = _order(project, "sweep", "--workers", "1")
    told = sweep.communicate()[0]
    assert sweep.returncode == 1, told
    assert re.search(r"0\.002-semilla-0: FALLÓ\. .*esta no.*barrido\.log", told)
    assert "Puntos fallidos, 1" in told
    assert len(list((project / "build" / "barrido").glob("*/hecho.json"))) == 2
    assert "De 3 puntos faltan 1" in (project / "build" / "barrido" / "comparacion.html").read_text(encoding="utf-8")
