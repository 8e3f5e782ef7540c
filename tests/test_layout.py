"""Las carpetas como las tiene la gente: cada una se entiende o recibe una frase que dice lo que se encontró."""

import os

import numpy as np
import pytest
from PIL import Image

from neumo.__main__ import main
from neumo.data.layout import files, find
from neumo.data.manifest import scan
from neumo.data.sources import locate, prepare
from neumo.errors import NeumoError
from neumo.params_reader import load, parse_overrides
from neumo.run import Run

NAMES = ("NORMAL", "PNEUMONIA")


def put(root, **folders):
    """Escribe imágenes distintas: `a__b=3` son tres en `a/b`; un espacio se escribe `_0_`."""
    for number, (place, count) in enumerate(folders.items()):
        folder = root / place.replace("_0_", " ").replace("__", "/")
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            grey = np.random.default_rng(list(f"{folder}/{index}".encode())).integers(0, 256, (24, 24), dtype=np.uint8)
            Image.fromarray(grey).save(folder / f"{number}-{index}.png")
    return root


def counted(root, names=NAMES):
    layout = find(root, class_names=names)
    table = scan(layout.root, class_names=names)
    return table.groupby(["original_split", "label"]).size().to_dict(), " ".join(layout.notes)


CLASSES_THERE = {"NORMAL": 3, "PNEUMONIA": 4}
TRAIN = {"train__NORMAL": 3, "train__PNEUMONIA": 4}


@pytest.mark.parametrize(
    ("folders", "names", "expected", "said"),
    [
        (
            {"Normal__images": 3, "Normal__masks": 3, "Viral_0_Pneumonia__images": 2, "Viral_0_Pneumonia__masks": 2}
            | {"COVID__images": 1},
            ("Normal", "Viral Pneumonia"),
            {("", "NORMAL"): 3, ("", "PNEUMONIA"): 2},
            ["pasan por alto: 5", "no se usan: 1 («COVID/images», 1)", "NORMAL: «Normal» (3)"],
        ),
        (
            CLASSES_THERE | {"val__NORMAL": 1, "val__PNEUMONIA": 2},
            NAMES,
            {("", "NORMAL"): 3, ("", "PNEUMONIA"): 4, ("val", "NORMAL"): 1, ("val", "PNEUMONIA"): 2},
            ["«val/NORMAL» (1)"],
        ),
        (
            TRAIN | {"valid__normal": 1, "validation__PNEUMONIA": 2, "Test__NORMAL": 1, "Test__PNEUMONIA": 1},
            NAMES,
            {("train", "NORMAL"): 3, ("train", "PNEUMONIA"): 4, ("val", "NORMAL"): 1, ("val", "PNEUMONIA"): 2}
            | {("test", "NORMAL"): 1, ("test", "PNEUMONIA"): 1},
            ["«Test/PNEUMONIA» (1)", "«valid/normal» (1)"],
        ),
        (
            TRAIN | {"test__NORMAL": 0},
            NAMES,
            {("train", "NORMAL"): 3, ("train", "PNEUMONIA"): 4},
            ["«test» no tiene imágenes"],
        ),
        (
            {"datos__v2__Train__NORMAL": 3, "datos__v2__Train__PNEUMONIA": 4},
            NAMES,
            {("train", "NORMAL"): 3, ("train", "PNEUMONIA"): 4},
            ["están en «datos/v2»"],
        ),
        ({"NEUMONIA": 1, "NORMAL": 1}, ("NEUMONIA", "NORMAL"), None, ["Atención", "lo contrario"]),
        (
            {"sin_0_neumonia": 1, "con_0_neumonia": 1},
            ("sin neumonia", "con neumonia"),
            None,
            ["PNEUMONIA: «con neumonia»"],
        ),
    ],
)
def test_each_image_is_counted_where_its_folder_says(tmp_path, folders, names, expected, said):
    counts, notes = counted(put(tmp_path, **folders), names)
    assert expected is None or counts == expected
    assert all(words in notes for words in said)
    assert ("Atención" in notes) == ("Atención" in said)


