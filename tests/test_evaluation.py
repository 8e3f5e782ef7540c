"""Métricas, intervalos, umbrales, calibración y diagnóstico contra scikit-learn y contra cuentas hechas a mano."""

import itertools
import json
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from neumo import references
from neumo.errors import NeumoError
from neumo.evaluation.calibration import (
    calibration_table,
    expected_calibration_error,
    fit_temperature,
    fit_temperatures,
    reliability_table,
)
from neumo.evaluation.diagnosis import diagnose, diagnose_all
from neumo.evaluation.intervals import (
    curve_band,
    intervals,
    paired_difference,
    resample,
    subgroup_metrics,
    wilson,
)
from neumo.evaluation.metrics import (
    CLASSES,
    argmax_decision,
    as_scores,
    binary_metrics,
    classification_report,
    measure,
    probability,
)
from neumo.evaluation.predictions import (
    by_seed,
    choose_model,
    ensemble,
    intervals_by_model,
    joint_logit,
    metrics_table,
    seed_summary,
    to_records,
)
from neumo.evaluation.thresholds import (
    apply_thresholds,
    choose_threshold,
    pr_table,
    predictive_values,
    roc_table,
    threshold_policies,
)
from neumo.words import METRICS, in_spanish, interval_text, plus_minus


def simulated(n=400, *, separation=2.0, share=0.7, seed=0, scale=1.0):
    """Etiquetas y logits calibrados (con `scale` 1) de dos gaussianas."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    x = rng.normal(size=n) + separation * y
    logit = separation * x - separation**2 / 2 + np.log(share / (1 - share))
    return y, scale * logit


def clustered(rng, *, patients=60, share=0.6, spread=1.5):
    """Pacientes de 1 a 6 imágenes muy parecidas entre sí, y la sensibilidad y especificidad de la población."""
    sizes = rng.integers(1, 7, size=patients)
    y = rng.random(patients) < share
    effect = rng.normal(size=patients) * spread
    group = np.repeat(np.arange(patients), sizes)
    logit = effect[group] + np.where(y[group], 1.0, -1.0) + 0.3 * rng.normal(size=len(group))
    return y[group].astype(int), logit, group


# --- Métricas ------------------------------------------------------------------------------------


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


def test_diverged_network_is_measured_without_warnings():
    measured = binary_metrics([0, 1], [np.nan, np.nan], logits=[np.nan, np.nan])
    assert measured["accuracy"] == 0.5
    assert np.isnan(measured["auc"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_flipping_classes_swaps_metrics(pairs):
    y, score = np.array(pairs, dtype=float).T
    here = binary_metrics(y, score / 5, threshold=0.5)
    there = binary_metrics(1 - y, 1 - score / 5, threshold=0.5)
    for name, other in {
        "sensitivity": "specificity",
        "precision": "npv",
        "auc": "auc",
        "brier": "brier",
    }.items():
        assert_allclose(here[name], there[other], atol=1e-12)


@pytest.mark.parametrize("predictions", ["mixed", "always_normal", "always_pneumonia"])
def test_classification_report_equals_scikit_learn(predictions):
    from sklearn import metrics as sk

    y, logit = simulated()
    pred = {"mixed": logit > 0, "always_normal": logit > 1e9, "always_pneumonia": logit < 1e9}[
        predictions
    ].astype(int)
    expected = sk.classification_report(y, pred, target_names=CLASSES, output_dict=True, zero_division=0)
    ours = classification_report(y, pred)
    names = {"media simple": "macro avg", "media ponderada": "weighted avg"}
    for row in ("NORMAL", "PNEUMONIA", *names):
        assert_allclose(ours.loc[row].to_list(), list(expected[names.get(row, row)].values()), atol=1e-12)
    assert ours.loc["exactitud", "F1"] == pytest.approx(expected["accuracy"])


def test_argmax_reproduces_the_original_table_digit_by_digit():
    original = references.original()
    support = original["partitions"]["val"]
    y = np.repeat([0, 1], [support["NORMAL"], support["PNEUMONIA"]])
    prob = np.random.default_rng(0).random(len(y))
    ours = classification_report(y, argmax_decision(prob)).round(2)
    rows = {
        "NORMAL": "NORMAL",
        "PNEUMONIA": "PNEUMONIA",
        "media simple": "macro",
        "media ponderada": "weighted",
    }
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
    with pytest.raises(
        NeumoError, match="(?s)" + word.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")
    ):
        binary_metrics(*arguments)


# --- Intervalos ------------------------------------------------------------------------------------


def test_intervals_contain_the_value_and_repeat():
    y, logit = simulated(300, separation=1.5)
    prob, groups = probability(logit), np.arange(300) // 3
    table = intervals(y, prob, groups=groups, logits=logit, resamples=2000)
    assert (table.low < table.value).all()
    assert (table.value < table.high).all()
    assert set(table.method) == {"bootstrap"}
    pd.testing.assert_frame_equal(table, intervals(y, prob, groups=groups, logits=logit, resamples=2000))


def test_bootstrap_equals_scikit_learn_on_the_repeated_images():
    from sklearn.metrics import average_precision_score, roc_auc_score

    y, logit = simulated(80, separation=1.0)
    prob, groups = probability(logit).round(1), np.arange(80) // 2
    counts = resample(40, 20, 3)
    measured = measure(as_scores(y, prob), groups, counts)
    for i, row in enumerate(counts[:, groups].astype(int)):
        repeated = np.repeat(np.arange(80), row)
        assert measured["auc"][i] == pytest.approx(roc_auc_score(y[repeated], prob[repeated]))
        assert measured["average_precision"][i] == pytest.approx(
            average_precision_score(y[repeated], prob[repeated])
        )


def test_interval_without_variation_is_wilson_on_patients():
    from scipy.stats import binomtest

    y, prob = np.repeat([0, 1], [20, 40]), np.repeat([0.4, 0.9], [20, 40])
    groups = np.arange(60) // 4
    table = intervals(y, prob, groups=groups, resamples=200).set_index("metric")
    assert table.loc["sensitivity", ["method", "patients"]].to_list() == ["wilson", 10]
    expected = binomtest(10, 10).proportion_ci(method="wilson")
    assert_allclose(table.loc["sensitivity", ["low", "high"]].to_list(), [expected.low, expected.high])
    assert table.loc["specificity", "patients"] == 5
    assert table.loc["mcc", "low"] < table.loc["mcc", "value"] == 1
    assert table.loc["brier", "method"] == "bootstrap"
    constant = intervals(y, np.full(60, 0.9), groups=groups, resamples=200).set_index("metric")
    sensitivity, specificity = (wilson(value, n) for value, n in ((1.0, 10), (0.0, 5)))
    assert_allclose(
        constant.loc["balanced_accuracy", ["low", "high"]].to_list(),
        np.mean([sensitivity, specificity], axis=0),
    )


def test_several_columns_average_the_seeds():
    y, logit = simulated(200, separation=1.0)
    noise = np.random.default_rng(1).normal(size=(200, 3))
    probs = probability(logit[:, None] + noise)
    values = [intervals(y, probs[:, k], resamples=100).value for k in range(3)]
    assert_allclose(intervals(y, probs, resamples=100).value, np.mean(values, axis=0))


def test_patient_bootstrap_covers_where_image_bootstrap_does_not():
    rng = np.random.default_rng(5)
    big_y, big_logit, _ = clustered(rng, patients=200_000)
    truth = binary_metrics(big_y, probability(big_logit))
    metrics = ["sensitivity", "balanced_accuracy", "auc"]
    expected = np.array([truth[name] for name in metrics])
    inside = {"patients": [], "images": []}
    for seed in range(150):
        y, logit, group = clustered(rng)
        for name, groups in (("patients", group), ("images", None)):
            options = {"metrics": metrics, "resamples": 300, "seed": seed, "groups": groups}
            table = intervals(y, probability(logit), **options)
            inside[name].append((table.low <= expected) & (expected <= table.high))
    by_patient, by_image = (np.mean(inside[name], axis=0) for name in ("patients", "images"))
    assert (by_patient >= 0.89).all(), by_patient
    assert (by_image < by_patient - 0.05).all(), (by_image, by_patient)


def test_ten_thousand_resamples_take_seconds():
    y, logit = simulated(1000)
    start = time.process_time()
    intervals(y, probability(logit), groups=np.arange(1000) // 2)
    assert time.process_time() - start < 10


def test_paired_difference_is_narrower_than_unpaired_and_signed():
    y, logit = simulated(400, separation=1.0)
    rng = np.random.default_rng(0)
    worse = probability(logit + rng.normal(size=400) * 2)
    better = probability(logit)
    row = paired_difference(y, worse, better, metrics=["auc"], resamples=2000).iloc[0]
    assert row.difference == pytest.approx(row.b - row.a)
    assert 0 < row.low < row.difference < row.high
    assert row.p_value < 0.05
    same = paired_difference(y, better, better, metrics=["auc"], resamples=200).iloc[0]
    assert (same.difference, same.p_value) == (0, 1)
    assert np.isnan(
        [same.low, same.high]
    ).all()  # iguales siempre: los remuestreos no dicen cuánto pueden diferir


# --- Curvas y umbrales ------------------------------------------------------------------------------


def test_curves_equal_scikit_learn():
    from sklearn.metrics import auc, precision_recall_curve, roc_auc_score

    y, logit = simulated(150, separation=1.0)
    prob = probability(logit).round(2)
    roc = roc_table(y, prob)
    assert auc(roc.fpr, roc.tpr) == pytest.approx(roc_auc_score(y, prob))
    assert roc.iloc[[0, -1], :2].to_numpy().tolist() == [[0, 0], [1, 1]]
    precision, recall, _ = precision_recall_curve(y, prob)
    ours = pr_table(y, prob).iloc[1:]
    assert_allclose(ours.recall, recall[-2::-1])
    assert_allclose(ours.precision, precision[-2::-1])


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
        (
            {"policy": "youden"},
            0.55,
        ),  # sens. 3/4 + esp. 1 empata con sens. 1 + esp. 3/4 (0.35): el más cercano a 0.5
        ({"policy": "f1"}, 0.35),  # 8/9 frente a 6/7
        ({"policy": "sensitivity", "target": 1.0}, 0.35),
        ({"policy": "specificity", "target": 1.0}, 0.55),
        ({"policy": "sensitivity", "target": 0.5}, 0.55),
        ({"policy": "cost", "cost_fn": 5}, 0.35),
        ({"policy": "cost", "cost_fn": 1, "cost_fp": 5}, 0.55),
    ],
)
def test_policies_on_a_known_curve(options, expected):
    assert choose_threshold(*KNOWN, **options) == pytest.approx(expected)


def test_policies_refuse_what_they_cannot_do():
    with pytest.raises(NeumoError, match="dos clases"):
        choose_threshold([1, 1], [0.2, 0.8], policy="youden")
    with pytest.raises(NeumoError, match="fixed, youden"):
        choose_threshold(*KNOWN, policy="magia")


def test_thresholds_chosen_here_are_measured_there():
    table = threshold_policies(*KNOWN)
    there = apply_thresholds([0, 1], [0.52, 0.9], table.set_index("policy").threshold)
    assert there.set_index("policy").specificity[["fixed", "youden"]].to_list() == [0.0, 1.0]


def test_predictive_values_equal_the_counts():
    table = predictive_values(0.9, 0.8, prevalences=[0.5, 0.0, 1.0])
    assert table.ppv.to_list()[0] == pytest.approx(90 / 110)
    assert table.npv.to_list()[0] == pytest.approx(80 / 90)
    assert table.ppv.to_list()[1:] == [0, 1]


def test_subgroups_use_the_metric_of_their_class():
    y, prob = [0, 0, 1, 1, 1, 1], [0.1, 0.9, 0.9, 0.9, 0.9, 0.1]
    names = ["NORMAL", "NORMAL", "bacteria", "bacteria", "virus", "virus"]
    table = subgroup_metrics(y, prob, names, resamples=200).set_index("subgroup")
    assert table.metric.to_list() == ["specificity", "sensitivity", "sensitivity"]
    assert table.value.to_list() == [0.5, 1.0, 0.5]
    assert table.method.to_list() == ["bootstrap", "wilson", "bootstrap"]


# --- Calibración -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_temperature_recovers_the_scale_and_moves_no_decision(scale):
    y, logit = simulated(6000, scale=scale)
    temperature = fit_temperature(y, logit)
    assert temperature == pytest.approx(scale, rel=0.1)
    prob, calibrated = probability(logit), probability(logit / temperature)
    assert ((prob >= 0.5) == (calibrated >= 0.5)).all()
    assert expected_calibration_error(y, calibrated) < 0.02


def test_temperature_of_a_perfect_network_is_a_bound():
    assert fit_temperature([0, 1], [-1.0, 1.0]) == pytest.approx(0.05, rel=0.01)
    assert np.isfinite(fit_temperature([0, 1, 1], [-np.inf, np.inf, -1.0]))


def test_reliability_table_by_hand():
    table = reliability_table([0, 1, 1, 1], [0.1, 0.1, 0.9, 1.0], bins=5)
    assert table[["low_edge", "n", "fraction"]].to_numpy().tolist() == [[0, 2, 0.5], [0.8, 2, 1]]
    error = expected_calibration_error([0, 1, 1, 1], [0.1, 0.1, 0.9, 1.0], bins=5)
    assert error == pytest.approx((0.4 + 0.05) / 2)
    scattered = reliability_table([0, 1] * 20, [0.9] * 40)
    together = reliability_table([0, 1] * 20, [0.9] * 40, groups=np.arange(40) // 10)
    assert together["high"].item() > scattered["high"].item()


# --- Tablas de predicciones --------------------------------------------------------------------------


def predictions(models=("original", "mejorado"), seeds=(0, 1), n=60):
    tables = []
    for m, model in enumerate(models):
        for seed in seeds:
            y, logit = simulated(n, seed=9)
            logit = (1 + m) * logit + np.random.default_rng(seed).normal(size=n)
            identity = {"model": model, "seed": seed, "partition": "val"}
            paths = [f"{i}.jpeg" for i in range(n)]
            tables.append(
                pd.DataFrame(
                    {**identity, "path": paths, "group": np.arange(n) // 2, "y_true": y, "logit": logit}
                )
            )
    return pd.concat(tables, ignore_index=True)


def test_metrics_table_has_one_row_per_model_seed_and_partition():
    table = metrics_table(predictions(), threshold={"mejorado": 0.7}, decisions={"original": "argmax"})
    assert table[["model", "seed"]].to_numpy().tolist() == [
        ["original", 0], ["original", 1], ["mejorado", 0], ["mejorado", 1]
    ]  # fmt: skip
    assert table.sensitivity.to_list()[:2] == [0, 0]
    assert table.threshold.isna().to_list() == [True, True, False, False]
    assert (table.patients == 30).all()
    records = to_records(table)
    assert json.loads(json.dumps(records, allow_nan=False))[0]["threshold"] is None


def test_seed_summary_averages():
    table = metrics_table(predictions())
    summary = seed_summary(table).set_index("model")
    part = table[table.model == "mejorado"].auc
    assert summary.loc["mejorado", ["seeds", "auc", "auc_sd"]].to_list() == pytest.approx(
        [2, part.mean(), part.std()]
    )


def test_ensemble_is_the_mean_logit_like_predict():
    table = predictions()
    joint = ensemble(table)
    assert joint.model.unique().tolist() == ["original_conjunto", "mejorado_conjunto"]
    images, logits = by_seed(table, "mejorado")
    assert logits.shape == (60, 2)
    assert_allclose(joint[joint.model == "mejorado_conjunto"].logit, joint_logit(logits))
    assert_allclose(logits[:, 1], table[(table.model == "mejorado") & (table.seed == 1)].logit)
    assert images.y_true.to_list() == table.y_true[:60].to_list()
    assert to_records(metrics_table(joint))[0]["seed"] is None
    assert metrics_table(joint, decisions={"original": "argmax"}).decision[0] == "argmax"
    with pytest.raises(NeumoError, match="«otro»"):
        by_seed(table, "otro")


def test_intervals_and_calibration_by_model():
    table = predictions()
    by_model = intervals_by_model(table, decisions={"original": "argmax"}, resamples=200)
    assert by_model.drop_duplicates("model")[["model", "seeds"]].to_numpy().tolist() == [
        ["original", 2], ["original_conjunto", 1], ["mejorado", 2], ["mejorado_conjunto", 1]
    ]  # fmt: skip
    cells = by_model.set_index(["model", "metric"])
    assert cells.loc[("original", "specificity"), ["value", "method"]].to_list() == [1, "wilson"]
    measured = metrics_table(table).groupby("model")["auc"].mean()
    assert cells.loc[("mejorado", "auc"), "value"] == pytest.approx(measured["mejorado"])
    text = interval_text(by_model, names=["specificity", "auc"])
    assert text.loc["original", "especificidad"].startswith("1.000 [")
    assert text.loc["original", "especificidad"].endswith("]*")
    temperatures = fit_temperatures(table)
    calibration = calibration_table(table, temperatures)
    assert (calibration.log_loss_after <= calibration.log_loss_before + 1e-9).all()
    assert calibration.temperature.to_list() == list(temperatures.values())


def test_display_tables_are_in_spanish():
    summary = seed_summary(metrics_table(predictions()))
    shown = plus_minus(summary, names=["auc"])
    assert shown.columns.to_list() == ["modelo", "semillas", "AUC"]
    assert "±" in shown["AUC"][0]
    table = in_spanish(
        pd.DataFrame({"metric": ["auc", "npv"], "value": [1.0, 0.5], "x": 0}), ["metric", "value"]
    )
    assert table.to_dict("list") == {"métrica": ["AUC", "valor predictivo negativo"], "valor": [1.0, 0.5]}


def test_model_is_chosen_on_validation_alone():
    rows = [("a", 0, "val", 0.9, 0.95), ("b", 0, "val", 0.9, 0.96), ("a", 0, "test", 1.0, 1.0),
            ("a_conjunto", -1, "val", 1.0, 1.0)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["model", "seed", "partition", "balanced_accuracy", "auc"])
    assert choose_model(table) == "b"
    assert choose_model(table, chosen="a") == "a"
    with pytest.raises(NeumoError, match="«c»"):
        choose_model(table, chosen="c")


# --- Diagnóstico -------------------------------------------------------------------------------------


def codes(*args, **kwargs):
    return [finding.code for finding in diagnose(*args, **kwargs)]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.74, 0.95])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_diagnose_is_silent_on_healthy_predictions(share, scale):
    """Flojas y fuertes, calibradas o no, con las clases parejas o no."""
    for separation, seed in itertools.product((0.15, 0.5, 1.0, 2.0, 4.0), range(3)):
        y, logit = simulated(600, separation=separation, share=share, seed=seed, scale=scale)
        prob = probability(logit)
        pred = (prob >= 0.5).astype(int)
        batch = probability(logit + 0.3 * np.random.default_rng(seed).normal(size=600))
        assert codes(y, prob) == []
        assert codes(y, prob, y_pred=pred, logits=logit, y_prob_batch=batch) == []


@pytest.mark.parametrize("n", [8, 20, 60])
def test_diagnose_is_silent_on_small_healthy_sets(n):
    for seed in range(50):
        y, logit = simulated(n, share=0.5, separation=1.5, seed=seed)
        if 0 < y.sum() < n:
            assert codes(y, probability(logit), logits=logit) == []


def test_diagnose_is_silent_on_a_network_trained_with_balanced_classes():
    y, logit = simulated(600, share=0.74)
    assert codes(y, probability(logit - np.log(0.74 / 0.26)), logits=logit - np.log(0.74 / 0.26)) == []


def broken():
    y, logit = simulated(300, separation=3.0, share=0.74)
    prob = probability(logit)
    rng = np.random.default_rng(2)
    lagging = probability(logit + 9)
    return {
        "argmax": {"y_true": y, "y_prob": prob[:, None], "y_pred": np.argmax(prob[:, None], axis=1)},
        "constant": {"y_true": y, "y_prob": np.full(300, 0.74) + 1e-5 * rng.random(300)},
        "shuffled": {"y_true": rng.permutation(y), "y_prob": prob},
        "single_class": {"y_true": np.ones(300, int), "y_prob": prob},
        "inverted": {"y_true": y, "y_prob": 1 - prob},
        "saturated": {"y_true": y, "y_prob": probability(500 * logit), "logits": 500 * logit},
        "batchnorm_lag": {"y_true": y, "y_prob": lagging, "y_prob_batch": prob},
    }


@pytest.mark.parametrize("code", sorted(broken()))
def test_diagnose_recognises_each_failure(code):
    findings = diagnose(**broken()[code])
    assert code in [finding.code for finding in findings]
    finding = next(finding for finding in findings if finding.code == code)
    assert finding.message.endswith(".")
    json.dumps(finding.evidence, allow_nan=False)


def test_diagnose_names_only_the_cause():
    for code in ("argmax", "constant", "shuffled", "single_class", "inverted"):
        assert codes(**broken()[code]) == [code]


def test_diagnose_speaks_of_a_collapsed_network():
    y, logit = simulated(300, share=0.74)
    assert codes(y, probability(logit + 8)) == ["constant"]
    assert codes(y, probability(0.02 * logit + 1)) == ["constant"]
    assert codes(y, np.full(300, np.nan), logits=np.full(300, np.nan)) == ["saturated"]


def test_diagnose_all_joins_the_seeds_of_a_model():
    found = diagnose_all(predictions(), decisions={"original": "argmax"})
    assert [finding.code for finding in found] == ["argmax"]
    assert found[0].message.startswith("original, 2 de 2 semillas: ")
