"""Figuras de la red, de la tasa de aprendizaje y del entrenamiento: `f(tabla, *, ax=None) -> Axes`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.figures.style import ACCENT, DOTS, GREY, NORMAL, hover, new_axes, new_grid, spread
from neumo.words import cell_text, rate_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

RULE_NAMES = {"valley": "valle", "steep": "pendiente", "minimum": "mínimo / 10", "slide": "regla corrida"}
_LAYER_STYLE = {  # nombre corto y color
    "Rescaling": ("escala", "#e5e7eb"),
    "Conv2D": ("conv.", "#56B4E9"),
    "MaxPooling2D": ("máx.", "#c7e3f6"),
    "BatchNormalization": ("norm.", "#9ca3af"),
    "Flatten": ("aplanar", "#e5e7eb"),
    "Dropout": ("dropout", "#e5e7eb"),
    "Dense": ("densa", "#E69F00"),
}


def lr_curve(
    curve: "pd.DataFrame",
    *,
    suggestions: "pd.DataFrame | None" = None,
    stop: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Dibuja la prueba de rango: la pérdida de cada lote, la suavizada y lo que sugiere cada regla.

    Parameters
    ----------
    curve : DataFrame
        `learning_rate`, `loss` y `smoothed` de una semilla.
    suggestions : DataFrame, optional
        `rule`, `learning_rate` y `loss`; las reglas sin respuesta (NaN) no se dibujan.
    stop : int, optional
        Fila en que se detuvo la prueba, de `neumo.learning.lr_rules.divergence_point`: se señala con una cruz.
    ax : Axes, optional
        Ejes donde dibujar.
    """
    ax = new_axes(ax, (7.6, 3.9))
    rates, smoothed = curve["learning_rate"].to_numpy(), curve["smoothed"].to_numpy()
    bottom, top = _calm_limits(curve, "loss")
    ax.plot(rates, curve["loss"], color=GREY, alpha=0.45, linewidth=0.9)
    ax.plot(rates, smoothed, color=NORMAL, linewidth=2.2)
    ax.set(xscale="log", xlim=(rates[0], rates[-1] * 1.6), ylim=(bottom, top))
    ax.set(xlabel="Tasa de aprendizaje (escala logarítmica)", ylabel="Pérdida")
    edges = np.linspace(0, len(rates), min(len(rates), 24) + 1).astype(int)
    for first, last in zip(edges[:-1], np.minimum(edges[1:], len(rates) - 1), strict=True):
        told = f"tasa {rate_text(rates[first])}: pérdida suavizada, {cell_text(smoothed[first])}"
        hover(ax, (rates[first], bottom, rates[last] - rates[first], top - bottom), told)
    ax.text(0.02, 0.10, "pérdida suavizada", color=NORMAL, fontsize=9, transform=ax.transAxes)
    ax.text(0.02, 0.03, "pérdida de cada lote", color=GREY, fontsize=9, transform=ax.transAxes)
    points = [] if suggestions is None else suggestions.dropna(subset="learning_rate").to_dict("records")
    marks = [(RULE_NAMES[p["rule"]], p["learning_rate"], p["loss"], NORMAL) for p in points]
    if stop is not None:
        marks.append(("se detiene", rates[stop], np.fmin(smoothed[stop], top), ACCENT))
    _label_above(ax, marks)
    return ax


def _calm_limits(curve: "pd.DataFrame", column: str) -> tuple[float, float]:
    """Límites verticales que dejan ver el descenso: los de antes del mínimo, sin los lotes más extremos."""
    if not np.isfinite(curve["smoothed"]).any():
        return 0.0, 1.0
    before = curve.iloc[: int(np.nanargmin(curve["smoothed"])) + 2]
    low, high = np.nanquantile(before[column], [0.04, 0.96])
    low, high = min(low, before["smoothed"].min()), max(high, before["smoothed"].max())
    margin = 0.3 * (high - low) + 0.05 * abs(low)
    return low - margin, high + margin


def _label_above(ax: "Axes", marks: Sequence[tuple[str, float, float, str]]) -> None:
    """Marca puntos (nombre, x, y, color) de un eje logarítmico y los rotula en una fila por encima, sin solaparse."""
    low, high = np.log(ax.get_xlim())
    places = [(np.log(x) - low) / (high - low) for _, x, _, _ in marks]
    for (name, x, y, color), place in zip(marks, 0.07 + 0.86 * spread(places, 0.165), strict=True):
        marker = "X" if color == ACCENT else "o"
        ax.plot(x, y, marker, color=color, markersize=8, markeredgecolor="white", clip_on=False)
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.7, "alpha": 0.6, "shrinkB": 5}
        look = {"ha": "center", "va": "bottom", "fontsize": 9, "color": color, "arrowprops": line}
        text = f"{name}\n{rate_text(x)}"
        ax.annotate(text, (x, y), (place, 1.04), textcoords="axes fraction", **look)


