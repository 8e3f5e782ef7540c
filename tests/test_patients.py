import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from neumo.data.manifest import scan
from neumo.data.patients import SCHEMES, assurance, coverage, read_paths, schemes_found, separation
from neumo.data.split import split
from neumo.errors import NeumoError
from neumo.params_reader import validate


def read(path, **how):
    return read_paths([path], **how)[0]


@pytest.mark.parametrize(
    ("path", "scheme", "patient"),
    [
        ("person7_virus_12.jpeg", "kaggle", "person7_virus"),
        ("person1_bacteria_6_2.jpeg", "kaggle", "person1_bacteria"),
        ("IM-0435-0001-0001.jpeg", "kaggle", "IM-0435"),
        ("NORMAL2-IM-0927-0001.jpeg", "kaggle", "NORMAL2-IM-0927"),
        ("BACTERIA-1008087-0001.jpeg", "mendeley", "1008087"),
        ("00000013_005.png", "nih", "00000013"),
        ("patient00001/study1/view1_frontal.jpg", "chexpert", "patient00001"),
        ("patient00001_study2_view1_frontal.jpg", "chexpert", "patient00001"),
        ("p10/p10000032/s50414267/02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg", "mimic", "p10000032"),
        ("02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg", "mimic_image", ""),
        ("CHNCXR_0001_0.png", "tuberculosis", "CHNCXR_0001"),
        ("MCUCXR_0243_1.png", "tuberculosis", "MCUCXR_0243"),
        ("CXR1_1_IM-0001-3001.png", "indiana", "CXR1"),
        ("1_IM-0001-4001.dcm.png", "indiana", "1"),
        ("sub-S03047_ses-E07985_run-1_bp-chest_vp-ap_dx.png", "bids", "sub-S03047"),
        ("0004cfab-14fd-4e49-80ba-63a80b6bddd6.png", "rsna", ""),
        ("1.2.276.0.7230010.3.1.4.8323329.1000.1517875165.878027.png", "siim", ""),
        ("000a312787f2_image.png", "siim", ""),
        ("0005e8e3701dfb1dd93d53e2ff537b6e.png", "vindr", ""),
        ("Viral Pneumonia-101.png", "covid", ""),
        ("person7.jpeg", "", ""),
        ("20240131_123456.png", "", ""),
    ],
)
def test_the_names_of_the_public_sets(path, scheme, patient):
    found = read(f"train/NORMAL/{path}")
    assert (found.scheme, found.patient) == (scheme, patient)


def test_every_scheme_says_its_name_and_names_tell_aetiology_and_lot():
    assert all(scheme.title for scheme in SCHEMES.values())
    assert read("person7_virus_12.jpeg")[:3] == ("person7_virus", "virus", "")
    assert read("NORMAL2-IM-0927-0001.jpeg")[:3] == ("NORMAL2-IM-0927", "", "NORMAL2")
    assert read("VIRUS-1008087-0001.jpeg")[:3] == ("1008087", "virus", "")
    assert read("NORMAL-1008087-0001.jpeg")[:3] == ("1008087", "", "")


