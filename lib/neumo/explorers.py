"""Mandos para JupyterLab: lo que en el informe es una figura fija, aquí se puede mover.

Al hacer el informe no hay quien mueva nada: cada función devuelve `None` sin dibujar, y la celda (etiqueta
`explorador`) no sale en la página.
"""

import functools
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.progress import VARIABLE

if TYPE_CHECKING:
    import ipywidgets
    import pandas as pd

    from neumo.params import Augmentation

PAGE = 8
KINDS = {"falsa alarma": (0, 1), "neumonía no vista": (1, 0), "normal acertada": (0, 0), "neumonía acertada": (1, 1)}
"""Tipo de respuesta → (clase real, decisión)."""
_RANGES = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range")


def _interactive(explorer: Callable) -> Callable:
    """Calla al explorador mientras se ejecuta el informe, que es cuando hay archivo de progreso."""

    @functools.wraps(explorer)
    def wrapped(*arguments: Any, **options: Any) -> "ipywidgets.Widget | None":
        return None if os.environ.get(VARIABLE) else explorer(*arguments, **options)

    return wrapped


def _png(drawing: Any) -> bytes:
    import matplotlib.pyplot as plt

    figure = (drawing.flat[0] if isinstance(drawing, np.ndarray) else drawing).figure
    figure.savefig(target := io.BytesIO(), format="png", dpi=96, bbox_inches="tight")
    plt.close(figure)
    return target.getvalue()


def _panel(draw: Callable[..., tuple[Any, str]], **controls: "ipywidgets.Widget") -> "ipywidgets.VBox":
    """Une los mandos con lo que dibujan: `draw(valores…)` devuelve una figura y una frase."""
    import ipywidgets as widgets

    image, words = widgets.Image(format="png"), widgets.HTML()

    def refresh(change: Any = None) -> None:
        figure, words.value = draw(**{name: control.value for name, control in controls.items()})
        image.value = _png(figure)

    for control in controls.values():
        control.style.description_width = "11em"
        control.observe(refresh, names="value")
    refresh()
    return widgets.VBox([*controls.values(), words, image])


@_interactive
def augmentation(pixels: np.ndarray, augmentation: "Augmentation") -> "ipywidgets.VBox | None":
    """Explora la fuerza del aumento de datos sobre una radiografía, (S, S) uint8.

    La intensidad multiplica todos los rangos de `augmentation`: 0 es no aumentar y 1, lo que dicen los parámetros.
    """
    import ipywidgets as widgets

    from neumo import pipeline, plots

    def draw(strength: float, flip: bool, draw_number: int) -> tuple[Any, str]:
        ranges = {name: getattr(augmentation, name) * strength for name in _RANGES}
        ranges["zoom_range"] = min(ranges["zoom_range"], 0.9)
        changed = augmentation.model_copy(update={**ranges, "horizontal_flip": flip})
        batch = np.repeat(pixels[None, ..., None], 5, axis=0)
        images = pipeline.augment(batch, pipeline.draw_uniform(5, seed=draw_number, epoch=0), changed)
        shown = [pixels, *np.asarray(images)[..., 0].round().astype(np.uint8)]
        words = f"Giro ±{ranges['rotation_range']:.0f}°; desplazamiento ±{ranges['width_shift_range']:.0%}."
        return plots.image_grid(shown, ["sin aumento", *[f"sorteo {i}" for i in range(1, 6)]], columns=3), words

    return _panel(
        draw,
        strength=widgets.FloatSlider(1.0, min=0, max=2, step=0.1, description="intensidad", continuous_update=False),
        flip=widgets.Checkbox(augmentation.horizontal_flip, description="volteo horizontal"),
        draw_number=widgets.IntSlider(0, min=0, max=20, description="sorteo", continuous_update=False),
    )


@_interactive
def learning_rate(curves: "pd.DataFrame", *, steps: int) -> "ipywidgets.VBox | None":
    """Explora la prueba de rango: otra semilla, otro suavizado, otra regla."""
    import ipywidgets as widgets
    import pandas as pd

    from neumo import lr_finder, plots

    def draw(seed: int, smoothing: float, rule: str) -> tuple[Any, str]:
        one = curves[curves["seed"] == seed]
        rows = lr_finder.record(
            lambda rate, loss: loss, one["learning_rate"], one["loss"], smoothing=smoothing, divergence=math.inf
        )
        curve = pd.DataFrame(rows).assign(seed=seed)
        answers = lr_finder.suggest(curve, steps=steps)
        answers = answers[answers["rule"].isin([rule] if rule else list(lr_finder.RULES))]
        words = [
            f"{plots.RULE_NAMES[a.rule]}: {a.reason or plots.rate_text(a.learning_rate)}" for a in answers.itertuples()
        ]
        return plots.lr_curve(curve, suggestions=answers), "<br>".join(words)

    rules = [("todas", ""), *((name, key) for key, name in plots.RULE_NAMES.items())]
    return _panel(
        draw,
        seed=widgets.Dropdown(options=[int(s) for s in curves["seed"].unique()], description="semilla"),
        smoothing=widgets.FloatSlider(
            0.98, min=0, max=0.99, step=0.01, description="suavizado", continuous_update=False
        ),
        rule=widgets.Dropdown(options=rules, description="regla"),
    )


@_interactive
def threshold(y_true: Any, y_prob: Any, *, start: float = 0.5) -> "ipywidgets.VBox | None":
    """Explora el umbral de decisión: matriz de confusión, sensibilidad y especificidad."""
    import ipywidgets as widgets

    from neumo import evaluation, plots

    def draw(value: float) -> tuple[Any, str]:
        measured = evaluation.binary_metrics(y_true, y_prob, threshold=value)
        names = ("sensitivity", "specificity", "precision", "npv", "balanced_accuracy")
        shown = [f"{evaluation.METRICS[n]}: <b>{measured[n]:.3f}</b>" for n in names if n in measured]
        table = evaluation.confusion_table(measured["confusion_matrix"])
        return plots.confusion_matrix(table, title=f"umbral {value:.2f}"), "; ".join(shown)

    slider = widgets.FloatSlider(start, min=0, max=1, step=0.01, description="umbral", continuous_update=False)
    return _panel(draw, value=slider)


@_interactive
def errors(images: "pd.DataFrame", folder: Path, *, side: int = 160) -> "ipywidgets.VBox | None":
    """Recorre imágenes por tipo de respuesta, de la más segura a la más dudosa.

    Parameters
    ----------
    images : DataFrame
        `path`, `y_true`, `probability` y `decision`.
    folder : Path
        Carpeta de las imágenes.
    side : int
        Lado al que se muestran, en píxeles.
    """
    import ipywidgets as widgets

    from neumo import plots
    from neumo.store import decode_grey

    def draw(kind: str, page: int) -> tuple[Any, str]:
        real, said = KINDS[kind]
        part = images[(images["y_true"] == real) & (images["decision"] == said)]
        part = part.sort_values("probability", ascending=said == 0, kind="stable")
        pages = max(1, math.ceil(len(part) / PAGE))
        shown = part.iloc[(min(page, pages) - 1) * PAGE :][:PAGE]
        pixels = np.array([decode_grey(folder / path, side) for path in shown["path"]])
        return plots.error_gallery(pixels, shown), f"{len(part)} imágenes; página {min(page, pages)} de {pages}."

    return _panel(
        draw,
        kind=widgets.Dropdown(options=list(KINDS), description="tipo"),
        page=widgets.BoundedIntText(1, min=1, max=10_000, description="página"),
    )
