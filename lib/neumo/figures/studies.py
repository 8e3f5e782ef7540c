"""Figuras de los capítulos 12, 13 y 15: `f(tabla, *, ax=None) -> Axes`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
from neumo.figures.style import ACCENT, GREY, NORMAL, PNEUMONIA, SERIES, new_axes, new_grid


def heat_maps(
    images: np.ndarray, heat: "Mapping[str, np.ndarray]", titles: Sequence[str], *, columns: int = 2
) -> np.ndarray:
    """Muestra cada radiografía y, a su derecha, el mapa de calor de cada modelo sobre ella.

    Parameters
    ----------
    images : (n, lado, lado) uint8 array
    heat : mapping of str to (n, alto, ancho) array
        Mapas en [0, 1] de cada modelo; pueden tener otro lado que las imágenes.
    titles : sequence of str
        Uno por radiografía.
    columns : int
        Radiografías por fila.

    Returns
    -------
    ndarray of Axes
        (filas, columns); en cada uno, una tira con la radiografía y sus mapas.
    """
    from PIL import Image

    from neumo.figures.style import blend

    side, gap, wide = 192, 8, 1 + len(heat)
    columns = min(columns, len(images))
    axes = new_grid(
        -(-len(images) // columns), columns, (1.25 * columns * wide, 1.7 * -(-len(images) // columns))
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for place, (ax, image, title) in enumerate(zip(axes.flat, images, titles, strict=False)):
        grey = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
        strip = np.full((side, wide * (side + gap) - gap, 3), 255, np.uint8)
        panels = [blend(grey, 0 * grey), *(blend(grey, maps[place]) for maps in heat.values())]
        for left, panel, name in zip(range(0, strip.shape[1], side + gap), panels, ("", *heat), strict=True):
            strip[:, left : left + side] = panel
            ax.text(left, -6, name, fontsize=8, color=GREY)
        ax.imshow(strip)
        ax.text(0, -6, title, fontsize=8)
    return axes


def cascade(
    table: "pd.DataFrame",
    *,
    limit: float,
    seeds: "Mapping[str, float] | None" = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Dibuja cuánto se parece el mapa al de la red entrenada según se barajan capas, de la salida a la entrada.

    Parameters
    ----------
    table : DataFrame
        `model`, `draw`, `fraction` y `correlation`, de `neumo.explain.randomisation_check`; se dibuja el valor
        absoluto: la media de los sorteos y, en banda, del menor al mayor.
    limit : float
        Correlación por debajo de la cual la prueba se da por superada.
    seeds : mapping of str to float, optional
        Parecido medio entre semillas de cada modelo: rombo a la izquierda.
    """
    ax = new_axes(ax, (6.6, 3.4))
    table = table.assign(correlation=table["correlation"].abs())
    draws = table.groupby(["model", "fraction", "draw"], sort=False)["correlation"].mean().reset_index()
    for (name, part), color in zip(draws.groupby("model", sort=False), SERIES * len(draws), strict=False):
        low, mean, high = (part.groupby("fraction")["correlation"].agg(f) for f in ("min", "mean", "max"))
        ax.fill_between([0, *mean.index], [1, *low], [1, *high], color=color, alpha=0.12, linewidth=0)
        ax.plot([0, *mean.index], [1, *mean], "o-", color=color, label=name, markersize=5, linewidth=1.8)
        if seeds and np.isfinite(seeds.get(name, np.nan)):
            ax.plot(-0.05, seeds[name], "D", color=color, markersize=6, clip_on=False)
    ax.axhline(limit, color=GREY, linewidth=0.9, linestyle=":")
    ax.set(xlim=(-0.08, 1.02), ylim=(0, 1.03), xlabel="Parte de las capas con los pesos barajados")
    ax.set_ylabel("Correlación absoluta\ncon el mapa entrenado")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax


_MODE_NAMES = {"batch": "estadísticas del lote", "recomputed": "recalculadas"}
_MODE_COLORS = (ACCENT, NORMAL, "#009E73", "#CC79A7")


def _mode_name(mode: Any) -> str:
    return _MODE_NAMES.get(str(mode), f"inercia {mode}")


def _mode_styles(modes: Sequence[Any]) -> list[tuple]:
    """Modo, rótulo y color: las inercias de mayor a menor, en color, y la verdad, en gris."""
    momenta = sorted((m for m in dict.fromkeys(modes) if str(m) not in _MODE_NAMES), key=float, reverse=True)
    colors = dict(zip(momenta, _MODE_COLORS, strict=False)) | {"batch": GREY, "recomputed": "black"}
    return [(mode, _mode_name(mode), color) for mode, color in colors.items() if mode in set(modes)]


