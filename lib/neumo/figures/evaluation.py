"""Las figuras del informe: `f(tabla, *, ax=None) -> Axes`; ninguna muestra ni guarda nada."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.data.manifest import SPANISH

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NORMAL = "#0072B2"
PNEUMONIA = "#D55E00"
ACCENT = PNEUMONIA
GREY = "#6b7280"

_STYLE = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "figure.dpi": 96,
    "figure.constrained_layout.use": True,
}


def style() -> None:
    """Da a matplotlib el aspecto común de las figuras del informe."""
    import matplotlib as mpl

    mpl.rcParams.update(_STYLE)


def _axes(ax: "Axes | None", size: tuple[float, float]) -> "Axes":
    """Devuelve `ax`, o unos ejes nuevos de `size` pulgadas con el estilo del informe."""
    import matplotlib.pyplot as plt

    if ax is not None:
        return ax
    style()
    return plt.subplots(figsize=size)[1]


def _grid(rows: int, columns: int, size: tuple[float, float], **options: Any) -> np.ndarray:
    """Crea una rejilla de ejes (rows, columns) de `size` pulgadas en total."""
    import matplotlib.pyplot as plt

    style()
    return plt.subplots(rows, columns, figsize=size, squeeze=False, **options)[1]


# Conjunto de datos y verificación -----------------------------------------------------------------------------------

CLASS_COLOURS = {"NORMAL": NORMAL, "PNEUMONIA": PNEUMONIA}


def class_counts(tables: "Mapping[str, pd.DataFrame]") -> np.ndarray:
    """Dibuja las imágenes de cada clase en cada partición, con un panel, y su escala, por tabla.

    Parameters
    ----------
    tables : mapping from str to DataFrame
        Título del panel y cuentas: particiones en las filas, NORMAL y PNEUMONIA en las columnas.

    Returns
    -------
    ndarray of Axes, shape (1, len(tables))
    """
    import seaborn as sns

    grid = _grid(1, len(tables), (3.8 * len(tables), 3.2))
    for ax, (title, counts) in zip(grid.flat, tables.items(), strict=True):
        tidy = (
            counts.rename(index=SPANISH)
            .rename_axis("x")
            .reset_index()
            .melt("x", list(CLASS_COLOURS), "label")
        )
        sns.barplot(tidy, x="x", y="value", hue="label", palette=CLASS_COLOURS, saturation=1, ax=ax)
        for bars in ax.containers:
            ax.bar_label(bars, fontsize=9, padding=2)
        ax.set(title=title, xlabel="", ylabel="imágenes")
        ax.margins(y=0.12)
        ax.legend(title=None)
    return grid


def image_grid(images: Sequence[np.ndarray], titles: Sequence[str], *, columns: int = 6) -> np.ndarray:
    """Muestra imágenes en gris, en filas de `columns`, con un título corto encima de cada una.

    Parameters
    ----------
    images : sequence of ndarray of uint8, shape (S, S)
    titles : sequence of str
        Los que empiezan por el nombre de una clase llevan su color.
    """
    rows = -(-len(images) // columns)
    grid = _grid(rows, columns, (1.45 * columns, 1.65 * rows))
    for ax in grid.flat:
        ax.axis("off")
    for ax, image, title in zip(grid.flat, images, titles, strict=False):
        colour = CLASS_COLOURS.get(title.split()[0], "black")
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.set_title(title, fontsize=8, loc="center", color=colour)
    return grid


def images_per_patient(table: "pd.DataFrame", *, ax: "Axes | None" = None) -> "Axes":
    """Dibuja cuántos pacientes tienen 1, 2, 3… imágenes, por clase; `table` trae `group` y `label`."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    ax = _axes(ax, (6.4, 3.2))
    sizes = table.groupby(["label", "group"]).size().rename("images").reset_index()
    sns.histplot(
        sizes,
        x="images",
        hue="label",
        hue_order=list(CLASS_COLOURS),
        palette=CLASS_COLOURS,
        discrete=True,
        multiple="dodge",
        shrink=0.8,
        alpha=1,
        ax=ax,
    )
    ax.set(xlabel="imágenes del paciente", ylabel="pacientes", yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.get_legend().set_title(None)
    return ax


def image_sizes(flags: "pd.DataFrame", *, target: int, ax: "Axes | None" = None) -> "Axes":
    """Sitúa cada imagen por su ancho y su alto, y rodea las de proporción rara.

    Parameters
    ----------
    flags : DataFrame
        El de `neumo.verify.atypical`.
    target : int
        Lado, en píxeles, al que se llevan todas: se marca con una cruz.
    """
    import seaborn as sns

    ax = _axes(ax, (6.4, 4.2))
    sns.scatterplot(
        flags, x="width", y="height", hue="label", hue_order=list(CLASS_COLOURS), palette=CLASS_COLOURS,
        s=14, alpha=0.5, linewidth=0, ax=ax, rasterized=True,
    )  # fmt: skip
    odd = flags[flags["odd_aspect"]]
    ax.scatter(
        odd["width"], odd["height"], s=45, facecolor="none", edgecolor="black", linewidth=0.8, label="rara"
    )
    ax.plot(
        target, target, "k+", markersize=14, markeredgewidth=2, linestyle="none", label=f"{target}×{target}"
    )
    ax.set(xlabel="ancho (píxeles)", ylabel="alto (píxeles)")
    ax.legend(title=None)
    return ax


def aspect_ratios(
    flags: "pd.DataFrame", *, limits: tuple[float, float] | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Dibuja la distribución de la proporción (ancho entre alto) por clase, con los límites dados."""
    import seaborn as sns

    ax = _axes(ax, (6.4, 3.2))
    sns.histplot(
        flags, x="aspect", hue="label", hue_order=list(CLASS_COLOURS), palette=CLASS_COLOURS,
        bins=40, element="step", stat="density", common_norm=False, alpha=0.25, ax=ax,
    )  # fmt: skip
    for limit in limits or ():
        ax.axvline(limit, color="black", linestyle="--", linewidth=1)
    ax.set(xlabel="proporción: ancho entre alto", ylabel="densidad")
    ax.get_legend().set_title(None)
    return ax


# Red, tasa de aprendizaje y entrenamiento ---------------------------------------------------------------------------

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


def rate_text(rate: float) -> str:
    """Escribe una tasa de aprendizaje corta: decimal si es legible, si no en potencias de diez.

    Examples
    --------
    >>> rate_text(0.003), rate_text(0.14125), rate_text(9.8e-05)
    ('0.003', '0.14', '9.8×10⁻⁵')
    """
    if np.isnan(rate):
        return "–"
    if rate >= 1e-3:
        return f"{rate:.2g}"
    mantissa, exponent = f"{rate:.1e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def spread(positions: Sequence[float], gap: float) -> np.ndarray:
    """Separa posiciones en [0, 1] al menos `gap`, sin cambiar su orden y moviéndolas poco: sitio para rótulos.

    Examples
    --------
    >>> spread([0.5, 0.51, 0.9], 0.2).round(2).tolist()
    [0.5, 0.7, 0.9]
    """
    order = np.argsort(positions, kind="stable")
    placed = np.asarray(positions, float)[order]
    gap = min(gap, 1 / max(1, len(placed) - 1))
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    placed = np.minimum(placed, 1 - gap * np.arange(len(placed))[::-1])
    return placed[np.argsort(order)]


def lr_curve(
    curve: "pd.DataFrame",
    *,
    suggestions: "pd.DataFrame | None" = None,
    divergence: float = 4.0,
    ax: "Axes | None" = None,
) -> "Axes":
    """Dibuja la prueba de rango: la pérdida de cada lote, la suavizada y lo que sugiere cada regla.

    Parameters
    ----------
    curve : DataFrame
        `learning_rate`, `loss` y `smoothed` de una semilla.
    suggestions : DataFrame, optional
        `rule`, `learning_rate` y `loss`; las reglas sin respuesta (NaN) no se dibujan.
    divergence : float
        Veces la mejor pérdida a las que se detuvo la prueba.
    ax : Axes, optional
        Ejes donde dibujar.
    """
    from neumo.learning.lr_finder import divergence_point

    ax = _axes(ax, (7.6, 3.9))
    rates, smoothed = curve["learning_rate"].to_numpy(), curve["smoothed"].to_numpy()
    bottom, top = _calm_limits(curve, "loss")
    ax.plot(rates, curve["loss"], color=GREY, alpha=0.45, linewidth=0.9)
    ax.plot(rates, smoothed, color=NORMAL, linewidth=2.2)
    ax.set(xscale="log", xlim=(rates[0], rates[-1] * 1.6), ylim=(bottom, top))
    ax.set(xlabel="Tasa de aprendizaje (escala logarítmica)", ylabel="Pérdida")
    ax.text(0.02, 0.10, "pérdida suavizada", color=NORMAL, fontsize=9, transform=ax.transAxes)
    ax.text(0.02, 0.03, "pérdida de cada lote", color=GREY, fontsize=9, transform=ax.transAxes)
    points = [] if suggestions is None else suggestions.dropna(subset="learning_rate").to_dict("records")
    marks = [(RULE_NAMES[p["rule"]], p["learning_rate"], p["loss"], NORMAL) for p in points]
    stop = divergence_point(curve, divergence=divergence)
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
        ax.annotate(
            f"{name}\n{rate_text(x)}",
            xy=(x, y),
            xytext=(place, 1.04),
            textcoords="axes fraction",
            ha="center",
            va="bottom",
            fontsize=9,
            color=color,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.7, "alpha": 0.6, "shrinkB": 5},
        )


def lr_seeds(curves: "pd.DataFrame", *, ax: "Axes | None" = None) -> "Axes":
    """Dibuja la curva suavizada de cada semilla; `curves` trae `seed`, `learning_rate` y `smoothed`."""
    ax = _axes(ax, (7.6, 3.2))
    limits = [_calm_limits(curve, "smoothed") for _, curve in curves.groupby("seed")]
    for _, curve in curves.groupby("seed", sort=False):
        ax.plot(curve["learning_rate"], curve["smoothed"], color=NORMAL, linewidth=1.6, alpha=0.7)
    ax.set(xscale="log", ylim=(min(low for low, _ in limits), max(high for _, high in limits)))
    ax.set_ylabel("Pérdida suavizada")
    ax.set_title(f"{curves['seed'].nunique()} semillas")
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
    ax = _axes(ax, (7.6, 2.2))
    rules = list(RULE_NAMES)
    for rule, group in suggestions.dropna(subset="learning_rate").groupby("rule"):
        rates, row = group["learning_rate"].to_numpy(), rules.index(rule)
        ax.hlines(row, rates.min(), rates.max(), color=NORMAL, linewidth=5, alpha=0.2, capstyle="round")
        ax.plot(rates, np.full(len(rates), row), "o", color=NORMAL, markersize=6, markeredgecolor="white")
    marks = sorted((references or {}).items(), key=lambda mark: -mark[1])
    for place, (label, rate) in enumerate(marks):
        row = len(rules) + 0.55 * place
        ax.plot([rate, rate], [-0.5, row], color=ACCENT, linewidth=0.9, linestyle=":")
        ax.text(rate, row, f" {label}", color=ACCENT, fontsize=8.5, va="center")
    ax.set(xscale="log", yticks=range(len(rules)), yticklabels=RULE_NAMES.values())
    ax.set_ylim(len(rules) - 0.4 + 0.55 * len(marks), -0.6)
    ax.set_xlabel("Tasa de aprendizaje (escala logarítmica)")
    return ax


def lr_repeat(
    curves: "pd.DataFrame",
    suggestions: "pd.DataFrame",
    *,
    references: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Pone `lr_seeds` sobre `lr_agreement` con el mismo eje de tasas; devuelve los dos Axes."""
    axes = _grid(2, 1, (7.6, 5.6), sharex=True, height_ratios=[3, 3])[:, 0]
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
    axes = _grid(2, len(models), (max(4.2, 2.3 * len(models)), 4.6), sharey="row", sharex="col")
    for column, model in zip(axes.T, models, strict=True):
        _training_lines(column, history[history["model"] == model])
        column[0].set_title(model)
        column[1].set_xlabel("Época")
        if majority is not None:
            column[1].axhline(majority, color=GREY, linewidth=0.9, linestyle=":")
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

    handles = [
        Line2D([], [], color=GREY, label="entrenamiento"),
        Line2D([], [], color=ACCENT, label="validación"),
    ]
    if majority is not None:
        label = f"responder siempre lo mismo ({majority:.3f})"
        handles.append(Line2D([], [], color=GREY, linestyle=":", label=label))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))


