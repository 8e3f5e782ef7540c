import os
import pickle
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from neumo.data.manifest import scan
from neumo.data.sources import locate, prepare
from neumo.errors import NeumoError
from neumo.params import Params
from neumo.run import Run


def write_images(folder, count=2):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        grey = np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(grey).save(folder / f"IM-{index:04d}-0001.png")


def kaggle_layout(root, counts=((2, 3), (1, 1), (2, 2))):
    for split, numbers in zip(("train", "val", "test"), counts, strict=True):
        for name, count in zip(("NORMAL", "PNEUMONIA"), numbers, strict=True):
            write_images(root / split / name, count)
    return root


def folder_source(data_dir, cache, **changes):
    return locate(Params(source="folder", data_dir=str(data_dir), **changes), cache=cache)


def mnist_file(folder, size=28, **changes):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 12), ("val", 4), ("test", 6)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    arrays = {key: value for key, value in (arrays | changes).items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / ("pneumoniamnist.npz" if size == 28 else f"pneumoniamnist_{size}.npz"), **arrays)
    return arrays


def mnist_source(data_dir, cache, size=28):
    return locate(Params(source="pneumoniamnist", data_dir=str(data_dir), pneumoniamnist_size=size), cache=cache)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    import pooch

    def refuse(*args, **kwargs):
        raise ConnectionError("sin red")

    monkeypatch.setattr(pooch, "retrieve", refuse)


def test_phantom_is_generated_once_and_called_synthetic(tmp_path):
    params = Params(source="phantom", phantom={"images": 60, "size": 64})
    source = locate(params, cache=tmp_path)
    assert source.synthetic
    assert "sintéticas" in source.description
    assert not source.official_test
    assert len(scan(source.folder)) >= 60
    before = {path: path.stat().st_mtime_ns for path in source.folder.rglob("*")}
    assert locate(params, cache=tmp_path) == source
    assert before == {path: path.stat().st_mtime_ns for path in source.folder.rglob("*")}


@pytest.mark.parametrize("wrapper", ["", "chest_xray"])
def test_folder_takes_the_kaggle_layout_wrapped_or_not(tmp_path, wrapper):
    root = kaggle_layout(tmp_path / "datos" / wrapper)
    write_images(tmp_path / "datos" / "__MACOSX" / "train" / "NORMAL")
    source = folder_source(tmp_path / "datos", tmp_path)
    assert source.folder == root
    assert not source.synthetic
    assert not source.official_test


def test_folder_takes_a_layout_without_val_and_one_folder_per_class(tmp_path):
    for split in ("train", "test"):
        for name in ("NORMAL", "PNEUMONIA"):
            write_images(tmp_path / "sin_val" / split / name)
    for name in ("sanos", "enfermos"):
        write_images(tmp_path / "clases" / name)
    assert folder_source(tmp_path / "sin_val", tmp_path).folder == tmp_path / "sin_val"
    named = folder_source(tmp_path / "clases", tmp_path, class_names=["sanos", "enfermos"])
    assert named.folder == tmp_path / "clases"


@pytest.mark.parametrize(("normals", "official"), [(234, True), (233, False)])
def test_the_official_test_is_known_by_its_counts(tmp_path, normals, official):
    kaggle_layout(tmp_path, counts=((1, 1), (1, 1), (normals, 390)))
    source = folder_source(tmp_path, tmp_path)
    assert source.official_test is official
    assert bool(source.citation) is official


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (None, ["No existe", "data_dir"]),
        ([], ["ninguna imagen", "NORMAL", "PNEUMONIA"]),
        (["NORMAL"], ["se encontró: NORMAL", "class_names"]),
        (["sanos", "enfermos"], ["enfermos, sanos", "class_names"]),
        (["train/NORMAL", "train/PNEUMONIA", "test/NORMAL"], ["test", "PNEUMONIA"]),
    ],
)
def test_errors_name_what_was_found_and_what_to_do(tmp_path, layout, said):
    if layout is not None:
        (tmp_path / "datos").mkdir()
        for name in layout:
            write_images(tmp_path / "datos" / name)
    with pytest.raises(NeumoError) as error:
        folder_source(tmp_path / "datos", tmp_path)
    assert all(words in str(error.value) for words in said)


def test_an_empty_class_folder_is_not_a_class(tmp_path):
    write_images(tmp_path / "NORMAL")
    (tmp_path / "PNEUMONIA").mkdir()
    (tmp_path / "PNEUMONIA" / ".oculta.png").write_bytes(b"")
    with pytest.raises(NeumoError, match="se encontró: NORMAL"):
        folder_source(tmp_path, tmp_path)


