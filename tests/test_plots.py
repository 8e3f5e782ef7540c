"""Las figuras: se miran textos, límites y colores de lo dibujado, no píxeles."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
from matplotlib import pyplot as plt

from neumo.evaluation.calibration import reliability_table
from neumo.evaluation.intervals import intervals
from neumo.evaluation.metrics import confusion, probability
from neumo.evaluation.thresholds import curve_band, operating_points, pr_table, predictive_values, roc_table
from neumo.figures import evaluation as evaluation_figures
from neumo.figures import learning as learning_figures
from neumo.figures import studies as studies_figures
from neumo.figures.style import spread
from neumo.learning import lr_rules
from neumo.words import rate_text


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


# --- Evaluación ------------------------------------------------------------------------------------


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    y = (rng.random(200) < 0.6).astype(int)
    return pd.DataFrame({"y_true": y, "logit": 2 * y - 1 + rng.normal(size=200)})


def test_confusion_matrix_shows_counts_and_row_percentages_in_order():
    table = confusion([0] * 4 + [1] * 6, [0, 0, 0, 1] + [1] * 6)
    ax = evaluation_figures.confusion_matrix(table)
    assert texts(ax) == ["3\n75.0 %", "1\n25.0 %", "0\n0.0 %", "6\n100.0 %"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["NORMAL", "PNEUMONIA"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["NORMAL", "PNEUMONIA"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Clase predicha", "Clase real")
    assert ax.yaxis_inverted()  # la primera fila, arriba


def test_confusion_matrices_fill_a_grid():
    table = confusion([0, 1], [0, 1])
    axes = evaluation_figures.confusion_matrices({f"intento_{i}": table for i in range(5)}, columns=3)
    assert axes.shape == (2, 3)
    assert [ax.get_title(loc="left") or ax.get_title() for ax in axes.flat[:5]] == [
        f"intento_{i}" for i in range(5)
    ]
    assert not axes[1, 2].axison


def test_curves_share_axes_and_carry_their_band(scored):
    y, prob = scored.y_true, probability(scored.logit)
    band = curve_band(y, prob, resamples=50)
    ax = evaluation_figures.roc(roc_table(y, prob), band=band, point=(0.2, 0.8), label="a")
    assert evaluation_figures.roc(roc_table(y, 1 - prob), label="b", ax=ax) is ax
    assert [text.get_text() for text in ax.get_legend().texts] == ["a", "b"]
    assert len(ax.collections) == 1
    ax = evaluation_figures.precision_recall(
        pr_table(y, prob), band=band, prevalence=y.mean(), point=(0.8, 0.9)
    )
    assert texts(ax) == ["prevalencia"]


def test_intervals_show_numbers_and_hollow_points_for_wilson(scored):
    y = scored.y_true
    table = intervals(
        y, np.where(y == 1, 0.9, scored.logit > 0), metrics=["sensitivity", "auc"], resamples=50
    )
    ax = evaluation_figures.intervals(table)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["sensibilidad", "AUC"]
    assert texts(ax)[0].startswith("1.000 [")
    faces = ax.collections[-1].get_facecolors()
    assert [tuple(face) == (1, 1, 1, 1) for face in faces] == [True, False]
    ax = evaluation_figures.intervals(pd.concat([table.assign(model=name) for name in "ab"]), by="model")
    assert [text.get_text() for text in ax.get_legend().texts] == ["a", "b"]
    assert texts(ax) == []


def test_calibration_draws_before_and_after(scored):
    y, z = scored.y_true, scored.logit
    tables = {name: reliability_table(y, probability(z * k)) for name, k in (("antes", 3), ("después", 1))}
    ax = evaluation_figures.calibration(tables)
    assert [text.get_text() for text in ax.get_legend().texts] == ["antes", "después"]


def drawn(ax):
    """Lo que suma cada histograma escalonado: su área entre el ancho de barra."""
    outlines = [part.get_paths()[0].vertices for part in ax.collections]
    areas = [abs(np.trapezoid(y, x)) for x, y in (outline.T for outline in outlines)]
    return sorted(round(area * 44 / 19) for area in areas)


def test_score_histogram_draws_every_logit_and_says_how_many_are_missing(scored):
    scored.loc[:1, "logit"] = [np.inf, -5000.0]
    ax = evaluation_figures.score_histogram(scored, threshold=0.5)
    assert drawn(ax) == sorted(scored["y_true"].value_counts())
    assert texts(ax) == ["umbral 0.5"]
    assert "0.5" in [label.get_text() for label in ax.get_xticklabels()]
    scored.loc[scored["y_true"] == 1, "logit"] = np.nan
    ax = evaluation_figures.score_histogram(scored)
    normal, sick = (scored["y_true"] == 0).sum(), scored["y_true"].sum()
    assert [text.get_text() for text in ax.get_legend().texts] == [
        f"NORMAL (real), n = {normal}",
        f"PNEUMONIA (real), n = {sick}; {sick} sin valor",
    ]
    assert drawn(ax) == [normal]


def test_thresholds_join_policies_that_agree(scored):
    points = operating_points(scored.y_true, probability(scored.logit))
    ax = evaluation_figures.thresholds(points, marks={"fijo": 0.5, "F1": 0.5, "Youden": 0.6})
    assert texts(ax) == ["fijo\nF1", "Youden"]


def test_predictive_values_and_gallery():
    ax = evaluation_figures.predictive_values(predictive_values(0.9, 0.8), observed=0.6)
    assert texts(ax) == ["en estos datos"]
    table = pd.DataFrame({"y_true": [0, 1], "probability": [0.9, 0.1], "subtype": ["", "virus"]})
    axes = evaluation_figures.error_gallery(np.zeros((2, 8, 8), np.uint8), table)
    assert [ax.get_title(loc="left") for ax in axes.flat] == [
        "real: NORMAL\nprob. 0.900",
        "real: PNEUMONIA (virus)\nprob. 0.100",
    ]


def test_heat_maps_put_every_model_beside_its_radiograph():
    images = np.zeros((3, 32, 32), np.uint8)
    heat = {"original": np.ones((3, 32, 32)), "mejorado": np.zeros((3, 48, 48))}
    axes = studies_figures.heat_maps(images, heat, ["a", "b", "c"])
    assert axes.shape == (2, 2)
    assert [text.get_text() for text in axes[0, 0].texts if text.get_text()] == ["original", "mejorado", "a"]
    assert not axes[1, 1].images
    strip = axes[0, 0].images[0].get_array()
    assert strip.shape == (192, 3 * 192 + 2 * 8, 3)
    assert strip[:, :192].max() == 0  # la radiografía, sin tocar
    assert strip[:, 200:392].min(axis=(0, 1)).max() > 0  # todo calor
    assert strip[:, 400:].max() == 0  # sin calor


def test_cascade_starts_at_the_trained_network():
    table = pd.DataFrame({"model": "a", "fraction": [0.5, 0.5, 1, 1], "correlation": [0.8, -0.6, 0.2, 0.0]})
    table["draw"] = [0, 1, 0, 1]
    ax = studies_figures.cascade(table, limit=0.5, seeds={"a": 0.9})
    line = next(line for line in ax.lines if len(line.get_xdata()) == 3)
    np.testing.assert_allclose(line.get_xydata(), [[0, 1], [0.5, 0.7], [1, 0.1]])


# --- Red, tasa de aprendizaje y entrenamiento -----------------------------------------------------------


@pytest.fixture
def range_test():
    rates = np.geomspace(1e-7, 1.0, 88)
    loss = np.r_[0.7 - 0.5 / (1 + np.exp(-2.5 * (np.log10(rates[:80]) + 3.5))), np.geomspace(0.3, 5, 8)]
    curve = pd.DataFrame({"seed": 4, "learning_rate": rates, "loss": loss, "smoothed": loss})
    return curve, lr_rules.suggest(curve, steps=100)


def test_spread_keeps_the_order_the_distance_and_the_limits():
    for places in ([0.5] * 5, [0.9, 0.1, 0.95, 0.97], [1.0], []):
        placed = spread(places, 0.15)
        gaps = np.diff(np.sort(placed))
        assert ((placed >= 0) & (placed <= 1)).all()
        assert (gaps >= 0.15 - 1e-9).all()
        assert (np.argsort(placed) == np.argsort(places, kind="stable")).all()


def test_lr_curve_labels_every_suggestion_and_the_stop_without_overlap(range_test):
    curve, suggestions = range_test
    ax = learning_figures.lr_curve(curve, suggestions=suggestions, stop=len(curve) - 1)
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
    marked = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert marked == pytest.approx([*suggestions["learning_rate"], curve["learning_rate"].iloc[-1]])


def test_lr_curve_draws_a_test_that_ended_in_nan_and_rules_without_answer(range_test):
    curve, suggestions = range_test
    curve.loc[len(curve) - 1, ["loss", "smoothed"]] = np.nan
    silent, stop = suggestions.assign(learning_rate=np.nan), lr_rules.divergence_point(curve)
    ax = learning_figures.lr_curve(curve, suggestions=silent, stop=stop)
    assert np.isfinite(ax.get_ylim()).all()
    assert [text for text in texts(ax) if "\n" in text] == ["se detiene\n1"]


def test_lr_repeat_shows_one_point_per_seed_and_rule(range_test):
    curve, suggestions = range_test
    curves, both = (pd.concat([table, table.assign(seed=5)]) for table in (curve, suggestions))
    top, bottom = learning_figures.lr_repeat(curves, both, references={"0.03": 0.03})
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
    axes = learning_figures.learning_curves(history, majority=0.74)
    assert axes.shape == (2, 3)
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["original", "reparado", "mejorado"]
    assert axes[0, 0].get_yscale() == "log"
    assert len(axes[1, 0].lines) == 2 * 2 + 1
    assert "responder siempre lo mismo (0.740)" in [t.get_text() for t in axes[0, 0].figure.legends[0].texts]


def test_curves_of_a_network_that_diverged_from_the_start_are_empty_and_do_not_fail(range_test):
    history = pd.DataFrame({"model": ["a", "b"], "seed": 0, "epoch": 1, "loss": [0.5, np.nan]})
    history = history.assign(val_loss=history["loss"], accuracy=0.5, val_accuracy=0.5)
    assert learning_figures.learning_curves(history).shape == (2, 2)
    curves, suggestions = range_test
    silent = suggestions.assign(learning_rate=np.nan)
    assert len(learning_figures.lr_repeat(curves.assign(smoothed=np.nan), silent)) == 2


def test_network_draws_a_block_per_layer():
    shapes = ["62 × 62 × 32", "31 × 31 × 32", "4608", "1"]
    types = ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]
    layers = pd.DataFrame({"type": types, "output_shape": shapes, "number": range(1, 5)})
    ax = learning_figures.network(layers, input_shape="64 × 64 × 1")
    assert len(ax.patches) == 5
    assert {"entrada", "conv.\n32", "62×62\n×32", "densa\n1", "4"} <= set(texts(ax))


@pytest.mark.parametrize(
    ("rate", "text"), [(0.03, "0.03"), (1.0, "1"), (9.8e-5, "9.8×10⁻⁵"), (1e-3, "0.001")]
)
def test_rate_text(rate, text):
    assert rate_text(rate) == text


# --- Anatomía y correcciones -------------------------------------------------------------------------


def lag_rows(**columns):
    modes = ["0.99", "0.9", "batch"]
    return pd.concat([pd.DataFrame(columns).assign(mode=mode) for mode in modes], ignore_index=True)


def test_batchnorm_modes_name_each_statistic_and_the_majority():
    metrics = lag_rows(epoch=[1, 2], accuracy=[0.7, 0.8])
    ax = studies_figures.batchnorm_modes(metrics, majority=0.74)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["inercia 0.99", "inercia 0.9", "estadísticas del lote", "responder siempre lo mismo"]
    assert ax.lines[-1].get_ydata()[0] == 0.74


def test_batchnorm_variances_draw_a_panel_per_layer():
    variances = pd.concat([lag_rows(layer=layer, step=[1, 2, 3], variance=[1, 0.5, 0.2]) for layer in (1, 2)])
    axes = studies_figures.batchnorm_variances(variances)
    assert axes.shape == (1, 2)
    for ax in axes[0]:
        assert ax.get_yscale() == "log"
        assert [len(line.get_xdata()) for line in ax.lines if len(line.get_xdata())] == [3] * 3


def test_logit_spread_skips_what_is_not_finite():
    logits = pd.DataFrame(
        {"condition": ["a"] * 4 + ["b"] * 4, "y_true": [0, 1] * 4, "logit": [-5.0, 5e6] * 4}
    )
    logits.loc[0, "logit"] = np.inf
    ax = studies_figures.logit_spread(logits, limit=16.1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert np.isfinite(ax.dataLim.get_points()).all()


def test_ablation_draws_three_readings():
    rows = [
        {"model": m, "statistics": s, "decision": d, "seed": 0, "balanced_accuracy": 0.5}
        for m in ("base", "todas")
        for s in ("moving", "recomputed")
        for d in ("argmax", "threshold")
    ]
    ax = studies_figures.ablation(pd.DataFrame(rows), labels={"base": "la red", "todas": "todas juntas"})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["la red", "todas juntas"]
    assert [text.get_text() for text in ax.get_legend().texts][:2] == ["arg-max", "umbral"]
    assert sum(len(points.get_offsets()) for points in ax.collections) == 6
