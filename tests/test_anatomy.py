"""Veredictos, retraso de la normalización y ablación: lo previsto frente a lo simulado y lo que hace Keras."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neumo.params import Experiment, LrFinder
from neumo.studies import anatomy as lab
from neumo.studies import experiments
from test_training import blobs

EXPERIMENT = Experiment(
    name="prueba", image_size=24, channels=1, epochs=2, batch_size=16, learning_rate=0.003, augmentation=None
)


@example(0.99, 0.99, 1.01)
@given(st.floats(1e-6, 50.0), st.sampled_from([0.5, 0.9, 0.99]), st.sampled_from([1.01, 2.0]))
def test_lag_steps_match_a_simulation(true, momentum, factor):
    steps = lab.lag_steps(1.0, true, momentum, factor=factor)
    curve = experiments.moving_average(np.full(steps + 1, true), momentum=momentum)

    def inside(step, slack):  # en el borde justo, el redondeo puede caer a un lado o al otro
        value = curve[max(step - 1, 0)]
        return true / factor * (1 - slack) <= value <= factor * true * (1 + slack)

    assert inside(steps, 1e-9)
    assert steps < 2 or not inside(steps - 1, -1e-9)


def test_lag_steps_of_a_quiet_layer():
    assert lab.lag_steps(1.0, 3.5e-5, 0.99) == pytest.approx(1030, abs=15)
    assert lab.lag_steps(1.0, 3.5e-5, 0.99, factor=1.01) == pytest.approx(1480, abs=15)
    assert lab.lag_steps(1.0, 3.5e-5, 0.9) < 100


@given(*[st.booleans()] * 4)
def test_a_contradiction_discards_and_proof_needs_a_cure(reproduces, cures, possible, contradicts):
    verdict = lab.verdict(reproduces=reproduces, cures=cures, possible=possible, contradicts=contradicts)
    assert (verdict == "descartado") == contradicts
    assert (verdict == "demostrado") == (reproduces and cures and not contradicts)
    assert (verdict == "no demostrado") == (not reproduces and not possible and not contradicts)


@pytest.mark.parametrize("probability", ["good", "random", "always"])
def test_argmax_gives_the_original_table_digit_by_digit_whatever_the_model(probability):
    y = np.repeat([0, 1], [277, 783])
    rng = np.random.default_rng(0)
    prob = {"good": np.clip(y + rng.normal(0, 0.2, len(y)), 0, 1), "random": rng.random(len(y))}.get(
        probability, np.ones(len(y))
    )
    digits = lab.original_digits(y, prob)
    assert len(digits) == 13
    assert digits["equal"].all(), digits[~digits["equal"]]


def test_the_original_table_needs_the_original_counts():
    assert not lab.original_digits(np.repeat([0, 1], 500), np.ones(1000))["equal"].all()


def test_arithmetic_of_the_quoted_figures():
    assert lab.wrong_logit(488.9123, 0.8794) == pytest.approx(4054, abs=0.5)
    assert pytest.approx(16.1, abs=0.05) == lab.CLIPPED
    share = 783 / 1060
    assert lab.shuffled_accuracy(share, share) == pytest.approx(0.61, abs=0.005)
    assert lab.hits(0.7386, 352) == [260]


def test_moving_statistics_are_those_of_keras():
    """La sucesión con inercia 0, promediada aparte, es la media móvil que Keras habría guardado; y los pesos, los mismos."""
    networks = {}
    for momentum in (0.0, 0.9):
        experiment = EXPERIMENT.model_copy(update={"batchnorm_momentum": momentum})
        model = experiments.fresh_model(experiment, 3)
        seen = []
        for images, labels in experiments.fit_batches(experiment, blobs(48), 3, 1)["x"]:
            model.train_on_batch(images, labels)
            seen.append(model.layers[3].moving_variance.numpy())
        networks[momentum] = (model, np.array(seen))
    ours = experiments.moving_average(networks[0.0][1], momentum=0.9)
    np.testing.assert_allclose(ours, networks[0.9][1], rtol=1e-5)
    for a, b in zip(*(network.trainable_weights for network, _ in networks.values()), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_batchnorm_lag_is_seen_and_not_measured_twice(tmp_path):
    options = {"momenta": (0.99, 0.5), "epochs": 2, "seed": 1, "cache": tmp_path}
    sets = blobs(96), blobs(32, seed=1)
    found = experiments.batchnorm_lag(EXPERIMENT, *sets, **options)
    before = sorted((tmp_path / "anatomy").iterdir())
    pd.testing.assert_frame_equal(experiments.batchnorm_lag(EXPERIMENT, *sets, **options)["logits"], found["logits"])
    assert sorted((tmp_path / "anatomy").iterdir()) == before
    metrics = lab.lag_metrics(found["logits"])
    assert set(metrics["mode"]) == {"0.99", "0.5", "batch", "recomputed"}
    delays = lab.lag_table(found["variances"]).set_index(["layer", "momentum"])
    assert delays.loc[(1, 0.99), "times_too_large"] > 5
    assert delays.loc[(1, 0.5), "times_too_large"] < delays.loc[(1, 0.99), "times_too_large"] / 10
    assert np.isnan(delays.loc[(1, 0.99), "measured"])


def lag_metrics(inference, batch, positive):
    rows = [
        {"epoch": 1, "mode": mode, "accuracy": a, "balanced_accuracy": a, "predicted_positive": p}
        for mode, a, p in (("0.99", inference, positive), ("batch", batch, 0.5))
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("inference", "batch", "positive", "expected"),
    [(0.5, 0.95, 1.0, "demostrado"), (0.5, 0.52, 1.0, "compatible"), (0.93, 0.95, 0.6, "no demostrado")],
)
def test_lag_verdict_follows_the_figures(inference, batch, positive, expected):
    found = lab.lag_evidence(lag_metrics(inference, batch, positive), momentum=0.99)
    assert found["verdict"] == expected


def test_two_columns_of_labels_stop_keras(tmp_path):
    errors = experiments.categorical_errors(cache=tmp_path)
    assert (errors["error"] == "ValueError").all()
    assert errors["message"].str.len().min() > 20


@pytest.mark.slow
def test_rates_are_measured_from_logits(tmp_path):
    measured = experiments.rate_experiment(
        EXPERIMENT,
        blobs(48),
        blobs(16, seed=1),
        rates=[0.003],
        named_rate=0.03,
        settings=LrFinder(steps=20, min_lr=1e-4),
        epochs=1,
        seed=0,
        cache=tmp_path,
    )
    table = lab.rate_metrics(measured).set_index("condition")
    assert list(table.index) == ["tasa 0.003", "tras la búsqueda detenida", "tras la búsqueda entera"]
    assert (table["clipped_loss"] <= min(lab.CLIPPED, np.inf)).all()
    assert (table["clipped_loss"] <= table["loss"] + 1e-9).all()
    assert table.loc["tras la búsqueda entera", "largest_logit"] > table.loc["tasa 0.003", "largest_logit"]
