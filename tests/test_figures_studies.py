"""Las figuras de los capítulos 12, 13 y 15: se miran textos, límites y puntos de lo dibujado, no píxeles."""

import numpy as np
import pandas as pd
import pytest

from figure_texts import legend
from neumo.figures.studies import ablation, batchnorm_modes, batchnorm_variances, cascade, heat_maps, logit_spread

pytestmark = pytest.mark.usefixtures("close_figures")


def test_heat_maps_put_every_model_beside_its_radiograph():
    images = np.zeros((3, 32, 32), np.uint8)
    heat = {"original": np.ones((3, 32, 32)), "mejorado": np.zeros((3, 48, 48))}
    axes = heat_maps(images, heat, ["a", "b", "c"])
    assert axes.shape == (2, 2)
    assert [text.get_text() for text in axes[0, 0].texts if text.get_text()] == ["a", "original", "mejorado"]
    assert not axes[1, 1].images
    strip = axes[0, 0].images[0].get_array()
    assert strip.shape == (192, 3 * 192 + 2 * 8, 3)
    assert strip[:, :192].max() == 0  # la radiografía, sin tocar
    assert strip[:, 200:392].min(axis=(0, 1)).max() > 0  # todo calor
    assert strip[:, 400:].max() == 0  # sin calor


def test_cascade_starts_at_the_trained_network():
    table = pd.DataFrame({"model": "a", "fraction": [0.5, 0.5, 1, 1], "correlation": [0.8, -0.6, 0.2, 0.0]})
    table["draw"] = [0, 1, 0, 1]
    ax = cascade(table, limit=0.5, seeds={"a": 0.9})
    line = next(line for line in ax.lines if len(line.get_xdata()) == 3)
    np.testing.assert_allclose(line.get_xydata(), [[0, 1], [0.5, 0.7], [1, 0.1]])


def lag_rows(**columns):
    modes = ["0.99", "0.9", "batch"]
    return pd.concat([pd.DataFrame(columns).assign(mode=mode) for mode in modes], ignore_index=True)


def test_batchnorm_modes_name_each_statistic_and_the_majority():
    ax = batchnorm_modes(lag_rows(epoch=[1, 2], accuracy=[0.7, 0.8]), majority=0.74)
    assert legend(ax) == ["inercia 0.99", "inercia 0.9", "estadísticas del lote", "responder siempre lo mismo"]
    assert ax.lines[-1].get_ydata()[0] == 0.74


def test_batchnorm_variances_draw_a_panel_per_layer():
    variances = pd.concat([lag_rows(layer=layer, step=[1, 2, 3], variance=[1, 0.5, 0.2]) for layer in (1, 2)])
    axes = batchnorm_variances(variances)
    assert axes.shape == (1, 2)
    for ax in axes[0]:
        assert ax.get_yscale() == "log"
        assert [len(line.get_xdata()) for line in ax.lines if len(line.get_xdata())] == [3] * 3


def test_logit_spread_skips_what_is_not_finite():
    logits = pd.DataFrame({"condition": ["a"] * 4 + ["b"] * 4, "y_true": [0, 1] * 4, "logit": [-5.0, 5e6] * 4})
    logits.loc[0, "logit"] = np.inf
    ax = logit_spread(logits, limit=16.1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert np.isfinite(ax.dataLim.get_points()).all()
    assert legend(ax) == ["NORMAL", "PNEUMONIA"]


def test_ablation_draws_three_readings():
    rows = [
        {"model": m, "statistics": s, "decision": d, "seed": 0, "balanced_accuracy": 0.5}
        for m in ("base", "todas")
        for s in ("moving", "recomputed")
        for d in ("argmax", "threshold")
    ]
    ax = ablation(pd.DataFrame(rows), labels={"base": "la red", "todas": "todas juntas"})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["la red", "todas juntas"]
    assert legend(ax)[:2] == ["arg-max", "umbral"]
    assert sum(len(points.get_offsets()) for points in ax.collections) == 6
