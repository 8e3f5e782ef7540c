"""Un archivo, `SET` y una celda dicen lo mismo de la misma manera, y lo ambiguo se rechaza con una frase."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neumo.errors import NeumoError
from neumo.params import Params
from neumo.params_reader import load, merge, parse_overrides, validate
from refusals import refusal


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sed=3", ["«sed»", "«seed»"]),
        ("phantom.imges=3", ["phantom.imges", "«phantom.images»"]),
        ("attempts.9.epochs=1", ["attempts.9"]),
        ("attempts.0.epochs=0", ["attempts.intento_1.epochs", "mayor o igual que 1"]),
        ("attempts=[{epochs:1}]", ["attempts", "sin nombre", "{intento_1: {epochs: 12}}"]),
        ("seed", ["clave=valor"]),
        ("seed='1", ["comillas"]),
        ("seed=}", ["seed", "YAML"]),
        ("seed=1 seed=2", ["seed", "dos veces"]),
        ("seed=0x10", ["seed", "0x10", "entero"]),
        ("seed=1_000", ["seed", "1_000", "entero"]),
        ("seed=1:30", ["seed", "1:30", "entero"]),
        ("final_seeds=[0, 1]", ["«final_seeds=[0,»", "comillas simples", "'[0, 1]'"]),
        ("improved={epochs: 3}", ["«improved={epochs:»", "comillas simples"]),
        ("data_dir=mis placas", ["«placas»", "comillas simples"]),
        ("data_dir=placas #1", ["«#1»", "comillas simples"]),
    ],
)
def test_an_order_that_does_not_say_one_thing_is_refused(change, said):
    message = refusal(change)
    assert all(word in message for word in said), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "repetida: seed"),
        ("seed: [1\n", "línea 2"),
        ("- seed\n", "clave: valor"),
        ("val_fraction: no\n", "val_fraction"),
        ("extends: nada.yaml\n", "nada.yaml"),
        ("extends: mio.yaml\n", "mio.yaml → mio.yaml"),
        ("extends: [a]\n", "extends"),
        ("a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 10}]\n" for i in range(1, 12)), "alias"),
        ("class_names: &a [*a, *a]\n", "alias"),
        ("[" * 3_000, "niveles"),
        ("seed: " + "9" * 5000, "número"),
        ("# relleno\n" * 1_000_000, "letras"),
        ('class_names: ["a\\ud800", b]\n', "carácter"),
        ('data_dir: "a\\0b"\n', "carácter"),
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


def test_numbers_are_decimal_and_need_no_point():
    params = load(None, parse_overrides("seed=010 lr_finder.min_lr=1e-6 lr_finder.max_lr=3"))
    assert (params.seed, params.lr_finder.min_lr, params.lr_finder.max_lr) == (10, 1e-6, 3.0)


def test_a_folder_counts_from_where_the_order_was_given_and_keeps_its_spaces_and_its_hash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = load(None, parse_overrides("source=folder data_dir='mis placas #1'"))
    assert params.data_dir == str(tmp_path / "mis placas #1")


def test_a_group_given_in_part_keeps_the_rest_in_file_set_and_cell_alike(tmp_path):
    path = tmp_path / "mio.yaml"
    path.write_text("improved: {epochs: 3}\nattempts: {intento_4: {epochs: 3}}\n")
    cell = validate(merge({"improved": {"epochs": 3}, "attempts": {"intento_4": {"epochs": 3}}}))
    order = load(None, parse_overrides("improved.epochs=3 attempts.intento_4.epochs=3"))
    whole = load(None, parse_overrides("improved='{epochs: 3}' attempts='{intento_4: {epochs: 3}}'"))
    assert load(path) == cell == order == whole
    usual = Params()
    assert cell.improved == usual.improved.model_copy(update={"epochs": 3})
    assert cell.attempts["intento_4"] == usual.attempts["intento_4"].model_copy(update={"epochs": 3})
    assert cell.attempts["intento_1"] == usual.attempts["intento_1"]


def test_a_cell_changes_what_its_run_was_prepared_with():
    stored = load(None, parse_overrides("improved.epochs=5 improved.width=8 seed=4")).model_dump(mode="json")
    params = validate(merge({"improved": {"epochs": 3}}, base=stored))
    assert (params.seed, params.improved.width, params.improved.epochs) == (4, 8, 3)
    assert validate(stored).model_dump(mode="json") == stored


def test_a_file_that_extends_another_says_only_what_differs(tmp_path):
    (tmp_path / "base.yaml").write_text("seed: 3\nimproved: {epochs: 4, augmentation: {blur_range: 1}}\n")
    (tmp_path / "otro.yaml").write_text("extends: base.yaml\nimproved: {batch_size: 16}\nseed: 4\n")
    (tmp_path / "mio.yaml").write_text("extends: otro.yaml\nattempts: {intento_2: {epochs: 1}}\n")
    params = load(tmp_path / "mio.yaml", parse_overrides("improved.width=8"))
    assert (params.seed, params.improved.epochs, params.improved.batch_size) == (4, 4, 16)
    assert params.improved.augmentation == Params().improved.augmentation.model_copy(update={"blur_range": 1})
    assert (params.attempts["intento_2"].learning_rate, params.improved.width) == (0.03, 8)


def test_a_list_of_attempts_is_still_read_whole_with_a_sentence(tmp_path, capsys):
    path = tmp_path / "mio.yaml"
    path.write_text("attempts:\n  - {name: intento_1, learning_rate: 0.1}\n  - {name: otro, epochs: 2}\n")
    params = load(path, parse_overrides("attempts.1.epochs=5 attempts.intento_1.batch_size=4"))
    assert [(a.name, a.epochs, a.batch_size, a.learning_rate) for a in params.tried()] == [
        ("intento_1", 10, 4, 0.1),
        ("otro", 5, 32, 0.001),
    ]
    assert "por nombres" in capsys.readouterr().err
    cell = validate(merge({"attempts": [{"name": "intento_1", "learning_rate": 0.1}]}))
    assert list(cell.attempts) == ["intento_1"]


def test_an_empty_attempt_is_taken_away_and_a_new_one_is_added():
    params = load(None, parse_overrides("attempts.intento_4=null attempts.otro.epochs=2"))
    assert list(params.attempts) == ["intento_1", "intento_2", "intento_3", "otro"]


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,9}", fullmatch=True),
        st.integers() | st.booleans() | st.text(alphabet="abc é", min_size=1),
    )
)
def test_what_set_says_is_what_is_read(values):
    text = " ".join(f"{key}='{json.dumps(value, ensure_ascii=False)}'" for key, value in values.items())
    assert parse_overrides(text) == values