def lr_seeds(curves: "pd.DataFrame", *, ax: "Axes | None" = None) -> "Axes":
    """Dibuja la curva suavizada de cada semilla; `curves` trae `seed`, `learning_rate` y `smoothed`."""
    ax = new_axes(ax, (7.6, 3.2))
    limits = [_calm_limits(curve, "smoothed") for _, curve in curves.groupby("seed")]
    for _, curve in curves.groupby("seed", sort=False):
        ax.plot(curve["learning_rate"], curve["smoothed"], color=NORMAL, linewidth=1.6, alpha=0.7)
    ax.set(xscale="log", ylim=(min(low for low, _ in limits), max(high for _, high in limits)))
    ax.set(ylabel="Pérdida suavizada", title=f"{curves['seed'].nunique()} semillas")
    return ax


def lr_agreement(
    suggestions: "pd.DataFrame", *, references: Mapping[str, float] | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Dibuja lo que sugiere cada regla con cada semilla, y la distancia entre la menor y la mayor.

    Parameters
    ----------
    suggestions : DataFrame
        `seed`, `rule` y `learning_rate` (NaN: sin respuesta).
    references : mapping of str to float, optional
        Otras tasas que se señalan con una línea vertical, por su rótulo.
    ax : Axes, optional
        Ejes donde dibujar.
    """
    import seaborn as sns

    ax = new_axes(ax, (7.6, 2.2))
    rules = list(RULE_NAMES)
    look = {"color": NORMAL, "size": 6, "jitter": False, "edgecolor": "white", "linewidth": 1}
    answered = suggestions.dropna(subset="learning_rate")
    sns.stripplot(answered, x="learning_rate", y="rule", order=rules, **look, ax=ax)
    spans = answered.groupby("rule")["learning_rate"].agg(["min", "max"]).reindex(rules)
    ax.hlines(range(len(rules)), spans["min"], spans["max"], color=NORMAL, lw=5, alpha=0.2, capstyle="round")
    marks = sorted((references or {}).items(), key=lambda mark: -mark[1])
    for place, (label, rate) in enumerate(marks):
        low = len(rules) + 0.55 * place
        ax.plot([rate, rate], [-0.5, low], color=ACCENT, linewidth=0.9, linestyle=":")
        ax.text(rate, low, f" {label}", color=ACCENT, fontsize=8.5, va="center")
    ax.set(xscale="log", yticks=range(len(rules)), yticklabels=RULE_NAMES.values())
    ax.set(ylim=(len(rules) - 0.4 + 0.55 * len(marks), -0.6), ylabel="")
    ax.set_xlabel("Tasa de aprendizaje (escala logarítmica)")
    return ax


def lr_repeat(
    curves: "pd.DataFrame", suggestions: "pd.DataFrame", *, references: Mapping[str, float] | None = None
) -> np.ndarray:
    """Pone `lr_seeds` sobre `lr_agreement` con el mismo eje de tasas; devuelve los dos Axes."""
    axes = new_grid(2, 1, (7.6, 5.6), sharex=True, height_ratios=[3, 3])[:, 0]
    lr_seeds(curves, ax=axes[0])
    lr_agreement(suggestions, references=references, ax=axes[1])
    return axes


def learning_curves(history: "pd.DataFrame", *, majority: float | None = None) -> np.ndarray:
    """Dibuja pérdida (arriba, escala logarítmica) y exactitud (abajo) por época, una columna por modelo.

    Parameters
    ----------
    history : DataFrame
        `model`, `seed`, `epoch`, `loss`, `val_loss`, `accuracy` y `val_accuracy`.
    majority : float, optional
        Exactitud en validación de responder siempre la clase mayoritaria: línea de referencia.

    Returns
    -------
    ndarray of Axes
        (2, modelos). Con varias semillas, una línea fina por semilla.
    """
    models = list(dict.fromkeys(history["model"]))
    axes = new_grid(2, len(models), (max(4.2, 2.3 * len(models)), 4.6), sharey="row", sharex="col")
    for column, model in zip(axes.T, models, strict=True):
        _training_lines(column, history[history["model"] == model])
        column[0].set_title(model)
        column[1].set_xlabel("Época")
        if majority is not None:
            column[1].axhline(majority, **DOTS)
    axes[0, 0].set(yscale="log", ylabel="Pérdida (escala log.)")
    lowest = history[["accuracy", "val_accuracy"]].min().min()
    axes[1, 0].set(ylabel="Exactitud", ylim=(min(0.4, lowest - 0.03), 1.01))
    for ax in axes[0]:
        _plain_log_ticks(ax)
    _training_legend(axes[0, 0].figure, majority)
    return axes


def _training_lines(column: np.ndarray, history: "pd.DataFrame") -> None:
    last = history["epoch"].max()
    look = {"linewidth": 2.0 if history["seed"].nunique() == 1 else 1.1, "marker": "o" if last < 4 else ""}
    for _, one in history.groupby("seed", sort=False):
        for ax, metric in zip(column, ("loss", "accuracy"), strict=True):
            ax.plot(one["epoch"], one[metric], color=GREY, markersize=4, **look)
            ax.plot(one["epoch"], one[f"val_{metric}"], color=ACCENT, markersize=4, **look)
    column[1].set_xlim(0.6, last + 0.4)
    column[1].xaxis.get_major_locator().set_params(integer=True, nbins=5, min_n_ticks=1)


def _plain_log_ticks(ax: "Axes") -> None:
    """Números corrientes en un eje logarítmico corto o largo."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = np.log10(np.divide(*ax.get_ylim()[::-1]))
    ax.yaxis.set_major_locator(LogLocator(subs=(1,) if decades > 3 else (1, 2, 5), numticks=8))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="y", which="minor", left=False)


