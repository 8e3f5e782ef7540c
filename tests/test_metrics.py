"""Las métricas contra scikit-learn y contra cuentas hechas a mano."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from neumo import references
from neumo.errors import NeumoError
from neumo.evaluation.intervals import intervals
from neumo.evaluation.metrics import (
    argmax_decision,
    binary_metrics,
    classification_report,
    confusion,
    decide,
    probability,
    report_from_confusion,
)
from neumo.words import CLASSES, METRICS
from score_example import simulated


@pytest.mark.parametrize("seed", range(3))
def test_binary_metrics_equal_scikit_learn(seed):
    from sklearn import metrics as sk

    y, logit = simulated(separation=1.0, seed=seed)
    prob = probability(logit).round(2)  # con empates
    ours = binary_metrics(y, prob, threshold=0.6)
    pred = prob >= 0.6
    expected = {
        "accuracy": sk.accuracy_score(y, pred),
        "balanced_accuracy": sk.balanced_accuracy_score(y, pred),
        "sensitivity": sk.recall_score(y, pred),
        "specificity": sk.recall_score(y, pred, pos_label=0),
        "precision": sk.precision_score(y, pred),
        "npv": sk.precision_score(y, pred, pos_label=0),
        "f1": sk.f1_score(y, pred),
        "mcc": sk.matthews_corrcoef(y, pred),
        "auc": sk.roc_auc_score(y, prob),
        "average_precision": sk.average_precision_score(y, prob),
        "log_loss": sk.log_loss(y, prob),
        "brier": sk.brier_score_loss(y, prob),
    }
    assert_allclose([ours[name] for name in expected], list(expected.values()), atol=1e-12)
    assert ours["confusion_matrix"] == sk.confusion_matrix(y, pred).tolist()
    assert set(expected) == set(METRICS)


def test_log_loss_from_logits_is_not_clipped():
    loss = binary_metrics([0, 1], [1.0, 1.0], logits=[4000.0, 4000.0])["log_loss"]
    assert loss == pytest.approx(2000)


@pytest.mark.parametrize(("label", "undefined"), [(0, "sensitivity"), (1, "specificity")])
def test_one_class_leaves_undefined_metrics_as_nan(label, undefined):
    measured = binary_metrics([label] * 5, [0.2, 0.4, 0.6, 0.8, 0.9])
    assert np.isnan([measured[name] for name in (undefined, "balanced_accuracy", "auc", "mcc")]).all()
    assert np.isfinite(measured["accuracy"])
    assert intervals([label] * 5, [0.2, 0.4, 0.6, 0.8, 0.9], resamples=100).low.isna().any()


def test_diverged_network_is_measured_without_warnings_and_decides_nothing():
    measured = binary_metrics([0, 1, 1], [np.nan, 0.9, 0.2], logits=[np.nan, 2.2, -1.4])
    assert np.isnan([measured[name] for name in METRICS]).all()
    assert measured["confusion_matrix"] == [[0, 0], [1, 1]]
    with pytest.raises(NeumoError, match="NaN"):
        report_from_confusion(binary_metrics([0, 1], [np.nan, np.nan])["confusion_matrix"])


def test_no_class_comes_out_of_a_nan_whoever_decides():
    measured = binary_metrics([0, 1], [np.nan, 0.9], y_pred=argmax_decision([np.nan, 0.9]))
    assert np.isnan([measured[name] for name in METRICS]).all()
    assert measured["confusion_matrix"] == [[0, 0], [1, 0]]
    with pytest.raises(NeumoError, match="1 de 2 imágenes"):
        decide([np.nan, 0.9], 0.5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_flipping_classes_swaps_metrics(pairs):
    y, score = np.array(pairs, dtype=float).T
    here = binary_metrics(y, score / 5, threshold=0.5)
    there = binary_metrics(1 - y, 1 - score / 5, threshold=0.5)
    for name, other in {"sensitivity": "specificity", "precision": "npv", "auc": "auc", "brier": "brier"}.items():
        assert_allclose(here[name], there[other], atol=1e-12)


@pytest.mark.parametrize("predictions", ["mixed", "always_normal", "always_pneumonia"])
def test_classification_report_equals_scikit_learn(predictions):
    from sklearn import metrics as sk

    y, logit = simulated()
    pred = {"mixed": logit > 0, "always_normal": logit > 1e9, "always_pneumonia": logit < 1e9}[predictions].astype(int)
    expected = sk.classification_report(y, pred, target_names=CLASSES, output_dict=True, zero_division=0)
    ours = classification_report(y, pred)
    names = {"media simple": "macro avg", "media ponderada": "weighted avg"}
    for row in ("NORMAL", "PNEUMONIA", *names):
        assert_allclose(ours.loc[row].to_list(), list(expected[names.get(row, row)].values()), atol=1e-12)
    assert ours.loc["exactitud", "F1"] == pytest.approx(expected["accuracy"])
    assert ours.soporte.to_list() == [*np.bincount(y), 400, 400, 400]
    pd.testing.assert_frame_equal(report_from_confusion(confusion(y, pred).to_numpy().tolist()), ours)


def test_argmax_reproduces_the_original_table_digit_by_digit():
    original = references.original()
    support = original["partitions"]["val"]
    y = np.repeat([0, 1], [support["NORMAL"], support["PNEUMONIA"]])
    prob = np.random.default_rng(0).random(len(y))
    ours = classification_report(y, argmax_decision(prob)).round(2)
    rows = {"NORMAL": "NORMAL", "PNEUMONIA": "PNEUMONIA", "media simple": "macro", "media ponderada": "weighted"}
    for row, key in rows.items():
        quoted = original["report"][key]
        assert ours.loc[row, ["precisión", "sensibilidad", "F1"]].to_list() == [
            quoted[name] for name in ("precision", "recall", "f1")
        ]
    assert ours.loc["exactitud", "F1"] == original["report"]["accuracy"]
    assert ours.soporte.to_list()[:2] == [277, 783]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (([0, 2], [0.1, 0.2]), "0 (NORMAL)"),
        (([0, 1], [0.1, 1.2]), "fuera de [0, 1]"),
        (([0, 1], [0.1]), "hay 2 imágenes"),
        (([0, 1], [[0.1, 0.9], [0.2, 0.8]]), "forma (2, 2)"),
    ],
)
def test_bad_input_is_a_sentence(arguments, word):
    with pytest.raises(NeumoError, match="(?s)" + word.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")):
        binary_metrics(*arguments)