def batchnorm_modes(
    metrics: "pd.DataFrame",
    *,
    metric: str = "accuracy",
    majority: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Dibuja qué acierta la misma red, época a época, según las estadísticas con que normaliza.

    Parameters
    ----------
    metrics : DataFrame
        La de `neumo.anatomy.lag_metrics`: `epoch`, `mode` y la métrica.
    majority : float, optional
        Lo que acierta quien responde siempre la clase mayoritaria.
    """
    ax = new_axes(ax, (6.4, 3.4))
    for mode, label, color in _mode_styles(metrics["mode"]):
        part = metrics[metrics["mode"] == mode]
        ax.plot(
            part["epoch"], part[metric], "D" if mode == "recomputed" else "o-", color=color, label=label, lw=2
        )
    if majority is not None:
        ax.axhline(majority, color=GREY, linewidth=0.9, linestyle=":", label="responder siempre lo mismo")
    ax.set(xlabel="Época", ylabel="Exactitud en validación", ylim=(None, 1.01))
    ax.set_xticks(metrics["epoch"].unique())
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def batchnorm_variances(variances: "pd.DataFrame", *, factor: float = 2.0) -> np.ndarray:
    """Dibuja, por capa de normalización, cómo la varianza móvil alcanza (o no) a la verdadera.

    Parameters
    ----------
    variances : DataFrame
        `layer`, `step`, `mode` y `variance`, de `neumo.anatomy.batchnorm_lag`.
    factor : float
        Ancho de la franja que se da por alcanzada: hasta tantas veces la verdadera.
    """
    layers = sorted(variances["layer"].unique())
    axes = new_grid(1, len(layers), (3.0 * len(layers), 3.2), sharex=True)
    for ax, layer in zip(axes[0], layers, strict=True):
        part = variances[variances["layer"] == layer]
        for mode, label, color in _mode_styles(part["mode"]):
            curve = part[part["mode"] == mode]
            ax.plot(
                curve["step"], curve["variance"], color=color, label=label, lw=2 if mode != "batch" else 1
            )
            if mode == "batch":
                band = curve["variance"].rolling(10, min_periods=1).mean()
                ax.fill_between(curve["step"], band / factor, band * factor, color=GREY, alpha=0.18, lw=0)
        ax.set(yscale="log", xlabel="Paso")
        ax.set_title(f"normalización {layer}")
    axes[0, 0].set_ylabel("Varianza (canal mediano)")
    axes[0, 0].figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return axes


def logit_spread(logits: "pd.DataFrame", *, limit: float | None = None, ax: "Axes | None" = None) -> "Axes":
    """Dibuja la distribución de los logits de cada condición, en escala logarítmica con signo.

    Parameters
    ----------
    logits : DataFrame
        `condition`, `y_true` y `logit`; los no finitos no se dibujan.
    limit : float, optional
        Logit desde el que la probabilidad recortada ya no cambia: se señala a ambos lados.
    """
    conditions = list(dict.fromkeys(logits["condition"]))
    ax = new_axes(ax, (7.2, 0.5 * len(conditions) + 1.2))
    finite = logits[np.isfinite(logits["logit"])]
    for (condition, label), values in finite.groupby(["condition", "y_true"])["logit"]:
        row, color = conditions.index(condition) + 0.32 * (label - 0.5), (NORMAL, PNEUMONIA)[label]
        low, quarter, middle, most, high = values.quantile([0, 0.25, 0.5, 0.75, 1])
        ax.plot([low, high], [row, row], color=color, linewidth=1.2)
        ax.plot([quarter, most], [row, row], color=color, linewidth=6, alpha=0.4, solid_capstyle="butt")
        ax.plot(middle, row, "o", color=color, markersize=6, markeredgecolor="white")
    for name, color in (("NORMAL", NORMAL), ("PNEUMONIA", PNEUMONIA)):
        ax.plot([], [], "o-", color=color, label=name)
    ax.set(yticks=range(len(conditions)), yticklabels=conditions, ylim=(len(conditions) - 0.5, -0.5))
    ax.set_xscale("symlog", linthresh=10, linscale=3)
    ax.xaxis.get_major_locator().set_params(numticks=9)
    for edge in () if limit is None else (-limit, limit):
        ax.axvline(edge, color=GREY, linewidth=0.9, linestyle=":")
    ax.set(xlabel="Logit de PNEUMONIA (escala logarítmica con signo)", ylabel="")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def ablation(
    table: "pd.DataFrame",
    *,
    labels: Mapping[str, str],
    metric: str = "balanced_accuracy",
    ax: "Axes | None" = None,
) -> "Axes":
    """Dibuja cada receta de la ablación leída de tres maneras; un punto por semilla.

    Parameters
    ----------
    table : DataFrame
        La de `neumo.ablation.ablation_table`.
    labels : mapping of str to str
        Rótulo de cada receta.
    """
    models = list(dict.fromkeys(table["model"]))
    ax = new_axes(ax, (7.2, 0.42 * len(models) + 1.4))
    readings = {
        "arg-max": ("moving", "argmax", GREY, "X"),
        "umbral": ("moving", "threshold", ACCENT, "o"),
        "umbral y normalización recalculada": ("recomputed", "threshold", NORMAL, "D"),
    }
    for shift, (name, (statistics, decision, color, marker)) in enumerate(readings.items(), start=-1):
        part = table[(table["statistics"] == statistics) & (table["decision"] == decision)]
        rows = part["model"].map(models.index) + 0.2 * shift
        ax.plot(part[metric], rows, marker, color=color, label=name, markersize=6, markeredgecolor="white")
    ax.set(yticks=range(len(models)), yticklabels=[labels[m] for m in models], ylim=(len(models) - 0.5, -0.6))
    ax.set(xlabel="Exactitud equilibrada en validación", xlim=(None, 1.01))
    ax.grid(axis="y", color=GREY, alpha=0.15, linewidth=0.7)
    ax.figure.legend(loc="outside upper left", ncols=3)
    return ax
