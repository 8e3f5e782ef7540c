"""Los artefactos se escriben enteros, se leen con ayuda y recuerdan de qué parámetros salieron."""

import os

import pandas as pd
import pytest

from neumo.cache import cached, write_atomically
from neumo.errors import NeumoError
from neumo.params import Params
from neumo.run import ARTEFACTS, Run


def _run(folder, *used, **values):
    return Run(folder=folder / "demo", params=Params(**values), used=used)


def test_a_table_comes_back_as_it_was_saved(tmp_path):
    table = pd.DataFrame(
        {"path": ["a b.jpeg", 'con "comillas"'], "subtype": ["", "virus"], "value": [1.5, float("nan")]}
    )
    run = _run(tmp_path)
    run.save("manifest", table)
    pd.testing.assert_frame_equal(run.load("manifest"), table)


def test_numbers_that_json_lacks_become_null(tmp_path):
    run = _run(tmp_path)
    run.save("metrics", {"auc": float("nan"), "n": pd.Series([1, 2]).to_numpy()})
    assert run.load("metrics") == {"auc": None, "n": [1, 2]}


def test_saving_the_same_bytes_leaves_the_date(tmp_path):
    run = _run(tmp_path)
    path = run.path("metrics")
    assert run.save("metrics", {"auc": 0.5}) is None
    os.utime(path, (1, 1))
    run.save("metrics", {"auc": 0.5})
    assert path.stat().st_mtime == 1
    run.save("metrics", {"auc": 0.6})
    assert path.stat().st_mtime > 1


def test_a_missing_artefact_says_which_notebook_writes_it(tmp_path):
    with pytest.raises(NeumoError, match=r"partition\.csv.*cuaderno 02.*make report"):
        _run(tmp_path).load("partition")
    with pytest.raises(NeumoError, match="No hay artefacto «particion»"):
        _run(tmp_path).load("particion")


def test_an_artefact_of_other_parameters_is_refused_and_one_of_the_same_is_not(tmp_path):
    _run(tmp_path, "seed", "val_fraction", seed=1).save("partition", pd.DataFrame({"a": [1]}))
    with pytest.raises(NeumoError, match=r"seed = 1 y aquí vale 2.*cuaderno 02"):
        _run(tmp_path, "seed", seed=2).load("partition")
    _run(tmp_path, "seed", seed=1).load("partition")
    _run(tmp_path, "image_size", image_size=96).load("partition")


def test_what_is_computed_from_an_artefact_inherits_its_parameters(tmp_path):
    _run(tmp_path, "seed", seed=1).save("partition", pd.DataFrame({"a": [1]}))
    middle = _run(tmp_path, "image_size")
    middle.load("partition")
    middle.save("attempts", pd.DataFrame({"b": [1]}))
    with pytest.raises(NeumoError, match="seed = 1 y aquí vale 2"):
        _run(tmp_path, "seed", seed=2).load("attempts")


def test_artefact_files_do_not_collide():
    files = [file for file, _ in ARTEFACTS.values()]
    assert len(set(files)) == len(files)


def test_the_cache_builds_once_and_an_interrupted_build_goes_on(tmp_path):
    calls = []

    def build(folder):
        calls.append(sorted(p.name for p in folder.iterdir()))
        write_atomically(folder / f"parte-{len(calls)}", b"x")
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "prueba", {"a": 1}, build)
    folder = cached(tmp_path, "prueba", {"a": 1}, build)
    assert cached(tmp_path, "prueba", {"a": 1}, build) == folder
    assert calls == [[], ["parte-1"]]
    assert {"parte-1", "parte-2", "key.json", "sums.json"} == {p.name for p in folder.iterdir()}
    assert cached(tmp_path, "prueba", {"a": 2}, lambda folder: None) != folder
    assert cached(tmp_path, "prueba", {"a": 1}, lambda folder: None, code="neumo.data.store") != folder
