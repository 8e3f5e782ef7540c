import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup

from neumo.__main__ import main
from neumo.cache import decode_table, encode_table
from neumo.errors import NeumoError
from neumo.evaluation.intervals import intervals
from neumo.evaluation.metrics import binary_metrics
from neumo.params import Params
from neumo.run import Run
from neumo.teaching import exercises, forms
from neumo.teaching.exercises import WrongAnswer, check, codes, plant
from neumo.teaching.kit import kit

SOURCE = Path(__file__).parents[1] / "docs" / "ejercicios"
NAMES = sorted(path.stem for path in SOURCE.glob("*.ipynb"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Doscientas imágenes de cien pacientes, y una red buena que se equivoca a veces."""
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(100), 2)
    y = (patient < 62).astype(int)
    logit = np.where(y == 1, 3.0, -3.0) + rng.normal(0, 1.5, 100)[patient] + rng.normal(0, 1.5, 200)
    folder = tmp_path_factory.mktemp("clase")
    pd.DataFrame(
        {"model": "mejorado", "seed": 0, "partition": "val", "path": [f"{i}.jpeg" for i in range(200)]}
        | {"group": [f"p{i}" for i in patient], "subtype": "", "y_true": y, "logit": logit}
    ).to_csv(folder / "predictions_final.csv", index=False)
    return Run(folder=folder, params=Params())


@pytest.fixture(scope="module")
def case(run):
    return exercises.open_case(run.folder)


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    build = tmp_path_factory.mktemp("build")
    assert main(["ejercicios", "--build", str(build)]) == 0
    return build / "ejercicios"


def tagged(cell):
    return cell.metadata.get("tags", [])


def code_cells(path, run):
    """Las celdas de código, con la ejecución de prueba en la de parámetros."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for cell in cells:
        if "parameters" in tagged(cell):
            cell.source = f"run_dir = {str(run.folder)!r}"
    return cells


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_of_the_teacher_is_right(copies, run, name):
    names = {}
    for cell in code_cells(copies / "docente" / f"{name}.ipynb", run):
        exec(cell.source, names)


@pytest.mark.parametrize("name", NAMES)
def test_every_check_of_the_student_fails_until_it_is_answered(copies, run, name):
    """Y ninguna otra celda: «Run All Cells» llega al final."""
    names = {}
    for cell in code_cells(copies / "alumno" / f"{name}.ipynb", run):
        if "check" in tagged(cell):
            assert "raises-exception" in tagged(cell)
            with pytest.raises(AssertionError, match="todavía no hay respuesta|antes hay que"):
                exec(cell.source, names)
        else:
            exec(cell.source, names)


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_of_code_has_its_check_behind(name):
    cells = nbformat.read(SOURCE / f"{name}.ipynb", as_version=4).cells
    roles = [forms._role(cell) for cell in cells]
    answers = [i for i, cell in enumerate(cells) if roles[i] == "solution" and cell.cell_type == "code"]
    assert [i + 1 for i in answers] == [i for i, role in enumerate(roles) if role == "check"]


def test_the_metrics_run_where_there_is_only_numpy_and_scikit_learn(copies, tmp_path):
    """Como en Colab: sin el proyecto, sin TensorFlow y sin ninguna ejecución."""
    notebook = copies / "docente" / "metricas.ipynb"
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    code = "\n".join(cells).replace('check("', 'told = check("') + "\nprint(origin, told)"
    script = f"""import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {("neumo", "tensorflow", "keras", "pandas", "matplotlib", "seaborn", "papermill")}:
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent())
{code}"""
    (tmp_path / "cuaderno.py").write_text(script, encoding="utf-8")
    order = [sys.executable, "-W", "error", "cuaderno.py"]
    done = subprocess.run(order, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "predicciones inventadas intervalo: correcto.", done.stderr


def test_the_metrics_take_the_model_that_decides_best(copies, run, tmp_path):
    """El mismo que `open_case`, aunque otro haya divergido, y de sus semillas la media."""
    table = decode_table((run.folder / "predictions_final.csv").read_bytes())
    other = table.assign(seed=1, logit=table["logit"] + 0.5)
    worse, diverged = table.assign(model="otro", logit=-table["logit"]), table.assign(model="divergido", logit=np.nan)
    (tmp_path / "predictions_final.csv").write_bytes(encode_table(pd.concat([diverged, worse, table, other])))
    names = {}
    for cell in code_cells(copies / "docente" / "metricas.ipynb", Run(tmp_path, Params())):
        exec(cell.source, names)
        if cell.id == "abrir":
            break
    expected = exercises.open_case(tmp_path)
    assert names["logit"].mean() == pytest.approx(expected["logit"].mean())
    assert names["y"].tolist() == expected["y_true"].tolist()
    assert names["group"].tolist() == expected["group"].tolist()


def nbgrader_cells(copies, name):
    cells = nbformat.read(copies / "nbgrader" / "source" / name / f"{name}.ipynb", as_version=4).cells
    return [(cell, cell.metadata["nbgrader"]) for cell in cells if "nbgrader" in cell.metadata]


NBGRADER = {"schema_version": int, "grade": bool, "locked": bool, "solution": bool}
OPTIONAL = {"task": bool, "grade_id": str, "points": int}


@pytest.mark.parametrize("name", NAMES)
def test_nbgrader_would_take_it(copies, name):
    """Las reglas de su esquema 3 (`nbgraderformat/v3`): nbgrader no está instalado."""
    marked, source = nbgrader_cells(copies, name), nbformat.read(SOURCE / f"{name}.ipynb", as_version=4)
    for cell, meta in marked:
        assert set(NBGRADER) <= set(meta) <= {*NBGRADER, *OPTIONAL}
        assert all(type(value) is (NBGRADER | OPTIONAL)[key] for key, value in meta.items())
        assert meta["schema_version"] == 3
        assert re.fullmatch(r"[a-zA-Z0-9_\-]+", meta["grade_id"])
        assert ("points" in meta) == meta["grade"]
        assert meta.get("points", 1) > 0
        if cell.cell_type == "markdown":
            assert meta["grade"]
            assert meta["solution"]
    assert len({meta["grade_id"] for _, meta in marked}) == len(marked)
    worth = [
        cell for cell in source.cells if forms._role(cell) == "check" or (forms._role(cell) and "outputs" not in cell)
    ]
    assert sum(meta.get("points", 0) for _, meta in marked) == len(worth)


@pytest.mark.parametrize("name", NAMES)
def test_what_nbgrader_gives_out_is_the_students_copy(copies, name):
    """Lo que queda al quitar lo que hay entre sus marcas, que es lo que hace `generate_assignment`."""
    student = nbformat.read(copies / "alumno" / f"{name}.ipynb", as_version=4).cells
    given = {cell.id: cell.source for cell in student}
    for cell, meta in nbgrader_cells(copies, name):
        if meta["solution"] and cell.cell_type == "code":
            left = re.sub(r"\n### BEGIN SOLUTION\n.*\n### END SOLUTION", "", cell.source, flags=re.DOTALL)
            assert given[cell.id] == f"# {forms.STUB}\n{left}"
            compile(cell.source, name, "exec")


@pytest.mark.parametrize("name", NAMES)
def test_otter_would_take_it(copies, name):
    """Bloques bien anidados, y cada pregunta con su nombre: otter-grader no está instalado."""
    notebook = nbformat.read(copies / "otter" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.startswith(f"# ASSIGNMENT CONFIG\nname: {name}\n")
    inside, questions, seen = [], [], []
    for cell in notebook.cells[1:]:
        if cell.cell_type != "raw":
            seen.append((cell.cell_type, inside[-1] if inside else ""))
            continue
        first, *rest = cell.source.split("\n")
        edge, block = re.fullmatch(r"# (BEGIN|END) (QUESTION|SOLUTION|TESTS)", first).groups()
        if edge == "END":
            assert inside.pop() == block
            continue
        assert inside == ([] if block == "QUESTION" else ["QUESTION"])
        inside.append(block)
        questions += [yaml.safe_load("\n".join(rest))] if block == "QUESTION" else []
    assert not inside
    assert all(re.fullmatch(r"\w+", one["name"]) for one in questions)
    assert len({one["name"] for one in questions}) == len(questions)
    solutions = [kind for kind, place in seen if place == "SOLUTION"]
    assert solutions == ["markdown" if one.get("manual") else "code" for one in questions]
    assert sum(place == "TESTS" for _, place in seen) == solutions.count("code")


def test_a_test_of_otter_shows_nothing_when_it_is_right(copies):
    """Compara lo que muestra con lo guardado, y nada hay guardado."""
    for path in (copies / "otter").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if "check" in tagged(cell):
                assert not isinstance(ast.parse(cell.source).body[-1], ast.Expr), (path.name, cell.id)


@pytest.mark.slow
def test_the_package_of_a_class_is_solved_as_a_student_would(run, tmp_path, monkeypatch):
    """Se descomprime dentro de un proyecto, y sus cuadernos encuentran la ejecución que va con ellos."""
    (run.folder / "informe.html").write_text("<p>informe</p>")
    some = ("metricas.ipynb", "rompe_el_modelo.ipynb", "acierta_sin_mirar.ipynb", "LEAME.md", "rubrica.md")
    (tmp_path / "fuente").mkdir()
    for name in some:
        shutil.copy(SOURCE / name, tmp_path / "fuente")
    packed = kit(tmp_path / "fuente", run.folder, tmp_path / "aula.zip")
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    zipfile.ZipFile(packed).extractall(tmp_path)
    names = {path.relative_to(tmp_path / "aula").as_posix() for path in (tmp_path / "aula").rglob("*.*")}
    assert {"rubrica.md", "LEAME.md", "ejecucion/predictions_final.csv", "docente/metricas.html"} <= names
    assert {"otter/metricas.ipynb", "nbgrader/source/metricas/metricas.ipynb"} <= names
    for name in some[:3]:  # cada solución se ejecutó, y todas sus comprobaciones acertaron
        page = (tmp_path / "aula" / "docente" / name).with_suffix(".html").read_text(encoding="utf-8")
        cells = nbformat.read(SOURCE / name, as_version=4).cells
        shown = [output.get_text() for output in BeautifulSoup(page, "html.parser").select(".output_subarea")]
        assert sum(": correcto." in text for text in shown) == sum("check" in tagged(cell) for cell in cells)
        assert str(run.folder) not in page
    monkeypatch.chdir(tmp_path)
    cells = nbformat.read(tmp_path / "aula" / "alumno" / "metricas.ipynb", as_version=4).cells
    names = {}
    for cell in (cell for cell in cells if cell.cell_type == "code"):
        if "check" in tagged(cell):
            exec(f"told = {cell.source}", names)
            break
        exec(cell.source.replace("decision = ...", "decision = (prob >= 0.5).astype(int)"), names)
    assert names["told"] == "decisiones: correcto."
    assert names["origin"] == "predicciones de ejecucion"


def test_a_package_needs_a_finished_run(tmp_path):
    with pytest.raises(NeumoError, match="make report"):
        kit(SOURCE, tmp_path, tmp_path / "aula.zip")


@pytest.mark.parametrize("name", NAMES)
def test_the_students_copy_has_no_solutions(copies, name):
    source = nbformat.read(SOURCE / f"{name}.ipynb", as_version=4).cells
    solutions = [cell for cell in source if "solution" in cell.metadata.get("tags", [])]
    student = (copies / "alumno" / f"{name}.ipynb").read_text(encoding="utf-8")
    cells = nbformat.reads(student, as_version=4).cells
    assert len(solutions) >= 4
    assert sum(forms.STUB in cell.source for cell in cells) == len(solutions)
    for cell in solutions:
        written = (
            [ast.unparse(node.value) for node in ast.parse(cell.source).body if hasattr(node, "value")]
            if (cell.cell_type == "code")
            else cell.source.splitlines()
        )
        assert not any(text in one.source for text in written for one in cells)


@pytest.mark.parametrize("name", NAMES)
def test_the_source_is_clean(name):
    notebook = nbformat.read(SOURCE / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
        assert set(cell.metadata.get("tags", [])) <= {"parameters", "solution", "check"}
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def by_image(names):
    hits = (names["prob"] >= 0.5)[names["y"] == 1]
    return hits.mean() - 0.01, hits.mean() + 0.01


MISTAKES = {
    "argmax": ("decisiones", lambda n: n["y"] * 0, "argmax"),
    "decisión al revés": ("decisiones", lambda n: n["prob"] < 0.5, "PNEUMONIA es la clase 1"),
    "etiquetas": ("decisiones", lambda n: n["y"], "clases reales"),
    "columna": ("decisiones", lambda n: n["y"][:, None], "forma"),
    "traspuesta": ("matriz", lambda n: n["answers"]()["traspuesta"], "filas son la clase real"),
    "orden": ("matriz", lambda n: np.flip(n["answers"]()["matriz"]), "empieza por PNEUMONIA"),
    "otra métrica": ("precisión", lambda n: n["answers"]()["exactitud"], "exactitud"),
    "cruzadas": ("especificidad", lambda n: n["answers"]()["sensibilidad"], "PNEUMONIA reales"),
    "porcentaje": ("sensibilidad", lambda n: 100 * n["answers"]()["sensibilidad"], "tanto por ciento"),
    "promedio": ("F1", lambda n: (n["answers"]()["precisión"] + n["answers"]()["sensibilidad"]) / 2, "armónica"),
    "texto": ("F1", lambda n: "mucho", "números"),
    "estrecho": ("intervalo", by_image, "pacientes enteros"),
    "extremos": ("intervalo", lambda n: n["answers"]()["intervalo"][::-1], "primero el menor"),
}


@pytest.fixture(scope="module")
def metrics(copies, run):
    """Lo que hay en el cuaderno de las métricas antes de la primera respuesta, con una red floja."""
    names = {}
    for cell in code_cells(copies / "docente" / "metricas.ipynb", run):
        if "solution" in tagged(cell):
            break
        exec(cell.source, names)
    names["prob"] = 1 / (1 + np.exp(3.0 - names["logit"]))  # así el promedio y el F1 se distinguen
    return names


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_typical_mistake_gets_its_hint(metrics, mistake):
    name, answer, words = MISTAKES[mistake]
    with pytest.raises(AssertionError, match=words):
        metrics["check"](name, answer(metrics))


def test_the_answers_of_the_notebook_are_those_of_the_library(metrics):
    known, prob, y = metrics["answers"](), metrics["prob"], metrics["y"]
    measured = binary_metrics(y, prob)
    assert np.array_equal(known["matriz"], measured["confusion_matrix"])
    found = {"sensibilidad": "sensitivity", "especificidad": "specificity", "precisión": "precision", "F1": "f1"}
    assert all(known[ours] == pytest.approx(measured[name]) for ours, name in found.items())
    row = intervals(y, prob, groups=metrics["group"], metrics=["sensitivity"], resamples=2000).loc[0]
    assert np.allclose(known["intervalo"], row[["low", "high"]].astype(float), atol=0.02)


@pytest.mark.parametrize("fault", exercises.FAULTS)
def test_a_planted_fault_is_found_and_recognised(case, fault):
    assert codes(case) == []
    broken = plant(case, fault)
    assert fault in codes(broken)
    assert "correcto" in check("plantar", broken, case, fault=fault).text
    with pytest.raises(WrongAnswer, match="`diagnose` ve: nada"):
        check("plantar", case, case, fault=fault)
    with pytest.raises(WrongAnswer, match="el caso entero"):
        check("plantar", broken["decision"], case, fault=fault)


def test_the_envelope_hides_every_fault_and_hints_without_naming_it(case):
    right = {}
    for number in range(40):
        (right[number],) = (f for f in exercises.FAULTS if plant(case, f).equals(plant(case, number)))
        assert "correcto" in check("sobre", right[number], case, fault=number).text
    assert set(right.values()) == set(exercises.FAULTS)
    with pytest.raises(WrongAnswer) as wrong:
        check("sobre", "no sé", case, fault=0)
    assert exercises.FAULTS[right[0]] in str(wrong.value)


def test_predictions_are_read_by_the_rules_that_wrote_them(run, tmp_path):
    table = decode_table((run.folder / "predictions_final.csv").read_bytes()).assign(group=["NA", None] * 100)
    diverged = table.assign(model="divergido", logit=np.nan)
    together = encode_table(pd.concat([diverged, table]))
    (tmp_path / "predictions_final.csv").write_bytes(together)
    case = exercises.open_case(tmp_path)
    assert case["group"].isna().to_list() == [False, True] * 100
    assert case["group"][0] == "NA"
    assert case["logit"].to_list() == table["logit"].to_list()


def test_what_to_do_is_said(case, tmp_path):
    with pytest.raises(NeumoError, match="make report"):
        exercises.open_case(tmp_path)
    with pytest.raises(NeumoError, match="shuffled"):
        plant(case, "otro")