def test_what_cannot_be_understood_is_named(tmp_path):
    put(tmp_path / "dentro", NORMAL=1, PNEUMONIA=1, PNEUMONIA__NORMAL=2)
    put(tmp_path / "dos", a__NORMAL=1, a__PNEUMONIA=1, b__NORMAL=1, b__PNEUMONIA=1)
    (tmp_path / "cerrado").mkdir()
    (tmp_path / "cerrado" / "placas.zip").write_bytes(b"PK")
    for name, said in [
        ("dentro", r"PNEUMONIA.NORMAL.*la otra clase.*\(2\)"),
        ("dos", "varias carpetas.*«a», «b»"),
        ("cerrado", "comprimidos.*placas.zip"),
        ("cerrado/placas.zip", "comprimido.*descomprímalo"),
    ]:
        with pytest.raises(NeumoError, match=said):
            find(tmp_path / name, class_names=NAMES)


def test_links_that_turn_round_and_pipes_end_and_each_file_counts_once(tmp_path, capsys):
    root = put(tmp_path / "datos", **CLASSES_THERE)
    put(tmp_path / "otro disco", mas=2)
    (root / "NORMAL" / "vuelta").symlink_to(root)
    (root / "PNEUMONIA" / "misma").symlink_to(root / "PNEUMONIA")
    for name in ("enlace", "otra_vez"):
        (root / "PNEUMONIA" / name).symlink_to(tmp_path / "otro disco")
    (tmp_path / "otro disco" / "vuelta").symlink_to(root / "PNEUMONIA")
    os.mkfifo(root / "NORMAL" / "tuberia.png")
    assert counted(root)[0] == {("", "NORMAL"): 4, ("", "PNEUMONIA"): 6}
    assert main(["verify", str(root)]) == 0
    told = capsys.readouterr().out
    assert "10 imágenes; 1 excluidas" in told
    assert "tuberia.png: no se puede decodificar: no es un archivo corriente" in told
    assert "Carpetas de PNEUMONIA: «PNEUMONIA» (6)." in told


def test_the_project_folder_leaves_out_its_build_and_its_environment(tmp_path, monkeypatch):
    put(tmp_path, **CLASSES_THERE)
    put(tmp_path / "entorno", lib__NORMAL=1, lib__PNEUMONIA=1)
    (tmp_path / "entorno" / "pyvenv.cfg").touch()
    monkeypatch.chdir(tmp_path)
    params = load(None, parse_overrides("source=folder data_dir=."))
    run = Run(folder=tmp_path / "build" / "mio", params=params)
    prepare(run)
    before = run.path("listing").read_bytes()
    (tmp_path / "build" / "cache").mkdir(exist_ok=True)
    (tmp_path / "build" / "cache" / "nuevo.bin").touch()
    prepare(run)
    assert run.path("listing").read_bytes() == before
    assert before.count(b"\n") == 8
    assert [path.name for path in files(tmp_path / "entorno")] == ["pyvenv.cfg", "0-0.png", "1-0.png"]


@pytest.mark.parametrize(
    ("written", "folder", "names"),
    [
        ("class_names=['0','1'] data_dir=2024", "2024", ["0", "1"]),
        ("class_names=[no,si] data_dir=007", "007", ["no", "si"]),
    ],
)
def test_where_a_name_is_asked_what_is_written_is_a_name(tmp_path, monkeypatch, written, folder, names):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / folder, **dict.fromkeys(names, 2))
    source = locate(load(None, parse_overrides(f"source=folder {written}")), cache=tmp_path)
    assert source.folder == tmp_path / folder
    assert source.notes[1] == f"Carpetas de PNEUMONIA: «{names[1]}» (2)."
    (tmp_path / "mis.yaml").write_text("source: folder\ndata_dir: 2024\nclass_names: [0, 1]\n")
    assert load(tmp_path / "mis.yaml").class_names == ["0", "1"]
