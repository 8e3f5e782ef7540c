"""Mandos para JupyterLab sobre lo que en el informe es una figura fija; al hacer el informe, sus celdas no se ejecutan."""

import functools
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from ipywidgets import VBox

    from neumo.params import Augmentation

PAGE = 8
KINDS = {"falsa alarma": (0, 1), "neumonía no vista": (1, 0), "acierto en NORMAL": (0, 0)}
KINDS["acierto en PNEUMONIA"] = (1, 1)
"""Tipo de respuesta → (clase real, decisión)."""
RANGES = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range")


def _interactive(explorer: Callable) -> Callable:
    """Convierte lo que da un explorador (cómo se dibuja y sus mandos) en el panel que JupyterLab muestra."""

    @functools.wraps(explorer)
    def wrapped(*arguments: Any, **options: Any) -> "VBox":
        return _panel(*explorer(*arguments, **options))

    return wrapped


def _panel(draw: Callable[..., tuple[Any, str]], controls: dict[str, Any]) -> "VBox":
    """Une los mandos con lo que dibujan: `draw(valores…)` devuelve una figura y una frase."""
    import ipywidgets as widgets
    import matplotlib.pyplot as plt

    image, words = widgets.Image(format="png"), widgets.HTML()

    def refresh(change: Any = None) -> None:
        drawing, words.value = draw(**{name: control.value for name, control in controls.items()})
        figure = (drawing.flat[0] if isinstance(drawing, np.ndarray) else drawing).figure
        figure.savefig(target := io.BytesIO(), format="png", bbox_inches="tight")
        plt.close(figure)
        image.value = target.getvalue()

    for control in controls.values():
        control.observe(refresh, names="value")
    refresh()
    return widgets.VBox([*controls.values(), words, image], layout={"align_items": "flex-start"})


def _slider(kind: str, start: float, low: float, high: float, label: str, **options: Any) -> Any:
    import ipywidgets

    options |= {"min": low, "max": high, "description": label, "continuous_update": False}
    return getattr(ipywidgets, kind)(start, **options)


@_interactive
def augmentation(pixels: np.ndarray, augmentation: "Augmentation") -> tuple:
    """Mueve la fuerza del aumento sobre una radiografía (S, S) uint8; 1 es lo que dicen los parámetros."""
    from neumo.figures import data as data_figures
    from neumo.learning.batches import augment, draw_uniform

    def draw(strength: float, draw_number: int) -> tuple[Any, str]:
        ranges = {name: getattr(augmentation, name) * strength for name in RANGES}
        changed = augmentation.model_copy(update=ranges)
        uniform = draw_uniform(5, seed=draw_number, epoch=0)
        images = augment(np.repeat(pixels[None, ..., None], 5, axis=0), uniform, changed)
        shown = [pixels, *np.asarray(images)[..., 0].round().astype(np.uint8)]
        words = f"giro ±{ranges['rotation_range']:.0f}°, desplazamiento ±{ranges['width_shift_range']:.0%}"
        return data_figures.image_grid(shown, ["sin aumento", *["con aumento"] * 5], columns=3), words

    strength = _slider("FloatSlider", 1.0, 0.0, 2.0, "intensidad", step=0.1)
    return draw, {"strength": strength, "draw_number": _slider("IntSlider", 0, 0, 20, "sorteo")}


@_interactive
def learning_rate(curves: "pd.DataFrame", *, steps: int) -> tuple:
    """Cambia la semilla y el suavizado de la prueba de rango, y enseña lo que sugiere una regla o todas."""
    import ipywidgets as widgets
    import pandas as pd

    from neumo.figures import learning as learning_figures
    from neumo.learning import lr_finder, lr_rules

    def draw(seed: int, smoothing: float, rule: str) -> tuple[Any, str]:
        one, options = curves[curves["seed"] == seed], {"smoothing": smoothing, "divergence": math.inf}
        rows = lr_finder.record(lambda rate, loss: loss, one["learning_rate"], one["loss"], **options)
        answers = lr_rules.suggest(pd.DataFrame(rows).assign(seed=seed), steps=steps)
        shown = answers[answers["rule"].isin([rule] if rule else list(lr_rules.RULES))]
        words = [f"{learning_figures.RULE_NAMES[a.rule]}: {a.reason}" for a in shown.itertuples() if a.reason]
        table, stop = pd.DataFrame(rows), lr_rules.divergence_point(pd.DataFrame(rows))
        return learning_figures.lr_curve(table, suggestions=shown, stop=stop), "<br>".join(words)

    seeds = [int(seed) for seed in curves["seed"].unique()]
    rules = [("todas", ""), *((name, key) for key, name in learning_figures.RULE_NAMES.items())]
    return draw, {
        "seed": widgets.Dropdown(options=seeds, description="semilla"),
        "smoothing": _slider("FloatSlider", 0.98, 0.0, 0.99, "suavizado", step=0.01),
        "rule": widgets.Dropdown(options=rules, description="regla"),
    }


@_interactive
def threshold(y_true: Any, y_prob: Any, *, start: float = 0.5) -> tuple:
    """Mueve el umbral de decisión: matriz de confusión, sensibilidad, especificidad y valores predictivos."""
    from neumo.evaluation.metrics import binary_metrics, confusion_table
    from neumo.figures import evaluation as evaluation_figures
    from neumo.words import METRICS

    def draw(value: float) -> tuple[Any, str]:
        measured = binary_metrics(y_true, y_prob, threshold=value)
        names = ("sensitivity", "specificity", "precision", "npv")
        words = "; ".join(f"{METRICS[name]}: <b>{measured[name]:.3f}</b>" for name in names)
        return evaluation_figures.confusion_matrix(confusion_table(measured["confusion_matrix"])), words

    return draw, {"value": _slider("FloatSlider", start, 0.0, 1.0, "umbral", step=0.01)}


@_interactive
def errors(images: "pd.DataFrame", folder: Path, *, side: int = 160) -> tuple:
    """Recorre imágenes por tipo de respuesta, primero las más seguras; usa `y_true`, `probability` y `decision`."""
    import ipywidgets as widgets

    from neumo.data.store import decode_grey
    from neumo.figures import evaluation as evaluation_figures

    def draw(kind: str, page: int) -> tuple[Any, str]:
        real, said = KINDS[kind]
        part = images[(images["y_true"] == real) & (images["decision"] == said)]
        part = part.sort_values("probability", ascending=said == 0, kind="stable")
        page = min(page, max(1, -(-len(part) // PAGE)))
        shown = part.iloc[(page - 1) * PAGE : page * PAGE]
        pixels = np.array([decode_grey(folder / path, side) for path in shown["path"]])
        return evaluation_figures.error_gallery(pixels, shown), f"{len(part)} imágenes; página {page}"

    kinds = widgets.Dropdown(options=list(KINDS), description="tipo")
    return draw, {"kind": kinds, "page": widgets.BoundedIntText(1, min=1, max=9999, description="página")}
