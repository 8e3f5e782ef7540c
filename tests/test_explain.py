import numpy as np
import pandas as pd
import pytest

from neumo.errors import NeumoError
from neumo.evaluation.intervals import mean_interval
from neumo.learning.grad_cam import grad_cam, target_layer
from neumo.studies import maps, shortcuts
from neumo.studies.headers import HEADERS, LOSSLESS


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def known_network(keras):
    """Dos canales, claro y oscuro, en una rejilla de 4×4; claro empuja a PNEUMONIA y oscuro a NORMAL."""
    pixels = keras.Input((16, 16, 1))
    cells = keras.layers.AveragePooling2D(4)(pixels)
    conv = keras.layers.Conv2D(2, 1, activation="relu")
    dense = keras.layers.Dense(1, activation="sigmoid")
    output = dense(keras.layers.GlobalAveragePooling2D()(conv(cells)))
    conv.set_weights([np.array([[[[1.0, -1.0]]]]), np.array([-100.0, 100.0])])
    dense.set_weights([np.array([[0.02], [-0.01]]), np.array([0.0])])
    return keras.Model(pixels, output)


@pytest.fixture
def images():
    grey = np.full((2, 16, 16), 100, np.uint8)
    grey[0, :4, 12:] = 250  # claro arriba a la derecha
    grey[0, 12:, :4] = 20  # oscuro abajo a la izquierda
    return grey


def sequential(keras, model):
    fresh = [type(layer).from_config(layer.get_config()) for layer in model.layers[1:]]
    network = keras.Sequential([keras.Input((16, 16, 1)), *fresh])
    network.set_weights(model.get_weights())
    return network


def nested(keras, model):
    copy = keras.models.clone_model(model)
    backbone = keras.Model(copy.inputs, copy.layers[-1].input)
    pixels = keras.Input((16, 16, 1))
    network = keras.Model(pixels, keras.layers.Dense(1, activation="sigmoid")(backbone(pixels)))
    network.set_weights(model.get_weights())
    return network


def test_grad_cam_finds_the_cell_that_decides(keras, images):
    model = known_network(keras)
    bright = grad_cam(model, images)
    assert bright.shape == images.shape
    assert bright.max() == 1
    assert bright.min() >= 0
    assert np.unravel_index(bright[0].argmax(), (16, 16)) in [(r, c) for r in range(4) for c in range(12, 16)]
    assert bright[0, 8:, :8].max() == 0
    assert not bright[1].any()  # ninguna celda pasa de 100: no hay evidencia
    dark = grad_cam(model, images, toward=0)
    assert dark[0, 14, 1] == dark[0].max() == 1
    assert dark[0, :8, 8:].max() == 0


def test_grad_cam_is_the_same_in_nested_sequential_and_averaged_networks(keras, images):
    from neumo.learning.networks import with_views

    model = known_network(keras)
    expected = grad_cam(model, images)
    for other in (sequential(keras, model), nested(keras, model), with_views(model, 6)):
        np.testing.assert_allclose(grad_cam(other, images), expected, atol=1e-6)


def test_grad_cam_leaves_the_network_as_it_was(keras, images):
    model = known_network(keras)
    before = model(images[..., None].astype("float32")).numpy()
    grad_cam(model, images)
    maps.randomisation(model, images, steps=2, draws=2)
    np.testing.assert_array_equal(model(images[..., None].astype("float32")).numpy(), before)
    assert "call" not in vars(target_layer(model))


def test_grad_cam_needs_a_layer_with_a_plane(keras):
    flat = keras.Sequential([keras.Input((16,)), keras.layers.Dense(1, activation="sigmoid")])
    with pytest.raises(NeumoError, match="plano de imagen"):
        target_layer(flat)


def test_randomisation_measures_the_whole_cascade(keras):
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16), dtype=np.uint8)
    table = maps.randomisation(known_network(keras), images, steps=6, draws=2)
    assert table.groupby("draw").size().tolist() == [6, 6]  # dos capas con pesos, tres imágenes
    assert table["fraction"].iloc[-1] == 1
    assert table["correlation"].between(-1, 1).all()


