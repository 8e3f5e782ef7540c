"""El aspecto común de las figuras: paleta, ejes y rótulos."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NORMAL = "#0072B2"
PNEUMONIA = "#D55E00"
ACCENT = PNEUMONIA
GREY = "#6b7280"
CLASS_COLOURS = {"NORMAL": NORMAL, "PNEUMONIA": PNEUMONIA}
DOTS = {"color": GREY, "linewidth": 0.9, "linestyle": ":"}  # lo que sirve de referencia
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe e Ito, 2008
_STYLE = {
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "figure.dpi": 96,
    "figure.constrained_layout.use": True,
}


def style() -> None:
    """Da a matplotlib el aspecto común de las figuras del informe."""
    import matplotlib as mpl

    mpl.rcParams.update(_STYLE)


def new_axes(ax: "Axes | None", size: tuple[float, float]) -> "Axes":
    """Devuelve `ax`, o unos ejes nuevos de `size` pulgadas con el estilo del informe."""
    return new_grid(1, 1, size)[0, 0] if ax is None else ax


def new_grid(rows: int, columns: int, size: tuple[float, float], **options: Any) -> np.ndarray:
    """Crea una rejilla de ejes (rows, columns) de `size` pulgadas en total."""
    import matplotlib.pyplot as plt

    style()
    return plt.subplots(rows, columns, figsize=size, squeeze=False, **options)[1]


def hover(ax: "Axes", box: tuple[float, float, float, float], told: str) -> None:
    """Da a una zona de los ejes (x, y, ancho, alto) un valor que no se dibuja: la página lo dice al pasar por encima."""
    from matplotlib.patches import Rectangle

    ax.add_artist(Rectangle(box[:2], *box[2:], visible=False, gid=told))


def spread(positions: Sequence[float], gap: float) -> np.ndarray:
    """Separa posiciones en [0, 1] al menos `gap`, sin cambiar su orden y moviéndolas poco: sitio para rótulos.

    Examples
    --------
    >>> spread([0.5, 0.51, 0.9], 0.2).round(2).tolist()
    [0.5, 0.7, 0.9]
    """
    order = np.argsort(positions, kind="stable")
    steps = min(gap, 1 / max(1, len(order) - 1)) * np.arange(len(order))
    placed = np.maximum.accumulate(np.asarray(positions, float)[order] - steps)
    placed = np.minimum(placed, 1 - steps[-1:]) + steps
    return placed[np.argsort(order)]


def blend(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Pone un mapa sobre su radiografía: donde no hay calor queda la radiografía intacta.

    Parameters
    ----------
    grey : (alto, ancho) uint8 array
    heat : (a, b) array
        En [0, 1], de cualquier tamaño.

    Returns
    -------
    (alto, ancho, 3) uint8 array
    """
    from matplotlib import colormaps
    from PIL import Image

    small = Image.fromarray(np.float32(heat))
    values = np.asarray(small.resize(grey.shape[::-1], Image.Resampling.BILINEAR))
    color = colormaps["inferno"](values)[..., :3] * 255
    weight = 0.65 * values[..., None]
    return np.rint((1 - weight) * grey[..., None] + weight * color).astype(np.uint8)
