"""Los intervalos por paciente: su cobertura, sus casos sin variación y sus referencias."""

import time

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from neumo.evaluation.comparison import intervals_by_model, paired_difference, paired_differences
from neumo.evaluation.intervals import intervals, resample, subgroup_metrics, subgroup_table, wilson
from neumo.evaluation.metrics import as_scores, binary_metrics, measure, probability
from score_example import clustered, simulated


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
        assert measured["average_precision"][i] == pytest.approx(average_precision_score(y[repeated], prob[repeated]))


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
        constant.loc["balanced_accuracy", ["low", "high"]].to_list(), np.mean([sensitivity, specificity], axis=0)
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
    row = paired_difference(y, worse, better, resamples=2000).set_index("metric").loc["auc"]
    assert row.difference == pytest.approx(row.b - row.a)
    assert 0 < row.low < row.difference < row.high
    assert row.p_value < 0.05
    same = paired_difference(y, better, better, resamples=200).set_index("metric").loc["auc"]
    assert (same.difference, same.p_value) == (0, 1)
    assert np.isnan([same.low, same.high]).all()  # iguales siempre: los remuestreos no dicen cuánto pueden diferir


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 7), (49, 50), (120, 120)])
def test_wilson_equals_scipy(hits, n):
    from scipy.stats import binomtest

    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert_allclose(wilson(hits / n, n), [expected.low, expected.high], atol=1e-12)


def test_predictive_values_count_the_patients_that_any_seed_decided():
    y, patients = np.array([0, 0, 1, 1]), ["a", "b", "c", "d"]
    prob = np.array([[0.1, 0.1], [0.1, 0.9], [0.1, 0.9], [0.9, 0.9]])
    table = intervals(y, prob, groups=patients, resamples=50).set_index("metric")
    assert table.loc[["precision", "npv", "sensitivity"], "patients"].to_list() == [3, 3, 2]
    turned = intervals(y, prob[:, ::-1], groups=patients, resamples=50).set_index("metric")
    assert turned.patients.to_list() == table.patients.to_list()


def test_a_diverged_seed_leaves_the_mean_undefined():
    y, logit = simulated(40)
    prob = np.column_stack([probability(logit), np.full(40, np.nan)])
    table = intervals(y, prob, resamples=50)
    assert table.value.isna().all()
    assert set(table.method) == {"no definido"}


@pytest.mark.parametrize("decisions", [{}, {"mala": "argmax"}])
def test_a_diverged_network_is_not_compared(decisions):
    y, logit = simulated(40)
    rows = {"path": np.arange(40).astype(str), "group": np.arange(40), "y_true": y, "partition": "test", "seed": 0}
    table = pd.concat(
        [
            pd.DataFrame({**rows, "model": "buena", "logit": logit}),
            pd.DataFrame({**rows, "model": "mala", "logit": np.nan}),
        ]
    )
    found = paired_differences(table, threshold={}, decisions=decisions, resamples=50)
    assert found[["b", "difference", "low", "high", "p_value"]].isna().all(axis=None)
    by_model = intervals_by_model(table, decisions=decisions, resamples=50).groupby("model")["value"].count()
    assert by_model.to_dict() == {"buena": 12, "buena_conjunto": 12, "mala": 0, "mala_conjunto": 0}


def test_subgroups_use_the_metric_of_their_class():
    y, prob = [0, 0, 1, 1, 1, 1], [0.1, 0.9, 0.9, 0.9, 0.9, 0.1]
    names = ["NORMAL", "NORMAL", "bacteria", "bacteria", "virus", "virus"]
    table = subgroup_metrics(y, prob, names, resamples=200).set_index("subgroup")
    assert table.metric.to_list() == ["specificity", "sensitivity", "sensitivity"]
    assert table.value.to_list() == [0.5, 1.0, 0.5]
    assert table.method.to_list() == ["bootstrap", "wilson", "bootstrap"]


def test_the_groups_of_a_table_are_rows_with_both_rates_in_their_order():
    images = pd.DataFrame({"path": list("abcdefgh"), "group": list("abcdefgh"), "y_true": [0, 1] * 4, "subtype": ""})
    ages = ["5 a 17 años"] * 2 + ["18 a 39 años"] * 4 + ["", ""]
    described = images[["path"]].assign(by_age=ages, by_Hospital=[1] * 8).sample(frac=1, random_state=0)
    prob = [0.1, 0.9, 0.1, 0.9, 0.9, 0.9, 0.1, 0.9]
    table = subgroup_table(images, prob, described, resamples=100).set_index(["subgroup", "metric"])["value"]
    assert table.to_dict() == {
        ("NORMAL", "specificity"): 0.75,
        ("PNEUMONIA", "sensitivity"): 1.0,
        ("edad: 5 a 17 años", "sensitivity"): 1.0,
        ("edad: 5 a 17 años", "specificity"): 1.0,
        ("edad: 18 a 39 años", "sensitivity"): 1.0,
        ("edad: 18 a 39 años", "specificity"): 0.5,
        ("Hospital: 1", "sensitivity"): 1.0,
        ("Hospital: 1", "specificity"): 0.75,
    }
    assert list(dict.fromkeys(table.index.get_level_values(0)))[2:4] == ["edad: 5 a 17 años", "edad: 18 a 39 años"]
