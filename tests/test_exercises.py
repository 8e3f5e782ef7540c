import ast
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from neumo.__main__ import main
from neumo.cache import decode_table, encode_table
from neumo.errors import NeumoError
from neumo.evaluation.metrics import binary_metrics
from neumo.params import Params
from neumo.report.execute import execute_chapter
from neumo.run import Run
from neumo.teaching import exercises
from neumo.teaching.exercises import check, codes, plant
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


def outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [one["text/plain"] for one in data if "text/html" in one]


@pytest.mark.parametrize("name", NAMES)
def test_the_teachers_copy_runs_clean_and_every_answer_is_right(copies, run, tmp_path, name):
    execute_chapter(copies / "docente" / f"{name}.ipynb", tmp_path / "hecho.ipynb", run=run, values={})
    verdicts = [text for text in outputs(tmp_path / "hecho.ipynb") if text.startswith(("En orden: **", "Aviso"))]
    source = (SOURCE / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len([text for text in verdicts if "correcto" in text]) == source.count("check(")
    assert not [text for text in verdicts if "Pista" in text]


@pytest.mark.slow
def test_the_package_of_a_class_is_solved_as_a_student_would(run, tmp_path, monkeypatch):
    """Se descomprime dentro de un proyecto, y sus cuadernos encuentran la ejecución que va con ellos."""
    (run.folder / "informe.html").write_text("<p>informe</p>")
    packed = kit(SOURCE, run.folder, tmp_path / "aula.zip")
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    zipfile.ZipFile(packed).extractall(tmp_path)
    names = {path.relative_to(tmp_path / "aula").as_posix() for path in (tmp_path / "aula").rglob("*.*")}
    assert {"rubrica.md", "LEAME.md", "ejecucion/predictions_final.csv", "docente/metricas.html"} <= names
    page = (tmp_path / "aula" / "docente" / "metricas.html").read_text(encoding="utf-8")
    assert page.count("correcto.") == 7
    assert str(run.folder) not in page
    monkeypatch.chdir(tmp_path)
    cells = nbformat.read(tmp_path / "aula" / "alumno" / "metricas.ipynb", as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    answered = code.replace("decision = ...", "decision = (prob >= 0.5).astype(int)")
    answered = answered[: answered.index("check(")] + "answer = check('decisiones', decision, case)"
    found = {}
    exec(answered, found)
    assert "correcto" in found["answer"].text


def test_a_package_needs_a_finished_run(tmp_path):
    with pytest.raises(NeumoError, match="make report"):
        kit(SOURCE, tmp_path, tmp_path / "aula.zip")


@pytest.mark.slow
def test_the_students_copy_runs_before_it_is_answered(copies, run, tmp_path):
    execute_chapter(copies / "alumno" / "metricas.ipynb", tmp_path / "hecho.ipynb", run=run, values={})
    assert sum("todavía no hay respuesta" in text for text in outputs(tmp_path / "hecho.ipynb")) == 7


@pytest.mark.parametrize("name", NAMES)
def test_the_students_copy_has_no_solutions(copies, name):
    source = nbformat.read(SOURCE / f"{name}.ipynb", as_version=4).cells
    solutions = [cell for cell in source if "solution" in cell.metadata.get("tags", [])]
    student = (copies / "alumno" / f"{name}.ipynb").read_text(encoding="utf-8")
    cells = nbformat.reads(student, as_version=4).cells
    assert len(solutions) >= 4
    assert sum(exercises.STUB in cell.source for cell in cells) == len(solutions)
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
        assert set(cell.metadata.get("tags", [])) <= {"parameters", "solution"}
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def measured(case):
    return binary_metrics(case["y_true"], case["probability"])


def by_image(case):
    hits = case["decision"][case["y_true"] == 1].to_numpy()
    return hits.mean() - 0.01, hits.mean() + 0.01


MISTAKES = {
    "argmax": ("decisiones", lambda c: 0 * c["decision"], "argmax"),
    "decisión al revés": ("decisiones", lambda c: c["probability"] < 0.5, "PNEUMONIA es la clase 1"),
    "etiquetas": ("decisiones", lambda c: c["y_true"], "clases reales"),
    "columna": ("decisiones", lambda c: c[["decision"]], "forma"),
    "traspuesta": ("matriz", lambda c: np.transpose(measured(c)["confusion_matrix"]), "filas son la clase real"),
    "orden": ("matriz", lambda c: np.flip(measured(c)["confusion_matrix"]), "empieza por PNEUMONIA"),
    "otra métrica": ("sensibilidad", lambda c: measured(c)["precision"], "precisión"),
    "cruzadas": ("especificidad", lambda c: measured(c)["sensitivity"], "PNEUMONIA reales"),
    "porcentaje": ("sensibilidad", lambda c: 100 * measured(c)["sensitivity"], "tanto por ciento"),
    "promedio": ("F1", lambda c: (measured(c)["precision"] + measured(c)["sensitivity"]) / 2, "armónica"),
    "texto": ("F1", lambda c: "mucho", "números"),
    "estrecho": ("intervalo", by_image, "pacientes enteros"),
    "extremos": ("intervalo", lambda c: exercises._answers(c)["intervalo"][::-1], "primero el menor"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_typical_mistake_gets_its_hint(run, mistake):
    name, answer, words = MISTAKES[mistake]
    case = exercises.open_case(run.folder)
    # una red floja: así el promedio y el F1 se distinguen
    case = exercises.with_logits(case, case["logit"] - 3.0)
    shown = check(name, answer(case), case).text
    assert "Pista" in shown
    assert words in shown


@pytest.mark.parametrize("fault", exercises.FAULTS)
def test_a_planted_fault_is_found_and_recognised(case, fault):
    assert codes(case) == []
    broken = plant(case, fault)
    assert fault in codes(broken)
    assert "correcto" in check("plantar", broken, case, fault=fault).text
    assert "`diagnose` ve: nada" in check("plantar", case, case, fault=fault).text
    assert "el caso entero" in check("plantar", broken["decision"], case, fault=fault).text


def test_the_envelope_hides_every_fault_and_hints_without_naming_it(case):
    right = {}
    for number in range(40):
        (right[number],) = (f for f in exercises.FAULTS if plant(case, f).equals(plant(case, number)))
        assert "correcto" in check("sobre", right[number], case, fault=number).text
    assert set(right.values()) == set(exercises.FAULTS)
    wrong = check("sobre", "no sé", case, fault=0).text
    assert exercises.FAULTS[right[0]] in wrong


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
