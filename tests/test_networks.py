import subprocess
import sys

import numpy as np
import pytest

from neumo import hardware
from neumo.learning import networks
from neumo.params import Experiment
from neumo.studies import architecture

ORIGINAL = [*("Conv2D", "MaxPooling2D", "BatchNormalization") * 3, *("Flatten", "Dropout", "Dense", "Dense")]


def pixels(count=3, size=32, channels=1):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def test_original_has_the_reports_thirteen_layers_in_order():
    table = architecture.layer_table(networks.build(Experiment(l2=0.001), 64, 3))
    assert table["type"].tolist() == ["Rescaling", *ORIGINAL]
    assert table["output_shape"].iloc[1] == "62 × 62 × 32"
    assert table["parameters"].iloc[[1, 3, 4]].tolist() == [3 * 9 * 32 + 32, 4 * 32, 32 * 9 * 64 + 64]
    assert table["trainable"].iloc[3] == 2 * 32
    assert (table["description"] != "").all()


def test_original_takes_l2_and_momentum_from_the_experiment():
    model = networks.build(Experiment(l2=0.001, batchnorm_momentum=0.9), 32, 1)
    assert model.layers[-2].kernel_regularizer.l2 == pytest.approx(0.001)
    assert model.layers[3].momentum == 0.9


@pytest.mark.parametrize("network", ["original", "residual"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_raw_pixels_in_float32_probability_out(network, precision):
    model = networks.build(Experiment(network=network, precision=precision, width=8), 32, 1)
    probability = model(pixels(), training=False).numpy()
    assert probability.shape == (3, 1)
    assert probability.dtype == np.float32
    assert ((probability >= 0) & (probability <= 1)).all()


def test_residual_ignores_exposure_and_contrast():
    model = networks.build(Experiment(network="residual", width=8), 32, 1)
    images = pixels().astype(np.float32)
    np.testing.assert_allclose(model(images), model(0.4 * images + 60), atol=2e-3)


def test_logits_and_views_are_consistent_with_probability():
    model = networks.build(Experiment(network="residual", width=8), 32, 1)
    images = pixels().astype(np.float32)
    logits = networks.logit_model(model)(images).numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), model(images), atol=1e-6)
    views = networks.with_views(model, 6)
    np.testing.assert_allclose(views(images), views(images[:, :, ::-1]), atol=1e-6)
    np.testing.assert_allclose(networks.one_view_logits(views)(images), logits, atol=1e-6)
    # De lejos o de cerca, un gris liso es el mismo gris: las seis vistas coinciden con una.
    flat = np.full_like(images, 90)
    np.testing.assert_allclose(networks.logit_model(views)(flat), networks.logit_model(model)(flat), atol=1e-4)
    two = networks.with_views(model, 2)
    mirrored = networks.logit_model(model)(images[:, :, ::-1]).numpy()
    np.testing.assert_allclose(networks.logit_model(two)(images), (logits + mirrored) / 2, atol=1e-5)
    assert np.abs(networks.logit_model(views)(images) - logits).max() > 1e-4


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # de Keras, al guardar
def test_saved_file_works_alone_in_another_process(tmp_path):
    model = networks.with_views(networks.build(Experiment(network="residual", width=8), 32, 1), 6)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "pixels.npy", pixels())
    code = (
        "import sys, keras, numpy as np\n"
        "model = keras.models.load_model('model.keras')\n"
        "np.save('out.npy', model.predict(np.load('pixels.npy'), verbose=0))\n"
        "assert not any(name.startswith('neumo') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model.predict(pixels(), verbose=0), atol=1e-6)


def test_auto_precision_follows_the_processor(monkeypatch, tmp_path):
    for flags, policy in [("fpu avx512_bf16", "mixed_bfloat16"), ("fpu avx2", "float32")]:
        (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
        monkeypatch.setattr(hardware, "_CPU_INFO", str(tmp_path / "cpuinfo"))
        assert networks.policy_name("auto") == policy
