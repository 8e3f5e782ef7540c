"""La ablación: qué se entrena, cómo se lee y qué corrección movió qué."""

import numpy as np
import pandas as pd
import pytest

from neumo.errors import NeumoError
from neumo.evaluation import comparison
from neumo.params import Experiment
from neumo.studies import corrections as lab
from test_training import blobs

EXPERIMENT = Experiment(
    name="prueba", image_size=24, channels=1, epochs=2, batch_size=16, learning_rate=0.003, augmentation=None
)


@pytest.mark.slow
def test_ablation_reads_each_recipe_four_ways(tmp_path):
    recipes = lab.ablation_recipes(EXPERIMENT, Experiment(batchnorm_momentum=0.9, l2=0.001))
    assert [r.name for r in recipes] == ["base", "inercia", "pesos", "aumento", "l2", "tasa", "todas"]
    sets = {"train": blobs(48), "val": blobs(16, seed=1)}
    predictions = lab.ablation([recipes[0], recipes[1]], lambda name, image_size: sets[name], seeds=[0], cache=tmp_path)
    table = lab.ablation_table(predictions)
    assert len(table) == 2 * 2 * 2
    assert (table.query("decision == 'argmax'")["balanced_accuracy"] == 0.5).all()
    same = predictions.query("statistics == 'recomputed'").pivot(
        index=["seed", "path"], columns="model", values="logit"
    )
    np.testing.assert_allclose(same["base"], same["inercia"], rtol=1e-4, atol=1e-4)


def ablation_cells(base, weights):
    rows = []
    for model, (moving, recomputed) in {"base": base, "pesos": weights, "aumento": base}.items():
        for seed in (0, 1):
            cells = {("moving", "argmax"): 0.5, ("moving", "threshold"): moving + seed * 0.01}
            cells |= {("recomputed", "argmax"): 0.5, ("recomputed", "threshold"): recomputed + seed * 0.01}
            rows += [
                {"model": model, "statistics": s, "decision": d, "seed": seed, "balanced_accuracy": v}
                for (s, d), v in cells.items()
            ]
    return pd.DataFrame(rows)


def test_effects_say_what_moved_and_from_where():
    effects = lab.ablation_effects(ablation_cells((0.5, 0.9), (0.5, 0.95)))
    effects = effects.set_index(["correction", "setting"])
    assert effects.loc[("recalculo", "sola"), "change"] == pytest.approx(0.4)
    assert effects.loc[("recalculo", "sola"), "moves"]
    assert not effects.loc[("pesos", "arg-max"), "moves"]
    assert not effects.loc[("pesos", "sola"), "moves"]
    assert effects.loc[("pesos", "reparada"), "change"] == pytest.approx(0.05)
    assert effects.loc[("aumento", "reparada"), "change"] == pytest.approx(0.0)


def test_all_together_is_every_correction_at_once():
    base, *single, together = lab.ablation_recipes(EXPERIMENT, Experiment(batchnorm_momentum=0.9, l2=0.001))
    assert base.model_copy(update={"name": "prueba"}) == EXPERIMENT
    changed = {k for r in single for k in type(r).model_fields if getattr(r, k) != getattr(base, k)} - {"name"}
    for key in changed - {"augmentation"}:
        assert getattr(together, key) != getattr(base, key), key


def predictions(shift):
    y = np.repeat([0, 1], 60)
    tables = []
    for model, gain in {"original": 0.5, "reparado": 0.5 + shift}.items():
        for seed in (0, 1):
            logit = gain * (2 * y - 1) + np.random.default_rng(seed).normal(size=120)
            paths = [f"{i}.jpeg" for i in range(120)]
            columns = {"model": model, "seed": seed, "partition": "test", "path": paths, "group": range(120)}
            tables.append(pd.DataFrame({**columns, "y_true": y, "logit": logit}))
    return pd.concat(tables)


def test_paired_differences_read_the_original_with_argmax():
    found = comparison.paired_differences(
        predictions(2.0), threshold={"reparado": 0.5}, decisions={"original": "argmax"}, resamples=200
    ).set_index("metric")
    assert set(found["pair"]) == {"reparado − original"}
    assert found.loc["sensitivity", "a"] == 0
    assert found.loc["specificity", "a"] == 1
    assert found.loc["auc", "low"] > 0


def test_effects_are_written_beside_what_the_original_said():
    effects = lab.ablation_effects(ablation_cells((0.5, 0.9), (0.5, 0.95)))
    table = lab.effects_table(effects, claims=dict.fromkeys(lab.LABELS, "frase"))
    row = table.set_index("corrección").loc["pesos de clase"]
    assert row["reparada"] == "+0.050 [+0.050, +0.050] ●"
    assert row["arg-max"] == "+0.000 [+0.000, +0.000]"


def test_the_lot_table_joins_the_directions_seed_by_seed():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([("IM", "NORMAL2"), (0, 1), range(30)], names=["direction", "seed", "image"])
    table = index.to_frame(index=False).assign(model="mejorado", partition="val")
    table["y_true"] = table["image"] % 2
    table["path"] = table["group"] = table["direction"] + table["image"].astype(str)
    table["logit"] = rng.normal(table["y_true"] + (table["direction"] == "IM"))
    shown = lab.lot_shift_table(table).set_index("entrenada con")["AUC"]
    pooled = [roc_auc_score(part["y_true"], part["logit"]) for _, part in table.groupby("seed")]
    assert shown["las dos"] == f"{np.mean(pooled):.3f} ± {np.std(pooled, ddof=1):.3f}"
    assert shown["IM"] != shown["las dos"]
    assert list(shown.index) == ["IM", "NORMAL2", "las dos"]


def test_lots_without_a_network_read_by_threshold_say_so(tmp_path):
    with pytest.raises(NeumoError, match="final_models"):
        lab.lot_shift_predictions([], lambda **_: None, seeds=[0], cache=tmp_path)
