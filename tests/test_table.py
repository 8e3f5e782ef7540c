import numpy as np
import pytest
from PIL import Image

from neumo.__main__ import main
from neumo.data.sources import locate, prepare
from neumo.data.split import split
from neumo.data.table import read_table, scan_table
from neumo.errors import NeumoError
from neumo.params import Params, Table
from neumo.params_reader import load, parse_overrides
from neumo.run import Run


def write_images(root, names):
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)


def write_table(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


NIH = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position\n"
NIH += "00000001_000.png,Pneumonia|Infiltration,1,058Y,M,PA\n00000001_001.png,No Finding,1,059Y,M,AP\n"
NIH += "00000002_000.png,Cardiomegaly,2,81,F,PA\n00000003_000.png,No Finding,3,003Y,F,PA\n00000009_000.png,No Finding,9,20,F,PA\n"


def test_the_nih_table_finds_its_images_in_their_folders_and_guesses_its_columns(tmp_path):
    write_table(tmp_path / "Data_Entry_2017.csv", NIH)
    write_images(tmp_path, [f"images_00{n}/images/0000000{n}_000.png" for n in (1, 2, 3)])
    write_images(tmp_path, ["images_001/images/00000001_001.png"])
    listed = read_table(tmp_path, Table())
    assert listed.table.to_dict("list") == {
        "path": [
            *("images_001/images/00000001_000.png", "images_001/images/00000001_001.png"),
            "images_003/images/00000003_000.png",
        ],
        "label": ["PNEUMONIA", "NORMAL", "NORMAL"],
        "original_split": ["", "", ""],
        "patient": ["1", "1", "3"],
        "by_age": ["40 a 64 años", "40 a 64 años", "0 a 4 años"],
        "by_sex": ["hombre", "hombre", "mujer"],
        "by_view": ["PA", "AP", "PA"],
    }
    columns, neither, lost = listed.notes
    assert "clase, «Finding Labels» (por su nombre)" in columns
    assert neither.endswith("ninguna de las dos clases: 1.")
    assert lost.endswith("no se encuentra: 1.")
    manifest = scan_table(tmp_path, Table())
    assert manifest["patient_known"].all()
    assert set(manifest["scheme"]) == {"table"}


def test_the_chexpert_table_leaves_out_the_uncertain_and_the_blank_and_reads_the_patient_in_the_path(tmp_path):
    head = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Pneumonia\n"
    rows = [
        f"CheXpert-v1.0-small/train/patient{n:05d}/study1/view1_frontal.jpg,Female,{n},Frontal,AP,,{value}"
        for n, value in enumerate(("1.0", "0.0", "-1.0", "", "1.0"))
    ]
    root = tmp_path / "renombrada"
    write_table(root / "train.csv", head + "\n".join(rows))
    write_images(root, [f"train/patient{n:05d}/study1/view1_frontal.jpg" for n in range(5)])
    table = scan_table(root, Table(label="Pneumonia"))
    assert table[["patient", "label", "scheme"]].to_numpy().tolist() == [
        ["patient00000", "PNEUMONIA", "chexpert"],
        ["patient00001", "NORMAL", "chexpert"],
        ["patient00004", "PNEUMONIA", "chexpert"],
    ]


def test_the_rsna_table_has_a_row_per_box_and_its_patient_is_only_an_image(tmp_path):
    names = [f"0004cfab-14fd-4e49-80ba-63a80b6bdd{n:02d}" for n in range(4)]
    rows = "".join(f"{name},1,2,3,4,{int(n > 1)}\n" for n, name in enumerate(names))
    write_table(
        tmp_path / "stage_2_train_labels.csv", f"patientId,x,y,width,height,Target\n{rows}{names[3]},5,6,7,8,1\n"
    )
    write_images(tmp_path, [f"stage_2_train_images/{name}.png" for name in names])
    table = scan_table(tmp_path, Table())
    assert len(table) == 4
    assert set(table["scheme"]) == {"rsna"}
    assert not table["patient_known"].any()


def test_a_spanish_spreadsheet_of_another_folder_with_its_partition(tmp_path):
    head = "Archivo;Diagnóstico;NHC;Partición;Sexo;Edad;Hospital\n"
    rows = [
        f"p{n}\\a{i}.png;{'neumonía' if n % 2 else 'Normal'};h{n};{'prueba' if n < 4 else 'entrenamiento'};{'HM'[n % 2]};{n};Sur"
        for n in range(20)
        for i in range(2)
    ]
    write_table(tmp_path / "lista.csv", head + "\n".join(rows), encoding="cp1252")
    write_images(tmp_path / "placas", [f"p{n}/a{i}.png" for n in range(20) for i in range(2)])
    settings = Table(images_dir="placas", groups=["Hospital"])
    table = scan_table(tmp_path / "lista.csv", settings)
    assert table["patient"].nunique() == 20
    assert table["by_sex"].value_counts().to_dict() == {"hombre": 20, "mujer": 20}
    assert set(table["by_Hospital"]) == {"Sur"}
    divided = split(table)
    assert (divided.groupby("patient")["partition"].nunique() == 1).all()
    assert set(divided.loc[divided["partition"] == "test", "patient"]) == {"h0", "h1", "h2", "h3"}


def test_contradictory_rows_are_of_neither_class(tmp_path):
    write_table(tmp_path / "t.tsv", "file\tlabel\na.png\t0\na.png\t1\nb.png\t0\nc.png\t1\n")
    write_images(tmp_path, ["a.png", "b.png", "c.png"])
    assert list(read_table(tmp_path, Table()).table["path"]) == ["b.png", "c.png"]


PLAIN = "file,label\na.png,0\nb.png,1\n"


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        (None, {}, "hay: ninguna. Dígala con image_table.file"),
        (PLAIN, {"file": "otra.csv"}, "No existe la tabla.*otra.csv"),
        (PLAIN, {"label": "Pneumonia"}, "no hay columna «Pneumonia». Las que hay: file, label"),
        ("x,label\na.png,0\n", {}, "qué columna es la ruta: hay x, label. Dígala con image_table.path"),
        ("file,label\na.png,TB\nb.png,0\n", {}, r"ningún valor de image_table.positive_labels .*Tiene: .*tb \(1\)"),
        (PLAIN, {"positive_labels": [3]}, r"ningún valor de image_table.positive_labels \(3\)"),
        (
            "file,label\na.png,0\na.png,1\nb.png,0\n",
            {},
            "ninguna imagen de PNEUMONIA: 1 NORMAL, 0 PNEUMONIA y 1 de ninguna",
        ),
        ("file,label\nz.png,0\ny.png,1\n", {}, "faltan 2, la primera «z.png».*image_table.images_dir"),
        (PLAIN, {"images_dir": "nada"}, "No existe la carpeta.*nada"),
        ("file,label,split\na.png,0,train\nb.png,1,luego\n", {}, "dice también «luego»"),
        ('file,label\n"a.png,0\n', {}, "no se entiende como CSV"),
    ],
)
def test_a_table_that_cannot_be_used_says_what_it_has_and_what_to_write(tmp_path, text, settings, said):
    write_images(tmp_path, ["a.png", "b.png"])
    if text:
        write_table(tmp_path / "t.csv", text)
    with pytest.raises(NeumoError, match=said):
        read_table(tmp_path, Table(**settings))


