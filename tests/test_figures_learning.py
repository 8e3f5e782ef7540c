"""Las figuras de la red y del entrenamiento: se miran textos, límites y puntos de lo dibujado, no píxeles."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from figure_texts import texts
from neumo.figures.learning import learning_curves, lr_curve, lr_repeat, network
from neumo.learning import lr_rules

pytestmark = pytest.mark.usefixtures("close_figures")


@pytest.fixture
def range_test():
    rates = np.geomspace(1e-7, 1.0, 88)
    loss = np.r_[0.7 - 0.5 / (1 + np.exp(-2.5 * (np.log10(rates[:80]) + 3.5))), np.geomspace(0.3, 5, 8)]
    curve = pd.DataFrame({"seed": 4, "learning_rate": rates, "loss": loss, "smoothed": loss})
    return curve, lr_rules.suggest(curve, steps=100)


def test_lr_curve_labels_every_suggestion_and_the_stop_without_overlap(range_test):
    curve, suggestions = range_test
    ax = lr_curve(curve, suggestions=suggestions, stop=len(curve) - 1)
    assert ax.get_xscale() == "log"
    labels = [text for text in ax.texts if "\n" in text.get_text()]
    assert [label.get_text().split("\n")[0] for label in labels] == [
        "valle",
        "pendiente",
        "mínimo / 10",
        "regla corrida",
        "se detiene",
    ]
    ax.figure.canvas.draw()
    boxes = [mpl.text.Text.get_window_extent(label) for label in labels]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    zones = [zone for zone in ax.patches if zone.get_gid()]
    assert len(zones) == 24
    assert zones[0].get_gid() == f"tasa 1.0×10⁻⁷: pérdida suavizada, {curve['smoothed'][0]:.3f}"
    edges = [(zone.get_x(), zone.get_x() + zone.get_width()) for zone in zones]
    assert np.allclose([left for left, _ in edges[1:]], [right for _, right in edges[:-1]])  # sin huecos
    marked = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert marked == pytest.approx([*suggestions["learning_rate"], curve["learning_rate"].iloc[-1]])


def test_lr_curve_draws_a_test_that_ended_in_nan_and_rules_without_answer(range_test):
    curve, suggestions = range_test
    curve.loc[len(curve) - 1, ["loss", "smoothed"]] = np.nan
    silent, stop = suggestions.assign(learning_rate=np.nan), lr_rules.divergence_point(curve)
    ax = lr_curve(curve, suggestions=silent, stop=stop)
    assert np.isfinite(ax.get_ylim()).all()
    assert [text for text in texts(ax) if "\n" in text] == ["se detiene\n1"]


def test_lr_repeat_shows_one_point_per_seed_and_rule(range_test):
    curve, suggestions = range_test
    curves, both = (pd.concat([table, table.assign(seed=5)]) for table in (curve, suggestions))
    top, bottom = lr_repeat(curves, both, references={"0.03": 0.03})
    assert len(top.lines) == 2
    points = np.concatenate([points.get_offsets() for points in bottom.collections[:-1]])
    assert sorted(points[:, 1]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert texts(bottom) == [" 0.03"]


def test_learning_curves_have_a_column_per_model_and_the_majority():
    epochs = np.arange(1, 5)
    history = pd.concat(
        pd.DataFrame({"model": m, "seed": s, "epoch": epochs, "loss": 1 / epochs, "val_loss": 900.0})
        for m in ("original", "reparado", "mejorado")
        for s in (0, 1)
    ).assign(accuracy=0.8, val_accuracy=0.7)
    axes = learning_curves(history, majority=0.74)
    assert axes.shape == (2, 3)
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["original", "reparado", "mejorado"]
    assert axes[0, 0].get_yscale() == "log"
    assert len(axes[1, 0].lines) == 2 * 2 + 1
    assert "responder siempre lo mismo (0.740)" in [t.get_text() for t in axes[0, 0].figure.legends[0].texts]


def test_curves_of_a_network_that_diverged_from_the_start_are_empty_and_do_not_fail(range_test):
    history = pd.DataFrame({"model": ["a", "b"], "seed": 0, "epoch": 1, "loss": [0.5, np.nan]})
    history = history.assign(val_loss=history["loss"], accuracy=0.5, val_accuracy=0.5)
    assert learning_curves(history).shape == (2, 2)
    curves, suggestions = range_test
    silent = suggestions.assign(learning_rate=np.nan)
    assert len(lr_repeat(curves.assign(smoothed=np.nan), silent)) == 2


def test_network_draws_a_block_per_layer():
    shapes = ["62 × 62 × 32", "31 × 31 × 32", "4608", "1"]
    types = ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]
    layers = pd.DataFrame({"type": types, "output_shape": shapes, "number": range(1, 5)})
    ax = network(layers, input_shape="64 × 64 × 1")
    assert len(ax.patches) == 5
    assert {"entrada", "conv.\n32", "62×62\n×32", "densa\n1", "4"} <= set(texts(ax))