CHANGES = [
    *("{} (1).jpeg", "{} - copia.jpeg", "{}_copia (2).jpeg", "copia de {}.png", "Copy of {}.jpeg", "{} - Copy.jpeg"),
    *(
        "{}_aug3.png",
        "{}_flip.jpeg",
        "{}_jpeg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9.jpg",
        "{}.jpeg.png",
        "resized_{}.png",
    ),
    "NORMAL_original_{}.jpeg_1f0c9a6e-0f7b-4f3c-8f6e-3a5f6c1b2d3e.jpeg",
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("stem", ["IM-0115-0001", "person7_virus_12", "BACTERIA-1008087-0001", "00000013_005"])
def test_what_is_added_to_a_name_leaves_it_with_its_patient(change, stem):
    names = [f"NORMAL/{stem}.jpeg", "NORMAL/" + change.format(stem)]
    first, changed = read_paths(names)
    assert first.patient == changed.patient != ""


@given(st.integers(0, 9999), st.sampled_from(["bacteria", "virus"]), st.integers(0, 9999))
def test_images_of_one_patient_share_the_key_and_aetiology_separates(person, subtype, image):
    other = {"bacteria": "virus", "virus": "bacteria"}[subtype]
    key = read(f"person{person}_{subtype}_{image}.jpeg").patient
    assert key == read(f"person{person}_{subtype}_{image + 1}.jpeg").patient
    assert key != read(f"person{person}_{other}_{image}.jpeg").patient


def write_set(root, names):
    """Una imagen distinta por nombre, mitad de cada clase si el nombre no dice su carpeta."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return root


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("{label}/{patient:08d}_{image:03d}.png", {}),
        ("{label}/patient{patient:05d}/study{image}/view1_frontal.jpg", {}),
        ("{label}/BACTERIA-{patient}-{image:04d}.jpeg", {}),
        ("{label}/hc{patient}-placa{image}.png", {"patient_pattern": r"(?P<patient>hc\d+)-"}),
        ("{label}/hc{patient}/estudio/{image}.png", {"patient_folder": 2}),
    ],
)
def test_known_patients_are_never_split(tmp_path, name, how):
    names = [
        name.format(label=label, patient=patient + 20 * shift, image=image)
        for shift, label in enumerate(("NORMAL", "PNEUMONIA"))
        for patient in range(1, 11)
        for image in range(3)
    ]
    table = scan(write_set(tmp_path, names), **how)
    assert table["patient_known"].all()
    assert table["patient"].nunique() == 20
    divided = split(table, val_fraction=0.3, test_fraction=0.2)
    assert (divided.groupby("patient")["partition"].nunique() == 1).all()
    assert coverage(table)[1] == separation(divided, crossed=0)[1] == "bien"
    assert assurance(divided) == "Ningún paciente está en dos de los tres conjuntos."


def test_versions_of_an_unknown_image_stay_with_it_and_numbered_names_do_not(tmp_path):
    names = ["NORMAL/placa_jpg.rf.0a1b.jpg", "NORMAL/placa_jpg.rf.9f8e.jpg", "NORMAL/otra.png", "NORMAL/otra_aug1.png"]
    names += ["PNEUMONIA/normal (1).png", "PNEUMONIA/normal (2).png"]
    table = scan(write_set(tmp_path, names)).set_index("path")
    assert not table["patient_known"].any()
    assert table.groupby("group").size().to_dict() == {
        "NORMAL/otra.png": 2,
        "NORMAL/placa": 2,
        "PNEUMONIA/normal (1).png": 1,
        "PNEUMONIA/normal (2).png": 1,
    }


def test_where_the_patient_is_unknown_nothing_is_in_order(tmp_path):
    names = [f"{label}/placa {n}.png" for label in ("NORMAL", "PNEUMONIA") for n in range(10)]
    table = scan(write_set(tmp_path, names))
    divided = split(table, test_fraction=0.2)
    assert coverage(table)[1] == "peligro"
    said, kind = separation(divided, crossed=0)
    assert kind == "aviso"
    assert "no está comprobado" in said
    assert "de ninguna imagen" in said
    assert "No se sabe de qué paciente es ninguna imagen" in assurance(divided)
    some = divided.assign(patient_known=np.arange(20) > 3)
    assert "de 4 imágenes no se sabe" in assurance(some)
    assert "4 de las 20" in separation(some, crossed=0)[0]
    assert separation(some.assign(patient_known=True), crossed=1)[1] == "peligro"


def test_the_chapter_can_show_which_scheme_and_what_was_read(tmp_path):
    names = ["NORMAL/00000013_005.png", "NORMAL/00000013_006.png", "PNEUMONIA/placa.png"]
    shown = schemes_found(scan(write_set(tmp_path, names)))
    assert shown["esquema"].tolist() == ["NIH ChestX-ray14", "ninguno conocido"]
    assert shown["por ejemplo"].tolist() == [
        "00000013_005.png → 00000013; 00000013_006.png → 00000013",
        "placa.png → sin paciente",
    ]


def test_names_that_give_one_patient_are_told_as_that(tmp_path):
    names = [f"NORMAL/IM-0001-{n:04d}.jpeg" for n in range(9)] + [f"PNEUMONIA/person{n}_virus_1.jpeg" for n in range(9)]
    table = scan(write_set(tmp_path, names))
    assert "todas las imágenes de NORMAL son de un solo paciente" in coverage(table)[0]
    with pytest.raises(NeumoError, match="las 9 son del mismo paciente.*IM-0001.*patient_pattern"):
        split(table, test_fraction=0.2)


@pytest.mark.parametrize(
    "how", [{"patient_pattern": r"(?P<patient>hc\d+)"}, {"patient_folder": 1}, {"patient_folder": 4}]
)
def test_asking_for_a_patient_that_is_not_there_is_refused(tmp_path, how):
    with pytest.raises(NeumoError, match=f"{next(iter(how))}.*no encuentra el paciente.*NORMAL/a.png"):
        scan(write_set(tmp_path, ["NORMAL/a.png", "PNEUMONIA/b.png"]), **how)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"patient_pattern": "(?P<patient>"}, "no es una expresión regular"),
        ({"patient_pattern": r"\d+"}, r"le falta el grupo del paciente: \(\?P<patient>"),
        ({"patient_pattern": "(?P<patient>a)", "patient_folder": 1}, "deje una"),
    ],
)
def test_bad_patient_parameters_are_explained(given, said):
    with pytest.raises(NeumoError, match=said):
        validate(given)
