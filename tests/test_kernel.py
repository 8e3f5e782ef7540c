"""Qué intérprete y qué código ejecutan un capítulo, y que ninguno se pierde al arrancar."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import neumo

# En otro proceso: quien ejecuta cuadernos desde varios hilos deja abiertos los bucles de asyncio de cada uno.
RUN = """import contextlib, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from neumo.params import Params
from neumo.report.execute import execute_chapter
from neumo.hardware import thread_limits
from neumo.report.kernel import own_environment
from neumo.report.nursery import Nursery
from neumo.run import Run

def execute(path, nursery):
    run = Run(path.parent / "build/demo", Params())
    execute_chapter(path, path.with_suffix(".hecho.ipynb"), run=run, values={}, nursery=nursery)

folder, raised = Path(sys.argv[1]), sys.argv[2] == "vivero"
environment = lambda folder: own_environment(folder) | thread_limits(1)
with Nursery(environment) if raised else contextlib.nullcontext() as nursery, ThreadPoolExecutor(8) as pool:
    if raised:
        nursery.open()
    list(pool.map(lambda path: execute(path, nursery), sorted(folder.glob("n*.ipynb"))))"""

ways = pytest.mark.parametrize("way", ["propio", "vivero"])


def _run(folder, codes, way, **changes):
    """Ejecuta a la vez un cuaderno por cada código."""
    for i, code in enumerate(codes):
        nbformat.write(new_notebook(cells=[new_code_cell(code, id="celda")]), folder / f"n{i:02d}.ipynb")
    env = os.environ | {name: str(value) for name, value in changes.items()}
    order = [sys.executable, "-c", RUN, folder, way]
    return subprocess.run(order, env=env, capture_output=True, text=True, check=False)


def _printed(folder, codes, way, **changes):
    """Ejecuta los códigos y da lo que escribe cada uno."""
    done = _run(folder, codes, way, **changes)
    assert done.returncode == 0, done.stderr
    outputs = [nbformat.read(path, 4).cells[-1].outputs for path in sorted(folder.glob("n*.hecho.ipynb"))]
    return [output[0].text for output in outputs]


def _plant(home):
    """Deja por todas partes lo que cambiaría qué corre: núcleo, arranques y configuraciones."""
    kernel = home / ".local/share/jupyter/kernels/python3/kernel.json"
    startup = home / ".ipython/profile_default"
    files = {
        kernel: json.dumps({"argv": ["/bin/false"], "display_name": "ajeno", "language": "python"}),
        startup / "startup/00.py": "planted = 2",
        startup / "ipython_kernel_config.py": "c.IPKernelApp.exec_lines = ['planted = 3']",
        home / "arranque.py": "planted = 4",
        home / ".keras/keras.json": '{"backend": "numpy", "floatx": "float64", "image_data_format": "channels_first"}',
        home / "matplotlibrc": "font.size: 40\n",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {
        "HOME": home,
        "JUPYTER_PATH": kernel.parents[2],
        "JUPYTER_PREFER_ENV_PATH": "0",
        "PYTHONSTARTUP": home / "arranque.py",
        "IPYTHONDIR": home / ".ipython",
        "KERAS_HOME": home / ".keras",
        "KERAS_BACKEND": "numpy",
        "MATPLOTLIBRC": home / "matplotlibrc",
        "MPLBACKEND": "TkAgg",
    }


def _shown(text):
    """El cuaderno ejecutado dice las rutas desde el proyecto."""
    return text.replace(str(Path(__file__).parents[1]), ".")


@pytest.fixture
def for_everyone():
    """Planta lo que quien administra la máquina pone para todos: un arranque y una configuración de IPython."""
    folder = Path(sys.prefix, "etc", "ipython")
    files = {
        folder / "startup" / "00-prueba.py": "planted = 5",
        folder / "ipython_kernel_config.py": "c.IPKernelApp.exec_lines = ['planted = 6']",
    }
    if folder.exists() or not os.access(sys.prefix, os.W_OK):
        pytest.skip(f"{folder} ya existe, o no se puede escribir")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    yield
    shutil.rmtree(folder)


@ways
@pytest.mark.usefixtures("for_everyone")
def test_the_environment_does_not_choose_what_runs(tmp_path, way):
    code = """import os, sys
before = "keras" in sys.modules
import matplotlib, neumo
from keras.src.backend.config import backend, floatx, image_data_format
planted = "planted" in globals()
print([sys.executable, neumo.__file__, planted, matplotlib.rcParams["font.size"]])
print([backend(), floatx(), image_data_format(), "inline" in matplotlib.get_backend()])
print([before, sys.flags.hash_randomization, os.getcwd(), "MPLCONFIGDIR" in os.environ])"""
    [seen] = _printed(tmp_path, [code], way, **_plant(tmp_path / "casa"))
    assert seen.splitlines() == [
        _shown(str([sys.executable, neumo.__file__, False, 10.0])),
        str(["tensorflow", "float32", "channels_last", True]),
        str([way == "vivero", 0, ".", False]),
    ]


@ways
def test_a_kernel_that_dies_is_told_and_leaves_nothing_half_done(tmp_path, way):
    done = _run(tmp_path, ["import os\nos.kill(os.getpid(), 9)"], way)
    assert "NeumoError: El capítulo n00 falló: el núcleo de Python murió; suele ser falta de memoria" in done.stderr
    assert [path.name for path in tmp_path.glob("n*")] == ["n00.ipynb", "n00.hecho.fallo.ipynb"]


@pytest.mark.slow
@ways
def test_of_many_started_at_once_none_is_lost(tmp_path, way):
    assert _printed(tmp_path, [f"print({i})" for i in range(24)], way) == [f"{i}\n" for i in range(24)]