def network(layers: "pd.DataFrame", *, input_shape: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Dibuja una red en serie: un bloque por capa, más alto cuanto más lado y más ancho cuantos más canales.

    Parameters
    ----------
    layers : DataFrame
        La tabla de `neumo.models.layer_table`: `type`, `output_shape` («62 × 62 × 32») y, si la tiene, `number`.
    input_shape : str, optional
        Forma de la entrada, para dibujarla delante.
    ax : Axes, optional
        Ejes donde dibujar.
    """
    blocks = layers.to_dict("records")
    if input_shape is not None:
        blocks.insert(0, {"type": "entrada", "output_shape": input_shape})
    ax = _axes(ax, (0.72 * len(blocks), 3.1))
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
    rectangle = Rectangle(
        (place - width / 2, -height / 2 + 0.35), width, height, facecolor=color, edgecolor=GREY
    )
    ax.add_patch(rectangle)
    units = f"\n{shape[-1]}" if block["type"] in ("Conv2D", "Dense") else ""
    size = f"{shape[0]}×{shape[1]}\n×{shape[-1]}" if spatial else str(shape[0])
    ax.text(place, -0.24, name + units, ha="center", va="top", fontsize=10)
    ax.text(place, -0.60, size, ha="center", va="top", fontsize=9, color=GREY)
    if block.get("number"):
        ax.text(place, 0.92, str(block["number"]), ha="center", va="bottom", fontsize=10, color=GREY)


# Evaluación ---------------------------------------------------------------------------------------------------------

_PROBABILITY_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe e Ito, 2008


def confusion_matrix(table: "pd.DataFrame", *, title: str = "", ax: "Axes | None" = None) -> "Axes":
    """Dibuja una matriz de confusión: la cuenta de cada casilla y su porcentaje de la fila, que da el color.

    Parameters
    ----------
    table : DataFrame
        La de `neumo.evaluation.confusion`: filas reales, columnas predichas.
    """
    import seaborn as sns

    ax = _axes(ax, (3.6, 3.2))
    counts = table.to_numpy()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    text = [
        [f"{n}\n{p:.1%}".replace("%", " %") for n, p in zip(*row, strict=True)]
        for row in zip(counts, share, strict=True)
    ]
    options = {"vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False, "square": True, "linewidths": 2}
    sns.heatmap(share, annot=np.array(text), fmt="", annot_kws={"fontsize": 11}, ax=ax, **options)
    ax.set_xticklabels(table.columns)
    ax.set_yticklabels(table.index, rotation=90, va="center")
    ax.set(xlabel="Clase predicha", ylabel="Clase real", title=title)
    ax.tick_params(length=0)
    return ax


def confusion_matrices(tables: "Mapping[str, pd.DataFrame]", *, columns: int = 4) -> np.ndarray:
    """Pone varias matrices de confusión en una rejilla, cada una con su título."""
    columns = min(columns, len(tables))
    rows = -(-len(tables) // columns)
    axes = _grid(rows, columns, (max(3.4, 2.75 * columns), 2.9 * rows))
    for ax, (title, table) in zip(axes.flat, tables.items(), strict=False):
        confusion_matrix(table, title=title, ax=ax)
    for ax in axes.flat[len(tables) :]:
        ax.set_axis_off()
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    for ax in axes[:-1].flat:
        ax.set_xlabel("")
    return axes


def roc(
    curve: "pd.DataFrame",
    *,
    band: "pd.DataFrame | None" = None,
    point: tuple[float, float] | None = None,
    label: str | None = None,
    color: str = NORMAL,
    ax: "Axes | None" = None,
) -> "Axes":
    """Dibuja una curva ROC, su banda y el punto en que se decide.

    Parameters
    ----------
    curve : DataFrame
        `fpr` y `tpr`, de `neumo.evaluation.roc_table`.
    band : DataFrame, optional
        `x`, `low` y `high`, de `neumo.evaluation.curve_band`.
    point : (float, float), optional
        1 - especificidad y sensibilidad en el umbral que se usa.
    label : str, optional
        Nombre en la leyenda.
    ax : Axes, optional
        Para dibujar varias curvas en los mismos ejes.
    """
    new, ax = ax is None, _axes(ax, (4.6, 4.4))
    if new:
        ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=":")
    _curve(ax, curve["fpr"], curve["tpr"], band, point, label, color)
    ax.set(xlabel="1 − especificidad (falsas alarmas)", ylabel="Sensibilidad", aspect="equal")
    return ax


def precision_recall(
    curve: "pd.DataFrame",
    *,
    band: "pd.DataFrame | None" = None,
    point: tuple[float, float] | None = None,
    prevalence: float | None = None,
    label: str | None = None,
    color: str = NORMAL,
    ax: "Axes | None" = None,
) -> "Axes":
    """Dibuja la precisión contra la sensibilidad; la línea de puntos es la prevalencia, lo que daría el azar.

    Parameters
    ----------
    curve : DataFrame
        `recall` y `precision`, de `neumo.evaluation.pr_table`.
    band, label, ax
        Como en `roc`.
    point : (float, float), optional
        Sensibilidad y precisión en el umbral que se usa.
    prevalence : float, optional
        Proporción de PNEUMONIA.
    """
    ax = _axes(ax, (4.6, 4.4))
    if prevalence is not None:
        ax.axhline(prevalence, color=GREY, linewidth=0.9, linestyle=":")
        ax.annotate(
            "prevalencia", (0, prevalence), (4, -11), textcoords="offset points", color=GREY, fontsize=8.5
        )
    _curve(ax, curve["recall"], curve["precision"], band, point, label, color)
    ax.set(xlabel="Sensibilidad", ylabel="Precisión (valor predictivo positivo)", aspect="equal")
    return ax


def _curve(ax: "Axes", x: Any, y: Any, band: Any, point: Any, label: str | None, color: str) -> None:
    if band is not None:
        ax.fill_between(band["x"], band["low"], band["high"], color=color, alpha=0.18, linewidth=0)
    ax.plot(x, y, color=color, linewidth=1.8, label=label, solid_joinstyle="round")
    if point is not None:
        ax.plot(
            *point,
            "o",
            color=color,
            markersize=9,
            markeredgecolor="white",
            markeredgewidth=1.5,
            clip_on=False,
        )
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if label is not None:
        ax.legend(loc="lower right" if y.iloc[0] < 0.5 else "lower left")


def calibration(tables: "Mapping[str, pd.DataFrame]", *, ax: "Axes | None" = None) -> "Axes":
    """Dibuja la frecuencia observada contra la probabilidad anunciada, por tramos; la diagonal es el acuerdo.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Tablas de `neumo.evaluation.reliability_table` por su nombre («antes», «después»).
    """
    ax = _axes(ax, (4.8, 4.4))
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=":")
    for (name, table), color in zip(tables.items(), (GREY, *_SERIES), strict=False):
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
    table: "pd.DataFrame",
    *,
    labels: Mapping[str, str] | None = None,
    by: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Dibuja cada métrica con su intervalo: un punto y una barra por fila, con la cifra al lado si no hay grupos.

    Parameters
    ----------
    table : DataFrame
        `metric`, `value`, `low`, `high` y `method`, de `neumo.evaluation.intervals`; el punto hueco es Wilson.
    labels : mapping, optional
        Nombre que se muestra de cada métrica; por omisión, los de `neumo.evaluation.METRICS`.
    by : str, optional
        Columna de los grupos que se comparan (por ejemplo, `model`).
    """
    from neumo.evaluation.metrics import METRICS

    names = list(dict.fromkeys(table["metric"]))
    groups = [(None, table)] if by is None else list(table.groupby(by, sort=False))
    ax = _axes(ax, (6.6, 0.7 + len(names) * (0.3 + 0.16 * (len(groups) - 1))))
    for place, ((name, part), color) in enumerate(zip(groups, _SERIES * len(groups), strict=False)):
        shift = 0.62 * ((place + 0.5) / len(groups) - 0.5)
        rows = part.set_index("metric").reindex(names)
        for row, item in enumerate(rows.itertuples()):
            _interval(ax, item, row + shift, color, annotate=by is None)
        if name is not None:
            ax.plot([], [], "o-", color=color, label=name)
    shown = {**METRICS, **(labels or {})}
    ax.set(yticks=range(len(names)), yticklabels=[shown.get(name, name) for name in names])
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="Valor e intervalo de confianza del 95 %")
    ax.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    if by is not None:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(groups))
    return ax


