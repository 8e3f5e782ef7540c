"""Las figuras de la comparación: una cifra según el parámetro que se barre, y las curvas superpuestas."""

from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.figures.style import SERIES, new_axes, new_grid
from neumo.words import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_DASHES = ("-", "--", ":", "-.")


def _look(place: int) -> dict[str, Any]:
    return {"color": SERIES[place % len(SERIES)], "linestyle": _DASHES[place // len(SERIES) % len(_DASHES)]}


def numeric_keys(points: "pd.DataFrame", keys: list[str]) -> list[str]:
    """Devuelve los parámetros que se barren en números, con más de un valor."""
    numbers = {key: {type(value) for value in points[key]} <= {int, float, np.int64, np.float64} for key in keys}
    return [key for key in keys if numbers[key] and points[key].nunique() > 1]


def swept(points: "pd.DataFrame", key: str, *, metric: str = "auc", ax: "Axes | None" = None) -> "Axes":
    """Dibuja una métrica según un parámetro: un punto por semilla y una línea por la media, una serie por modelo.

    Parameters
    ----------
    points : DataFrame
        La de `neumo.sweep.tables.Results`.
    key : str
        Parámetro numérico.
    metric : str
        Columna que se dibuja.
    ax : Axes, optional
        Ejes donde dibujar.
    """
    ax = new_axes(ax, (6.4, 3.2))
    measured = points.dropna(subset=[metric])
    for place, (name, part) in enumerate(measured.groupby("model", sort=False)):
        look = _look(place)
        ax.plot(part[key], part[metric], "o", color=look["color"], markersize=4, alpha=0.6)
        means = part.groupby(key)[metric].mean()
        ax.plot(means.index, means, **look, label=name)
    values = np.array(sorted(set(measured[key])), float)
    if (values > 0).all() and values.max() / values.min() >= 8:
        ax.set_xscale("log")
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.minorticks_off()
    ax.set(xlabel=key, ylabel=METRICS[metric] + " (validación)")
    ax.legend()
    return ax


def overlaid(history: "pd.DataFrame") -> np.ndarray:
    """Superpone las curvas de validación de todas las variantes: pérdida y exactitud, una línea por semilla.

    Parameters
    ----------
    history : DataFrame
        `model` (la variante), `seed`, `epoch`, `val_loss` y `val_accuracy`.

    Returns
    -------
    ndarray of Axes
        (2,).
    """
    axes = new_grid(1, 2, (9.0, 3.4))[0]
    for place, (name, part) in enumerate(history.groupby("model", sort=False)):
        for count, (_, one) in enumerate(part.groupby("seed")):
            for ax, column in zip(axes, ("val_loss", "val_accuracy"), strict=True):
                label = name if not count and ax is axes[0] else None
                ax.plot(one["epoch"], one[column], **_look(place), linewidth=1.2, label=label)
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes[0].set(yscale="log", xlabel="Época", ylabel="Pérdida en validación (escala log.)")
    axes[1].set(xlabel="Época", ylabel="Exactitud en validación")
    axes[0].figure.legend(loc="outside upper left", ncols=2)
    return axes
