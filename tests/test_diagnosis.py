"""El diagnóstico: cada fallo se reconoce y lo sano no se acusa."""

import itertools
import json

import numpy as np
import pytest

from neumo.evaluation.diagnosis import diagnose, diagnose_all
from neumo.evaluation.metrics import probability
from score_example import predictions, simulated


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
