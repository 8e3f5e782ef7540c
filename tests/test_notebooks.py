"""Los cuadernos están limpios, se leen bien y dicen la verdad sobre lo que leen, escriben y usan."""

import ast
import json
import re
from difflib import SequenceMatcher
from pathlib import Path

import nbformat
import pytest

from neumo.params import Params
from neumo.params_reader import load, parse_overrides
from neumo.params_writer import declared_parameters, parameters_cell
from neumo.report.cells import heading
from neumo.report.chapters import read_chapter, read_chapters
from neumo.run import ARTEFACTS

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXERCISES = sorted((ROOT / "docs/ejercicios").glob("*.ipynb"))
TAGS = {"parameters", "explorador"}

COMPARISON = ROOT / "lib/neumo/sweep/comparacion.ipynb"
every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", [*NOTEBOOKS, COMPARISON], ids=lambda path: path.stem)
def test_is_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", cell.id), cell.id
        assert not re.fullmatch(r"[0-9a-f]{8}", cell.id), cell.id
        assert set(cell.metadata) <= {"tags"}
        assert set(cell.metadata.get("tags", [])) <= TAGS
    for cell in _code(notebook):
        assert not cell.outputs
        assert cell.execution_count is None
    assert path.stat().st_size < 48_000


@pytest.mark.parametrize("path", [*NOTEBOOKS, COMPARISON, *EXERCISES], ids=lambda path: path.stem)
def test_cells_are_short(path):
    """La celda de parámetros no cuenta: la escribe `make params` y tiene una línea por valor."""
    cells = [c for c in _code(nbformat.read(path, as_version=4)) if "parameters" not in c.metadata.get("tags", [])]
    assert max(len(cell.source.splitlines()) for cell in cells) <= 15


@every
def test_the_parameters_cell_says_what_params_says(path):
    cell = next(c for c in _code(nbformat.read(path, as_version=4)) if "parameters" in c.metadata.get("tags", []))
    names = [n.targets[0].id for n in ast.parse(cell.source).body if isinstance(n, ast.Assign)]
    known = declared_parameters(cell.source)
    assert set(names) - set(known) == {"run_dir"}
    assert len(cell.source.splitlines()) <= 10
    assert cell.source == parameters_cell(known, Params(), run_dir="build/interactivo"), "haga `make params`"


@every
def test_no_cell_gives_another_meaning_to_a_parameter_or_an_import(path):
    """Si lo hiciera, ejecutar otra vez la celda `abrir` tomaría por parámetro lo que ya no lo es."""
    cells = _code(nbformat.read(path, as_version=4))
    trees = [ast.parse(c.source) for c in cells if "parameters" not in c.metadata.get("tags", [])]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    written = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    imports = [a for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for a in node.names]
    assert not written & {(alias.asname or alias.name).split(".")[0] for alias in imports}
    assert not written & set(Params.model_fields)
    cell = next(c for c in cells if "parameters" in c.metadata.get("tags", []))
    declared = set(declared_parameters(cell.source))
    assert {node.id for node in names} & set(Params.model_fields) <= declared


@every
def test_declares_what_it_reads_writes_and_uses(path):
    chapter = read_chapter(path)
    code = "\n".join(c.source for c in _code(nbformat.read(path, as_version=4)))
    loaded = set(re.findall(r"run\.(?:load|exists)\(\s*\"(\w+)\"", code))
    saved = set(re.findall(r"run\.save\(\s*\"(\w+)\"", code))
    saved |= {"models"} if "export_models(" in code else set()
    assert loaded - set(chapter.writes) <= set(chapter.reads)
    assert saved == set(chapter.writes)
    if "image_set" in code:
        assert "partition" in {*chapter.reads, *chapter.writes}
    assert {ARTEFACTS[name][1] for name in chapter.writes} <= {chapter.number}


@every
def test_says_what_one_learns_in_how_long_after_what_and_what_to_try(path):
    cells = nbformat.read(path, as_version=4).cells
    said = heading(cells[0].source)
    assert said["goal"].endswith(".")
    assert 0 < said["minutes"] <= 20
    assert all(before < path.stem[:2] for before in said["before"])
    assert path.stem[:2] == "00" or "**Para probar.**" in cells[-1].source
    for given in re.findall(r'SET="([^"]+)"', cells[-1].source):
        load(overrides=parse_overrides(given))


def test_the_short_way_is_five_chapters_in_twenty_minutes():
    said = {path.stem[:2]: heading(nbformat.read(path, as_version=4).cells[0].source) for path in NOTEBOOKS}
    minutes = [said[number]["minutes"] for number in said["00"]["short"]]
    assert len(minutes) == 5
    assert sum(minutes) <= 22


def _text(node):
    return "".join(
        part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


@every
def test_the_alternative_text_is_not_the_caption_again(path):
    for cell in _code(nbformat.read(path, as_version=4)):
        for call in ast.walk(ast.parse(cell.source)):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "figure":
                said = {word.arg: _text(word.value) for word in call.keywords}
                alike = SequenceMatcher(None, said["caption"], said["alt"]).ratio()
                assert alike < 0.6, f"{path.stem}, {cell.id}: {alike:.2f} {said}"


def test_no_result_is_typed_in_prose():
    """Ninguna cifra con decimales en el texto, salvo las que son del método o del código."""
    allowed = re.compile(r"\$[^$]*\$|`[^`]*`|\[[^\]]*\]\([^)]*\)|\[@[^\]]*\]|0\.5\b|0\.95\b|0\.99\b|95 %")
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                text = allowed.sub("", cell.source)
                found = re.findall(r"(?<![\w.])(?:0|\.)?\.\d{2,}\b", text)
                assert not found, f"{path.stem}, {cell.id}: {found}"


def test_the_chapters_mirror_the_original_sections():
    titles = {}
    for path in NOTEBOOKS:
        first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
        titles[path.stem[:2]] = "".join(first).splitlines()[0]
    assert list(titles) == [f"{n:02d}" for n in range(17)]
    words = {"01": "Objetivo", "02": "Recolección", "03": "Verificación", "04": "Preprocesamiento", "05": "Generadores"}
    words |= {"06": "arquitectura", "07": "Compilación", "08": "tasa de aprendizaje", "09": "Recompilación"}
    words |= {"14": "Conclusiones", "12": "Anatomía", "13": "Correcciones", "16": "Reproducibilidad"}
    assert all(word in titles[number] for number, word in words.items())


def test_conclusions_and_summary_run_last():
    assert [chapter.number for chapter in read_chapters()][-2:] == ["14", "00"]
