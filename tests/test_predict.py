import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dicom_example import dicom, picture
from neumo import predict
from neumo.__main__ import main
from neumo.data.store import decode_grey
from neumo.errors import NeumoError
from neumo.learning import inference
from neumo.params import Params
from neumo.run import Run

SIZE = 24


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Una ejecución terminada con dos semillas de dos redes, sin entrenar."""
    keras = pytest.importorskip("keras")
    from neumo.learning import networks

    folder = tmp_path_factory.mktemp("build") / "corrida"
    trainings = []
    for name, seed in (("mejorado", 0), ("mejorado", 1), ("original", 0), ("original", 1)):
        keras.utils.set_random_seed(seed)
        network = "residual" if name == "mejorado" else "original"
        experiment = Params().repaired.model_copy(update={"network": network, "width": 4, "name": name})
        path = folder.parent / f"{name}{seed}.keras"
        network = networks.build(experiment, SIZE, 1)
        (networks.with_views(network, 6 if seed else 1)).save(path)
        trainings.append(SimpleNamespace(experiment=experiment, seed=seed, model_path=path))
    run = Run(folder=folder, params=Params(final_models=["mejorado", "original"], final_seeds=[0, 1]))
    chosen = {"model": "mejorado", "seeds": [0, 1], "threshold": 0.5, "temperature": {"mejorado": 2.0}}
    chosen["thresholds"] = {"mejorado": 0.5, "original": 0.0}
    run.save("chosen", {**chosen, "files": inference.export_models(run, trainings)})
    return run


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "placas"
    (folder / "dentro").mkdir(parents=True)
    for name in ("b.png", "a.JPEG", "dentro/c.jpg"):
        grey = Image.fromarray(rng.integers(0, 255, (60, 90), dtype=np.uint8))
        grey.save(folder / name, format="PNG" if name.endswith("png") else "JPEG")
    (folder / "notas.txt").write_text("no es una imagen")
    (folder / "._a.jpeg").write_text("restos de macOS")
    return folder


PLAIN_KERAS = """
import sys, json, numpy as np, keras
pixels = np.load(sys.argv[1])
for path in sys.argv[2:]:
    model = keras.models.load_model(path, compile=False)
    print(json.dumps(model.predict(pixels, verbose=0)[:, 0].tolist()))