def test_a_map_in_the_lesion_beats_both_kinds_of_chance():
    masks = np.zeros((4, 8, 8), bool)
    for i, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        masks[i, row : row + 4, column : column + 4] = True
    found = maps.localisation(masks * 1.0, masks)
    assert found[["hit", "share"]].to_numpy().tolist() == [[1, 1]] * 4
    assert found["area"].tolist() == [0.25] * 4
    assert found["hit_swapped"].tolist() == found["share_swapped"].tolist() == [0] * 4
    centre = np.zeros((4, 8, 8))
    centre[:, 0, 0] = 1  # mira siempre al mismo sitio: acierta una vez, y también con mapas ajenos
    assert maps.localisation(centre, masks)["hit"].tolist() == [1, 0, 0, 0]
    assert maps.localisation(centre, masks)["hit_swapped"].tolist() == [1, 0, 0, 0]
    assert maps.localisation(np.zeros((4, 8, 8)), masks)["hit"].sum() == 0


def test_rank_correlation_agrees_with_scipy():
    from scipy.stats import spearmanr

    a, b = np.random.default_rng(1).integers(0, 5, (2, 3, 6, 6))
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(maps.rank_correlation(a, b), expected)


def test_mean_interval_is_wider_when_patients_repeat():
    values = np.repeat(np.random.default_rng(2).random(20), 5)
    _, low, high = mean_interval(values)
    _, wide_low, wide_high = mean_interval(values, groups=np.repeat(np.arange(20), 5))
    assert wide_high - wide_low > 1.5 * (high - low)


@pytest.fixture
def planted():
    """Ficheros cuyo tamaño delata la clase (menos bytes, PNEUMONIA) y nada más."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 300)
    table = pd.DataFrame({"y": y, "group": np.arange(300), "partition": rng.choice(["train", "val", "test"], 300)})
    inspection = pd.DataFrame({"size": 1000.0 - 900 * y + rng.random(300), "mean": rng.uniform(100, 120, 300)})
    inspection[list(HEADERS)] = 1.0  # iguales en todas: no dicen nada
    inspection["path"] = [f"{i}.jpeg" for i in range(300)]
    return shortcuts.shortcut_features(inspection, rng.integers(0, 255, (300, 32, 32), dtype=np.uint8)), table


def test_a_leaking_file_size_is_found_and_noise_is_not(planted):
    result = shortcuts.shortcut_table(*planted, resamples=200).set_index(["feature", "partition"])
    assert result.loc[("size", "test"), "value"] == 1
    assert result.loc[("size", "test"), "direction"] == -1
    assert result.loc[(shortcuts.TOGETHER, "train"), "value"] > 0.95
    low, high = result.loc[("mean", "test"), ["low", "high"]]
    assert low < 0.5 < high
    assert "aspect" not in result.index.get_level_values("feature")


def test_features_see_border_and_sharpness():
    dark = np.full((1, 32, 32), 200, np.uint8)
    dark[:, 2:-2, 2:-2] = 50
    blurred = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))[None]
    inspection = pd.DataFrame({"size": [1, 1], "mean": [1.0, 1.0], "path": ["a", "b"]})
    inspection[list(HEADERS)] = [[np.nan, 1.0, 1.0, 2.0, 0.0], [90.0, 1.0, 1.0, 2.0, 0.0]]  # un PNG y un JPEG
    features = shortcuts.shortcut_features(inspection, np.concatenate([dark, blurred]))
    assert features["border"].iloc[0] == 200
    assert list(features.columns) == ["quality", "border", "sharpness"]  # lo demás es igual en las dos
    assert features["quality"].tolist() == [LOSSLESS, 90]
    assert features["sharpness"]["a"] > features["sharpness"]["b"]


def test_a_network_that_follows_the_shortcut_is_caught(planted):
    features, table = planted
    follows = pd.DataFrame({"y_true": table["y"], "logit": features["border"].to_numpy()})
    use = shortcuts.shortcut_use(features, follows).set_index("feature")
    assert use.loc["border"].round(9).tolist() == [1, 1]
    assert use.loc["mean"].abs().max() < 0.3
