"""Los conjuntos externos: se preparan y revisan como los demás, no se mezclan, y su caída lleva intervalo."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from neumo.data.manifest import scan
from neumo.data.sources import prepare
from neumo.errors import NeumoError
from neumo.evaluation.metrics import binary_metrics, probability
from neumo.evaluation.predictions import ENSEMBLE
from neumo.params_reader import load, parse_overrides, validate
from neumo.run import Run
from neumo.studies import card, hospitals
from neumo.words import drop_text


def scored(partition, shift, images=60):
    """Predicciones de dos semillas; `shift` acerca los enfermos a los sanos."""
    rng = np.random.default_rng(len(partition))
    first = pd.DataFrame({"path": [f"{partition}{i}" for i in range(images)], "y_true": np.arange(images) % 2})
    first["group"] = first["path"].str[:-1] + (np.arange(images) // 4).astype(str)
    seeds = [
        first.assign(model="mejorado", seed=s, partition=partition, subtype="", logit=(4 - shift) * first["y_true"] - 2)
        for s in (0, 1)
    ]
    table = pd.concat(seeds, ignore_index=True)
    return table.assign(logit=table["logit"] + rng.normal(0, 1.5, len(table)))


def joint(table):
    """La exactitud equilibrada del conjunto de semillas, en cada conjunto externo."""
    return table[(table["model"] == "mejorado" + ENSEMBLE) & (table["metric"] == "balanced_accuracy")]


def test_the_drop_is_outside_minus_inside_and_its_interval_holds_it():
    test, outside = scored("test", 0), scored("otro", 3)
    found = hospitals.measured(outside, test, threshold={"mejorado": 0.4}, resamples=300, seed=0)
    row = found[found["model"] == "mejorado" + ENSEMBLE].set_index("metric").loc["sensitivity"]

    def sensitivity(table):
        joint = table.groupby("path").agg(y=("y_true", "first"), z=("logit", "mean"))
        return binary_metrics(joint["y"], probability(joint["z"]), threshold=0.4)["sensitivity"]

    assert row["value"] == pytest.approx(sensitivity(outside))
    assert row["change"] == pytest.approx(sensitivity(outside) - sensitivity(test))
    assert row["change_low"] < row["change"] < row["change_high"] < 0
    text = card.rows(found[found["model"] == "mejorado"], "metric")
    assert "sensibilidad" in text.lower()
    told = hospitals.card_text(found, [{"name": "otro"}], "mejorado")
    assert f"| otro | sensibilidad | {row['value']:.3f} [" in told.lower()
    assert "otro hospital" in hospitals.card_text(found, [], "mejorado")
    said = drop_text(joint(found))
    fell = joint(found).iloc[0]
    assert f"la diferencia con la prueba, {fell['change']:+.3f} [" in said
    assert "fuera acierta menos" in said
    same = hospitals.measured(test.assign(partition="otro"), test, threshold={"mejorado": 0.4}, resamples=300, seed=0)
    assert "no se ve una caída" in drop_text(joint(same))
    nothing = hospitals.measured(outside.head(0), test)
    assert nothing.empty
    assert drop_text(joint(nothing)) == ""


def write(folder, names, offset=0):
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(3):
            grey = np.random.default_rng([offset, number, i]).integers(0, 256, (40, 40), dtype=np.uint8)
            Image.fromarray(grey).save(folder / name / f"{i}.png")


def test_an_external_set_is_found_checked_and_seen_to_change(tmp_path):
    write(tmp_path / "mias", ["NORMAL", "PNEUMONIA"])
    write(tmp_path / "otras" / "envuelta", ["sanos", "enfermos"], offset=1)
    known = tmp_path / "otras" / "envuelta" / "sanos" / "conocida.png"
    known.write_bytes((tmp_path / "mias" / "NORMAL" / "0.png").read_bytes())
    one = f"{{name: otro, data_dir: {tmp_path / 'otras'}, class_names: [sanos, enfermos]}}"
    params = load(None, parse_overrides(f"source=folder data_dir={tmp_path / 'mias'} external='{one}'"))
    run = Run(folder=tmp_path / "build" / "mio", params=params)
    prepare(run)
    (located,) = run.load("external")
    run.save("partition", scan(tmp_path / "mias").assign(partition="train"))
    table = hospitals.images(run, located["name"]).set_index("path")
    assert table["partition"].value_counts().to_dict() == {"otro": 6, "": 1}
    assert table.loc["sanos/conocida.png", "reason"] == "su archivo está entre las imágenes de este informe"
    known.unlink()
    prepare(run)
    assert run.load("external")[0]["digest"] != located["digest"]


def test_names_of_external_sets_are_told_apart():
    for names in (["uno", "uno"], ["test"]):
        with pytest.raises(NeumoError, match="external.*cada conjunto, el suyo"):
            validate({"external": [{"name": name, "data_dir": "x"} for name in names]})
