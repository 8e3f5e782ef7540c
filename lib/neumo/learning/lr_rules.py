"""Las reglas que leen la curva de la búsqueda y sugieren una tasa: funciones puras de la tabla."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.errors import NeumoError

if TYPE_CHECKING:
    import pandas as pd


LAST_POINTS = 5
"""Puntos finales que las reglas no miran: son los de la divergencia."""


MIN_POINTS = 10
FLAT = 0.01
"""Una curva cuya pérdida suavizada nunca baja esta fracción de su valor inicial es plana."""


@dataclass(frozen=True)
class Suggestion:
    """Lo que sugiere una regla, y el punto de la curva suavizada donde se dibuja.

    Attributes
    ----------
    rule : str
        `valley`, `steep`, `minimum` o `slide`.
    learning_rate, loss : float
        Tasa sugerida y pérdida suavizada a esa tasa.
    index : int
        Fila de la tabla que la regla señala (para `minimum`, la del mínimo: la tasa sugerida es su décima parte).
    """

    rule: str
    learning_rate: float
    loss: float
    index: int


def valley(table: Mapping[str, Any], *, steps: int | None = None) -> Suggestion:
    """Sugiere la tasa a mitad del descenso más largo de la pérdida suavizada (la regla por omisión de fastai).

    Parameters
    ----------
    table : DataFrame or mapping of arrays
        Con `learning_rate` y `smoothed`, en orden.
    steps : int, optional
        Lotes que la prueba tenía previstos: se descarta su primera décima parte. Por omisión, las filas de la tabla.

    Returns
    -------
    Suggestion
        Con n = longitud de la subsucesión decreciente más larga: su final - n + n//3 + n//6.

    Raises
    ------
    NeumoError
        Si la curva es corta o plana.

    Examples
    --------
    >>> rates = np.geomspace(1e-6, 1.0, 61)
    >>> valley({"learning_rate": rates, "smoothed": 1 + (np.log10(rates) + 2) ** 2}).index
    21
    """
    curve = _usable(table, steps, MIN_POINTS)
    lengths = np.ones(len(curve.losses), dtype=int)
    for i, loss in enumerate(curve.losses):
        lengths[i] += lengths[:i][curve.losses[:i] > loss].max(initial=0)
    end, length = int(lengths.argmax()), int(lengths.max())
    return curve.suggestion("valley", max(0, end - length + length // 3 + length // 6))


def steep(table: Mapping[str, Any], *, steps: int | None = None) -> Suggestion:
    """Sugiere la tasa donde la pérdida suavizada baja más deprisa: el menor Δpérdida/Δln(tasa).

    Parámetros y errores, los de `valley`.
    """
    curve = _usable(table, steps, MIN_POINTS)
    slopes = np.diff(curve.losses) / np.diff(np.log(curve.rates))
    return curve.suggestion("steep", int(slopes.argmin()))


def minimum(table: Mapping[str, Any], *, steps: int | None = None) -> Suggestion:
    """Sugiere la décima parte de la tasa con la menor pérdida suavizada.

    Parámetros y errores, los de `valley`.
    """
    curve = _usable(table, steps, MIN_POINTS)
    return curve.suggestion("minimum", int(curve.losses.argmin()), factor=0.1)


def slide(
    table: Mapping[str, Any], *, steps: int | None = None, window: int = 15, threshold: float = 0.005
) -> Suggestion:
    """Sugiere la tasa a la que llega, desde el final, una regla de `window` puntos de largo.

    La regla se desliza hacia atrás mientras el gradiente en sus dos extremos difiera en más de `threshold`; la tasa es
    la del último extremo izquierdo que cumplió. Los demás parámetros y los errores, los de `valley`.
    """
    curve = _usable(table, steps, max(MIN_POINTS, window + 1))
    gradient = np.gradient(curve.losses)
    differs = np.abs(gradient[window:] - gradient[:-window]) > threshold
    stops = np.flatnonzero(~differs)  # left ends where the ruler would stop
    last = len(differs) - 1
    return curve.suggestion("slide", min(int(stops[-1]) + 1, last) if len(stops) else 0)


RULES = {"valley": valley, "steep": steep, "minimum": minimum, "slide": slide}


@dataclass(frozen=True)
class _Curve:
    rates: np.ndarray
    losses: np.ndarray
    offset: int

    def suggestion(self, rule: str, index: int, *, factor: float = 1.0) -> Suggestion:
        rate = float(self.rates[index]) * factor
        loss = float(np.interp(np.log(rate), np.log(self.rates), self.losses))
        return Suggestion(rule, rate, loss, self.offset + index)


def _usable(table: Mapping[str, Any], steps: int | None, needed: int) -> _Curve:
    """Quita la primera décima parte, los últimos puntos y lo que sigue a un NaN; rechaza curvas cortas o planas."""
    rates, losses = (np.asarray(table[name], dtype=float) for name in ("learning_rate", "smoothed"))
    start = (steps or len(rates)) // 10
    rates, losses = rates[start:-LAST_POINTS], losses[start:-LAST_POINTS]
    finite = len(losses) if np.isfinite(losses).all() else int(np.isfinite(losses).argmin())
    if finite < needed:
        raise NeumoError(
            f"La curva es corta: tras descartar los {start} primeros puntos y los {LAST_POINTS} últimos quedan "
            f"{finite} y hacen falta {needed}. Suba lr_finder.steps o baje lr_finder.max_lr."
        )
    rates, losses = rates[:finite], losses[:finite]
    drop = float((np.maximum.accumulate(losses) - losses).max())
    if drop < FLAT * abs(losses[0]):
        raise NeumoError(
            f"La curva es plana: la pérdida suavizada empieza en {losses[0]:.4g} y nunca baja más de {drop:.2g}. "
            "Amplíe lr_finder.min_lr y lr_finder.max_lr, o revise las imágenes y sus etiquetas."
        )
    return _Curve(rates, losses, start)


def suggest(curves: "pd.DataFrame", *, steps: int | None = None) -> "pd.DataFrame":
    """Aplica las cuatro reglas a la curva de cada semilla.

    Parameters
    ----------
    curves : DataFrame
        `seed`, `learning_rate` y `smoothed`, como la devuelve `find_learning_rate`.
    steps : int, optional
        Lotes previstos; véase `valley`.

    Returns
    -------
    DataFrame
        Una fila por semilla y regla: `seed`, `rule`, `learning_rate`, `loss`, `index` y `reason`: por qué una regla se
        negó (con tasa y pérdida NaN e índice -1), o vacío.
    """
    import pandas as pd

    rows = [
        {"seed": seed, **_answer(rule, curve, steps)}
        for seed, curve in curves.groupby("seed", sort=False)
        for rule in RULES
    ]
    return pd.DataFrame(rows)


def _answer(rule: str, curve: "pd.DataFrame", steps: int | None) -> dict:
    try:
        return {**asdict(RULES[rule](curve, steps=steps)), "reason": ""}
    except NeumoError as error:
        return {"rule": rule, "learning_rate": math.nan, "loss": math.nan, "index": -1, "reason": str(error)}


def agreement(suggestions: "pd.DataFrame") -> "pd.DataFrame":
    """Resume cuánto coincide cada regla consigo misma al cambiar de semilla.

    Parameters
    ----------
    suggestions : DataFrame
        La tabla de `suggest`.

    Returns
    -------
    DataFrame
        Una fila por regla: `rule`, `answers` (semillas con respuesta), `lowest`, `middle` (media geométrica), `highest`
        y `ratio` = la mayor entre la menor: 1 es acuerdo total.
    """
    import pandas as pd

    answered = suggestions.dropna(subset="learning_rate")
    rows = []
    for rule in RULES:
        rates = answered.loc[answered["rule"] == rule, "learning_rate"].to_numpy(float)
        low, high = (rates.min(), rates.max()) if len(rates) else (math.nan, math.nan)
        middle = float(np.exp(np.log(rates).mean())) if len(rates) else math.nan
        rows.append({"rule": rule, "answers": len(rates), "lowest": low, "middle": middle, "highest": high})
    return pd.DataFrame(rows).assign(ratio=lambda table: table["highest"] / table["lowest"])


def divergence_point(curve: Mapping[str, Any], *, divergence: float = 4.0) -> int | None:
    """Devuelve la fila donde la prueba se detuvo por divergencia o por NaN, o `None` si llegó al final.

    Examples
    --------
    >>> divergence_point({"loss": [1.0, 1.0, 9.0], "smoothed": [1.0, 1.0, 9.0]})
    2
    >>> divergence_point({"loss": [1.0, 1.0], "smoothed": [1.0, 1.0]})
    """
    loss, smoothed = (np.asarray(curve[name], dtype=float) for name in ("loss", "smoothed"))
    last = len(loss) - 1
    diverged = last > 0 and (not math.isfinite(loss[last]) or smoothed[last] > divergence * smoothed[:last].min())
    return last if diverged else None
