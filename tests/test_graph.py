"""El grafo rehace lo que cambió, y nada más; lo que falla no deja nada que parezca bueno."""

import json
import os
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

import neumo
from leaks import leaks
from neumo.cache import library_versions, locked
from neumo.modules import code_digest
from neumo.params import Params
from neumo.report.chapters import read_chapter
from neumo.report.graph import determined_by
from neumo.run import Run
from small_project import skeleton

SECRETS = ("clave-de-kaggle-1234", "Autora de la Placa")
FIRST = """from neumo.notebook import open_run
import pandas as pd

run = open_run(globals())
run.save("manifest", pd.DataFrame({"seed": [seed], "patient_known": [True]}))"""

SECOND = """import os, warnings
from neumo.notebook import open_run
from neumo.report.display import prose

os.write(2, b"absl::InitializeLog")
warnings.warn("un aviso de quien escribe")
run = open_run(globals())
manifest = run.load("manifest")
run.save("exclusions", manifest)
prose("La semilla fue {seed}.", seed=int(manifest["seed"][0]))"""


def _notebook(path, title, reads, writes, parameters, code):
    cells = [
        new_markdown_cell(f"# {title}\n\nLee: {reads}.\n\nEscribe: {writes}.", id="titulo"),
        new_code_cell(parameters, id="parametros", metadata={"tags": ["parameters"]}),
        new_code_cell(code, id="cuerpo"),
    ]
    nbformat.write(new_notebook(cells=cells), path)  # sin kernelspec, como el que alguien escribe a mano


@pytest.fixture
def project(tmp_path):
    """Un proyecto mínimo de verdad: dos cuadernos, una carpeta de radiografías y la misma orden que usa make."""
    exif = Image.Exif()
    exif[0x13B] = SECRETS[1]
    skeleton(tmp_path, exif=exif)
    (tmp_path / "params" / "demo.yaml").write_text("source: folder\ndata_dir: placas\nseed: 5\n")
    run_dir = 'run_dir: str = "build/interactivo"  # carpeta'
    declared = f'seed = 1  # s\nsource = "phantom"\ndata_dir = None\n{run_dir}'
    _notebook(tmp_path / "notebooks" / "02_uno.ipynb", "Uno", "`listing`", "`manifest`", declared, FIRST)
    _notebook(tmp_path / "notebooks" / "03_dos.ipynb", "Dos", "`manifest`", "`exclusions`", run_dir, SECOND)
    return tmp_path


def _report(project, *arguments):
    order = [sys.executable, "-m", "neumo", "report", *arguments]
    # Con esa variable, la de pytest, ipykernel no recoge lo que se escribe en el descriptor 2.
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    env["KAGGLE_KEY"] = SECRETS[0]
    return subprocess.run(order, cwd=project, capture_output=True, text=True, check=False, env=env)


def _executed(result):
    return re.findall(r"\] (\w+): empieza", result.stdout)


def _edit(path, change):
    notebook = nbformat.read(path, 4)
    change(notebook)
    nbformat.write(notebook, path)


def test_only_what_changed_is_made_again(project):
    notebooks, build = project / "notebooks", project / "build" / "demo"
    part = _report(project, "--until", "2")
    assert part.returncode == 0, part.stderr
    assert re.search(r"^\[ 1/1\] 02_uno: hecho en \d+ s$", part.stdout, re.M)  # cuenta lo pedido, no el informe
    assert _executed(_report(project)) == ["03_dos", "informe"]
    page = (build / "informe.html").read_text()
    assert "La semilla fue 5" in page
    assert f"<dd>{neumo.__version__} ({code_digest()})</dd>" in page  # el pie dice qué código lo hizo

    assert _executed(_report(project)) == []

    _edit(notebooks / "02_uno.ipynb", lambda nb: nb.cells.insert(1, new_markdown_cell("Más prosa.", id="prosa")))
    assert _executed(_report(project)) == ["02_uno", "informe"]

    def save_outputs(notebook):
        notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="guardado por JupyterLab")]
        notebook.cells[-1].execution_count = 3

    _edit(notebooks / "03_dos.ipynb", save_outputs)
    assert _executed(_report(project)) == []

    assert _executed(_report(project, "--set", "seed=9")) == ["02_uno", "03_dos", "informe"]
    assert "La semilla fue 9" in (build / "informe.html").read_text()

    Image.fromarray(np.zeros((24, 24), np.uint8)).save(project / "placas" / "NORMAL" / "IM-0009-0001.png")
    assert "02_uno" in _executed(_report(project, "--set", "seed=9"))

    assert leaks(build, str(project), *SECRETS) == []

    whole = {name: (build / name).read_bytes() for name in ("manifest.csv", "exclusions.csv")}
    (build / "manifest.csv").unlink()
    flipped = bytearray(whole["exclusions.csv"])
    flipped[-2] ^= 1
    (build / "exclusions.csv").write_bytes(flipped)
    assert _executed(_report(project, "--set", "seed=9")) == ["02_uno", "03_dos", "informe"]
    assert {name: (build / name).read_bytes() for name in whole} == whole


