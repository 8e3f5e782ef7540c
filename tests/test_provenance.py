import getpass
import json
import platform

import pandas as pd

from neumo.cache import file_digest
from neumo.params import Params
from neumo.run import Run
from neumo.studies import provenance


def test_nothing_tells_the_host_or_the_user():
    told = json.dumps([provenance.machine(), provenance.versions()]).split('"')
    assert platform.node() not in told
    assert getpass.getuser() not in told
    assert provenance.machine()["threads"] >= 1
    assert {"python", "keras", "tensorflow", "numpy"} <= set(provenance.versions())


def test_only_what_differs_is_listed_and_paths_by_their_last_part():
    assert provenance.changed(Params()) == {}
    params = Params(source="folder", data_dir="/casa/de/ana/placas", lr_finder={"steps": 50})
    assert provenance.changed(params) == {"source": "folder", "data_dir": "placas", "lr_finder.steps": 50}


def test_hashes_cover_artefacts_and_networks(tmp_path):
    run = Run(folder=tmp_path / "demo", params=Params())
    run.save("partition", pd.DataFrame({"a": [1]}))
    run.save("source", {"folder_name": "placas"})  # lo escribe la orden: no se lista
    (run.folder / "models").mkdir()
    (run.folder / "models" / "mejorado-0.keras").write_bytes(b"red")
    table = provenance.hashes(run)
    assert table["file"].tolist() == ["partition.csv", "models/mejorado-0.keras"]
    assert table["sha256"][0] == file_digest(run.path("partition"))
    assert table["bytes"][1] == 3


def test_durations_come_from_the_executed_chapters(tmp_path):
    run = Run(folder=tmp_path / "demo", params=Params())
    assert provenance.durations(run).empty
    (run.folder / "notebooks").mkdir(parents=True)
    for name, duration in (("02_b", 3.5), ("01_a", 1.0), ("03_c.fallo", 9.0)):
        content = {"metadata": {"papermill": {"duration": duration}}, "cells": []}
        (run.folder / "notebooks" / f"{name}.ipynb").write_text(json.dumps(content))
    assert provenance.durations(run).to_dict("list") == {"chapter": ["01_a", "02_b"], "seconds": [1.0, 3.5]}
