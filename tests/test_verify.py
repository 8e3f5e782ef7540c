import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dicom_example import dicom, picture
from neumo.__main__ import main
from neumo.data.manifest import scan
from neumo.data.split import split
from neumo.data.verify import atypical, count_flags, exclusions, inspect, tukey_limits
from neumo.errors import NeumoError


def noise(path, seed, *, size=(60, 90), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(grey).convert(mode).save(path)
    return path


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        noise(tmp_path / f"train/NORMAL/IM-000{i}-0001.jpeg", i)
        noise(tmp_path / f"train/PNEUMONIA/person{i}_virus_1.jpeg", 10 + i)
        noise(tmp_path / f"test/NORMAL/IM-010{i}-0001.jpeg", 20 + i)
        noise(tmp_path / f"test/PNEUMONIA/person5{i}_virus_1.jpeg", 30 + i)
    return tmp_path


def reasons(folder):
    return exclusions(inspect(scan(folder), folder)).set_index("path")["reason"].to_dict()


def test_a_clean_folder_excludes_nothing(folder):
    inspection = inspect(scan(folder), folder)
    assert exclusions(inspection).empty
    assert set(zip(inspection["width"], inspection["height"], strict=True)) == {(60, 90)}
    assert inspection["mean"].between(120, 135).all()


def test_every_kind_of_damage_has_its_reason_and_no_file_is_touched(folder):
    whole = (folder / "train/NORMAL/IM-0000-0001.jpeg").read_bytes()
    (folder / "train/NORMAL/truncada.jpeg").write_bytes(whole[: len(whole) // 2])
    (folder / "train/NORMAL/vacia.jpeg").write_bytes(b"")
    (folder / "train/NORMAL/texto.png").write_bytes(b"no soy una imagen")
    Image.new("L", (50, 50), 3).save(folder / "train/NORMAL/negra.png")
    copy(folder / "train/NORMAL/IM-0000-0001.jpeg", folder / "train/NORMAL/otra.jpeg")
    copy(folder / "train/NORMAL/IM-0001-0001.jpeg", folder / "train/PNEUMONIA/conflicto.jpeg")
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert reasons(folder) == {
        "train/NORMAL/truncada.jpeg": "no se puede decodificar: archivo truncado",
        "train/NORMAL/vacia.jpeg": "no se puede decodificar: archivo vacío",
        "train/NORMAL/texto.png": "no se puede decodificar: no es una imagen JPEG, PNG, BMP, TIFF, WebP ni DICOM",
        "train/NORMAL/negra.png": "casi vacía: desviación típica de 0.0 niveles",
        "train/NORMAL/otra.jpeg": "copia exacta de train/NORMAL/IM-0000-0001.jpeg",
        "train/NORMAL/IM-0001-0001.jpeg": "el mismo archivo está en las dos clases",
        "train/PNEUMONIA/conflicto.jpeg": "el mismo archivo está en las dos clases",
    }
    assert before == {path: path.read_bytes() for path in folder.rglob("*.*")}


def test_official_test_loses_only_what_cannot_be_read(folder):
    copy(folder / "test/NORMAL/IM-0100-0001.jpeg", folder / "test/NORMAL/IM-0100-0002.jpeg")
    copy(folder / "test/NORMAL/IM-0101-0001.jpeg", folder / "train/NORMAL/IM-0009-0001.jpeg")
    noise(folder / "train/NORMAL/IM-0009-0002.jpeg", 99)
    (folder / "test/NORMAL/rota.jpeg").write_bytes(b"\xff\xd8\xff")
    found = reasons(folder)
    assert set(found) == {"test/NORMAL/rota.jpeg", "train/NORMAL/IM-0009-0001.jpeg", "train/NORMAL/IM-0009-0002.jpeg"}
    assert found["train/NORMAL/IM-0009-0001.jpeg"] == "copia exacta de test/NORMAL/IM-0101-0001.jpeg"
    assert found["train/NORMAL/IM-0009-0002.jpeg"] == "su paciente está en la prueba oficial"


def test_a_folder_without_readable_images_gives_tables_and_a_sentence(tmp_path):
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.jpeg").write_bytes(label.encode())
    inspection = inspect(scan(tmp_path), tmp_path)
    assert inspection["corrupt"].all()
    assert atypical(inspection, image_size=64).empty
    assert count_flags(inspection, ["corrupt"], by="label")["corrupt"].to_dict() == {"NORMAL": 1, "PNEUMONIA": 1}
    with pytest.raises(NeumoError, match="Ninguna imagen es utilizable"):
        split(inspection, test_fraction=0.2)


def test_measures_come_back_identical_from_the_cache(folder):
    (folder / "train/NORMAL/texto.png").write_bytes(b"no soy una imagen")
    table = scan(folder)
    first = inspect(table, folder, cache=folder / "cache")
    for path in folder.rglob("*.jpeg"):
        path.write_bytes(b"ya no se lee")
    again = inspect(table, folder, cache=folder / "cache")
    assert first.equals(again)


def test_atypical_tells_shape_and_size_apart(folder):
    noise(folder / "train/NORMAL/IM-0200-0001.png", 50, size=(300, 40), mode="RGB")
    inspection = inspect(scan(folder), folder)
    flags = atypical(inspection, image_size=60).set_index("path")
    odd = "train/NORMAL/IM-0200-0001.png"
    assert flags["off_target"].all()
    assert list(flags.index[flags["enlarged"]]) == [odd]
    assert list(flags.index[flags["odd_aspect"]]) == [odd]
    counts = count_flags(flags, ["off_target", "enlarged"], by="original_split")
    assert list(counts.index) == ["train", "test"]
    assert counts.loc["train"].to_dict() == {"images": 9, "off_target": 9, "enlarged": 1}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_tukey_limits_hold_the_middle_half(values):
    low, high = tukey_limits(values)
    assert low <= np.median(values) <= high


def test_negatives_are_told_and_kept(folder):
    Image.fromarray(picture()).save(folder / "train/NORMAL/buena.png")
    Image.fromarray(255 - picture()).save(folder / "train/NORMAL/negativo.png")
    inspection = inspect(scan(folder), folder).set_index("path")
    assert inspection.loc["train/NORMAL/negativo.png", ["inverted", "excluded"]].tolist() == [True, False]
    assert not inspection.loc["train/NORMAL/buena.png", "inverted"]


def test_dicom_files_bring_their_patient_and_every_other_file_is_counted(folder, capsys):
    for name in ("a.dcm", "IM000002"):
        (folder / "train/NORMAL" / name).write_bytes(dicom(picture() // len(name), bits=8, PatientID="77001234"))
    (folder / "train/NORMAL/otra.gif").write_bytes(b"GIF89a")
    table = scan(folder)
    taken = table[table["path"].str.endswith((".dcm", "IM000002"))]
    assert taken["patient"].nunique() == taken["group"].nunique() == 1
    assert taken["patient_known"].all()
    assert not table.astype(str).apply(lambda column: column.str.contains("77001234|Apellido")).any(axis=None)
    assert reasons(folder) == {}
    main(["verify", str(folder)])
    assert "Otros archivos, que no se usan: 1 .gif.\n" in capsys.readouterr().out


def test_each_unreadable_file_has_its_reason_and_no_path_of_the_machine(folder, capsys):
    (folder / "train/NORMAL/vacia.jpeg").write_bytes(b"")
    (folder / "train/NORMAL/rota.jpeg").symlink_to(folder / "nada.jpeg")
    os.mkfifo(folder / "train/NORMAL/tuberia.png")
    with open(os.fsencode(folder) + b"/train/NORMAL/caf\xe9.png", "wb") as file:
        file.write(b"")
    (folder / "train/NORMAL/con\x1b[2J.png").write_bytes(b"texto")
    found = exclusions(inspect(scan(folder), folder, cache=folder / "cache"))
    assert found.set_index("path")["reason"].str.removeprefix("no se puede decodificar: ").to_dict() == {
        "train/NORMAL/vacia.jpeg": "archivo vacío",
        "train/NORMAL/rota.jpeg": "enlace roto",
        "train/NORMAL/tuberia.png": "no es un archivo corriente",
        r"train/NORMAL/caf\udce9.png": "su nombre no está en UTF-8: cámbielo",
        r"train/NORMAL/con\x1b[2J.png": "no es una imagen JPEG, PNG, BMP, TIFF, WebP ni DICOM",
    }
    assert str(folder) not in found.to_csv()
    assert main(["verify", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("21 imágenes; 5 excluidas.\n")
    assert ".png" not in printed.partition("Otros archivos")[2]
    assert "\x1b" not in printed