def _interval(ax: "Axes", item: Any, y: float, color: str, *, annotate: bool) -> None:
    ax.plot([item.low, item.high], [y, y], color=color, linewidth=2.2, alpha=0.55, solid_capstyle="round")
    face = "white" if item.method == "wilson" else color
    ax.plot(item.value, y, "o", color=color, markerfacecolor=face, markersize=6.5, markeredgewidth=1.4)
    if annotate and np.isfinite(item.value):
        span = f" [{item.low:.3f}, {item.high:.3f}]" if np.isfinite(item.low) else ""
        text = f"{item.value:.3f}{span}"
        ax.annotate(
            text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8.5, color=GREY
        )


def score_histogram(
    scores: "pd.DataFrame", *, threshold: float | None = 0.5, bins: int = 44, ax: "Axes | None" = None
) -> "Axes":
    """Dibuja cómo se reparten las probabilidades de cada clase real, en escala de logit, y el umbral.

    Parameters
    ----------
    scores : DataFrame
        `y_true` (0 o 1) y `logit`; los de más de 9.5 en valor absoluto caen en la barra del extremo.
    threshold : float, optional
        Probabilidad a partir de la cual se responde PNEUMONIA.
    """
    ax = _axes(ax, (7.0, 3.2))
    logit, limit = np.nan_to_num(scores["logit"].to_numpy(float), posinf=99, neginf=-99), 9.5
    edges = np.linspace(-limit, limit, bins + 1)
    for label, name, color in ((0, "NORMAL", NORMAL), (1, "PNEUMONIA", PNEUMONIA)):
        values = np.clip(logit[scores["y_true"].to_numpy() == label], -limit, limit)
        ax.hist(values, edges, color=color, alpha=0.55, label=f"{name} (real), n = {len(values)}")
        ax.hist(values, edges, histtype="step", color=color, linewidth=1.2)
    if threshold is not None and 0 < threshold < 1:
        ax.axvline(np.log(threshold / (1 - threshold)), color="black", linewidth=1, linestyle="--")
        place = (np.log(threshold / (1 - threshold)), 0.98)
        options = {
            "xycoords": ("data", "axes fraction"),
            "textcoords": "offset points",
            "va": "top",
            "fontsize": 9,
        }
        ax.annotate(f"umbral {threshold:.3g}", place, (4, 0), **options)
    ticks = np.array(_PROBABILITY_TICKS)
    ax.set_xticks(np.log(ticks / (1 - ticks)), [f"{tick:g}" for tick in ticks])
    ax.set(xlim=(-limit, limit), xlabel="Probabilidad de PNEUMONIA (escala de logit)", ylabel="Imágenes")
    ax.margins(y=0.14)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2)
    return ax


