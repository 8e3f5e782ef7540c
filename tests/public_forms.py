"""Radiografías sintéticas, con las carpetas, los nombres y la tabla de un conjunto público."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dicom_example import dicom
from neumo.data.manifest import scan
from neumo.data.phantom import make_phantom


def _synthetic(folder, images, seed):
    """Cada imagen del fantoma, con su clase, su patrón y su paciente, numerados."""
    make_phantom(folder, images=images, size=96, difficulty=0.2, defects=False, seed=seed)
    table = scan(folder)
    table["number"] = table["patient"].astype("category").cat.codes + 1
    table["view"] = table.groupby("number").cumcount()
    return [(Image.open(folder / row.path).convert("L"), row) for row in table.itertuples()]


def nih(folder, source, *, images=160, seed=0):
    """ChestX-ray14: una tabla con hallazgos, paciente, edad, sexo y proyección, y las imágenes en varias carpetas."""
    rows = []
    for picture, row in _synthetic(source, images, seed):
        name = f"{row.number:08d}_{row.view:03d}.png"
        inside = folder / f"images_{row.number % 3 + 1:03d}" / "images"
        inside.mkdir(parents=True, exist_ok=True)
        picture.save(inside / name)
        finding = ["No Finding", "Pneumonia|Infiltration"][row.y] if row.number % 20 else "Hernia"
        person = {"Patient Age": 1 + row.number % 5, "Patient Gender": "MF"[row.number % 2]}
        rows.append({"Image Index": name, "Finding Labels": finding, "Patient ID": row.number} | person)
    pd.DataFrame(rows).assign(**{"View Position": "PA"}).to_csv(folder / "Data_Entry_2017.csv", index=False)


def mendeley(folder, source, *, images=160, seed=0):
    """El conjunto de Kermany en Mendeley: solo `train` y `test`, y el patrón y el paciente en el nombre."""
    for picture, row in _synthetic(source, images, seed):
        kind = (row.subtype or "normal").upper()
        part = "test" if row.path.startswith("test") else "train"
        file = folder / "chest_xray" / part / row.label / f"{kind}-{1000000 + row.number}-{row.view + 1:04d}.jpeg"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file, quality=90)


def rsna(folder, source, *, images=160, seed=0):
    """RSNA Pneumonia: DICOM sueltos con nombre opaco, y una tabla con una fila por recuadro."""
    inside = folder / "stage_2_train_images"
    inside.mkdir(parents=True)
    rows = []
    for position, (picture, row) in enumerate(_synthetic(source, images, seed)):
        name = f"{position:08x}-0000-4000-8000-{position:012x}"
        header = {
            "PatientID": f"historia-{row.number}",
            "PatientName": "Apellido^Nombre",
            "SOPInstanceUID": f"1.2.{position}",
        }
        (inside / f"{name}.dcm").write_bytes(dicom(np.asarray(picture), bits=8, **header))
        rows += [{"patientId": name, "x": "", "y": "", "width": "", "height": "", "Target": row.y}] * (1 + row.y)
    pd.DataFrame(rows).to_csv(folder / "stage_2_train_labels.csv", index=False)


def covid(folder, source, *, images=160, seed=0):
    """COVID-19 Radiography: una carpeta por clase, con sus máscaras al lado, y nombres sin paciente."""
    for position, (picture, row) in enumerate(_synthetic(source, images, seed)):
        name = ["Normal", "Viral Pneumonia"][row.y]
        for inside, content in (("images", picture), ("masks", picture.point(lambda value: 255 * (value > 128)))):
            file = folder / "COVID-19_Radiography_Dataset" / name / inside / f"{name}-{position}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            content.save(file)


ORDERS = {
    nih: ["source=table", "data_dir={folder}", "image_table.positive_labels=[Pneumonia]"],
    mendeley: ["source=folder", "data_dir={folder}/chest_xray"],
    rsna: [
        *("source=table", "data_dir={folder}", "image_table.images_dir=stage_2_train_images"),
        *("image_table.file=stage_2_train_labels.csv", "image_table.path=patientId", "image_table.label=Target"),
    ],
    covid: [
        *("source=folder", "data_dir={folder}/COVID-19_Radiography_Dataset"),
        "class_names=[Normal,Viral Pneumonia]",
    ],
}
"""Lo que se escribe detrás de `--set` para leer cada forma."""


def order(form, folder: Path) -> str:
    """Lo que recibe `--set` para leer un conjunto hecho con `form` en `folder`."""
    return " ".join(f"'{change.format(folder=folder)}'" for change in ORDERS[form])
