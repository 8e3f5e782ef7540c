"""La tabla de docs/datos.md: cada orden, tal como está escrita, entiende archivos de la forma de su conjunto."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image

from dicom_example import dicom
from leaks import leaks
from neumo.data.manifest import scan
from neumo.data.phantom import make_phantom
from neumo.data.sources import locate
from neumo.data.table import scan_source
from neumo.params_reader import load, parse_overrides

ROOT = Path(__file__).parents[1]


def cells():
    """Nombre del conjunto → lo que lleva `SET` en su orden."""
    lines = (ROOT / "docs" / "datos.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ") and "make report" in line]
    return {row[0]: re.search('SET="(.*)"', row[3]) for row in rows}


def write(folder, paths):
    for number, path in enumerate(paths):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        grey = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(grey).save(file)


# Archivos de la forma de cada conjunto, su tabla si la tiene, y lo que debe salir: normales, neumonías y pacientes conocidos.
FORMS = {
    "Kaggle (Kermany 2018)": (
        [f"chest_xray/{p}/NORMAL/IM-000{i}-0001.jpeg" for i, p in enumerate(("train", "val", "test"))]
        + [f"chest_xray/{p}/PNEUMONIA/person{i}_virus_1.jpeg" for i, p in enumerate(("train", "val", "test"))],
        None,
        (3, 3, 6),
    ),
    "Mendeley (el mismo, v3)": (
        [f"chest_xray/{p}/NORMAL/NORMAL-100323{i}-0001.jpeg" for i, p in enumerate(("train", "test"))]
        + [f"chest_xray/{p}/PNEUMONIA/BACTERIA-100808{i}-0001.jpeg" for i, p in enumerate(("train", "test"))],
        None,
        (2, 2, 4),
    ),
    "COVID-19 Radiography": (
        [
            f"COVID-19_Radiography_Dataset/{name}/{inside}/{name}-{i}.png"
            for name in ("COVID", "Normal", "Viral Pneumonia")
            for inside in ("images", "masks")
            for i in (1, 2)
        ],
        None,
        (2, 2, 0),
    ),
    "COVID-QU-Ex": (
        [
            f"Lung Segmentation Data/Lung Segmentation Data/{part}/{name}/{inside}/{name}_{part}{i}.png"
            for part in ("Train", "Val", "Test")
            for name in ("COVID-19", "Normal", "Non-COVID")
            for inside in ("images", "lung masks")
            for i in (1, 2)
        ],
        None,
        (6, 6, 0),
    ),
    "NIH ChestX-ray14": (
        [f"nih/images_00{i}/images/0000001{i}_00{i}.png" for i in range(1, 5)],
        "nih/Data_Entry_2017.csv\nImage Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position\n"
        "00000011_001.png,No Finding,11,58,M,PA\n00000012_002.png,Pneumonia|Infiltration,12,60,F,AP\n"
        "00000013_003.png,Hernia,13,8,M,PA\n00000014_004.png,No Finding,14,8,M,PA",
        (2, 1, 3),
    ),
    "CheXpert": (
        [f"CheXpert/train/patient0000{i}/study1/view1_frontal.jpg" for i in range(1, 5)],
        "CheXpert/train.csv\nPath,Sex,Age,Frontal/Lateral,AP/PA,Pneumonia\n"
        + "\n".join(
            f"CheXpert-v1.0-small/train/patient0000{i}/study1/view1_frontal.jpg,Male,60,Frontal,AP,{value}"
            for i, value in enumerate(("1.0", "0.0", "-1.0", ""), 1)
        ),
        (1, 1, 2),
    ),
    "Roboflow y otros exportados": (
        [
            f"exportado/{part}/{name}/person{i}{number}_bacteria_1_jpeg.rf.0123456789abcdef.jpg"
            for number, part in enumerate(("train", "valid", "test"))
            for i, name in enumerate(("NORMAL", "PNEUMONIA"), 1)
        ],
        None,
        (3, 3, 6),
    ),
    "el suyo, por pacientes": (
        [f"placas/{name}/hc{i}{n}/toma.png" for n, name in enumerate(("NORMAL", "PNEUMONIA")) for i in (1, 2)],
        None,
        (2, 2, 4),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_written_order_takes_files_of_that_form(tmp_path, monkeypatch, name):
    paths, listed, expected = FORMS[name]
    write(tmp_path, paths)
    if listed:
        file, _, content = listed.partition("\n")
        (tmp_path / file).write_text(content + "\n")
    monkeypatch.chdir(tmp_path)
    params = load(None, parse_overrides(cells()[name][1]))
    folder = locate(params, cache=tmp_path / "cache").folder
    table = scan_source(params, folder)
    known = table.loc[table["patient_known"], "patient"].nunique()
    assert ((table["y"] == 0).sum(), table["y"].sum(), known) == expected


MARKUP = "<img src=x onerror=alert(1)>\u202e\"'&#$(id)"
"""Lo que no debe ejecutarse ni romper nada en un nombre de carpeta, de archivo, de columna o de grupo."""


def rsna(folder, source, *, images):
    """Escribe radiografías sintéticas como RSNA Pneumonia: DICOM sueltos y una tabla con una fila por recuadro.

    La carpeta, los archivos, una columna y un hospital tienen nombres con los que alguien atacaría la página.
    """
    inside = folder / "stage_2_train_images"
    inside.mkdir(parents=True)
    rows = []
    make_phantom(source, images=images, size=96, difficulty=0.2, defects=False)
    table = scan(source)
    people = table["patient"].astype("category").cat.codes
    for position, (path, y) in enumerate(zip(table["path"], table["y"], strict=True)):
        name = f"{position:08x}{MARKUP if position % 9 == 0 else ''}"
        header = {
            "PatientID": f"historia-{people[position]}",
            "PatientName": "Apellido^Nombre",
            "SOPInstanceUID": f"1.2.{position}",
        }
        with Image.open(source / path) as picture:
            grey = np.asarray(picture.convert("L"))
        (inside / f"{name}.dcm").write_bytes(dicom(grey, bits=8, **header))
        row = {"patientId": name, "x": "", "y": "", "width": "", "height": "", "Target": y}
        rows += [row | {MARKUP: MARKUP if people[position] % 2 else "Norte"}] * (1 + y)
    pd.DataFrame(rows).to_csv(folder / "stage_2_train_labels.csv", index=False)


@pytest.mark.slow
def test_a_table_of_loose_dicom_gives_a_whole_report_that_says_what_it_knows_and_runs_nothing(tmp_path, browser):
    folder = tmp_path / f"rsna {MARKUP}"
    rsna(folder, tmp_path / "origen", images=120)
    settings = {
        "data_dir": str(folder),
        "image_table": {"groups": [MARKUP]},
        # Una pérdida enorme, otra infinita, una búsqueda sin techo, y lotes en los que falta una clase.
        "attempts": {"intento_2": {"learning_rate": 10.0, "epochs": 1}, "intento_3": {"batch_size": 2, "epochs": 1}},
        "anatomy": {"image_size": 32, "epochs": 1, "rate_epochs": 1, "high_rates": [0.03, 1e38]},
        "explanation": {"images": 6},
        "bootstrap_resamples": 200,
        "final_seeds": [0],
        "ablation": {"image_size": 32, "epochs": 1, "seeds": [0]},
        "lr_finder": {"steps": 20, "repeats": 1, "max_lr": 1e30},
    }
    profile = tmp_path / "hostil.yaml"
    profile.write_text(yaml.safe_dump({"extends": str(ROOT / "params" / "prueba.yaml"), **settings}))
    order = [
        sys.executable,
        "-m",
        "neumo",
        "report",
        "--params",
        profile,
        "--run",
        "rsna",
        "--build",
        tmp_path / "build",
    ]
    changes = cells()["RSNA Pneumonia"][1].replace("data_dir=rsna ", "")
    done = subprocess.run(
        [*order, "--set", changes],
        cwd=ROOT,
        env=os.environ | {"KAGGLE_KEY": "clave-secreta"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "build" / "rsna"
    page = BeautifulSoup((run / "informe.html").read_text(encoding="utf-8"), "html.parser")
    text = " ".join(page.get_text(" ").split())
    for told in (
        "En la tabla y «stage_2_train_images»",
        "PatientID de los DICOM",
        "Se sabe de qué paciente es cada imagen",
        "Estas imágenes no traen prueba: se aparta una por pacientes",
        "Quién puso la etiqueta, y mirando qué, no consta",
        "DICOM de 8 bits",
        "<img src=x onerror=alert(1)>",
    ):
        assert told in text, told
    shown = [cell.get_text() for cell in page.select("td, .prosa, figcaption")]
    assert not [cell for cell in shown if re.search(r"\b(nan|NaN|None|inf)\b", cell)]
    assert "∞" in page.select_one("#cap-12").get_text(" ")
    chapters = " ".join(page.select_one("#cap-15").get_text(" ").split())
    assert "consintió" not in chapters
    assert "médicos" not in chapters
    assert leaks(run, "historia-1", "Apellido", "clave-secreta", str(tmp_path)) == []
    assert shown_in(browser, run / "informe.html") == []


def shown_in(browser, path):
    """Abre la página con todo desplegado y da lo que no debería pasar: diálogos, errores, imágenes perdidas, atributos de guion."""
    context = browser.new_context(offline=True)
    page, troubles = context.new_page(), []
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true })")
    troubles += page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.outerHTML)")
    troubles += page.evaluate(
        "[...document.querySelectorAll('*')].filter(tag => [...tag.attributes].some(a => a.name.startsWith('on')))"
        ".map(tag => tag.outerHTML)"
    )
    context.close()
    return troubles
