"""Todo lo que repite los parámetros sale de ellos: el archivo comentado, las celdas y la tabla de la guía."""

import re
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from neumo.params import Augmentation, Experiment, Params
from neumo.params_reader import load
from neumo.params_writer import declared_parameters, demo_yaml, literal, parameters_cell, parameters_table, sync

ROOT = Path(__file__).parents[1]


def test_the_demo_file_is_written_from_the_model_with_its_help():
    path = ROOT / "params" / "demo.yaml"
    assert path.read_text(encoding="utf-8") == demo_yaml(), "haga `make params`"
    assert load(path) == Params()
    assert set(yaml.safe_load(demo_yaml())) == set(Params.model_fields)
    assert all(f"# {info.description}" in demo_yaml() for info in Params.model_fields.values())


def test_the_guide_names_every_parameter_with_its_limits():
    table = parameters_table()
    for model in (Params, Experiment, Augmentation):
        names = [name for name, info in model.model_fields.items() if not info.exclude]
        assert all(f"`{name}" in table for name in names)
    assert "| `lr_finder.min_lr` | tasa inicial | `1.0e-07` | > 0 |" in table
    assert "| `auto` | `auto`, `reparado`, `mejorado` |" in table


def test_a_cell_shows_the_keys_that_it_declares_with_their_present_value():
    declared = declared_parameters(
        'run_dir = "x"\nseed = 9  # vieja\nimproved = {"epochs": 1, "augmentation": {"zoom_range": 0}}\notro = 3\n'
    )
    cell = parameters_cell(declared, Params(), run_dir="build/interactivo")
    assert cell.splitlines() == [
        'run_dir = "build/interactivo"  # carpeta de la ejecución',
        "seed = 0  # semilla de todo lo que se sortea",
        'improved = {"epochs": 12, "augmentation": {"zoom_range": 0.2}}  # la red mejorada',
    ]


def test_make_params_puts_right_what_was_edited_by_hand_and_touches_nothing_else(tmp_path):
    for folder, pattern in (("params", "demo.yaml"), ("docs", "[gr]*.md"), ("notebooks", "*.ipynb")):
        (tmp_path / folder).mkdir()
        for path in (ROOT / folder).glob(pattern):
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    assert sync(tmp_path) == []
    guide, notebook = tmp_path / "docs" / "guia.md", tmp_path / "notebooks" / "13_correcciones.ipynb"
    whole = {path: path.read_bytes() for path in (guide, notebook)}
    course = tmp_path / "docs" / "recorrido.md"
    whole[course] = course.read_bytes()
    course.write_bytes(re.sub(rb"(?m)^\| 13 .*\n", b"", whole[course]))
    guide.write_bytes(whole[guide].replace(b"| `seed` | semilla", b"| `seed` | simiente"))
    notebook.write_bytes(whole[notebook].replace(b'"seed = 0', b'"seed = 5'))
    assert sync(tmp_path) == [guide, course, notebook]
    assert {path: path.read_bytes() for path in whole} == whole


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner),
    max_leaves=12,
)


@given(_json)
def test_a_literal_reads_back_as_its_value(value):
    assert eval(literal(value, room=40)) == value


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(_json, st.text(), st.just(float("inf")))))
def test_papermill_gives_the_notebook_the_value_that_was_asked(values):
    """Comillas, saltos de línea, infinitos y cualquier letra llegan enteros al cuaderno: son datos, nunca código."""
    cell = {}
    exec(PythonTranslator.codify(values), cell)
    assert {name: cell[name] for name in values} == values