def test_the_source_says_what_it_understood_and_a_changed_table_is_seen(tmp_path):
    write_images(tmp_path / "datos", ["a.png", "b.png", "otra.png"])
    file = write_table(tmp_path / "datos" / "t.csv", PLAIN)
    params = load(None, parse_overrides(f"source=table data_dir={tmp_path}/datos image_table.positive_labels=[1]"))
    assert params.image_table.positive_labels == ["1"]
    source = locate(params, cache=tmp_path)
    assert source.description == "2 radiografías de la tabla «t.csv»"
    run = Run(folder=tmp_path / "build" / "x", params=params)
    prepare(run)
    assert [row.split(",")[0] for row in run.path("listing").read_text().splitlines()] == [
        "path",
        "t.csv",
        "a.png",
        "b.png",
    ]
    before = run.path("listing").read_bytes()
    file.write_text(PLAIN + "otra.png,1\n")
    prepare(run)
    assert run.path("listing").read_bytes() != before
    with pytest.raises(NeumoError, match="falta data_dir"):
        load(None, {"source": "table"})
    assert isinstance(params, Params)


@pytest.mark.parametrize("given", ["datos/Data_Entry_2017.csv", "datos"])
def test_verify_reviews_a_table_as_the_report_would(tmp_path, monkeypatch, capsys, given):
    write_table(tmp_path / "datos/Data_Entry_2017.csv", NIH)
    write_images(
        tmp_path / "datos", [f"i/{name}.png" for name in ("00000001_000", "00000001_001", "00000003_000", "x")]
    )
    (tmp_path / "datos/i/00000002_000.png").write_bytes(b"rota, y de ninguna clase")
    monkeypatch.chdir(tmp_path)
    change = "image_table.positive_labels=[Pneumonia]"
    assert main(["verify", given, "--set", f"source=table {change}" if given == "datos" else change]) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 imágenes; 0 excluidas.\n")
    assert "clase, «Finding Labels»" in said
    assert "ninguna de las dos clases: 1." in said
    assert "Otros archivos, que no se usan: 2 .png." in said
    assert main(["verify", given, "--set", "source=phantom"]) == 2
