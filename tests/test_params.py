"""Los parámetros se comprueban antes de arrancar nada, y todo lo que los repite sale de ellos."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neumo.errors import NeumoError
from neumo.params import Params
from neumo.params_reader import load, merge, parse_overrides, validate
from neumo.params_writer import demo_yaml, literal, parameters_table

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sed=3", ["«sed»", "«seed»"]),
        ("image_size=grande", ["image_size", '"grande"', "entero"]),
        ("phantom.imges=3", ["phantom.imges", "«images»"]),
        ("attempts.9.epochs=1", ["attempts.9.epochs"]),
        ("attempts.intento_1.epochs=0", ["attempts.intento_1.epochs", "mayor o igual que 1"]),
        ("attempts.0.epochs=0", ["attempts.intento_1.epochs", "mayor o igual que 1"]),
        ("val_fraction=2", ["val_fraction", "menor que 0.9"]),
        ("source=carpeta", ["source", "'phantom'", "'folder'"]),
        ("source=folder", ["data_dir"]),
        ("lr_finder.min_lr=20", ["min_lr", "max_lr"]),
        ("original_attempt=otro", ["otro", "intento_1"]),
        ("attempts.mejorado.epochs=3", ["mejorado", "otro"]),
        ("attempts.intento_3.network=residual", ["intento_3", "original_attempt"]),
        ("image_size=21", ["21", "13 capas", "suba image_size"]),
        ("attempts.intento_1.kernel_size=11", ["intento_1", "kernel_size"]),
        ("improved.network=original improved.image_size=18", ["mejorado", "18", "13 capas"]),
        ("val_counts.NORMAL=277", ["val_counts", "las dos clases"]),
        ("seed=true", ["seed", "sí o no"]),
        ("final_seeds=[true]", ["final_seeds", "sí o no"]),
        ("seed=0x10", ["seed", "entero"]),
        ("seed=1:30", ["seed", "entero"]),
        ("improved.epochs=2 improved.warmup_epochs=3", ["warmup_epochs (3)", "epochs (2)"]),
        ("seed=1 seed=2", ["seed", "dos veces"]),
        ("chosen_model=original", ["original", "umbral", "reparado"]),
        ("ablation.image_size=16", ["16", "ablation"]),
        ("final_seeds=[0,0]", ["final_seeds", "repetidos"]),
        ("final_seeds=[-1]", ["final_seeds", "mayor o igual que 0"]),
        ("final_models=[mejorado]", ["final_models", "2"]),
        ("class_names=[a,a]", ["class_names", "repetidos"]),
        ("seed", ["clave=valor"]),
        ("seed='1", ["comillas"]),
        ("final_seeds=[0, 1]", ["final_seeds", "comillas simples", "'[0, 1]'"]),
        ("data_dir=mis placas", ["placas", "comillas simples"]),
        ("data_dir=placas #1", ["#1", "comillas simples"]),
        ("seed=}", ["YAML"]),
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
        ("extends: nada.yaml\n", "nada.yaml"),
        ("extends: mio.yaml\n", "da vueltas"),
        ("extends: [a]\n", "extends"),
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


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding_is_told_to_be_saved_as_utf_8(tmp_path, encoding):
    path = tmp_path / "mio.yaml"
    path.write_text("# año\nseed: 1\n", encoding=encoding)
    with pytest.raises(NeumoError, match=r"mio\.yaml.*UTF-8"):
        load(path)


def test_a_byte_order_mark_is_no_trouble(tmp_path):
    path = tmp_path / "mio.yaml"
    path.write_text("seed: 7\n", encoding="utf-8-sig")
    assert load(path).seed == 7


def test_numbers_are_decimal(tmp_path):
    assert load(None, parse_overrides("seed=010")).seed == 10


def test_a_hash_inside_quotes_is_part_of_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = load(None, parse_overrides("source=folder data_dir='placas #1'")).data_dir
    assert folder == str(tmp_path / "placas #1")


def test_a_file_that_extends_another_says_only_what_differs(tmp_path):
    (tmp_path / "base.yaml").write_text("seed: 3\nimproved: {epochs: 4, augmentation: {blur_range: 1}}\n")
    (tmp_path / "mio.yaml").write_text(
        "extends: base.yaml\nimproved: {batch_size: 16}\nattempts: {intento_2: {epochs: 1}}\n"
    )
    params = load(tmp_path / "mio.yaml")
    assert (params.seed, params.improved.epochs, params.improved.batch_size) == (3, 4, 16)
    assert params.improved.augmentation.blur_range == 1
    assert params.improved.augmentation.gamma_range == Params().improved.augmentation.gamma_range
    assert params.attempts["intento_2"].learning_rate == 0.03


def test_a_group_given_in_part_keeps_the_rest_in_file_set_and_cell_alike(tmp_path):
    path = tmp_path / "mio.yaml"
    path.write_text("improved: {epochs: 3}\nattempts: {intento_4: {epochs: 3}}\n")
    cell = validate(merge({"improved": {"epochs": 3}, "attempts": {"intento_4": {"epochs": 3}}}))
    order = load(None, parse_overrides("improved.epochs=3 attempts.intento_4.epochs=3"))
    assert load(path) == cell == order
    assert (cell.improved.network, cell.attempts["intento_4"].l2) == ("residual", 0.001)


def test_a_list_of_attempts_is_still_read_with_a_sentence(tmp_path, capsys):
    path = tmp_path / "mio.yaml"
    path.write_text("attempts:\n  - {name: intento_3, learning_rate: 0.1}\n  - {name: otro, epochs: 2}\n")
    params = load(path, parse_overrides("attempts.1.epochs=5 attempts.intento_3.epochs=4"))
    assert [(a.name, a.epochs, a.learning_rate) for a in params.tried()] == [
        ("intento_3", 4, 0.1),
        ("otro", 5, 0.001),
    ]
    assert "por su nombre" in capsys.readouterr().err


def test_an_empty_attempt_is_taken_away():
    params = load(None, parse_overrides("attempts.intento_4=null"))
    assert list(params.attempts) == ["intento_1", "intento_2", "intento_3"]


def test_a_missing_file_says_where_the_others_are(tmp_path):
    with pytest.raises(NeumoError, match="params/"):
        load(tmp_path / "nada.yaml")


def test_changes_reach_nested_values_and_leave_the_rest():
    changed = load(
        None,
        parse_overrides(
            "phantom.images=80 attempts.intento_2.epochs=3 improved.epochs=2 lr_finder.min_lr=1e-6"
        ),
    )
    default = Params()
    assert changed.phantom.images == 80
    assert changed.phantom.size == default.phantom.size
    assert changed.attempts["intento_2"].epochs == 3
    assert changed.attempts["intento_1"] == default.attempts["intento_1"]
    assert changed.improved.network == "residual"
    assert changed.lr_finder.min_lr == 1e-6


def test_a_relative_folder_counts_from_where_the_order_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(None, {"source": "folder", "data_dir": "placas"}).data_dir == str(tmp_path / "placas")


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_parameter_file_loads_and_names_the_four_attempts(path):
    params = load(path)
    assert [a.learning_rate for a in params.tried()] == [0.001, 0.03, 0.003, 0.005]
    assert params.attempts["intento_4"].class_weight
    assert params.attempts["intento_4"].l2 == 0.001


@pytest.mark.parametrize("profile", ["informe", "kaggle", "pneumoniamnist"])
def test_the_profiles_of_real_radiographs_share_the_robust_recipe(profile):
    usual, real = Params().improved, load(ROOT / "params" / f"{profile}.yaml").improved
    robust = {"blur_range": 1, "noise_stddev": 0.04, "cutout_fraction": 0.3}
    assert real.augmentation == usual.augmentation.model_copy(update=robust)
    assert (real.batch_size, real.label_smoothing) == (64, 0.1)


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
