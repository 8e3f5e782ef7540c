"""Los parámetros se comprueban antes de arrancar nada, y los perfiles valen lo que dicen."""

from pathlib import Path

import pytest

from neumo.errors import NeumoError
from neumo.params import Params
from neumo.params_reader import load
from refusals import refusal

ROOT = Path(__file__).parents[1]
PROFILES = sorted({*(ROOT / "params").glob("*.yaml")} - {ROOT / "params" / "barrido.yaml"})  # este compara otra cosa


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("image_size=grande", ["image_size", '"grande"', "entero"]),
        ("attempts.intento_1.epochs=0", ["attempts.intento_1.epochs", "mayor o igual que 1"]),
        ("attempts.Uno.epochs=1", ["attempts.Uno", "minúsculas"]),
        ("attempts.intento_1=3", ["attempts.intento_1", "grupo"]),
        ("attempts.mejorado.epochs=3", ["mejorado", "otro"]),
        ("attempts.intento_1.network=residual", ["intento_1", "original_attempt"]),
        ("original_attempt=otro", ["otro", "intento_1"]),
        ("val_fraction=2", ["val_fraction", "menor que 0.9"]),
        ("val_counts.NORMAL=277", ["val_counts", "las dos clases"]),
        ("source=carpeta", ["source", "'phantom'", "'folder'"]),
        ("source=folder", ["data_dir"]),
        ("lr_finder.min_lr=20", ["min_lr", "max_lr"]),
        ("image_size=21", ["21", "13 capas", "suba image_size"]),
        ("attempts.intento_1.kernel_size=11", ["intento_1", "kernel_size"]),
        ("improved.network=original improved.image_size=18", ["mejorado", "18", "13 capas"]),
        ("ablation.image_size=16", ["16", "ablation"]),
        ("improved.epochs=2 improved.warmup_epochs=3", ["warmup_epochs (3)", "epochs (2)", "mejorado"]),
        ("lot_shift.epochs=1 improved.warmup_epochs=2", ["warmup_epochs (2)", "epochs (1)", "lot_shift"]),
        ("seed=true", ["seed", "true", "entero"]),
        ("val_fraction=false", ["val_fraction", "false", "número"]),
        ("final_seeds=[true]", ["final_seeds", "true", "entero"]),
        ("final_seeds=[0,0]", ["final_seeds", "repetidos"]),
        ("final_seeds=[-1]", ["final_seeds", "mayor o igual que 0"]),
        ("final_models=[mejorado]", ["final_models", "2"]),
        ("class_names=[a,a]", ["class_names", "repetidos"]),
        ("chosen_model=original", ["chosen_model", "arg-max", "umbral", "reparado"]),
        ("chosen_model=mejorado final_models=[original,reparado]", ["mejorado", "reparado"]),
        ("repaired.decision=argmax improved.decision=argmax", ["final_models", "umbral"]),
    ],
)
def test_an_impossible_value_is_one_sentence_with_key_value_and_remedy(change, said):
    message = refusal(change)
    assert all(word in message for word in said), message
    assert "\n" not in message
    assert "Input should" not in message


def test_the_original_as_written_is_one_of_the_attempts_read_by_argmax():
    params = load(None, {"original_attempt": "intento_2", "image_size": 96})
    original = params.experiment("original")
    assert (original.name, original.learning_rate, original.decision) == ("original", 0.03, "argmax")
    assert original.image_size == 96
    with pytest.raises(NeumoError, match="intento_1"):
        params.experiment("intento_9")


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_tries_the_four_rates_of_the_report(path):
    params = load(path)
    tried = {attempt.name: attempt for attempt in params.tried()}
    assert {name: attempt.learning_rate for name, attempt in tried.items()} == {
        "intento_1": 0.001,
        "intento_2": 0.03,
        "intento_3": 0.003,
        "intento_4": 0.005,
    }
    assert [name for name, attempt in tried.items() if attempt.class_weight and attempt.l2 == 0.001] == ["intento_4"]


@pytest.mark.parametrize(
    ("profile", "tried", "repaired", "improved", "sizes"),
    [
        ("demo", [10, 10, 10, 10], (10, 32, 1, "float32"), (12, 64, 1), (32, 32, 32, 6, 60)),
        ("kaggle", [12, 12, 9, 9], (10, 96, 1, "auto"), (80, 64, 1), (96, 64, 64, 5, 200)),
        ("informe", [20, 20, 15, 15], (10, 96, 1, "auto"), (80, 64, 1), (224, 64, 64, 4, 60)),
        ("pneumoniamnist", [10, 10, 8, 8], (12, 64, 1, "float32"), (18, 64, 1), (64, 64, 48, 4, 60)),
        ("prueba", [2, 1, 2, 1], (3, 32, 1, "float32"), (3, 32, 1), (32, 32, 32, 1, 12)),
    ],
)
def test_each_profile_trains_as_in_its_published_report(profile, tried, repaired, improved, sizes):
    """Partir de otro archivo no cambia lo que un perfil vale: épocas, lado, canales y precisión."""
    params = load(ROOT / "params" / f"{profile}.yaml")
    assert [attempt.epochs for attempt in params.tried()] == tried
    one, other = params.experiment("reparado"), params.experiment("mejorado")
    assert (one.epochs, one.image_size, one.channels, params.repaired.precision) == repaired
    assert (other.epochs, other.image_size, other.channels) == improved
    ablation, explained = params.ablation, params.explanation.images
    assert (params.image_size, params.anatomy.image_size, ablation.image_size, ablation.epochs, explained) == sizes


@pytest.mark.parametrize("profile", ["informe", "kaggle", "pneumoniamnist"])
def test_the_profiles_of_real_radiographs_share_the_robust_recipe(profile):
    usual, real = Params().improved, load(ROOT / "params" / f"{profile}.yaml").improved
    robust = {"blur_range": 1, "noise_stddev": 0.04, "cutout_fraction": 0.3}
    recipe = {"batch_size": 64, "label_smoothing": 0.1, "epochs": real.epochs, "channels": real.channels}
    recipe |= {"width": 24}
    if profile == "pneumoniamnist":
        robust |= {"zoom_range": 0.2}
    else:  # el recorte pide píxeles de donde recortar, y entonces bastan la imagen y su espejo
        robust |= {"crop_area": 0.08, "zoom_range": 0.0, "width_shift_range": 0.0, "height_shift_range": 0.0}
        recipe |= {"source_scale": 2, "views": 2}
    recipe["augmentation"] = usual.augmentation.model_copy(update=robust)
    assert real == usual.model_copy(update=recipe)
