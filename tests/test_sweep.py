"""Muchas ejecuciones con una orden: cada una, igual que hecha sola."""

import pandas as pd
import pytest

from neumo.cache import TURN, cached_tables, locked, training_lock
from neumo.hardware import thread_limits


@pytest.fixture
def measured(tmp_path):
    """Un entrenamiento que apunta las veces que se hace."""
    times = []

    def measure():
        times.append(1)
        return {"tabla": pd.DataFrame({"a": [len(times)]})}

    def run():
        cached_tables(tmp_path, "prueba", {"k": 1}, measure, code="neumo.evaluation.metrics", trains=True)
        return len(times)

    return run


def test_another_number_of_threads_is_another_training(measured, monkeypatch):
    """Suman en otro orden: si compartieran la clave, un resultado dependería de quién lo hizo antes."""
    assert [measured(), measured()] == [1, 1]
    for name, value in thread_limits(1).items():
        monkeypatch.setenv(name, value)
    assert [measured(), measured()] == [2, 2]


def test_who_has_a_turn_of_its_own_does_not_wait_for_the_others(tmp_path, monkeypatch):
    with training_lock(tmp_path / "cache"):
        monkeypatch.setenv(TURN, str(tmp_path / "punto"))
        with training_lock(tmp_path / "cache"), pytest.raises(BlockingIOError):
            locked(tmp_path / "punto" / "training.lock", wait=False).__enter__()