def _training_legend(figure: Any, majority: float | None) -> None:
    from matplotlib.lines import Line2D

    looks = {"entrenamiento": (GREY, "-"), "validación": (ACCENT, "-")}
    if majority is not None:
        looks[f"responder siempre lo mismo ({majority:.3f})"] = (GREY, ":")
    handles = [Line2D([], [], color=color, ls=style, label=name) for name, (color, style) in looks.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))


def network(layers: "pd.DataFrame", *, input_shape: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Dibuja una red en serie: un bloque por capa, más alto cuanto más lado y más ancho cuantos más canales.

    Parameters
    ----------
    layers : DataFrame
        La tabla de `neumo.studies.architecture.layer_table`: `type`, `output_shape` («62 × 62 × 32») y, si la tiene, `number`.
    input_shape : str, optional
        Forma de la entrada, para dibujarla delante.
    ax : Axes, optional
        Ejes donde dibujar.
    """
    blocks = layers.to_dict("records")
    if input_shape is not None:
        blocks.insert(0, {"type": "entrada", "output_shape": input_shape})
    ax = new_axes(ax, (0.72 * len(blocks), 3.1))
    sides = [[int(part) for part in block["output_shape"].split(" × ")] for block in blocks]
    tallest = max(shape[0] for shape in sides if len(shape) == 3)
    for place, (block, shape) in enumerate(zip(blocks, sides, strict=True)):
        _layer_block(ax, place, block, shape, tallest)
    ax.set(xlim=(-0.6, len(blocks) - 0.4), ylim=(-0.95, 1.1))
    ax.set_axis_off()
    return ax


def _layer_block(ax: "Axes", place: int, block: dict, shape: list[int], tallest: int) -> None:
    from matplotlib.patches import Rectangle

    name, color = _LAYER_STYLE.get(block["type"], (block["type"], "white"))
    spatial = len(shape) == 3
    height = max(0.12, np.sqrt(shape[0] / tallest)) if spatial else 0.12 + 0.14 * np.log10(shape[0])
    width = 0.2 + 0.08 * np.log2(shape[-1]) if spatial else 0.22
    rectangle = Rectangle((place - width / 2, -height / 2 + 0.35), width, height, facecolor=color, edgecolor=GREY)
    ax.add_patch(rectangle)
    units = f"\n{shape[-1]}" if block["type"] in ("Conv2D", "Dense") else ""
    size = f"{shape[0]}×{shape[1]}\n×{shape[-1]}" if spatial else str(shape[0])
    ax.text(place, -0.24, name + units, ha="center", va="top", fontsize=10)
    ax.text(place, -0.60, size, ha="center", va="top", fontsize=9, color=GREY)
    if block.get("number"):
        ax.text(place, 0.92, str(block["number"]), ha="center", va="bottom", fontsize=10, color=GREY)
