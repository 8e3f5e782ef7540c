"""Muchas ejecuciones con una orden: cada una, igual que hecha sola."""

import contextlib

import pandas as pd
import pytest

from neumo.cache import TURN, cached_tables, locked, training_turn
from neumo.hardware import cores, thread_limits


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
    with training_turn(tmp_path / "cache"):
        monkeypatch.setenv(TURN, str(tmp_path / "punto"))
        with training_turn(tmp_path / "cache"), pytest.raises(BlockingIOError):
            locked(tmp_path / "punto" / "training-0.lock", wait=False).__enter__()


def test_with_one_thread_each_core_trains_a_network_and_with_all_only_one_does(tmp_path, monkeypatch):
    def free_cores():
        with contextlib.ExitStack() as taken:
            for core in range(cores()):
                with contextlib.suppress(BlockingIOError):
                    taken.enter_context(locked(tmp_path / f"training-{core}.lock", wait=False))
                    yield core

    with training_turn(tmp_path):
        assert not list(free_cores())
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    with training_turn(tmp_path):
        assert len(list(free_cores())) == cores() - 1
