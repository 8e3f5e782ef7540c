"""El grafo rehace lo que cambió, y nada más; lo que falla no deja nada que parezca bueno."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

ROOT = Path(__file__).parents[1]

FIRST = """from neumo.run import open_run
import pandas as pd

run = open_run(globals())
run.save("manifest", pd.DataFrame({"seed": [seed], "patient_known": [True]}))"""

SECOND = """from neumo.run import open_run
from neumo.report.display import prose

run = open_run(globals())
manifest = run.load("manifest")
run.save("inspection", manifest)
prose("La semilla fue {seed}.", seed=int(manifest["seed"][0]))"""


def _notebook(path, title, reads, writes, parameters, code):
    cells = [
        new_markdown_cell(f"# {title}\n\nLee: {reads}.\n\nEscribe: {writes}.", id="titulo"),
        new_code_cell(parameters, id="parametros", metadata={"tags": ["parameters"]}),
        new_code_cell(code, id="cuerpo"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture
def project(tmp_path):
    """Un proyecto mínimo de verdad: dos cuadernos, una carpeta de radiografías y la misma orden que usa make."""
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "placas" / label).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 255, (24, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "placas" / label / f"IM-{i:04d}-0001.png")
    (tmp_path / "params" / "demo.yaml").write_text("source: folder\ndata_dir: placas\nseed: 5\n")
    run_dir = 'run_dir = "build/interactivo"  # carpeta'
    _notebook(
        tmp_path / "notebooks" / "02_uno.ipynb",
        "Uno",
        "`listing`",
        "`manifest`",
        f'seed = 1  # s\nsource = "phantom"\ndata_dir = None\n{run_dir}',
        FIRST,
    )
    _notebook(tmp_path / "notebooks" / "03_dos.ipynb", "Dos", "`manifest`", "`inspection`", run_dir, SECOND)
    return tmp_path


def _report(project, *arguments):
    order = [sys.executable, "-m", "neumo", "report", *arguments]
    return subprocess.run(order, cwd=project, capture_output=True, text=True, check=False)


def _executed(result):
    return re.findall(r"\] (\w+): empieza", result.stdout)


def _edit(path, change):
    notebook = nbformat.read(path, 4)
    change(notebook)
    nbformat.write(notebook, path)


def test_only_what_changed_is_made_again(project):
    notebooks, build = project / "notebooks", project / "build" / "demo"
    first = _report(project)
    assert first.returncode == 0, first.stderr
    assert _executed(first) == ["02_uno", "03_dos", "informe"]
    assert "La semilla fue 5" in (build / "informe.html").read_text()

    assert _executed(_report(project)) == []

    _edit(
        notebooks / "02_uno.ipynb", lambda nb: nb.cells.insert(1, new_markdown_cell("Más prosa.", id="prosa"))
    )
    assert _executed(_report(project)) == ["02_uno", "informe"]

    def save_outputs(notebook):
        notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="guardado por JupyterLab")]
        notebook.cells[-1].execution_count = 3

    _edit(notebooks / "03_dos.ipynb", save_outputs)
    assert _executed(_report(project)) == []

    changed = _report(project, "--set", "seed=9")
    assert _executed(changed) == ["02_uno", "03_dos", "informe"]
    assert "La semilla fue 9" in (build / "informe.html").read_text()
    _report(project)
    assert "La semilla fue 5" in (build / "informe.html").read_text()

    Image.fromarray(np.zeros((24, 24), np.uint8)).save(project / "placas" / "NORMAL" / "IM-0009-0001.png")
    assert "02_uno" in _executed(_report(project))


def test_a_failing_cell_is_a_sentence_and_leaves_no_fresh_result(project):
    assert _report(project).returncode == 0
    path = project / "notebooks" / "03_dos.ipynb"
    _edit(path, lambda nb: nb.cells.append(new_code_cell("1 / 0", id="falla")))
    failed = _report(project)
    executed = project / "build" / "demo" / "notebooks"
    assert failed.returncode == 2
    assert re.search(
        r"^Error: El capítulo 03_dos falló.*ZeroDivisionError.*logs/03_dos\.log\.$", failed.stderr, re.M
    )
    assert "Traceback" not in failed.stderr + failed.stdout
    assert (executed / "03_dos.fallo.ipynb").is_file()
    assert not (executed / "03_dos.ipynb").exists()
    assert "ZeroDivisionError" in (project / "build" / "demo" / "logs" / "03_dos.log").read_text()
    _edit(path, lambda nb: nb.cells.pop())
    mended = _report(project)
    assert _executed(mended) == ["03_dos", "informe"]
    assert not (executed / "03_dos.fallo.ipynb").exists()


def test_a_library_error_reaches_the_person_as_it_is(project):
    code = 'from neumo.errors import NeumoError\nraise NeumoError("Falta algo. Haga esto.")'
    _edit(project / "notebooks" / "03_dos.ipynb", lambda nb: nb.cells.append(new_code_cell(code, id="falla")))
    assert "Falta algo. Haga esto." in _report(project).stderr


def test_two_builds_of_one_run_do_not_mix(project):
    from neumo.cache import locked

    with locked(project / "build" / "demo" / ".lock"):
        result = _report(project)
    assert result.returncode == 2
    assert "Ya hay una construcción de «demo»" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "sed=1"], "«seed»"),
        (["--set", "data_dir=nada"], "nada"),
        (["--params", "params/otro.yaml"], "otro.yaml"),
        (["--run", "../fuera"], "RUN"),
        (["--run", "interactivo"], "JupyterLab"),
        (["--until", "9"], "«09»"),
        (["--until", "02", "--pdf"], "--until"),
        (["--colour"], "--help"),
    ],
)
def test_bad_orders_are_a_sentence(project, arguments, said):
    result = _report(project, *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(project.glob("build/*/notebooks/*"))


def test_a_notebook_that_is_not_python_is_named(project):
    code = "open_run?"
    _edit(project / "notebooks" / "03_dos.ipynb", lambda nb: nb.cells.append(new_code_cell(code, id="ayuda")))
    assert "03_dos.ipynb" in _report(project).stderr


def test_a_chapter_that_reads_what_nobody_writes_is_refused(project):
    (project / "notebooks" / "02_uno.ipynb").unlink()
    assert "lee `manifest` y ningún capítulo lo escribe" in _report(project).stderr


def test_a_notebook_runs_alone_in_any_order_in_the_interactive_run(project):
    """Como en JupyterLab: sin papermill, en la ejecución `interactivo`, sin tocar las publicadas; lo que falta se hace."""
    assert _report(project).returncode == 0
    published = (project / "build" / "demo" / "manifest.csv").read_bytes()
    values = 'source = "folder"\ndata_dir = "placas"\n'
    path = project / "notebooks" / "03_dos.ipynb"
    _edit(path, lambda nb: nb.cells[1].update(source=values + nb.cells[1].source))
    order = [sys.executable, "-m", "jupyter", "execute", str(path)]
    done = subprocess.run(order, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    interactive = project / "build" / "interactivo"
    assert (interactive / "manifest.csv").is_file()
    assert (interactive / "inspection.csv").is_file()
    # El 02, hecho por su cuenta, tomó las imágenes que pedía el 03.
    assert json.loads((interactive / "source.json").read_text())["folder_name"] == "placas"
    assert (project / "build" / "demo" / "manifest.csv").read_bytes() == published
    _edit(path, lambda nb: nb.cells[1].update(source=nb.cells[1].source.replace(values, "")))
    done = subprocess.run(order, cwd=project, capture_output=True, text=True, check=False)
    assert "se hizo con source" in done.stderr  # otras imágenes: se dice, no se mezclan
