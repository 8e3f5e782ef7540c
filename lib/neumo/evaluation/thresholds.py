"""Curvas y umbrales: lo que da cada punto de decisión, y cómo se elige uno."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.errors import NeumoError

if TYPE_CHECKING:
    import pandas as pd
from neumo.evaluation.metrics import as_scores, binary_metrics, decision_rates, ratio


def operating_points(y_true: Any, y_prob: Any) -> "pd.DataFrame":
    """Recorre todos los umbrales que cambian alguna decisión, de menor a mayor.

    El umbral va a medio camino entre dos probabilidades vecinas, para que no dependa de una sola imagen.

    Returns
    -------
    DataFrame
        `threshold`, `tn`, `fp`, `fn`, `tp`, `sensitivity`, `specificity`, `precision` y `f1`; el primero predice
        siempre PNEUMONIA y el último siempre NORMAL.
    """
    import pandas as pd

    scores = as_scores(y_true, y_prob)
    values, inverse = np.unique(scores.prob, return_inverse=True)
    below = [np.append(0, np.cumsum(np.bincount(inverse, scores.y == k, len(values)))) for k in (0, 1)]
    tn, fn = below
    fp, tp = tn[-1] - tn, fn[-1] - fn
    thresholds = np.r_[0.0, (values[1:] + values[:-1]) / 2, np.nextafter(values[-1], 2)]
    rates = decision_rates(tn, fp, fn, tp)
    kept = {
        name: rates[name] for name in ("sensitivity", "specificity", "precision", "f1", "balanced_accuracy")
    }
    return pd.DataFrame({"threshold": thresholds, "tn": tn, "fp": fp, "fn": fn, "tp": tp, **kept})


def roc_table(y_true: Any, y_prob: Any) -> "pd.DataFrame":
    """Tabula la curva ROC: `fpr`, `tpr` y `threshold`, de (0, 0) a (1, 1)."""
    import pandas as pd

    points = operating_points(y_true, y_prob)[::-1]
    columns = {"fpr": 1 - points.specificity, "tpr": points.sensitivity, "threshold": points.threshold}
    return pd.DataFrame(columns).reset_index(drop=True)


def pr_table(y_true: Any, y_prob: Any) -> "pd.DataFrame":
    """Tabula la curva de precisión y sensibilidad: `recall`, `precision` y `threshold`, de recall 0 a 1."""
    import pandas as pd

    points = operating_points(y_true, y_prob)[::-1]
    columns = {"recall": points.sensitivity, "precision": points.precision, "threshold": points.threshold}
    return pd.DataFrame(columns).bfill().reset_index(drop=True)


def choose_threshold(
    y_true: Any,
    y_prob: Any,
    *,
    policy: str = "fixed",
    threshold: float = 0.5,
    target: float = 0.95,
    cost_fn: float = 5.0,
    cost_fp: float = 1.0,
) -> float:
    """Elige un umbral con una política con nombre; los empates van al más cercano a 0.5.

    Parameters
    ----------
    y_true, y_prob : array_like, shape (n,)
        Clase real y probabilidad, de validación: nunca de prueba.
    policy : {"fixed", "youden", "f1", "sensitivity", "specificity", "cost"}
        `fixed`: `threshold`. `youden`: mayor sensibilidad + especificidad (Youden 1950). `f1`: mayor F1.
        `sensitivity` y `specificity`: la mayor de la otra entre los que llegan a `target`. `cost`: menor
        `cost_fn` · falsos negativos + `cost_fp` · falsos positivos.

    Returns
    -------
    float

    Raises
    ------
    NeumoError
        Si la política no existe o solo hay una clase (salvo `fixed`).

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
        "sensitivity": points.specificity.where(points.sensitivity >= target),
        "specificity": points.sensitivity.where(points.specificity >= target),
        "cost": -(cost_fn * points.fn + cost_fp * points.fp),
    }
    if policy not in objectives:
        raise NeumoError(f"No hay una política «{policy}». Las que hay: fixed, {', '.join(objectives)}.")
    score = objectives[policy]
    best = points[score >= score.max() - 1e-12]
    return float(best.threshold[(best.threshold - 0.5).abs().idxmin()])


def threshold_policies(
    y_true: Any, y_prob: Any, *, target: float = 0.95, cost_fn: float = 5.0, cost_fp: float = 1.0
) -> "pd.DataFrame":
    """Tabula el umbral de cada política y lo que da en los mismos datos: `policy`, `threshold` y métricas."""
    import pandas as pd

    options = {"target": target, "cost_fn": cost_fn, "cost_fp": cost_fp}
    policies = ("fixed", "youden", "f1", "sensitivity", "specificity", "cost")
    chosen = {policy: choose_threshold(y_true, y_prob, policy=policy, **options) for policy in policies}
    return apply_thresholds(y_true, y_prob, pd.Series(chosen))


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
    sensitivity: float,
    specificity: float,
    *,
    prevalences: Iterable[float] = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75),
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
    tp, fp, tn, fn = (
        sensitivity * p,
        (1 - specificity) * (1 - p),
        specificity * (1 - p),
        (1 - sensitivity) * p,
    )
    return pd.DataFrame({"prevalence": p, "ppv": ratio(tp, tp + fp), "npv": ratio(tn, tn + fn)})