def test_a_failing_cell_is_a_sentence_and_leaves_no_fresh_result(project):
    assert _report(project).returncode == 0
    executed = project / "build" / "demo" / "notebooks"
    log = project / "build" / "demo" / "logs" / "03_dos.log"
    # Lo que las bibliotecas en C escriben por su cuenta va al registro; los avisos de quien escribe, al cuaderno.
    assert "absl" in log.read_text()
    streams = [
        o.text
        for cell in nbformat.read(executed / "03_dos.ipynb", 4).cells
        for o in cell.get("outputs", ())
        if "text" in o
    ]
    assert "un aviso de quien escribe" in "".join(streams)
    assert "absl" not in "".join(streams)

    path = project / "notebooks" / "03_dos.ipynb"
    _edit(path, lambda nb: nb.cells.append(new_code_cell("1 / 0", id="falla")))
    failed = _report(project)
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == (
        "Error: El capítulo 03_dos falló en la celda «falla»: ZeroDivisionError: division by zero. Abra "
        "build/demo/notebooks/03_dos.fallo.ipynb para verlo; el detalle está en build/demo/logs/03_dos.log."
    )
    assert "Traceback" not in failed.stderr + failed.stdout
    assert (executed / "03_dos.fallo.ipynb").is_file()
    assert leaks(executed.parent, str(project), *SECRETS) == []  # ni en la traza
    assert not (executed / "03_dos.ipynb").exists()
    assert "ZeroDivisionError" in log.read_text()

    code = 'from neumo.errors import NeumoError\nraise NeumoError("Falta algo. Haga esto.")'
    _edit(path, lambda nb: nb.cells[-1].update(source=code))
    assert "la celda «falla»: Falta algo. Haga esto. Abra" in _report(project).stderr

    _edit(path, lambda nb: nb.cells.pop())
    assert _executed(_report(project)) == ["03_dos", "informe"]
    assert not (executed / "03_dos.fallo.ipynb").exists()


def test_a_chapter_depends_on_the_versions_of_the_libraries(project, monkeypatch):
    run = Run(folder=project / "build" / "demo", params=Params())
    chapter = read_chapter(project / "notebooks" / "02_uno.ipynb")
    before = determined_by(chapter, run)
    (project / "otra" / "scipy-99.dist-info").mkdir(parents=True)
    (project / "otra" / "scipy-99.dist-info" / "METADATA").write_text("Name: scipy\nVersion: 99\n")
    monkeypatch.syspath_prepend(project / "otra")
    library_versions.cache_clear()
    after = determined_by(chapter, run)
    library_versions.cache_clear()
    assert after["versions"].pop("scipy") == "99"
    assert before["versions"].pop("scipy") != "99"
    assert after == before


def test_two_builds_of_one_run_do_not_mix(project):
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


def test_a_notebook_runs_alone_in_any_order_in_the_interactive_run(project):
    """Como en JupyterLab: sin papermill, en la ejecución `interactivo`, sin tocar otra; lo que falta se hace."""
    values = 'source = "folder"\ndata_dir = "placas"\n'
    path = project / "notebooks" / "03_dos.ipynb"
    _edit(path, lambda nb: nb.cells[1].update(source=values + nb.cells[1].source))
    order = [sys.executable, "-m", "jupyter", "execute", "--kernel_name=python3", str(path)]
    done = subprocess.run(order, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {folder.name for folder in (project / "build").iterdir()} == {"cache", "interactivo"}
    interactive = project / "build" / "interactivo"
    assert (interactive / "manifest.csv").is_file()
    assert (interactive / "exclusions.csv").is_file()
    # El 02, hecho por su cuenta, tomó las imágenes que pedía el 03.
    assert json.loads((interactive / "source.json").read_text())["folder_name"] == "placas"
    _edit(path, lambda nb: nb.cells[1].update(source=nb.cells[1].source.replace(values, "")))
    done = subprocess.run(order, cwd=project, capture_output=True, text=True, check=False)
    assert "se hizo con source" in done.stderr  # otras imágenes: se dice, no se mezclan
