"""Figuras de la adquisición (capítulo 15): el marco, la sucesión de los números y el encuadre."""

from typing import TYPE_CHECKING

import numpy as np

from neumo.figures.style import ACCENT, CLASS_COLOURS, DOTS, GREY, NORMAL, SERIES, new_grid
from neumo.words import METRICS, PARTITIONS

if TYPE_CHECKING:
    import pandas as pd


def strata(table: "pd.DataFrame") -> np.ndarray:
    """Dibuja el AUC del marco y el de la red en cada estrato de la puntuación del marco; un panel por partición.

    Parameters
    ----------
    table : DataFrame
        De `neumo.studies.acquisition.strata`. Un estrato sin una de las clases queda sin puntos.
    """
    lowest = min(0.5, table[["frame", "network"]].min().min())
    axes = new_grid(1, table["partition"].nunique(), (7.2, 3.0), sharey=True)
    for ax, (partition, part) in zip(axes.flat, table.groupby("partition", sort=False), strict=True):
        for name, word, color in (("frame", "el marco solo", GREY), ("network", "la red", ACCENT)):
            ax.plot(part["stratum"], part[name], "o-", color=color, label=word, markersize=6)
        counts = [f"{row.stratum}\n{row.NORMAL} + {row.PNEUMONIA}" for row in part.itertuples()]
        ax.set_xticks(part["stratum"], counts, fontsize=8)
        ax.axhline(0.5, **DOTS)
        ax.set(title=PARTITIONS[partition], ylim=(lowest - 0.02, 1.02))
        ax.set_xlabel("Estrato, y sus NORMAL + PNEUMONIA")
    axes[0, 0].set_ylabel("AUC dentro del estrato")
    axes[0, 0].legend(loc="best")
    return axes


def sequence(table: "pd.DataFrame") -> np.ndarray:
    """Dibuja el logit de la red contra el número del archivo; un panel por serie (las seis mayores) y, abajo, el entrenamiento.

    Parameters
    ----------
    table : DataFrame
        `series`, `number`, `partition`, `y` y `logit`; las de entrenamiento, sin logit (NaN), son rayas en el borde.
    """
    series = sorted(table["series"].value_counts().index[:6])
    axes = new_grid(-(-len(series) // 2), min(2, len(series)), (7.6, 2.3 * -(-len(series) // 2)), sharey=True)
    for ax, name in zip(axes.flat, series, strict=False):
        part = table[table["series"] == name]
        ax.set_title(name)
        ax.axhline(0, **DOTS)
        seen = part.loc[part["partition"] == "train", "number"]
        ax.plot(
            seen, np.full(len(seen), 0.02), "|", color=GREY, alpha=0.4, markersize=7, transform=ax.get_xaxis_transform()
        )
        for partition, marker in (("val", "."), ("test", "x")):
            for label, color in enumerate(CLASS_COLOURS.values()):
                one = part[(part["partition"] == partition) & (part["y"] == label)]
                ax.plot(one["number"], one["logit"], marker, color=color, markersize=4.5, alpha=0.8, rasterized=True)
    for ax in axes.flat[len(series) :]:
        ax.set_visible(False)
    handles = [axes.flat[0].plot([], [], "o", color=color, label=name)[0] for name, color in CLASS_COLOURS.items()]
    looks = {"validación": ".", "prueba": "x", "números de entrenamiento": "|"}
    handles += [axes.flat[0].plot([], [], mark, color=GREY, label=name)[0] for name, mark in looks.items()]
    axes.flat[0].figure.legend(handles=handles, loc="outside upper center", ncols=5)
    axes.flat[0].figure.supxlabel("Número del archivo", fontsize=10)
    axes.flat[0].figure.supylabel("Logit de la red", fontsize=10)
    return axes


def framing(table: "pd.DataFrame") -> np.ndarray:
    """Dibuja sensibilidad y especificidad de cada red según la parte de la placa que se le enseña.

    Parameters
    ----------
    table : DataFrame
        De `neumo.studies.framing.framing`: `model`, `crop` (parte del lado, de 0 a 1), `sensitivity` y `specificity`.
    """
    models = list(table["model"].unique())
    axes = new_grid(1, len(models), (3.6 * len(models), 3.0), sharey=True)
    for ax, model in zip(axes.flat, models, strict=True):
        part = table[table["model"] == model]
        for name, color in (("sensitivity", SERIES[1]), ("specificity", NORMAL)):
            ax.plot(100 * part["crop"], part[name], "o-", color=color, label=METRICS[name], markersize=6)
        ax.set(title=model, xlabel="Parte central de la placa (% del lado)", ylim=(-0.02, 1.03))
        ax.set_xticks(100 * part["crop"])
        ax.invert_xaxis()
    axes[0, 0].legend(loc="lower left")
    return axes
