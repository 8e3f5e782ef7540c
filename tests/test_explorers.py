import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from neumo.params import Augmentation
from neumo.teaching import explorers

Y = np.array([0, 0, 0, 1, 1, 1])
PROB = np.array([0.1, 0.3, 0.8, 0.2, 0.6, 0.9])
RATES = np.geomspace(1e-6, 1.0, 80)
CURVES = pd.DataFrame({"seed": 0, "learning_rate": RATES, "loss": 1 + (np.log10(RATES) + 2) ** 2})


@pytest.fixture
def images(tmp_path):
    names = [f"{i}.png" for i in range(len(Y))]
    for i, name in enumerate(names):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(tmp_path / name)
    return pd.DataFrame({"path": names, "y_true": Y, "probability": PROB, "decision": PROB >= 0.5})


@pytest.fixture
def panels(images, tmp_path):
    pixels = np.tile(np.arange(0, 240, 10, np.uint8), (24, 1))
    return {
        "augmentation": (lambda: explorers.augmentation(pixels, Augmentation())),
        "learning_rate": (lambda: explorers.learning_rate(CURVES, steps=80)),
        "threshold": (lambda: explorers.threshold(Y, PROB)),
        "errors": (lambda: explorers.errors(images, tmp_path)),
    }


@pytest.mark.parametrize("name", ["augmentation", "learning_rate", "threshold", "errors"])
def test_moving_a_control_redraws_and_leaves_no_figure_open(panels, name):
    panel = panels[name]()
    *controls, words, image = panel.children
    before = image.value
    moved = {"intensidad": 2.0, "semilla": None, "umbral": 0.25, "tipo": "neumonía no vista"}
    if (value := moved[controls[0].description]) is not None:
        controls[0].value = value
    else:
        controls[1].value = 0.0
    assert image.value != before
    assert Image.open(io.BytesIO(image.value)).width > 100
    assert plt.get_fignums() == []
    assert "nan" not in words.value


def test_threshold_says_what_the_matrix_says(panels):
    panel = panels["threshold"]()
    slider, words, _ = panel.children
    assert "sensibilidad: <b>0.667</b>; especificidad: <b>0.667</b>" in words.value
    slider.value = 0.15
    assert "sensibilidad: <b>1.000</b>; especificidad: <b>0.333</b>" in words.value


@pytest.mark.parametrize("kind", list(explorers.KINDS))
def test_every_kind_can_be_browsed_past_its_last_page(panels, kind):
    kinds, page, words, _ = panels["errors"]().children
    kinds.value, page.value = kind, 40
    assert words.value in {"1 imágenes; página 1", "2 imágenes; página 1"}