def test_kaggle_gives_the_folder_that_kagglehub_downloaded(tmp_path, monkeypatch):
    root = kaggle_layout(tmp_path / "versions" / "chest_xray")
    pinned = {"paultimothymooney/chest-xray-pneumonia/versions/2": str(tmp_path / "versions")}
    fake = SimpleNamespace(dataset_download=pinned.__getitem__)
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    source = locate(Params(source="kaggle"), cache=tmp_path)
    assert source.folder == root
    assert "CC BY 4.0" in source.citation


def refuse_download(handle):
    raise ConnectionError("sin red")


@pytest.mark.parametrize("package", [None, SimpleNamespace(dataset_download=refuse_download)])
def test_without_package_or_network_kaggle_says_how_to_do_it_by_hand(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, "kagglehub", package)
    with pytest.raises(NeumoError, match="a mano.*source=folder"):
        locate(Params(source="kaggle"), cache=tmp_path)


def test_pneumoniamnist_on_disk_becomes_a_kaggle_layout_with_the_same_pixels(tmp_path):
    arrays = mnist_file(tmp_path / "bajado")
    source = mnist_source(tmp_path / "bajado", tmp_path / "cache")
    table = scan(source.folder)
    assert table.groupby(["original_split", "y"]).size().tolist() == [3, 3, 6, 6, 2, 2]
    assert not table["patient_known"].any()
    stored = sorted(np.asarray(Image.open(source.folder / path)).tobytes() for path in table["path"])
    original = [image.tobytes() for part in ("train", "val", "test") for image in arrays[f"{part}_images"]]
    assert stored == sorted(original)
    assert "MD5" in source.description


@pytest.mark.parametrize(
    ("size", "changes", "said"),
    [
        (28, {"val_labels": None}, "val_labels"),
        (64, {"train_images": np.zeros((12, 28, 28), np.uint8)}, "pneumoniamnist_size"),
    ],
)
def test_an_archive_of_another_form_is_refused(tmp_path, size, changes, said):
    mnist_file(tmp_path, size, **changes)
    with pytest.raises(NeumoError, match=said):
        mnist_source(tmp_path, tmp_path / "cache", size)


def test_without_the_archive_and_without_network_it_says_how_to_do_it_by_hand(tmp_path):
    with pytest.raises(NeumoError, match="a mano.*data_dir"):
        mnist_source(tmp_path, tmp_path / "cache")


def test_a_name_outside_utf8_does_not_stop_the_report(tmp_path):
    kaggle_layout(tmp_path / "datos")
    with open(os.fsencode(tmp_path) + b"/datos/train/caf\xe9.txt", "wb"):
        pass
    run = Run(folder=tmp_path / "build" / "corrida", params=Params(source="folder", data_dir=str(tmp_path / "datos")))
    prepare(run)
    assert r"train/caf\udce9.txt" in run.path("listing").read_text(encoding="utf-8")


def test_an_archive_by_someone_else_is_not_trusted(tmp_path):
    """Ni objetos serializados, ni tamaños que no caben en el conjunto; lo que sobra ni se lee ni se extrae."""
    part = {"images": np.zeros((2, 28, 28), np.uint8), "labels": np.array([[0], [1]])}
    whole = {f"{name}_{kind}": values for name in ("train", "val", "test") for kind, values in part.items()}
    path = tmp_path / "pneumoniamnist.npz"
    hostile = [
        {"train_images": np.array([{"pwned"}], dtype=object)},
        {"train_images": np.zeros((20_000, 28, 28), np.uint8)},
    ]
    for change in hostile:
        np.savez_compressed(path, **(whole | change))
        with pytest.raises(NeumoError, match=r"«pneumoniamnist\.npz» no es un archivo \.npz entero"):
            locate(Params(source="pneumoniamnist", pneumoniamnist_size=28, data_dir=str(path)), cache=tmp_path / "c")
    np.savez_compressed(path, **whole)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../fuera.npy", b"x")
        archive.writestr("objeto.npy", pickle.dumps({}))
    source = locate(Params(source="pneumoniamnist", pneumoniamnist_size=28, data_dir=str(path)), cache=tmp_path / "c")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["c", "pneumoniamnist.npz"]
    assert len([one for one in source.folder.rglob("*") if one.suffix == ".png"]) == 6
