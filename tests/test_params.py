"""Los parámetros se comprueban antes de arrancar nada, y todo lo que los repite sale de ellos."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neumo.errors import NeumoError
from neumo.params import Params
from neumo.params_reader import load, parse_overrides
from neumo.params_writer import demo_yaml, literal, parameters_table

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sed=3", ["«sed»", "«seed»"]),
        ("image_size=grande", ["image_size", '"grande"', "entero"]),
        ("phantom.imges=3", ["phantom.imges", "«images»"]),
        ("attempts.9.epochs=1", ["attempts.9.epochs"]),
        ("attempts.0.epochs=0", ["attempts.0.epochs", "mayor o igual que 1"]),
        ("val_fraction=2", ["val_fraction", "menor que 0.9"]),
        ("source=carpeta", ["source", "'phantom'", "'folder'"]),
        ("source=folder", ["data_dir"]),
        ("lr_finder.min_lr=20", ["min_lr", "max_lr"]),
        ("original_attempt=otro", ["otro", "intento_1"]),
        ("attempts.0.name=mejorado", ["mejorado", "otro"]),
        ("attempts.2.network=residual", ["intento_3", "original_attempt"]),
        ("image_size=21", ["21", "13 capas", "suba image_size"]),
        ("attempts.0.kernel_size=11", ["intento_1", "kernel_size"]),
        ("ablation.image_size=16", ["16", "ablation"]),
        ("final_seeds=[0,0]", ["final_seeds", "repetidos"]),
        ("final_seeds=[-1]", ["final_seeds", "mayor o igual que 0"]),
        ("final_models=[mejorado]", ["final_models", "2"]),
        ("class_names=[a,a]", ["class_names", "repetidos"]),
        ("seed", ["clave=valor"]),
        ("seed='1", ["comillas"]),
        ("seed=[1", ["YAML"]),
    ],
)
def test_a_bad_change_is_one_sentence_with_key_value_and_remedy(change, said):
    with pytest.raises(NeumoError) as error:
        load(None, parse_overrides(change))
    message = str(error.value)
    assert all(word in message for word in said), message
    assert "\n" not in message
    assert "validation error" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "repetida: seed"),
        ("seed: [1\n", "YAML"),
        ("- seed\n", "clave: valor"),
        ("val_fraction: no\n", "val_fraction"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, said):
    path = tmp_path / "mio.yaml"
    path.write_text(text)
    with pytest.raises(NeumoError, match="mio.yaml") as error:
        load(path)
    assert said in str(error.value)


def test_a_missing_file_says_where_the_others_are(tmp_path):
    with pytest.raises(NeumoError, match="params/"):
        load(tmp_path / "nada.yaml")


def test_changes_reach_nested_values_and_leave_the_rest():
    changed = load(
        None, parse_overrides("phantom.images=80 attempts.1.epochs=3 improved.epochs=2 lr_finder.min_lr=1e-6")
    )
    default = Params()
    assert changed.phantom.images == 80
    assert changed.phantom.size == default.phantom.size
    assert changed.attempts[1].epochs == 3
    assert changed.attempts[0] == default.attempts[0]
    assert changed.improved.network == "residual"
    assert changed.lr_finder.min_lr == 1e-6


def test_a_relative_folder_counts_from_where_the_order_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(None, {"source": "folder", "data_dir": "placas"}).data_dir == str(tmp_path / "placas")


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_parameter_file_loads_and_names_the_four_attempts(path):
    params = load(path)
    assert [a.learning_rate for a in params.attempts] == [0.001, 0.03, 0.003, 0.005]
    assert params.attempts[3].class_weight
    assert params.attempts[3].l2 == 0.001


def test_the_demo_file_is_written_from_the_model():
    path = ROOT / "params" / "demo.yaml"
    assert path.read_text(encoding="utf-8") == demo_yaml(), "haga `make params`"
    assert load(path) == Params()


def test_the_guide_names_every_parameter():
    table = parameters_table()
    assert all(f"`{name}" in table for name in Params.model_fields)


def test_the_original_as_written_is_one_of_the_attempts_read_by_argmax():
    params = load(None, {"original_attempt": "intento_2", "image_size": 96})
    original = params.experiment("original")
    assert (original.learning_rate, original.decision, original.image_size) == (0.03, "argmax", 96)
    with pytest.raises(NeumoError, match="intento_1"):
        params.experiment("intento_9")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner)
    ),
    max_leaves=12,
)


@given(_json)
def test_a_literal_reads_back_as_its_value(value):
    assert eval(literal(value, room=40)) == value


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,9}", fullmatch=True),
        st.integers() | st.booleans() | st.text(alphabet="abc é", min_size=1),
    )
)
def test_what_set_says_is_what_is_read(values):
    text = " ".join(f"{key}='{json.dumps(value, ensure_ascii=False)}'" for key, value in values.items())
    assert parse_overrides(text) == values
