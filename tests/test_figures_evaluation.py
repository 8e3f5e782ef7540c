"""Las figuras de la evaluación: se miran textos, límites y colores de lo dibujado, no píxeles."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from figure_texts import legend, texts
from neumo.evaluation.calibration import reliability_table
from neumo.evaluation.intervals import intervals
from neumo.evaluation.metrics import confusion, probability
from neumo.evaluation.thresholds import curve_band, operating_points, pr_table, predictive_values, roc_table
from neumo.figures import evaluation as figures
from neumo.figures.style import SERIES

pytestmark = pytest.mark.usefixtures("close_figures")


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    y = (rng.random(200) < 0.6).astype(int)
    return pd.DataFrame({"y_true": y, "logit": 2 * y - 1 + rng.normal(size=200)})


def test_confusion_matrix_shows_counts_and_row_percentages_in_order():
    table = confusion([0] * 4 + [1] * 6, [0, 0, 0, 1] + [1] * 6)
    ax = figures.confusion_matrix(table)
    assert texts(ax) == ["3\n75.0 %", "1\n25.0 %", "0\n0.0 %", "6\n100.0 %"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["NORMAL", "PNEUMONIA"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["NORMAL", "PNEUMONIA"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Clase predicha", "Clase real")
    assert ax.yaxis_inverted()  # la primera fila, arriba
    assert {zone.get_xy(): zone.get_gid() for zone in ax.patches} == {
        (0, 0): "Real NORMAL, predicha NORMAL: 3 de 4 (75.0 %)",
        (1, 0): "Real NORMAL, predicha PNEUMONIA: 1 de 4 (25.0 %)",
        (0, 1): "Real PNEUMONIA, predicha NORMAL: 0 de 6 (0.0 %)",
        (1, 1): "Real PNEUMONIA, predicha PNEUMONIA: 6 de 6 (100.0 %)",
    }


def test_confusion_matrices_fill_a_grid():
    table = confusion([0, 1], [0, 1])
    axes = figures.confusion_matrices({f"intento_{i}": table for i in range(5)}, columns=3)
    assert axes.shape == (2, 3)
    assert [ax.get_title(loc="left") or ax.get_title() for ax in axes.flat[:5]] == [f"intento_{i}" for i in range(5)]
    assert not axes[1, 2].get_visible()
    assert [ax.get_ylabel() for ax in axes[0]] == ["Clase real", "", ""]
    assert [ax.get_xlabel() for ax in axes[:, 0]] == ["", "Clase predicha"]


def test_curves_carry_their_band_their_point_and_what_chance_would_give(scored):
    y, prob = scored.y_true, probability(scored.logit)
    shared = {"band": curve_band(y, prob, resamples=50), "point": (0.2, 0.8), "label": "una red"}
    ax = figures.roc(roc_table(y, prob), **shared)
    chance, curve, point = (line.get_xydata() for line in ax.lines)
    np.testing.assert_allclose(chance, [[0, 0], [1, 1]])
    np.testing.assert_allclose(curve, roc_table(y, prob)[["fpr", "tpr"]])
    np.testing.assert_allclose(point, [[0.2, 0.8]])
    assert (legend(ax), len(ax.collections)) == (["una red"], 1)
    ax = figures.precision_recall(pr_table(y, prob), prevalence=0.6, **shared)
    assert ax.lines[0].get_ydata()[0] == 0.6
    assert (texts(ax), legend(ax)) == (["prevalencia"], ["una red"])


def test_intervals_draw_a_row_per_metric_a_colour_per_group_and_hollow_points_for_wilson(scored):
    y, decided = scored.y_true, np.where(scored.y_true == 1, 0.9, scored.logit > 0)
    table = intervals(y, decided, metrics=["sensitivity", "auc"], resamples=50)
    ax = figures.intervals(pd.concat([table.assign(model=name) for name in "ab"]), by="model")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["sensibilidad", "AUC"]
    assert legend(ax) == ["a", "b"]
    points = ax.collections[-1]
    np.testing.assert_allclose(points.get_offsets()[:, 0], [*table["value"], *table["value"]])
    assert [round(row) for row in points.get_offsets()[:, 1]] == [0, 1, 0, 1]
    edges = [mpl.colors.to_hex(color) for color in points.get_edgecolors()]
    assert edges == [color.lower() for color in np.repeat(SERIES[:2], 2)]
    assert [tuple(face) == (1, 1, 1, 1) for face in points.get_facecolors()] == [True, False] * 2


def test_calibration_draws_before_and_after(scored):
    y, z = scored.y_true, scored.logit
    tables = {name: reliability_table(y, probability(z * k)) for name, k in (("antes", 3), ("después", 1))}
    ax = figures.calibration(tables)
    assert legend(ax) == ["antes", "después"]


def drawn(ax):
    """Lo que suma cada histograma escalonado: su área entre el ancho de barra."""
    outlines = [part.get_paths()[0].vertices for part in ax.collections]
    areas = [abs(np.trapezoid(y, x)) for x, y in (outline.T for outline in outlines)]
    return sorted(round(area * 44 / 19) for area in areas)


def test_score_histogram_draws_every_logit_and_says_how_many_are_missing(scored):
    scored.loc[:1, "logit"] = [np.inf, -5000.0]
    ax = figures.score_histogram(scored, threshold=0.5)
    assert drawn(ax) == sorted(scored["y_true"].value_counts())
    assert texts(ax) == [" umbral 0.5"]
    assert "0.5" in [label.get_text() for label in ax.get_xticklabels()]
    scored.loc[scored["y_true"] == 1, "logit"] = np.nan
    ax = figures.score_histogram(scored)
    normal, sick = (scored["y_true"] == 0).sum(), scored["y_true"].sum()
    assert legend(ax) == [f"NORMAL (real), n = {normal}", f"PNEUMONIA (real), n = {sick}; {sick} sin valor"]
    assert drawn(ax) == [normal]


def test_thresholds_join_policies_that_agree(scored):
    points = operating_points(scored.y_true, probability(scored.logit))
    ax = figures.thresholds(points, marks={"fijo": 0.5, "F1": 0.5, "Youden": 0.6})
    assert texts(ax) == ["fijo\nF1", "Youden"]


def test_predictive_values_and_gallery():
    ax = figures.predictive_values(predictive_values(0.9, 0.8), observed=0.6)
    assert texts(ax) == ["en estos datos "]
    table = pd.DataFrame({"y_true": [0, 1], "probability": [0.9, 0.1], "subtype": ["", "virus"]})
    axes = figures.error_gallery(np.zeros((2, 8, 8), np.uint8), table)
    assert [ax.get_title(loc="left") for ax in axes.flat] == [
        "real: NORMAL\nprob. 0.900",
        "real: PNEUMONIA (virus)\nprob. 0.100",
    ]