def thresholds(
    points: "pd.DataFrame", *, marks: Mapping[str, float] | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Dibuja sensibilidad y especificidad en función del umbral, y dónde cae cada política.

    Parameters
    ----------
    points : DataFrame
        `threshold`, `sensitivity` y `specificity`, de `neumo.evaluation.operating_points`.
    marks : mapping of str to float, optional
        Umbral de cada política, por su rótulo; los que coinciden comparten rótulo.
    """
    ax = _axes(ax, (7.0, 3.3))
    for column, name, color in (
        ("sensitivity", "sensibilidad", PNEUMONIA),
        ("specificity", "especificidad", NORMAL),
    ):
        x, y = [*points["threshold"], 1.0], [*points[column], points[column].iloc[-1]]
        ax.plot(x, y, color=color, linewidth=1.8, label=name, drawstyle="steps-pre")
    shared: dict[float, list[str]] = {}
    for name, value in (marks or {}).items():
        shared.setdefault(round(value, 3), []).append(name)
    for value, place in zip(shared, spread(list(shared), 0.16), strict=True):
        ax.axvline(value, color=GREY, linewidth=0.9, linestyle=":")
        arrow = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7}
        options = {
            "textcoords": "axes fraction",
            "ha": "center",
            "va": "bottom",
            "fontsize": 8.5,
            "color": GREY,
        }
        ax.annotate("\n".join(shared[value]), (value, 1.02), (place, 1.07), arrowprops=arrow, **options)
    ax.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="Umbral de probabilidad", ylabel="Proporción")
    ax.legend(loc="best")
    return ax


def predictive_values(
    table: "pd.DataFrame", *, observed: float | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Dibuja los valores predictivos según la prevalencia; la línea vertical es la de estos datos.

    Parameters
    ----------
    table : DataFrame
        `prevalence`, `ppv` y `npv`, de `neumo.evaluation.predictive_values`.
    """
    ax = _axes(ax, (5.6, 3.4))
    ax.plot(
        table["prevalence"], table["ppv"], color=PNEUMONIA, linewidth=2, label="valor predictivo positivo"
    )
    ax.plot(table["prevalence"], table["npv"], color=NORMAL, linewidth=2, label="valor predictivo negativo")
    if observed is not None:
        ax.axvline(observed, color=GREY, linewidth=0.9, linestyle=":")
        options = {"textcoords": "offset points", "ha": "right", "color": GREY, "fontsize": 8.5}
        ax.annotate("en estos datos", (observed, 0.03), (-4, 0), **options)
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
    axes = _grid(rows, columns, (1.9 * columns, 2.3 * rows))
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, image, row in zip(axes.flat, images, table.to_dict("records"), strict=False):
        color, real = ((NORMAL, "NORMAL"), (PNEUMONIA, "PNEUMONIA"))[int(row["y_true"])]
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.spines[:].set(visible=True, color=color, linewidth=2.5)
        kind = f" ({row['subtype']})" if row.get("subtype") else ""
        ax.set_title(f"real: {real}{kind}\nprob. {row['probability']:.3f}", fontsize=8.5, color=color)
    return axes


# Explicación --------------------------------------------------------------------------------------------------------


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

    from neumo.studies.maps import blend

    side, gap, wide = 192, 8, 1 + len(heat)
    columns = min(columns, len(images))
    axes = _grid(
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
    ax = _axes(ax, (6.6, 3.4))
    table = table.assign(correlation=table["correlation"].abs())
    draws = table.groupby(["model", "fraction", "draw"], sort=False)["correlation"].mean().reset_index()
    for (name, part), color in zip(draws.groupby("model", sort=False), _SERIES * len(draws), strict=False):
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


# Anatomía y correcciones --------------------------------------------------------------------------------------------

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
    ax = _axes(ax, (6.4, 3.4))
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
    axes = _grid(1, len(layers), (3.0 * len(layers), 3.2), sharex=True)
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
    ax = _axes(ax, (7.2, 0.5 * len(conditions) + 1.2))
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
    ax = _axes(ax, (7.2, 0.42 * len(models) + 1.4))
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