"""


def test_the_keras_files_alone_give_the_same_probabilities(run, images, tmp_path):
    """Otro proceso, sin esta biblioteca, sobre los píxeles sin escalar."""
    paths = [images / name for name in ("a.JPEG", "b.png", "dentro/c.jpg")]
    pixels = np.stack([decode_grey(path, SIZE) for path in paths])[..., None].astype("float32")
    np.save(tmp_path / "pixels.npy", pixels)
    files = [run.folder / f"models/mejorado-{seed}.keras" for seed in (0, 1)]
    command = [sys.executable, "-c", PLAIN_KERAS, str(tmp_path / "pixels.npy"), *map(str, files)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    alone = np.array([json.loads(line) for line in output.splitlines()])
    for seed in (0, 1):
        table, _ = predict.predict_paths(run.folder, paths, model=f"mejorado-{seed}")
        np.testing.assert_allclose(table["probability"], sigmoid(logit(alone[seed]) / 2), atol=1e-6)
    together, _ = predict.predict_paths(run.folder, paths)
    np.testing.assert_allclose(together["probability"], sigmoid(logit(alone).mean(axis=0) / 2), atol=1e-6)


@pytest.fixture
def command(run, capsys):
    """Función que da la orden `predict` y devuelve su estado y lo que escribió."""

    def call(*arguments):
        status = main(["predict", "--run", str(run.folder), *arguments])
        return SimpleNamespace(returncode=status, **dict(zip(("stdout", "stderr"), capsys.readouterr(), strict=True)))

    return call


def logit(p):
    return np.log(p) - np.log1p(-p)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_paths_come_back_as_they_were_written(run, images, monkeypatch):
    monkeypatch.chdir(images.parent)
    table, unreadable = predict.predict_paths(run.folder, ["placas/", "./placas/b.png"])
    assert table["path"].tolist() == ["placas/a.JPEG", "placas/b.png", "placas/dentro/c.jpg", "./placas/b.png"]
    assert dict(unreadable)["placas/._a.jpeg"] == "archivo oculto"
    assert set(dict(unreadable)) == {"placas/._a.jpeg", "placas/notas.txt"}
    (images / "masks").mkdir()
    (images / "masks" / "a.png").write_bytes((images / "b.png").read_bytes())
    _, unreadable = predict.predict_paths(run.folder, ["placas/masks", "placas/dentro"])
    assert "placas/masks/a.png" not in dict(unreadable)  # dada ella misma, es lo que se pide
    again, unreadable = predict.predict_paths(run.folder, ["placas/"])
    assert dict(unreadable)["placas/masks/a.png"] == "es la máscara de otra imagen"
    assert again["path"].tolist() == table["path"].tolist()[:3]
    assert table["probability"].between(0, 1).all()
    assert (table["prediction"] == np.where(table["probability"] >= 0.5, "PNEUMONIA", "NORMAL")).all()
    assert table["probability"][1] == pytest.approx(table["probability"][3])


def test_what_cannot_be_read_is_told_and_gets_no_class(run, images, tmp_path):
    (images / "rota.jpeg").write_bytes((images / "a.JPEG").read_bytes()[:-300])
    (tmp_path / "vacia").mkdir()
    paths = [str(images), str(tmp_path / "vacia"), "no/existe.png"]
    table, others = predict.predict_paths(run.folder, paths)
    by_name = table.set_index(table["path"].map(lambda path: Path(path).name))
    assert list(by_name.index) == ["a.JPEG", "b.png", "rota.jpeg", "c.jpg"]
    assert by_name.loc["rota.jpeg", ["prediction", "warning"]].tolist() == ["", "archivo truncado"]
    assert by_name["probability"].isna().tolist() == [False, False, True, False]
    assert {Path(path).name for path, _ in others} == {"rota.jpeg", "notas.txt", "._a.jpeg", "vacia", "existe.png"}
    assert all(reason for _, reason in others)


def test_nothing_readable_is_an_empty_table_with_its_columns(run, tmp_path):
    table, others = predict.predict_paths(run.folder, [tmp_path / "nada"])
    assert list(table.columns) == ["path", "probability", "prediction", "warning"]
    assert len(table) == 0
    assert len(others) == 1


def test_a_mixed_folder_is_read_named_and_ends_with_status_one(command, tmp_path):
    """JPEG, PNG de 16 bits y DICOM de la misma radiografía dan lo mismo; lo demás, nombrado y sin clase."""
    grey, folder = picture(), tmp_path / "mezcla"
    folder.mkdir()
    deep = (grey.astype(np.uint16) * 257)[..., None]
    Image.fromarray(grey).save(folder / "a.jpeg", quality=95)
    Image.fromarray(deep[..., 0]).save(folder / "b.png")
    (folder / "c.dcm").write_bytes(dicom(65535 - deep[..., 0], bits=16, PhotometricInterpretation="MONOCHROME1"))
    (folder / "IM000001").write_bytes(dicom(grey, bits=8))
    Image.fromarray(255 - grey).save(folder / "negativo.png")
    for name, level, size in (("negra", 0, 90), ("blanca", 255, 90), ("punto", 7, 1)):
        Image.new("L", (size, size), level).save(folder / f"{name}.png")
    (folder / "vacio.dcm").write_bytes(b"")
    (folder / "roto.jpg").symlink_to(folder / "nada.jpg")
    (folder / "notas.gif").write_bytes(b"GIF89a")
    done = command(str(folder))
    rows = {Path(row["path"]).name: row for row in csv.DictReader(done.stdout.splitlines())}
    assert done.returncode == 1
    same = [float(rows[name]["probability"]) for name in ("a.jpeg", "b.png", "c.dcm", "IM000001")]
    assert np.ptp(same[1:]) < 1e-6 < 1
    assert abs(same[0] - same[1]) < 0.02
    assert rows["negativo.png"]["prediction"]
    assert "invertida" in rows["negativo.png"]["warning"]
    refused = {name: row["warning"] for name, row in rows.items() if not row["prediction"]}
    assert refused == {
        **dict.fromkeys(("negra.png", "blanca.png", "punto.png"), "casi vacía: desviación típica de 0.0 niveles"),
        "vacio.dcm": "archivo vacío",
        "roto.jpg": "enlace roto",
    }
    assert all(rows[name]["probability"] == "" for name in refused)
    named = done.stderr.splitlines()
    assert len(named) == len(refused) + 1
    assert all(any(name in line for line in named) for name in (*refused, "notas.gif"))


def test_far_from_the_training_images_says_so(run, images, tmp_path):
    folder = tmp_path / "corrida"
    shutil.copytree(run.folder, folder)
    (folder / "partition.csv").write_text(
        "partition,width,height,mean\ntrain,60,50,90\ntrain,180,90,200\ntest,5,900,3\n,0,0,nan\n"
    )
    grey = Image.open(images / "b.png", formats=("PNG",))
    grey.resize((300, 100)).point(lambda level: level // 8).save(images / "lejos.png")
    table, _ = predict.predict_paths(folder, [images / "b.png", images / "lejos.png"])
    near, far = table["warning"]
    assert near == ""
    assert "brillo de 1" in far
    assert "al entrenar, de 90 a 200" in far
    assert "lado menor de 100" in far
    assert "proporción de 3" in far


def test_a_network_that_gives_nan_gives_no_class(run, images, tmp_path):
    import keras

    folder = tmp_path / "corrida"
    shutil.copytree(run.folder, folder)
    path = folder / "models" / "mejorado-1.keras"
    network = keras.models.load_model(path, compile=False)
    network.set_weights([np.full_like(weights, np.nan) for weights in network.get_weights()])
    network.save(path)
    table, others = predict.predict_paths(folder, [images / "b.png"])
    assert table["probability"].isna().all()
    assert table["prediction"].tolist() == [""]
    assert "NaN" in others[0][1]


def test_our_own_output_is_never_an_input_nor_falls_on_another_file(command, images):
    arguments = [str(images), "--explain", str(images), "--output", str(images / "tabla.csv")]
    first = command(*arguments)
    assert (images / "a.JPEG.png").is_file()
    before = (images / "tabla.csv").read_text()
    again = command(*arguments)
    assert first.returncode == again.returncode == 1  # por notas.txt
    assert (images / "tabla.csv").read_text() == before
    assert "Pasado por alto" in again.stderr
    assert not list(images.rglob("*.png.png.png"))
    shutil.copy(images / "dentro/c.jpg", images / "c.jpg.png")
    refused = command(str(images / "dentro"), "--explain", str(images))
    assert (refused.returncode, "c.jpg.png" in refused.stderr) == (2, True)
    assert (images / "c.jpg.png").read_bytes() == (images / "dentro/c.jpg").read_bytes()
    refused = command(str(images / "b.png"), "--output", str(images / "notas.txt"))
    assert (refused.returncode, (images / "notas.txt").read_text()) == (2, "no es una imagen")


def test_strange_names_are_escaped_and_nothing_breaks(command, images):
    strange = os.fsencode(images) + b"/caf\xe9\x1b[2J.png"
    with open(strange, "wb") as file:
        file.write((images / "b.png").read_bytes())
    done = command(str(images), "--output", str(images / "tabla.csv"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert r"caf\udce9\x1b[2J.png" in (images / "tabla.csv").read_text(encoding="utf-8")


def test_batches_do_not_change_the_answer(run, images, monkeypatch):
    whole, _ = predict.predict_paths(run.folder, [images])
    monkeypatch.setattr(predict, "BLOCK", 2)
    parts, _ = predict.predict_paths(run.folder, [images])
    np.testing.assert_allclose(whole["probability"], parts["probability"], atol=1e-6)


def test_heat_maps_are_written_with_the_shape_of_the_radiograph(run, images, tmp_path):
    target = tmp_path / "mapas"
    predict.predict_paths(run.folder, [images, images / "b.png"], explain=target)
    written = sorted(path.relative_to(target).as_posix() for path in target.rglob("*.png"))
    assert written == ["a.JPEG.png", "b.png-2.png", "b.png.png", "dentro/c.jpg.png"]
    assert all(predict.written_here(path) for path in target.rglob("*.png"))
    with Image.open(target / "b.png.png") as image:
        assert (image.size, image.mode) == ((90, 60), "RGB")


def test_another_model_and_a_model_that_does_not_exist(run, images):
    chosen, _ = predict.predict_paths(run.folder, [images])
    other, _ = predict.predict_paths(run.folder, [images], model="original")
    assert (chosen["probability"] != other["probability"]).any()
    assert set(other["prediction"]) == {"PNEUMONIA"}  # con su umbral, 0, y no con el del elegido
    with pytest.raises(NeumoError, match=r"«mejor».*mejorado, original, mejorado-0"):
        predict.predict_paths(run.folder, [images], model="mejor")


def test_a_run_without_a_network_says_what_to_do(run, tmp_path):
    (run.folder.parent / "otra").mkdir()
    with pytest.raises(NeumoError, match=r"make report.*corrida"):
        predict.predict_paths(run.folder.parent / "otra", [tmp_path])
    with pytest.raises(NeumoError, match="make report"):
        predict.predict_paths(tmp_path / "no" / "hay", [tmp_path])


def test_a_missing_or_truncated_file_of_the_run_says_what_to_do(run, images, tmp_path):
    folder = tmp_path / "corrida"
    shutil.copytree(run.folder, folder)
    network = folder / "models" / "mejorado-1.keras"
    network.write_bytes(network.read_bytes()[:5000])
    with pytest.raises(NeumoError, match=r"«mejorado-1\.keras».*`make report`, que la escribe de nuevo"):
        predict.predict_paths(folder, [images])
    network.unlink()
    with pytest.raises(NeumoError, match=r"«mejorado-1\.keras».*`make report`"):
        predict.predict_paths(folder, [images])
    for damaged in (
        '{"model": ',
        "[]",
        '{"model": "a", "files": {"a": ["a.keras"]}, "thresholds": {}, "temperature": {}}',
    ):
        (folder / "chosen.json").write_text(damaged)
        with pytest.raises(NeumoError, match=r"chosen\.json falta o está dañado.*`make report`"):
            predict.predict_paths(folder, [images])


def test_export_removes_networks_of_other_settings(run, tmp_path):
    fresh = Run(folder=tmp_path / "corrida", params=run.params.model_copy(update={"final_seeds": [0]}))
    (fresh.folder / "models").mkdir(parents=True)
    (fresh.folder / "models" / "mejorado-9.keras").write_bytes(b"de otra vez")
    trainings = [
        SimpleNamespace(experiment=SimpleNamespace(name=name), seed=0, model_path=run.folder / f"models/{name}-0.keras")
        for name in run.params.final_models
    ]
    files = {name: [f"models/{name}-0.keras"] for name in run.params.final_models}
    assert inference.export_models(fresh, trainings) == files
    assert fresh.is_whole("models")
    assert sorted(path.name for path in (fresh.folder / "models").iterdir()) == ["mejorado-0.keras", "original-0.keras"]


def test_the_command_is_quiet_and_exits_with_one(run, images):
    (images / "rota.jpeg").write_bytes(b"")
    line = [sys.executable, "-m", "neumo", "predict", "--run", str(run.folder), str(images)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "path,probability,prediction,warning"
    assert len(done.stdout.splitlines()) == 5
    assert len(done.stderr.splitlines()) == 3
    assert "rota.jpeg: archivo vacío" in done.stderr
