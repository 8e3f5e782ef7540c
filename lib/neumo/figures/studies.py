"""Figuras de los capítulos 12, 13 y 15: `f(tabla, *, ax=None) -> Axes`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.figures.style import ACCENT, CLASS_COLOURS, DOTS, GREY, NORMAL, SERIES, blend, new_axes, new_grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


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

    side, gap, columns = 192, 8, min(columns, len(images))
    rows = -(-len(images) // columns)
    axes = new_grid(rows, columns, (1.25 * columns * (1 + len(heat)), 1.7 * rows))
    for ax in axes.flat:
        ax.set_axis_off()
    for place, (ax, image, title) in enumerate(zip(axes.flat, images, titles, strict=False)):
        grey = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
        panels = [blend(grey, 0 * grey), *(blend(grey, maps[place]) for maps in heat.values())]
        white = np.full((side, gap, 3), 255, np.uint8)
        ax.imshow(np.hstack([part for panel in panels for part in (panel, white)][:-1]))
        for left, text in enumerate((title, *heat)):
            ax.text(left * (side + gap), -6, text, fontsize=8, color=GREY if left else "black")
    return axes


def cascade(table: "pd.DataFrame", *, limit: float, seeds: Mapping[str, float], ax: "Axes | None" = None) -> "Axes":
    """Dibuja cuánto se parece el mapa al de la red entrenada según se barajan capas, de la salida a la entrada.

    Parameters
    ----------
    table : DataFrame
        `model`, `draw`, `fraction` y `correlation`, de `neumo.studies.maps.randomisation_check`; se dibuja el valor
        absoluto: la media de los sorteos y, en banda, del menor al mayor.
    limit : float
        Correlación por debajo de la cual la prueba se da por superada.
    seeds : mapping of str to float
        Parecido medio entre semillas de cada modelo: rombo a la izquierda.
    """
    import pandas as pd
    import seaborn as sns

    ax = new_axes(ax, (6.6, 3.4))
    table = table.assign(correlation=table["correlation"].abs())
    draws = table.groupby(["model", "fraction", "draw"], sort=False)["correlation"].mean().reset_index()
    curves = pd.concat([draws.assign(fraction=0, correlation=1).drop_duplicates(), draws], ignore_index=True)
    colors = dict(zip(draws["model"].unique(), SERIES * len(draws), strict=False))
    sns.lineplot(
        curves, x="fraction", y="correlation", hue="model", palette=colors, errorbar=("pi", 100), marker="o",
        markersize=6, markeredgewidth=0, linewidth=1.8, err_kws={"alpha": 0.12, "linewidth": 0}, ax=ax,
    )  # fmt: skip
    for name, color in colors.items():
        ax.plot(-0.05, seeds.get(name, np.nan), "D", color=color, markersize=6, clip_on=False)
    ax.axhline(limit, **DOTS)
    ax.set(xlim=(-0.08, 1.02), ylim=(0, 1.03), xlabel="Parte de las capas con los pesos barajados")
    ax.set_ylabel("Correlación absoluta\ncon el mapa entrenado")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax


_MODES = {"batch": "estadísticas del lote", "recomputed": "recalculadas"}


def _by_mode(table: "pd.DataFrame") -> dict[str, Any]:
    """Lo que piden las figuras de seaborn: las inercias de mayor a menor, en color, y la verdad, en gris y negro."""
    mode = table["mode"].astype(str)
    momenta = sorted(set(mode) - set(_MODES), key=float, reverse=True)
    names = {one: f"inercia {one}" for one in momenta} | _MODES
    colors = [*(ACCENT, NORMAL, *SERIES[2:])[: len(momenta)], GREY, "black"]
    palette = {names[key]: color for key, color in zip(names, colors, strict=True) if key in set(mode)}
    return {"hue": mode.map(names), "hue_order": list(palette), "palette": palette}


def batchnorm_modes(metrics: "pd.DataFrame", *, majority: float, ax: "Axes | None" = None) -> "Axes":
    """Dibuja qué acierta la misma red, época a época, según las estadísticas con que normaliza.

    Parameters
    ----------
    metrics : DataFrame
        La de `neumo.studies.anatomy.lag_metrics`: `epoch`, `mode` y `accuracy`.
    majority : float
        Lo que acierta quien responde siempre la clase mayoritaria.
    """
    import seaborn as sns

    ax = new_axes(ax, (6.4, 3.4))
    look = {"marker": "o", "markersize": 7, "markeredgewidth": 0, "linewidth": 2}
    sns.lineplot(metrics, x="epoch", y="accuracy", **_by_mode(metrics), **look, ax=ax)
    ax.axhline(majority, **DOTS, label="responder siempre lo mismo")
    ax.set(xlabel="Época", ylabel="Exactitud en validación", ylim=(None, 1.01))
    ax.set_xticks(metrics["epoch"].unique())
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def batchnorm_variances(variances: "pd.DataFrame", *, factor: float = 2.0) -> np.ndarray:
    """Dibuja, por capa de normalización, cómo la varianza móvil alcanza (o no) a la verdadera.

    Parameters
    ----------
    variances : DataFrame
        `layer`, `step`, `mode` y `variance`, de `neumo.studies.experiments.batchnorm_lag`.
    factor : float
        Ancho de la franja que se da por alcanzada: hasta tantas veces la verdadera.
    """
    import seaborn as sns

    layers = sorted(variances["layer"].unique())
    axes = new_grid(1, len(layers), (3.0 * len(layers), 3.2), sharex=True)
    for ax, layer in zip(axes[0], layers, strict=True):
        part = variances[variances["layer"] == layer]
        sns.lineplot(part, x="step", y="variance", **_by_mode(part), estimator=None, linewidth=1.6, ax=ax)
        true = part[part["mode"] == "batch"].set_index("step")["variance"].rolling(10, min_periods=1).mean()
        ax.fill_between(true.index, true / factor, true * factor, color=GREY, alpha=0.18, linewidth=0)
        ax.get_legend().remove()
        ax.set(yscale="log", xlabel="Paso", ylabel="", title=f"normalización {layer}")
    axes[0, 0].set_ylabel("Varianza (canal mediano)")
    axes[0, 0].figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return axes


def logit_spread(logits: "pd.DataFrame", *, limit: float, ax: "Axes | None" = None) -> "Axes":
    """Dibuja la distribución de los logits de cada condición, en escala logarítmica con signo.

    Parameters
    ----------
    logits : DataFrame
        `condition`, `y_true` y `logit`; los no finitos no se dibujan: si no hay otros, la fila lo dice.
    limit : float
        Logit desde el que la probabilidad recortada ya no cambia: se señala a ambos lados.
    """
    conditions = list(logits["condition"].unique())
    ax = new_axes(ax, (7.2, 0.5 * len(conditions) + 1.2))
    finite = logits[np.isfinite(logits["logit"])]
    for (condition, label), values in finite.groupby(["condition", "y_true"])["logit"]:
        row, color = conditions.index(condition) + 0.32 * (label - 0.5), list(CLASS_COLOURS.values())[label]
        low, quarter, middle, most, high = values.quantile([0, 0.25, 0.5, 0.75, 1])
        ax.plot([low, high], [row, row], color=color, linewidth=1.2)
        ax.plot([quarter, most], [row, row], color=color, linewidth=6, alpha=0.4, solid_capstyle="butt")
        ax.plot(middle, row, "o", color=color, markersize=6, markeredgecolor="white")
    for condition in set(conditions) - set(finite["condition"]):
        ax.text(0, conditions.index(condition), "ningún logit finito", ha="center", va="center", fontsize="small")
    for name, color in CLASS_COLOURS.items():
        ax.plot([], [], "o-", color=color, label=name)
    ax.set(yticks=range(len(conditions)), yticklabels=conditions, ylim=(len(conditions) - 0.5, -0.5))
    ax.set_xscale("symlog", linthresh=10, linscale=3)
    ax.xaxis.get_major_locator().set_params(numticks=9)
    for edge in (-limit, limit):
        ax.axvline(edge, **DOTS)
    ax.set(xlabel="Logit de PNEUMONIA (escala logarítmica con signo)", ylabel="")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def ablation(table: "pd.DataFrame", *, labels: Mapping[str, str], ax: "Axes | None" = None) -> "Axes":
    """Dibuja cada receta de la ablación leída de tres maneras; un punto por semilla.

    Parameters
    ----------
    table : DataFrame
        La de `neumo.studies.corrections.ablation_table`.
    labels : mapping of str to str
        Rótulo de cada receta.
    """
    import seaborn as sns

    ax = new_axes(ax, (7.2, 0.42 * table["model"].nunique() + 1.4))
    readings = {"moving argmax": "arg-max", "moving threshold": "umbral"}
    readings["recomputed threshold"] = "umbral y normalización recalculada"
    reading = (table["statistics"] + " " + table["decision"]).map(readings)
    sns.stripplot(
        table, x="balanced_accuracy", y=table["model"].map(labels), hue=reading, hue_order=list(readings.values()),
        palette=[GREY, ACCENT, NORMAL], dodge=True, jitter=False, size=6.5, edgecolor="white", linewidth=0.8, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="Exactitud equilibrada en validación", ylabel="", xlim=(None, 1.01))
    ax.grid(axis="y", color=GREY, alpha=0.15, linewidth=0.7)
    sns.move_legend(ax, "lower left", bbox_to_anchor=(-0.1, 1), ncols=3, title=None)
    return ax
