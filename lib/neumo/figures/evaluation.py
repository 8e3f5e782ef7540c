"""Figuras de la evaluación: `f(tabla, *, ax=None) -> Axes`; ninguna muestra ni guarda nada."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.figures.style import CLASS_COLOURS, DOTS, GREY, NORMAL, SERIES, hover, new_axes, new_grid, spread
from neumo.words import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_PAIR = {"palette": [*reversed(CLASS_COLOURS.values())], "dashes": False}  # una cifra de cada clase
_NOTE = {"color": GREY, "fontsize": 8.5}


def confusion_matrix(table: "pd.DataFrame", *, title: str = "", ax: "Axes | None" = None) -> "Axes":
    """Dibuja una matriz de confusión: la cuenta de cada casilla y su porcentaje de la fila, que da el color.

    Parameters
    ----------
    table : DataFrame
        La de `neumo.evaluation.metrics.confusion`: filas reales, columnas predichas.
    """
    import seaborn as sns

    ax = new_axes(ax, (3.6, 3.2))
    share = table.div(table.sum(axis=1).clip(lower=1), axis=0)
    text = table.astype(str) + share.map("\n{:.1%}".format).replace("%", " %", regex=True)
    options = {"vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False, "square": True, "linewidths": 2}
    sns.heatmap(share, annot=text, fmt="", annot_kws={"fontsize": 11}, ax=ax, **options)
    for (row, column), count in np.ndenumerate(table.to_numpy()):
        told = f"{count} de {table.iloc[row].sum()} ({share.iloc[row, column]:.1%})".replace("%", " %")
        hover(ax, (column, row, 1, 1), f"Real {table.index[row]}, predicha {table.columns[column]}: {told}")
    ax.set_yticklabels(table.index, rotation=90, va="center")
    ax.set(xlabel="Clase predicha", ylabel="Clase real", title=title)
    ax.tick_params(length=0)
    return ax


def confusion_matrices(tables: "Mapping[str, pd.DataFrame]", *, columns: int = 4) -> np.ndarray:
    """Pone varias matrices de confusión en una rejilla, cada una con su título."""
    import matplotlib.pyplot as plt

    columns = min(columns, len(tables))
    rows = -(-len(tables) // columns)
    axes = new_grid(rows, columns, (max(3.4, 2.75 * columns), 2.9 * rows))
    for ax, (title, table) in zip(axes.flat, tables.items(), strict=False):
        confusion_matrix(table, title=title, ax=ax)
    plt.setp(axes.flat[len(tables) :], visible=False)
    plt.setp(axes[:, 1:].flat, ylabel="")
    plt.setp(axes[:-1].flat, xlabel="")
    return axes


def roc(curve: "pd.DataFrame", *, band: "pd.DataFrame", point: tuple, label: str, ax: "Axes | None" = None) -> "Axes":
    """Dibuja una curva ROC, su banda y el punto en que se decide.

    Parameters
    ----------
    curve : DataFrame
        `fpr` y `tpr`, de `neumo.evaluation.thresholds.roc_table`.
    band : DataFrame
        `x`, `low` y `high`, de `neumo.evaluation.thresholds.curve_band`.
    point : (float, float)
        1 - especificidad y sensibilidad en el umbral que se usa.
    label : str
        Nombre en la leyenda.
    """
    ax = new_axes(ax, (4.6, 4.4))
    ax.plot([0, 1], [0, 1], **DOTS)
    _curve(ax, curve["fpr"], curve["tpr"], band, point, label)
    ax.set(xlabel="1 − especificidad (falsas alarmas)", ylabel="Sensibilidad")
    ax.legend(loc="lower right")
    return ax


def precision_recall(
    curve: "pd.DataFrame",
    *,
    band: "pd.DataFrame",
    point: tuple,
    prevalence: float,
    label: str,
    ax: "Axes | None" = None,
) -> "Axes":
    """Dibuja la precisión contra la sensibilidad; la línea de puntos es la prevalencia, lo que daría el azar.

    Parameters
    ----------
    curve : DataFrame
        `recall` y `precision`, de `neumo.evaluation.thresholds.pr_table`.
    band, label
        Como en `roc`.
    point : (float, float)
        Sensibilidad y precisión en el umbral que se usa.
    prevalence : float
        Proporción de PNEUMONIA.
    """
    ax = new_axes(ax, (4.6, 4.4))
    ax.axhline(prevalence, **DOTS)
    ax.annotate("prevalencia", (0, prevalence), (4, -11), textcoords="offset points", **_NOTE)
    _curve(ax, curve["recall"], curve["precision"], band, point, label)
    ax.set(xlabel="Sensibilidad", ylabel="Precisión (valor predictivo positivo)")
    ax.legend(loc="lower left")
    return ax


def _curve(ax: "Axes", x: Any, y: Any, band: "pd.DataFrame", point: tuple, label: str) -> None:
    ax.fill_between(band["x"], band["low"], band["high"], color=NORMAL, alpha=0.18, linewidth=0)
    ax.plot(x, y, color=NORMAL, linewidth=1.8, label=label, solid_joinstyle="round")
    ax.plot(*point, "o", color=NORMAL, ms=9, markeredgecolor="white", markeredgewidth=1.5, clip_on=False)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def calibration(tables: "Mapping[str, pd.DataFrame]", *, ax: "Axes | None" = None) -> "Axes":
    """Dibuja la frecuencia observada contra la probabilidad anunciada, por tramos; la diagonal es el acuerdo.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Tablas de `neumo.evaluation.calibration.reliability_table` por su nombre («antes», «después»).
    """
    ax = new_axes(ax, (4.8, 4.4))
    ax.plot([0, 1], [0, 1], **DOTS)
    for (name, table), color in zip(tables.items(), (GREY, *SERIES), strict=False):
        x, y = table["mean_prob"], table["fraction"]
        size = 18 + 160 * table["n"] / table["n"].sum()
        ax.vlines(x, table["low"], table["high"], color=color, linewidth=1.1, alpha=0.6)
        ax.plot(x, y, color=color, linewidth=1.2, alpha=0.7)
        ax.scatter(x, y, s=size, color=color, edgecolor="white", zorder=3, label=name)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set(xlabel="Probabilidad anunciada", ylabel="Proporción observada de PNEUMONIA")
    for handle in ax.legend(loc="lower right").legend_handles:
        handle.set_sizes([45])
    return ax


def intervals(
    table: "pd.DataFrame", *, by: str, labels: Mapping[str, str] = METRICS, ax: "Axes | None" = None
) -> "Axes":
    """Dibuja cada métrica con su intervalo: una fila por métrica y, en ella, un punto y una barra por grupo.

    Parameters
    ----------
    table : DataFrame
        `metric`, `value`, `low`, `high` y `method`, de `neumo.evaluation.intervals.intervals`; el punto hueco es Wilson.
    by : str
        Columna de los grupos que se comparan (por ejemplo, `model`).
    labels : mapping
        Nombre que se muestra de cada métrica.
    """
    import pandas as pd

    (metric, names), (group, groups) = pd.factorize(table["metric"]), pd.factorize(table[by])
    ax = new_axes(ax, (6.6, 0.7 + len(names) * (0.3 + 0.16 * (len(groups) - 1))))
    rows = metric + 0.62 * ((group + 0.5) / len(groups) - 0.5)
    colors = np.array(SERIES * len(groups))[group]
    faces = np.where(table["method"] == "wilson", "white", colors)
    ax.hlines(rows, table["low"], table["high"], color=colors, linewidth=2.2, alpha=0.55, capstyle="round")
    ax.scatter(table["value"], rows, s=42, c=faces, edgecolors=colors, linewidth=1.4, zorder=3)
    for name, color in zip(groups, SERIES * len(groups), strict=False):
        ax.plot([], [], "o-", color=color, label=name)
    ax.set(yticks=range(len(names)), yticklabels=[labels.get(name, name) for name in names])
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="Valor e intervalo de confianza del 95 %")
    ax.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(groups))
    return ax


def score_histogram(scores: "pd.DataFrame", *, threshold: float = 0.5, ax: "Axes | None" = None) -> "Axes":
    """Dibuja cómo se reparten las probabilidades de cada clase real, en escala de logit, y el umbral.

    Parameters
    ----------
    scores : DataFrame
        `y_true` (0 o 1) y `logit`; los de más de 9.5 en valor absoluto caen en la barra del extremo, y los NaN
        no se dibujan: la leyenda dice cuántos son.
    threshold : float
        Probabilidad a partir de la cual se responde PNEUMONIA.
    """
    import seaborn as sns

    ax, limit = new_axes(ax, (7.0, 3.2)), 9.5
    ax.margins(y=0.14)
    names = [_in_words(scores, label) for label in (0, 1)]
    sns.histplot(
        x=scores["logit"].clip(-limit, limit), hue=scores["y_true"].map(dict(enumerate(names))), hue_order=names,
        palette=[*CLASS_COLOURS.values()], bins=np.linspace(-limit, limit, 45), element="step",
        alpha=0.55, linewidth=1.2, ax=ax,
    )  # fmt: skip
    if 0 < threshold < 1:
        place = np.log(threshold / (1 - threshold))
        ax.axvline(place, color="black", linewidth=1, linestyle="--")
        ax.text(place, 0.98, f" umbral {threshold:.3g}", size=9, va="top", transform=ax.get_xaxis_transform())
    ticks = np.array([0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999])
    ax.set_xticks(np.log(ticks / (1 - ticks)), [f"{tick:g}" for tick in ticks])
    ax.set(xlim=(-limit, limit), xlabel="Probabilidad de PNEUMONIA (escala de logit)", ylabel="Imágenes")
    sns.move_legend(ax, "upper center", bbox_to_anchor=(0.5, 1.16), ncols=2, title=None)
    return ax


def _in_words(scores: "pd.DataFrame", label: int) -> str:
    logits = scores.loc[scores["y_true"] == label, "logit"]
    lost = logits.isna().sum()
    return f"{list(CLASS_COLOURS)[label]} (real), n = {len(logits)}" + (f"; {lost} sin valor" if lost else "")


def thresholds(points: "pd.DataFrame", *, marks: Mapping[str, float], ax: "Axes | None" = None) -> "Axes":
    """Dibuja sensibilidad y especificidad en función del umbral, y dónde cae cada política.

    Parameters
    ----------
    points : DataFrame
        `threshold`, `sensitivity` y `specificity`, de `neumo.evaluation.thresholds.operating_points`.
    marks : mapping of str to float
        Umbral de cada política, por su rótulo; los que coinciden comparten rótulo.
    """
    import seaborn as sns

    ax = new_axes(ax, (7.0, 3.3))
    curves = points.set_index("threshold")[["sensitivity", "specificity"]].rename(columns=METRICS)
    curves.loc[1.0] = curves.iloc[-1]
    sns.lineplot(curves, **_PAIR, linewidth=1.8, drawstyle="steps-pre", estimator=None, sort=False, ax=ax)
    shared: dict[float, list[str]] = {}
    for name, value in marks.items():
        shared.setdefault(round(value, 3), []).append(name)
    for value, place in zip(shared, spread(list(shared), 0.16), strict=True):
        ax.axvline(value, **DOTS)
        line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7}
        look = {"textcoords": "axes fraction", "ha": "center", "va": "bottom", "arrowprops": line, **_NOTE}
        ax.annotate("\n".join(shared[value]), (value, 1.02), (place, 1.07), **look)
    ax.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="Umbral de probabilidad", ylabel="Proporción")
    ax.legend(loc="best")
    return ax


def predictive_values(table: "pd.DataFrame", *, observed: float, ax: "Axes | None" = None) -> "Axes":
    """Dibuja los valores predictivos según la prevalencia; la línea vertical es la de estos datos.

    Parameters
    ----------
    table : DataFrame
        `prevalence`, `ppv` y `npv`, de `neumo.evaluation.thresholds.predictive_values`.
    observed : float
        La prevalencia de estos datos.
    """
    import seaborn as sns

    ax = new_axes(ax, (5.6, 3.4))
    names = {"ppv": "valor predictivo positivo", "npv": "valor predictivo negativo"}
    curves = table.set_index("prevalence")[list(names)].rename(columns=names)
    sns.lineplot(curves, **_PAIR, linewidth=2, ax=ax)
    ax.axvline(observed, **DOTS)
    ax.text(observed, 0.03, "en estos datos ", ha="right", **_NOTE)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Prevalencia de neumonía", ylabel="Proporción")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def error_gallery(images: np.ndarray, table: "pd.DataFrame", *, columns: int = 4) -> np.ndarray:
    """Muestra radiografías con lo que se dijo de cada una; el borde tiene el color de la clase real.

    Parameters
    ----------
    images : (n, lado, lado) uint8 array
    table : DataFrame
        n filas con `y_true`, `probability` y, si lo tiene, `subtype`.
    columns : int
        Imágenes por fila.
    """
    columns = max(1, min(columns, len(table)))
    rows = max(1, -(-len(table) // columns))
    axes = new_grid(rows, columns, (1.9 * columns, 2.3 * rows))
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, image, row in zip(axes.flat, images, table.to_dict("records"), strict=False):
        real, color = list(CLASS_COLOURS.items())[int(row["y_true"])]
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.spines[:].set(visible=True, color=color, linewidth=2.5)
        kind = f" ({row['subtype']})" if row.get("subtype") else ""
        ax.set_title(f"real: {real}{kind}\nprob. {row['probability']:.3f}", fontsize=8.5, color=color)
    return axes
