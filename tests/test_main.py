"""Las órdenes, llamadas como las llama `python -m neumo`."""

import numpy as np
import pytest
from PIL import Image

from neumo.__main__ import main


@pytest.fixture
def images(tmp_path):
    """Una carpeta que envuelve `chest_xray/`, como la descomprime Kaggle."""
    rng = np.random.default_rng(0)
    for label in ("NORMAL", "PNEUMONIA"):
        folder = tmp_path / "kaggle" / "chest_xray" / "train" / label
        folder.mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 255, (96, 96), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"IM-{i:04d}-0001.png")
    (tmp_path / "kaggle" / "chest_xray" / "train" / "NORMAL" / "IM-0009-0001.png").write_bytes(b"")
    return tmp_path / "kaggle"


@pytest.mark.parametrize("inside", ["", "chest_xray"])
def test_verify_takes_the_folders_that_the_report_takes(images, capsys, inside):
    assert main(["verify", str(images / inside)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "5 imágenes; 1 excluidas."
    assert told[1].strip().startswith("train/NORMAL/IM-0009-0001.png: ")


def test_a_prediction_that_fails_leaves_no_file_and_empties_none(images, tmp_path, capsys):
    known = tmp_path / "antes.csv"
    known.write_text("path,probability,prediction\nde ayer,0.5,NORMAL\n")
    before = known.read_text()
    for output in (known, tmp_path / "nueva" / "hoy.csv"):
        order = [
            "predict",
            "--run",
            str(tmp_path / "no"),
            "--output",
            str(output),
            "--explain",
            str(tmp_path / "mapas"),
        ]
        assert main([*order, str(images)]) == 2
        assert "make report" in capsys.readouterr().err
    assert known.read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {"kaggle", "antes.csv"}


@pytest.mark.parametrize(
    ("option", "place"), [("--output", "archivo/hoy.csv"), ("--output", "kaggle"), ("--explain", "archivo")]
)
def test_a_place_where_nothing_can_be_written_is_told_before_predicting(images, tmp_path, capsys, option, place):
    (tmp_path / "archivo").write_text("")
    assert main(["predict", "--run", str(tmp_path / "no"), option, str(tmp_path / place), str(images)]) == 2
    assert f"No se puede escribir en «{tmp_path / place}»" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cache", "ejercicios", "interactivo", ".oculta", "otra/parte"])
def test_a_run_cannot_take_the_name_of_another_folder_of_the_build(tmp_path, capsys, name):
    """Con RUN=nombre, y también si el archivo de parámetros se llama así."""
    orders = [["--params", "params/prueba.yaml", "--run", name]]
    if "/" not in name:
        (tmp_path / f"{name}.yaml").write_text("seed: 1\n")
        orders.append(["--params", str(tmp_path / f"{name}.yaml")])
    for order in orders:
        assert main(["report", *order, "--build", str(tmp_path / "build")]) == 2
        assert f"RUN={name}" in capsys.readouterr().err.replace("'", "")
    assert not (tmp_path / "build").exists()
