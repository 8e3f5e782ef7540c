"""Las tablas de predicciones: medirlas, resumirlas, juntar semillas y elegir."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from neumo.errors import NeumoError
from neumo.evaluation.comparison import intervals_by_model
from neumo.evaluation.predictions import (
    by_seed,
    choose_model,
    ensemble,
    joint_logit,
    joint_probability,
    metrics_table,
    seed_summary,
    to_records,
)
from score_example import predictions


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
    assert summary.loc["mejorado", ["seeds", "auc", "auc_sd"]].to_list() == pytest.approx([2, part.mean(), part.std()])


def test_a_diverged_seed_does_not_count_as_normal_nor_leave_the_mean_to_the_others():
    table = predictions()
    table.loc[(table.model == "mejorado") & (table.seed == 1), "logit"] = np.nan
    metrics = metrics_table(table).set_index(["model", "seed"])
    assert np.isnan(metrics.loc[("mejorado", 1), ["accuracy", "specificity", "auc"]].astype(float)).all()
    summary = seed_summary(metrics.reset_index()).set_index("model")
    assert summary.loc["mejorado", ["accuracy", "auc_sd"]].isna().all()
    assert summary.loc["original", ["accuracy", "auc_sd"]].notna().all()
    assert choose_model(metrics.reset_index()) == "original"


def test_ensemble_is_the_mean_logit_like_predict():
    table = predictions()
    joint = ensemble(table)
    assert joint.model.unique().tolist() == ["original_conjunto", "mejorado_conjunto"]
    images, logits = by_seed(table, "mejorado")
    assert logits.shape == (60, 2)
    together = joint[joint.model == "mejorado_conjunto"].logit
    assert together.to_list() == joint_logit(logits).tolist()
    assert_allclose(joint_probability(logits, temperature=2.0), 1 / (1 + np.exp(-together / 2)))
    assert_allclose(logits[:, 1], table[(table.model == "mejorado") & (table.seed == 1)].logit)
    assert images.y_true.to_list() == table.y_true[:60].to_list()
    assert to_records(metrics_table(joint))[0]["seed"] is None
    assert metrics_table(joint, decisions={"original": "argmax"}).decision[0] == "argmax"
    with pytest.raises(NeumoError, match="«otro»"):
        by_seed(table, "otro")


def test_intervals_by_model_measure_the_seeds_and_their_ensemble():
    table = predictions()
    by_model = intervals_by_model(table, decisions={"original": "argmax"}, resamples=200)
    assert by_model.drop_duplicates("model")[["model", "seeds"]].to_numpy().tolist() == [
        ["original", 2], ["original_conjunto", 1], ["mejorado", 2], ["mejorado_conjunto", 1]
    ]  # fmt: skip
    cells = by_model.set_index(["model", "metric"])
    assert cells.loc[("original", "specificity"), ["value", "method"]].to_list() == [1, "wilson"]
    measured = metrics_table(table).groupby("model")["auc"].mean()
    assert cells.loc[("mejorado", "auc"), "value"] == pytest.approx(measured["mejorado"])


def test_model_is_chosen_on_validation_alone():
    rows = [("a", 0, "val", 0.9, 0.95), ("b", 0, "val", 0.9, 0.96), ("a", 0, "test", 1.0, 1.0),
            ("a_conjunto", -1, "val", 1.0, 1.0)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["model", "seed", "partition", "balanced_accuracy", "auc"])
    table = table.assign(decision="threshold")
    assert choose_model(table) == "b"
    by_argmax = table[:1].assign(model="original", decision="argmax", balanced_accuracy=1.0)
    assert choose_model(pd.concat([by_argmax, table])) == "b"  # no tiene umbral con el que predecir
    assert choose_model(table, chosen="a") == "a"
    diverged = pd.DataFrame([("b", 1, "val", np.nan, np.nan, "threshold")], columns=table.columns)
    assert choose_model(pd.concat([table, diverged])) == "a"
    with pytest.raises(NeumoError, match="«c»"):
        choose_model(table, chosen="c")
