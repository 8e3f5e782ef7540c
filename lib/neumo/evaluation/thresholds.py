"""Curvas y umbrales: lo que da cada punto de decisión, y cómo se elige uno."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.errors import NeumoError
from neumo.evaluation.intervals import TAILS, group_index, resample
from neumo.evaluation.metrics import as_scores, binary_metrics, cumulated, decide, decision_rates, ratio
from neumo.words import POLICIES

if TYPE_CHECKING:
    import pandas as pd

# Lo que han de alcanzar `sensitivity` y `specificity`, y lo que cuesta en falsas alarmas una neumonía no vista en `cost`.
TARGET, MISSED = 0.95, 5.0


def operating_points(y_true: Any, y_prob: Any) -> "pd.DataFrame":
    """Recorre todos los umbrales que cambian alguna decisión, de menor a mayor.

    El umbral va a medio camino entre dos probabilidades vecinas, para que no dependa de una sola imagen.

    Returns
    -------
    DataFrame
        `threshold`, `tn`, `fp`, `fn`, `tp`, `sensitivity`, `specificity`, `precision` y `f1`; el primero predice
        siempre PNEUMONIA y el último siempre NORMAL.

    Raises
    ------
    NeumoError
        Si alguna probabilidad es NaN.
    """
    import pandas as pd

    scores = as_scores(y_true, y_prob)
    decide(scores.prob, 0.5)
    values, inverse = np.unique(scores.prob, return_inverse=True)
    tn, fn = (np.append(0, np.cumsum(np.bincount(inverse, scores.y == k, len(values)))) for k in (0, 1))
    fp, tp = tn[-1] - tn, fn[-1] - fn
    thresholds = np.r_[0.0, (values[1:] + values[:-1]) / 2, np.nextafter(values[-1], 2)]
    rates = decision_rates(tn, fp, fn, tp)
    kept = {name: rates[name] for name in ("sensitivity", "specificity", "precision", "f1")}
    return pd.DataFrame({"threshold": thresholds, "tn": tn, "fp": fp, "fn": fn, "tp": tp, **kept})


def roc_table(y_true: Any, y_prob: Any) -> "pd.DataFrame":
    """Tabula la curva ROC: `fpr` y `tpr`, de (0, 0) a (1, 1); NaN si falta una clase o una probabilidad."""
    import pandas as pd
    from sklearn.metrics import roc_curve

    fpr, tpr = _points(roc_curve, y_true, y_prob, drop_intermediate=False)
    return pd.DataFrame({"fpr": fpr, "tpr": tpr})


def pr_table(y_true: Any, y_prob: Any) -> "pd.DataFrame":
    """Tabula la curva de precisión y sensibilidad: `recall` y `precision`, de recall 0 a 1; NaN como en `roc_table`.

    En recall 0, donde no hay precisión que medir, va la del primer umbral que encuentra algo.
    """
    import pandas as pd
    from sklearn.metrics import precision_recall_curve

    precision, recall = _points(precision_recall_curve, y_true, y_prob)
    return pd.DataFrame({"recall": recall[::-1], "precision": np.r_[precision[-2], precision[-2::-1]]})


def _points(curve: Callable, y_true: Any, y_prob: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    scores = as_scores(y_true, y_prob)
    if 0 < scores.y.sum() < len(scores.y) and np.isfinite(scores.prob).all():
        return curve(scores.y, scores.prob, **options)[:2]
    return np.full(2, np.nan), np.full(2, np.nan)


def curve_band(
    y_true: Any, y_prob: Any, *, kind: str = "roc", groups: Any = None, resamples: int = 2_000, seed: int = 0
) -> "pd.DataFrame":
    """Calcula la banda del 95 %, punto a punto, de una curva, remuestreando pacientes.

    Parameters
    ----------
    y_true, y_prob, groups, resamples, seed
        Como en `neumo.evaluation.intervals.intervals`; `y_prob` de una columna.
    kind : {"roc", "pr"}
        Qué curva.

    Returns
    -------
    DataFrame
        `x` (1 - especificidad, o sensibilidad), `low` y `high` (sensibilidad, o precisión), en 101 puntos.
    """
    import pandas as pd

    scores = as_scores(y_true, y_prob)
    group, number = group_index(groups, len(scores.y))
    grid, curves = np.linspace(0, 1, 101), []
    for weights in resample(number, resamples, seed):
        (tp,), (fp,) = cumulated(scores.y, scores.prob, weights[None, group])
        if tp[-1] and fp[-1]:
            curves.append(_curve(kind, tp, fp, grid))
    low, high = np.quantile(curves, TAILS, axis=0) if curves else np.full((2, len(grid)), np.nan)
    return pd.DataFrame({"x": grid, "low": low, "high": high})


def _curve(kind: str, tp: np.ndarray, fp: np.ndarray, grid: np.ndarray) -> np.ndarray:
    if kind == "roc":
        return np.interp(grid, np.r_[0, fp / fp[-1]], np.r_[0, tp / tp[-1]])
    least = np.maximum(grid - 1e-12, 1e-12)  # en 0, la primera neumonía hallada
    reached = np.searchsorted(tp / tp[-1], least)
    return (tp / np.maximum(tp + fp, 1))[np.minimum(reached, len(tp) - 1)]


def choose_threshold(y_true: Any, y_prob: Any, *, policy: str = "fixed", threshold: float = 0.5) -> float:
    """Elige un umbral con una política con nombre; los empates van al más cercano a 0.5.

    Parameters
    ----------
    y_true, y_prob : array_like, shape (n,)
        Clase real y probabilidad, de validación: nunca de prueba.
    policy : {"fixed", "youden", "f1", "sensitivity", "specificity", "cost"}
        `fixed`: `threshold`. `youden`: mayor sensibilidad + especificidad (Youden 1950). `f1`: mayor F1.
        `sensitivity` y `specificity`: la mayor de la otra entre los que llegan a `TARGET`. `cost`: menor
        `MISSED` · falsos negativos + falsos positivos.

    Returns
    -------
    float

    Raises
    ------
    NeumoError
        Si la política no existe, solo hay una clase o alguna probabilidad es NaN (salvo `fixed`).

    Examples
    --------
    >>> choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9], policy="youden")
    0.30000000000000004
    """
    if policy == "fixed":
        return float(threshold)
    points = operating_points(y_true, y_prob)
    if points[["sensitivity", "specificity"]].isna().any(axis=None):
        raise NeumoError(f"La política «{policy}» necesita imágenes de las dos clases y solo hay de una.")
    objectives = {
        "youden": points.sensitivity + points.specificity,
        "f1": points.f1,
        "sensitivity": points.specificity.where(points.sensitivity >= TARGET),
        "specificity": points.sensitivity.where(points.specificity >= TARGET),
        "cost": -(MISSED * points.fn + points.fp),
    }
    if policy not in objectives:
        raise NeumoError(f"No hay una política «{policy}». Las que hay: fixed, {', '.join(objectives)}.")
    score = objectives[policy]
    best = points[score >= score.max() - 1e-12]
    return float(best.threshold[(best.threshold - 0.5).abs().idxmin()])


def threshold_policies(y_true: Any, y_prob: Any) -> "pd.DataFrame":
    """Tabula el umbral de cada política y lo que da en los mismos datos: `policy`, `threshold` y métricas."""
    chosen = {policy: choose_threshold(y_true, y_prob, policy=policy) for policy in POLICIES}
    return apply_thresholds(y_true, y_prob, chosen)


def apply_thresholds(y_true: Any, y_prob: Any, thresholds: Mapping[str, float]) -> "pd.DataFrame":
    """Mide en unos datos umbrales elegidos en otros: `policy`, `threshold` y métricas de decisión."""
    import pandas as pd

    names = ("sensitivity", "specificity", "balanced_accuracy", "accuracy", "f1")
    rows = []
    for policy, threshold in thresholds.items():
        measured = binary_metrics(y_true, y_prob, threshold=threshold)
        rows.append({"policy": policy, "threshold": threshold, **{name: measured[name] for name in names}})
    return pd.DataFrame(rows)


def predictive_values(
    sensitivity: float, specificity: float, *, prevalences: Iterable[float] = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75)
) -> "pd.DataFrame":
    """Calcula los valores predictivos que tendría el clasificador con otras prevalencias (teorema de Bayes).

    Returns
    -------
    DataFrame
        `prevalence`, `ppv` y `npv`, proporciones.

    Examples
    --------
    >>> predictive_values(0.9, 0.9, prevalences=[0.1]).ppv.round(3).item()
    0.5
    """
    import pandas as pd

    p = np.asarray(list(prevalences), dtype=float)
    tp, fp = sensitivity * p, (1 - specificity) * (1 - p)
    tn, fn = specificity * (1 - p), (1 - sensitivity) * p
    return pd.DataFrame({"prevalence": p, "ppv": ratio(tp, tp + fp), "npv": ratio(tn, tn + fn)})
