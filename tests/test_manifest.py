import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from neumo.data.duplicates import groups
from neumo.data.manifest import image_paths, scan
from neumo.errors import NeumoError


def write_image(path, seed=0, size=(40, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(grey).save(path)


def test_kaggle_layout(tmp_path):
    write_image(tmp_path / "train/NORMAL/IM-0001-0001.jpeg", 1)
    write_image(tmp_path / "val/PNEUMONIA/person2_virus_3.jpeg", 2)
    write_image(tmp_path / "test/PNEUMONIA/dentro/desconocida.PNG", 3)
    (tmp_path / "train/NORMAL/.DS_Store").write_bytes(b"x")
    (tmp_path / "train/NORMAL/._IM-0001-0001.jpeg").write_bytes(b"x")
    table = scan(tmp_path).set_index("path")
    assert list(table["original_split"]) == ["test", "train", "val"]
    assert list(table["y"]) == [1, 0, 1]
    unknown = table.loc["test/PNEUMONIA/dentro/desconocida.PNG"]
    assert (unknown["patient"], unknown["patient_known"]) == (unknown.name, False)
    assert table.loc["train/NORMAL/IM-0001-0001.jpeg", "lot"] == "IM"


def test_one_folder_per_class_with_other_names(tmp_path):
    write_image(tmp_path / "SANO/a.png")
    write_image(tmp_path / "NEUMONIA/a.png")
    table = scan(tmp_path, class_names=("SANO", "NEUMONIA"))
    assert dict(zip(table["path"], table["label"], strict=True)) == {
        "NEUMONIA/a.png": "PNEUMONIA",
        "SANO/a.png": "NORMAL",
    }
    assert set(table["original_split"]) == {""}
    assert table["patient"].nunique() == 2


def test_an_identical_file_joins_two_patients(tmp_path):
    write_image(tmp_path / "NORMAL/IM-0001-0001.jpeg", 1)
    write_image(tmp_path / "PNEUMONIA/person1_virus_1.jpeg", 2)
    write_image(tmp_path / "PNEUMONIA/person1_virus_2.jpeg", 3)
    shutil.copy(tmp_path / "PNEUMONIA/person1_virus_2.jpeg", tmp_path / "PNEUMONIA/person9_bacteria_1.jpeg")
    table = scan(tmp_path)
    assert list(table["group"]) == ["IM-0001", "person1_virus", "person1_virus", "person1_virus"]


def test_empty_files_join_nobody(tmp_path):
    write_image(tmp_path / "NORMAL/a.png")
    for name in ("person1_virus_1.jpeg", "person2_virus_1.jpeg"):
        (tmp_path / "PNEUMONIA").mkdir(exist_ok=True)
        (tmp_path / "PNEUMONIA" / name).write_bytes(b"")
    assert scan(tmp_path)["group"].nunique() == 3


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("12345")), min_size=1, max_size=12))
def test_groups_are_the_finest_union(pairs):
    patients, contents = zip(*pairs, strict=True)
    found = groups(patients, contents)
    parent = {name: name for name in "abcdef"}

    def root(name):
        return name if parent[name] == name else root(parent[name])

    for (a, x), (b, y) in ((p, q) for p in pairs for q in pairs if p[1] == q[1]):
        assert x == y
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    for i, a in enumerate(patients):
        for j, b in enumerate(patients):
            assert (found[i] == found[j]) == (root(a) == root(b))


def test_linked_folders_are_followed_and_hidden_ones_are_not(tmp_path):
    outside = tmp_path / "otro disco"
    outside.mkdir()
    for name in ("b.PNG", "a.jpeg", ".oculta.jpeg", "notas.txt"):
        (outside / name).write_bytes(b"x")
    root = tmp_path / "datos"
    for hidden in (".ipynb_checkpoints", "__MACOSX"):
        (root / hidden).mkdir(parents=True)
        (root / hidden / "c.jpeg").write_bytes(b"x")
    (root / "enlace").symlink_to(outside)
    assert [path.relative_to(root).as_posix() for path in image_paths(root)] == ["enlace/a.jpeg", "enlace/b.PNG"]


def test_missing_folder_and_missing_class_say_what_to_do(tmp_path):
    with pytest.raises(NeumoError, match="No existe la carpeta de imágenes «.*nada»"):
        scan(tmp_path / "nada")
    write_image(tmp_path / "train/NORMAL/a.png")
    (tmp_path / "train/NEUMONIA").mkdir()
    with pytest.raises(NeumoError, match=r"No hay imágenes de la clase PNEUMONIA.*«PNEUMONIA».*class_names"):
        scan(tmp_path)
