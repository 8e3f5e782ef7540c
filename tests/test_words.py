"""Las palabras y los números que lee una persona."""

import math

import pandas as pd
import pytest

from neumo.evaluation.comparison import intervals_by_model
from neumo.evaluation.predictions import metrics_table, seed_summary
from neumo.words import (
    brackets,
    cell_text,
    difference_text,
    in_spanish,
    interval_text,
    plus_minus,
    rate_text,
    scientific,
    with_interval,
    with_spread,
)
from score_example import predictions

NAN = math.nan


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (with_interval(0.9, 0.81234, 1.0), "0.900 [0.812, 1.000]"),
        (with_interval(0.9, 0.8, 1.0, digits=2), "0.90 [0.80, 1.00]"),
        (with_interval(0.9, NAN, NAN), "0.900"),
        (with_interval(NAN, NAN, NAN), "–"),
        (brackets(NAN, NAN), ""),
        (difference_text(-0.01, -0.02, 0.0), "-0.010 [-0.020, +0.000]"),
        (with_spread(0.9, 0.0), "0.900 ± 0.000"),
        (with_spread(0.9, NAN), "0.900"),
        (with_spread(NAN, NAN), "–"),
        (scientific(9.8e-5), "9.80×10⁻⁵"),
        (rate_text(9.8e-5), "9.8×10⁻⁵"),
        (rate_text(NAN), "–"),
        (cell_text(9.8e-5), "9.80×10⁻⁵"),
        (cell_text(1e7), "1.00×10⁷"),
        (cell_text(0.0), "0.000"),
    ],
)
def test_numbers_are_written_in_one_way(written, expected):
    assert written == expected


def test_display_tables_are_in_spanish():
    summary = seed_summary(metrics_table(predictions()))
    shown = plus_minus(summary, names=["auc"])
    assert shown.columns.to_list() == ["modelo", "semillas", "AUC"]
    assert "±" in shown["AUC"][0]
    table = in_spanish(pd.DataFrame({"metric": ["auc", "npv"], "value": [1.0, 0.5], "x": 0}), ["metric", "value"])
    assert table.to_dict("list") == {"métrica": ["AUC", "valor predictivo negativo"], "valor": [1.0, 0.5]}


def test_intervals_are_written_by_model_and_wilson_is_marked():
    by_model = intervals_by_model(predictions(), decisions={"original": "argmax"}, resamples=200)
    text = interval_text(by_model, names=["specificity", "auc"])
    assert text.loc["original", "especificidad"].startswith("1.000 [")
    assert text.loc["original", "especificidad"].endswith("]*")
    undefined = by_model.assign(value=NAN, low=NAN, high=NAN, method="no definido")
    assert interval_text(undefined, names=["auc"])["AUC"].to_list() == ["–"] * 4
