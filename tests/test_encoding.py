"""La codificación igualada: una red que lee el rastro del JPEG se delata; otra, que mira el brillo, no."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from neumo.data import manifest, store
from neumo.learning.inference import predict_logits
from neumo.studies import encoding
from neumo.studies.headers import headers, jpeg_quality

SIDE = 32


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Ruido fino sobre gris, más claro en las enfermas; las sanas, guardadas a calidad 95, y las enfermas, a 30."""
    folder, rng = tmp_path_factory.mktemp("placas"), np.random.default_rng(0)
    for label, quality, grey in (("NORMAL", 95, 90), ("PNEUMONIA", 30, 150)):
        (folder / label).mkdir()
        for number in range(12):
            pixels = rng.normal(grey, 4, (SIDE, SIDE)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"IM-{number:04d}-0001.jpeg", quality=quality)
    return folder


def network(kind):
    """Una red que solo mira el grano fino (a más grano, NORMAL) o solo el brillo (a más brillo, PNEUMONIA)."""
    import keras

    pixels = keras.Input((SIDE, SIDE, 1), name="pixels")
    conv, dense = keras.layers.Conv2D(2, (1, 3), activation="relu"), keras.layers.Dense(1, activation="sigmoid")
    output = dense(keras.layers.GlobalAveragePooling2D()(conv(pixels)))
    kernel = np.zeros((1, 3, 1, 2), np.float32)
    kernel[0, :, 0, 0], kernel[0, :, 0, 1] = (-1, 2, -1), (1, -2, 1)
    weights, bias = [[-4.0], [-4.0]], [20.0]
    if kind == "brillo":
        kernel[:], weights, bias = 1 / 3, [[0.1], [0.1]], [-24.0]
    conv.set_weights([kernel, np.zeros(2)])
    dense.set_weights([np.array(weights), np.array(bias)])
    return keras.Model(pixels, output)


def test_only_the_network_that_reads_the_encoding_is_moved(plates, tmp_path):
    files = {}
    for kind in ("grano", "brillo"):
        files[kind] = [tmp_path / f"{kind}-0.keras"]
        network(kind).save(files[kind][0])
    table = manifest.scan(plates)
    images = store.load(table, plates, image_size=SIDE, cache=tmp_path)
    chosen = {"thresholds": dict.fromkeys(files, 0.5), "temperature": {}}
    seen = table.assign(partition="train", width=SIDE, height=SIDE, mode="L")
    quality = encoding.coarser_quality(headers(seen, plates, cache=tmp_path))
    assert quality == 30
    measured = encoding.encoding_control(
        files,
        lambda partition, *, image_size: images,
        plates,
        names=list(files),
        chosen=chosen,
        quality=quality,
        cache=tmp_path,
    )
    rates = measured.set_index(["model", "encoding"])
    plain = predict_logits(network("grano"), images.pixels()) >= 0
    assert rates.loc[("grano", "como vienen"), "specificity"] == (~plain[images.labels == 0]).mean() == 1
    assert rates.loc[("grano", "como vienen"), "sensitivity"] == 1
    assert rates.loc[("grano", "a calidad 30"), "specificity"] < 0.5
    assert rates.loc["brillo", ["sensitivity", "specificity", "auc"]].to_numpy().tolist() == [[1, 1, 1]] * 2
    told = encoding.encoding_verdict(measured).splitlines()
    assert told[0].endswith("la codificación decide parte de su respuesta.")
    assert told[1].endswith("la codificación no decide su respuesta.")


def test_saving_again_keeps_the_size_and_gets_the_quality(plates, tmp_path):
    file = next((plates / "NORMAL").iterdir())
    copy = tmp_path / "otra.jpeg"
    copy.write_bytes(encoding.reencoded(file.read_bytes(), 75))
    assert (jpeg_quality(file), jpeg_quality(copy)) == (95, 75)
    with Image.open(copy) as image:
        assert (image.size, image.mode) == ((SIDE, SIDE), "L")


def test_where_nothing_tells_the_classes_apart_there_is_nothing_to_make_equal():
    table = pd.DataFrame({"partition": "train", "label": ["NORMAL", "PNEUMONIA"], "quality": [np.nan, np.nan]})
    assert encoding.coarser_quality(table) is None
    assert encoding.encoding_verdict(None).endswith("no hay codificación que igualar.")
    assert encoding.coarser_quality(table.assign(quality=[np.nan, 90.0])) == 90
