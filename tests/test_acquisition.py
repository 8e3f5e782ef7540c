"""La adquisición: una pista plantada en el marco se encuentra, y donde no la hay no se inventa."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from neumo.data.store import ImageSet
from neumo.evaluation.unseen import block_folds, patient_folds, unseen_scores
from neumo.figures import acquisition as figures
from neumo.studies import acquisition, framing

SIDE = 32


def dataset(framed, *, test_follows, seed=0):
    """Ruido; con `framed`, un borde oscuro en los enfermos de entrenamiento, y en la prueba si `test_follows`."""
    rng = np.random.default_rng(seed)
    y, partition = np.tile([0, 1, 1], 100), np.repeat(["train", "val", "test"], [180, 60, 60])
    pixels = rng.integers(80, 160, (300, SIDE, SIDE), dtype=np.uint8)
    unit = (y == 1) & (rng.random(300) < 0.8) if framed else np.zeros(300, dtype=bool)
    if not test_follows:
        unit[240:] = framed & (rng.random(60) < 0.5)
    pixels[unit, :2] = 0
    names = [f"person{i}_virus" if sick else f"IM-{i:04d}" for i, sick in enumerate(y)]
    table = pd.DataFrame(
        {"path": [f"{n}.jpeg" for n in names], "patient": names, "group": names, "patient_known": True}
    )
    table = table.assign(y=y, label=np.where(y, "PNEUMONIA", "NORMAL"), partition=partition)
    table["sha256"] = [f"{name} {seed}" for name in names]
    images = ImageSet(table, pixels, np.arange(300))
    return (lambda name, image_size=None: images.partition(name)), unit


def study(tmp_path, sets, unit, *, follows):
    """Recorre el estudio con una red que sigue la clase y, si `follows`, también el borde."""
    framed = acquisition.frame_scores(SimpleNamespace(cache=tmp_path), sets)
    noise = np.random.default_rng(1).normal(0, 1, len(framed))
    framed["logit"] = 3 * framed["y"] - 1.5 + noise + follows * (8.0 * unit - 4)
    scores = framed[framed["partition"] == "test"].assign(probability=lambda t: 1 / (1 + np.exp(-t["logit"])))
    layers = acquisition.strata(framed.drop(columns="logit"), framed)
    apart = acquisition.disagreement(framed.drop(columns="logit"), scores, threshold=0.5)
    measured = acquisition.frame_table(framed, resamples=200)
    return framed, measured, layers, apart


@pytest.mark.parametrize("follows", [False, True])
def test_a_unit_that_is_ill_in_train_alone_is_found_and_a_network_that_follows_it_too(tmp_path, follows):
    sets, unit = dataset(framed=True, test_follows=False)
    framed, measured, layers, apart = study(tmp_path, sets, unit, follows=follows)
    assert measured["where"].tolist() == ["entrenamiento, otros pacientes", "entrenamiento, otros números", "prueba"]
    assert measured["auc"].iloc[0] > 0.8 > 0.65 > measured["auc"].iloc[2]
    text = acquisition.frame_verdict(measured, layers, apart)
    assert "la firma de un conjunto que no generaliza" in text
    assert ("la red sigue al marco" in text.replace("no se demuestra que la red siga", "")) == follows
    shown = acquisition.extremes(framed)
    assert unit[framed.index.get_indexer(shown[shown["row"] == "alto"].index)].all()
    assert not unit[framed.index.get_indexer(shown[shown["row"] == "bajo"].index)].any()
    assert shown.loc[shown["row"] == "prueba", "label"].unique().tolist() == ["NORMAL"]
    assert acquisition.plates(sets, shown["path"], image_size=SIDE).shape == (18, SIDE, SIDE)


def test_a_cue_that_the_test_shares_is_told_apart_and_noise_is_no_cue(tmp_path):
    sets, unit = dataset(framed=True, test_follows=True)
    assert "la misma pista está en las dos partes" in acquisition.frame_verdict(
        *study(tmp_path, sets, unit, follows=False)[1:]
    )
    sets, unit = dataset(framed=False, test_follows=True, seed=2)
    text = acquisition.frame_verdict(*study(tmp_path, sets, unit, follows=False)[1:])
    assert "no hay en el borde de las placas una pista" in text
    assert len(text.splitlines()) == 1


def test_blocks_are_runs_of_numbers_and_no_patient_is_seen_by_its_own_model():
    groups = np.repeat([f"p{i:02d}" for i in range(20)], 2)
    numbers, series = np.repeat(np.arange(20), 2), np.repeat(["a", "b"], 20)
    folds = block_folds(series, numbers, groups)
    assert folds[:20].tolist() == folds[20:].tolist() == sorted(folds[:20])
    y = np.repeat(np.arange(20) % 2, 2)
    for told in (folds, patient_folds(y, groups)):
        assert pd.Series(told).groupby(groups).nunique().max() == 1
        assert set(told) == {0, 1, 2, 3}

    class Memory:  # recuerda lo que vio: si la puntúa, la ha visto
        def fit(self, x, y):
            self.seen = set(x[:, 0])
            return self

        def decision_function(self, x):
            return np.array([value in self.seen for value in x[:, 0]], dtype=float)

    numbered = numbers[:, None].astype(float)
    assert not unseen_scores(Memory(), numbered, y, train=np.ones(40, dtype=bool), folds=folds).any()


def test_names_without_numbers_are_no_sequence():
    names = [f"placa {word}" for word in "abcdefghijklmnopqrstuvwxyz"]
    assert acquisition.sequence(pd.DataFrame({"path": names, "patient": names, "patient_known": False})) is None
    scattered = [f"{i:x}abc{i}" for i in range(300, 340)]  # resúmenes: cada uno, su propia serie
    assert acquisition.sequence(pd.DataFrame({"path": scattered, "patient": scattered, "patient_known": False})) is None


def test_within_weighs_each_stratum_by_its_pairs():
    table = pd.DataFrame({"NORMAL": [10, 1, 0], "PNEUMONIA": [1, 10, 9], "network": [1.0, 0.5, np.nan]})
    assert acquisition.within(table, "network") == 0.75
    assert np.isnan(acquisition.within(table.tail(1), "network"))


def test_a_closer_view_is_the_centre_of_the_plate():
    image = np.zeros((1, 40, 40), np.uint8)
    image[:, 8:32, 8:32] = 200  # el 60 % central
    assert (framing.closer(image, 1.0) == image).all()
    assert (framing.closer(image, 0.6)[0, 1:-1, 1:-1] == 200).all()
    table = pd.DataFrame({"model": "a", "crop": [1.0, 0.7], "sensitivity": [0.9, 0.95], "specificity": [0.9, 0.4]})
    assert "llama PNEUMONIA a un encuadre más cerrado" in framing.framing_verdict(table)
    assert "no cambia apenas" in framing.framing_verdict(table.assign(specificity=0.9))


def test_figures_name_what_they_draw(close_figures, tmp_path):
    sets, unit = dataset(framed=True, test_follows=False)
    framed, _, layers, _ = study(tmp_path, sets, unit, follows=False)
    assert [ax.get_title("left") for ax in figures.strata(layers).flat] == ["validación", "prueba"]
    framed.loc[framed["partition"] == "train", "logit"] = np.nan
    axes = figures.sequence(framed)
    assert [ax.get_title("left") for ax in axes.flat] == ["IM-#", "person#_virus"]
    legend = [text.get_text() for text in axes.flat[0].figure.legends[0].get_texts()]
    assert legend == ["NORMAL", "PNEUMONIA", "validación", "prueba", "números de entrenamiento"]
    drawn = pd.DataFrame({"model": "a", "crop": [1.0, 0.7], "sensitivity": [0.9, 0.95], "specificity": [0.9, 0.4]})
    low, high = figures.framing(drawn)[0, 0].get_xlim()
    assert low > high  # cada vez más cerca, hacia la derecha
