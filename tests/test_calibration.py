"""La temperatura, la fiabilidad y su error."""

import numpy as np
import pytest

from neumo.evaluation.calibration import (
    calibration_table,
    expected_calibration_error,
    fit_temperature,
    fit_temperatures,
    reliability_table,
)
from neumo.evaluation.metrics import probability
from score_example import predictions, simulated


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
    table = reliability_table([0, 1, 1, 1], [0.1, 0.1, 0.9, 1.0])
    assert table[["low_edge", "n", "fraction"]].to_numpy().tolist() == [[0.1, 2, 0.5], [0.9, 2, 1]]
    error = expected_calibration_error([0, 1, 1, 1], [0.1, 0.1, 0.9, 1.0])
    assert error == pytest.approx((0.4 + 0.05) / 2)
    scattered = reliability_table([0, 1] * 20, [0.9] * 40)
    together = reliability_table([0, 1] * 20, [0.9] * 40, groups=np.arange(40) // 10)
    assert together["high"].item() > scattered["high"].item()
    assert np.isnan(expected_calibration_error([0, 1], [0.1, np.nan]))


def test_calibration_table_measures_the_ensembles():
    table = predictions()
    temperatures = fit_temperatures(table)
    calibration = calibration_table(table, temperatures)
    assert (calibration.log_loss_after <= calibration.log_loss_before + 1e-9).all()
    assert calibration.temperature.to_list() == list(temperatures.values())
