"""Curvas, umbrales y políticas: contra scikit-learn y en una curva conocida."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from neumo.errors import NeumoError
from neumo.evaluation.metrics import probability
from neumo.evaluation.thresholds import (
    apply_thresholds,
    choose_threshold,
    curve_band,
    operating_points,
    pr_table,
    predictive_values,
    roc_table,
    threshold_policies,
)
from score_example import simulated


def test_curves_equal_scikit_learn():
    from sklearn.metrics import auc, precision_recall_curve, roc_auc_score

    y, logit = simulated(150, separation=1.0)
    prob = probability(logit).round(2)
    roc = roc_table(y, prob)
    assert auc(roc.fpr, roc.tpr) == pytest.approx(roc_auc_score(y, prob))
    assert roc.iloc[[0, -1]].to_numpy().tolist() == [[0, 0], [1, 1]]
    points = operating_points(y, prob)[::-1]
    assert_allclose(roc, np.column_stack([1 - points.specificity, points.sensitivity]), atol=1e-12)
    precision, recall, _ = precision_recall_curve(y, prob)
    ours = pr_table(y, prob).iloc[1:]
    assert_allclose(ours.recall, recall[-2::-1])
    assert_allclose(ours.precision, precision[-2::-1])


@pytest.mark.parametrize(("y", "prob"), [([1, 1], [0.2, 0.8]), ([0, 1], [0.2, np.nan])])
def test_a_curve_that_cannot_be_drawn_is_undefined(y, prob):
    for table in (roc_table(y, prob), pr_table(y, prob)):
        assert table.isna().all(axis=None)


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_band_surrounds_the_curve(kind):
    y, logit = simulated(300, separation=1.5)
    prob = probability(logit)
    band = curve_band(y, prob, kind=kind, groups=np.arange(300) // 2, resamples=300)
    table = roc_table(y, prob) if kind == "roc" else pr_table(y, prob)
    x, value = table.iloc[:, 0], table.iloc[:, 1]
    middle = band[(band.x > 0.1) & (band.x < 0.95)]
    curve = np.interp(middle.x, x, value)
    assert np.mean((middle.low - 1e-9 <= curve) & (curve <= middle.high + 1e-9)) > 0.95


KNOWN = ([0, 0, 0, 1, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"policy": "fixed", "threshold": 0.3}, 0.3),
        ({"policy": "youden"}, 0.55),  # sens. 3/4 + esp. 1 empata con sens. 1 + esp. 3/4 (0.35): el más cercano a 0.5
        ({"policy": "f1"}, 0.35),  # 8/9 frente a 6/7
        ({"policy": "sensitivity"}, 0.35),
        ({"policy": "specificity"}, 0.55),
        ({"policy": "cost"}, 0.35),
    ],
)
def test_policies_on_a_known_curve(options, expected):
    assert choose_threshold(*KNOWN, **options) == pytest.approx(expected)


def test_policies_refuse_what_they_cannot_do():
    with pytest.raises(NeumoError, match="dos clases"):
        choose_threshold([1, 1], [0.2, 0.8], policy="youden")
    with pytest.raises(NeumoError, match="fixed, youden"):
        choose_threshold(*KNOWN, policy="magia")
    with pytest.raises(NeumoError, match="NaN"):
        choose_threshold([0, 1, 1], [0.2, 0.8, np.nan], policy="youden")


def test_thresholds_chosen_here_are_measured_there():
    table = threshold_policies(*KNOWN)
    there = apply_thresholds([0, 1], [0.52, 0.9], table.set_index("policy").threshold)
    assert there.set_index("policy").specificity[["fixed", "youden"]].to_list() == [0.0, 1.0]


def test_predictive_values_equal_the_counts():
    table = predictive_values(0.9, 0.8, prevalences=[0.5, 0.0, 1.0])
    assert table.ppv.to_list()[0] == pytest.approx(90 / 110)
    assert table.npv.to_list()[0] == pytest.approx(80 / 90)
    assert table.ppv.to_list()[1:] == [0, 1]
