"""Figuras del conjunto de datos y de su verificación: `f(tabla, *, ax=None) -> Axes`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neumo.figures.style import CLASS_COLOURS, new_axes, new_grid
from neumo.words import DATA

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


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

    grid = new_grid(1, len(tables), (3.8 * len(tables), 3.2))
    for ax, (title, counts) in zip(grid.flat, tables.items(), strict=True):
        tidy = counts[list(CLASS_COLOURS)].rename(index=DATA).rename_axis("x")
        tidy = tidy.melt(var_name="label", ignore_index=False).reset_index()
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
    grid = new_grid(rows, columns, (1.45 * columns, 1.65 * rows))
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

    ax = new_axes(ax, (6.4, 3.2))
    sizes = table.groupby(["label", "group"]).size().rename("images").reset_index()
    sns.histplot(
        sizes, x="images", hue="label", hue_order=list(CLASS_COLOURS), palette=CLASS_COLOURS,
        discrete=True, multiple="dodge", shrink=0.8, alpha=1, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="imágenes del paciente", ylabel="pacientes", yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.get_legend().set_title(None)
    return ax


def image_sizes(flags: "pd.DataFrame", *, target: int, ax: "Axes | None" = None) -> "Axes":
    """Sitúa cada imagen por su ancho y su alto, y rodea las de proporción rara.

    Parameters
    ----------
    flags : DataFrame
        El de `neumo.data.verify.atypical`.
    target : int
        Lado, en píxeles, al que se llevan todas: se marca con una cruz.
    """
    import seaborn as sns

    ax = new_axes(ax, (6.4, 4.2))
    sns.scatterplot(
        flags, x="width", y="height", hue="label", hue_order=list(CLASS_COLOURS), palette=CLASS_COLOURS,
        s=14, alpha=0.5, linewidth=0, ax=ax, rasterized=True,
    )  # fmt: skip
    odd = flags[flags["odd_aspect"]]
    ax.scatter(odd["width"], odd["height"], s=45, facecolor="none", edgecolor="black", linewidth=0.8, label="rara")
    ax.plot(target, target, "k+", markersize=14, markeredgewidth=2, linestyle="none", label=f"{target}×{target}")
    ax.set(xlabel="ancho (píxeles)", ylabel="alto (píxeles)")
    ax.legend(title=None)
    return ax


def aspect_ratios(
    flags: "pd.DataFrame", *, limits: tuple[float, float] | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Dibuja la distribución de la proporción (ancho entre alto) por clase, con los límites dados."""
    import seaborn as sns

    ax = new_axes(ax, (6.4, 3.2))
    sns.histplot(
        flags, x="aspect", hue="label", hue_order=list(CLASS_COLOURS), palette=CLASS_COLOURS,
        bins=40, element="step", stat="density", common_norm=False, alpha=0.25, ax=ax,
    )  # fmt: skip
    for limit in limits or ():
        ax.axvline(limit, color="black", linestyle="--", linewidth=1)
    ax.set(xlabel="proporción: ancho entre alto", ylabel="densidad")
    ax.get_legend().set_title(None)
    return ax
