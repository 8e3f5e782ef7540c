"""Entrenar una vez, retomar donde se paró y compilar como dice el experimento."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from neumo.data.store import ImageSet
from neumo.errors import NeumoError
from neumo.learning import training
from neumo.learning.inference import load_network, logits, predict_logits, predictions
from neumo.learning.training import class_weights, compile_model, recompute_batchnorm, train
from neumo.params import Augmentation, Experiment

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import EXPERIMENT, blobs
from neumo.learning import training
from neumo.learning.training import train
training._UNSAVED_SECONDS = 0
train(EXPERIMENT, blobs(96), blobs(24, seed=1), seed=3, cache=Path({cache!r}))
"""

EXPERIMENT = Experiment(
    name="prueba",
    image_size=24,
    channels=1,
    epochs=4,
    learning_rate=0.003,
    batch_size=16,
    schedule="cosine",
    warmup_epochs=1,
    augmentation=Augmentation(noise_stddev=0.05, cutout_fraction=0.2),
)


def blobs(count, *, seed=0, size=24):
    """Imágenes con una mancha clara en la clase positiva: se aprenden en pocos pasos."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.normal(90, 15, (count, size, size))
    images[labels == 1, 8:16, 8:16] += 60
    table = pd.DataFrame(
        {
            "path": [f"img-{seed}-{i}.jpeg" for i in range(count)],
            "label": np.where(labels, "PNEUMONIA", "NORMAL"),
            "y": labels,
            "group": range(count),
            "subtype": "",
            "sha256": [f"{seed}-{i}" for i in range(count)],
        }
    )
    return ImageSet(table, images.clip(0, 255).astype("uint8"), np.arange(count))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return train(EXPERIMENT, blobs(96), blobs(24, seed=1), seed=3, cache=cache), cache


def test_what_was_trained_is_not_trained_again(trained):
    training, cache = trained
    before = training.model_path.stat().st_mtime_ns
    renamed = EXPERIMENT.model_copy(update={"name": "otro", "decision": "argmax"})
    again = train(renamed, blobs(96), blobs(24, seed=1), seed=3, cache=cache)
    assert again.folder == training.folder
    assert again.model_path.stat().st_mtime_ns == before
    other = train(EXPERIMENT.model_copy(update={"epochs": 1}), blobs(96), blobs(24, seed=1), seed=3, cache=cache)
    assert other.folder != training.folder


def test_the_history_has_a_row_per_epoch_and_follows_the_schedule(trained):
    history = trained[0].history
    assert list(history["epoch"]) == [1, 2, 3, 4]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"} <= set(history)
    assert history["learning_rate"].iloc[0] == pytest.approx(0.003, rel=1e-3)
    assert history["learning_rate"].iloc[-1] == pytest.approx(0.00003, rel=0.1)


def test_the_file_alone_gives_the_same_answer(trained, tmp_path):
    training, _ = trained
    images = blobs(24, seed=1)
    np.save(tmp_path / "pixels.npy", images.pixels()[..., None])
    code = (
        "import sys, numpy as np, keras; model = keras.models.load_model(sys.argv[1], compile=False);"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0)); assert 'neumo' not in sys.modules"
    )
    out = tmp_path / "p.npy"
    subprocess.run([sys.executable, "-c", code, training.model_path, tmp_path / "pixels.npy", out], check=True)
    expected = 1 / (1 + np.exp(-logits(training, images)))
    np.testing.assert_allclose(np.load(out).ravel(), expected, atol=1e-5)


def test_logits_do_not_saturate_where_the_probability_does(trained):
    model = load_network(trained[0].model_path)
    last = model.layers[-1]
    last.set_weights([weight * 1000 for weight in last.get_weights()])
    values = predict_logits(model, blobs(24, seed=1).pixels())
    probabilities = model.predict(blobs(24, seed=1).pixels()[..., None], verbose=0)
    assert np.abs(values).max() > 100
    assert set(np.round(probabilities.ravel()[np.abs(values.ravel()) > 20], 6)) <= {0.0, 1.0}


def test_predictions_name_model_seed_partition_and_patient(trained):
    training, _ = trained
    table = predictions([training], lambda partition, image_size: blobs(24, seed=1), partition="val")
    assert list(table.columns) == ["model", "seed", "partition", "path", "group", "subtype", "y_true", "logit"]
    assert (table["model"] == "prueba").all()
    assert len(table) == 24


def test_killed_in_the_middle_of_an_epoch_it_ends_as_if_undisturbed(trained, tmp_path):
    code = SCRIPT.format(tests=os.path.dirname(__file__), cache=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("training/*.partial/epoch-00[12].keras")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("training/*/model.keras")), "terminó antes de poder pararlo"
    resumed = train(EXPERIMENT, blobs(96), blobs(24, seed=1), seed=3, cache=tmp_path)
    undisturbed = trained[0]
    for ours, theirs in zip(
        load_network(resumed.model_path).get_weights(), load_network(undisturbed.model_path).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    columns = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    pd.testing.assert_frame_equal(resumed.history[columns], undisturbed.history[columns])


@pytest.mark.parametrize("change", [{"network": "residual"}, {"schedule": "constant", "warmup_epochs": 0}])
def test_a_network_put_as_new_trains_as_a_new_one(tmp_path, change):
    wanted = Experiment(**EXPERIMENT.model_dump() | change | {"epochs": 2})
    other = {"learning_rate": 0.1} if wanted.schedule == "constant" else {}
    sets = blobs(96), blobs(24, seed=1)
    weights = []
    for before in ([], [wanted.model_copy(update=other)]):
        training._compiled.clear()
        cache = tmp_path / str(len(before))
        for experiment in before:
            train(experiment, *sets, seed=5, cache=cache)
        kept = [model for model, _ in training._compiled.values()]
        weights.append(load_network(train(wanted, *sets, seed=3, cache=cache).model_path).get_weights())
        assert not kept or [model for model, _ in training._compiled.values()] == kept
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("harm", ["", "un bit"])
def test_stopped_after_the_last_epoch_it_gives_the_same_model(trained, tmp_path, harm):
    """Parado entre el último punto de control y el archivo final: el mismo modelo, esté entero el punto de control o no."""
    images = blobs(96), blobs(24, seed=1)
    partial = tmp_path / trained[0].folder.relative_to(trained[1]).with_suffix(".partial")
    stopped = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = SCRIPT.format(tests=os.path.dirname(__file__), cache=str(tmp_path))
    code = code.replace(
        "train(EXP", "import neumo.learning.training as t\nt._inference_model = lambda *a: sys.exit(7)\ntrain(EXP"
    )
    assert subprocess.run([sys.executable, "-c", code], env=stopped, check=False).returncode == 7
    checkpoint = partial / "epoch-004.keras"
    assert checkpoint.is_file()
    if harm:
        content = bytearray(checkpoint.read_bytes())
        content[len(content) // 2] ^= 64
        checkpoint.write_bytes(content)
    again = train(EXPERIMENT, *images, seed=3, cache=tmp_path)
    for a, b in zip(
        load_network(trained[0].model_path).get_weights(), load_network(again.model_path).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert not list(again.folder.glob("epoch-*"))


def test_recomputed_statistics_reach_nested_networks():
    import keras

    from neumo.learning.networks import build, leaf_layers, with_views

    model = with_views(build(EXPERIMENT, 24, 1), 6)
    recompute_batchnorm(model, [(np.full((4, 24, 24, 1), 90.0), None)])
    means = [x.moving_mean for x in leaf_layers(model) if isinstance(x, keras.layers.BatchNormalization)]
    assert len(means) == 3
    assert all(np.abs(mean).max() > 0 for mean in means)


def test_too_few_images_for_a_batch_is_said(tmp_path):
    with pytest.raises(NeumoError, match="8 imágenes, menos que un lote \\(16\\)"):
        train(EXPERIMENT, blobs(8), blobs(8), seed=0, cache=tmp_path)


def test_class_weights_make_both_classes_weigh_the_same():
    weights = class_weights(np.array([0] * 10 + [1] * 30))
    assert weights[0] * 10 == pytest.approx(weights[1] * 30)
    with pytest.raises(NeumoError, match="falta una"):
        class_weights(np.ones(4, int))


def test_the_compiled_loss_comes_from_the_logits():
    """Una sigmoide saturada daría como mucho 16.1 por imagen; desde los logits no hay techo."""
    import keras

    inputs = keras.Input((1,))
    dense = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="ones")
    model = compile_model(keras.Model(inputs, dense(inputs)), EXPERIMENT.model_copy(update={"label_smoothing": 0.0}))
    loss = model.evaluate(np.array([[400.0]]), np.array([[0.0]]), verbose=0)[0]
    assert loss == pytest.approx(400, rel=1e-3)
