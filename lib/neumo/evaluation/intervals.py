"""Intervalos por paciente: bootstrap de grupos enteros, y Wilson donde el bootstrap no dice nada."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.evaluation.metrics import Scores, as_labels, as_scores, as_vector, measure
from neumo.words import METRICS

if TYPE_CHECKING:
    import pandas as pd


def group_index(groups: Any, n: int) -> tuple[np.ndarray, int]:
    """Numera los pacientes de `n` imágenes desde 0: el de cada una, (n,), y cuántos hay; sin `groups`, uno por imagen."""
    if groups is None:
        return np.arange(n), n
    _, group = np.unique(as_vector(groups, "groups", n).astype(str), return_inverse=True)
    return group, int(group.max()) + 1


def resample(groups: int, resamples: int, seed: int) -> np.ndarray:
    """Sortea `groups` grupos con reemplazo en cada fila y cuenta cuántas veces salió cada uno."""
    draws = np.random.default_rng(seed).integers(groups, size=(resamples, groups))
    flat = (draws + groups * np.arange(resamples)[:, None]).ravel()
    return np.bincount(flat, minlength=resamples * groups).reshape(resamples, groups).astype(np.float64)


def wilson(value: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Intervalo de Wilson de una proporción `value` vista en `n` casos (Wilson 1927).

    Examples
    --------
    >>> [round(x, 4) for x in wilson(1.0, 30)]
    [0.8865, 1.0]
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    center = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def _patients(metric: str, scores: Scores, group: np.ndarray) -> int:
    """Cuenta los pacientes que informan de una métrica: los de su denominador, o los de la clase menor."""
    masks = {
        "sensitivity": [scores.y == 1],
        "f1": [scores.y == 1],
        "specificity": [scores.y == 0],
        "precision": [scores.pred == 1],
        "npv": [scores.pred == 0],
        **{name: [scores.y >= 0] for name in ("accuracy", "log_loss", "brier")},
    }.get(metric, [scores.y == 0, scores.y == 1])
    return min(len(np.unique(group[mask])) for mask in masks)


def _interval(metric: str, measured: Mapping, scores: Scores, group: np.ndarray, confidence: float) -> tuple:
    value, draws = float(measured[metric][0]), measured[metric][1:]
    valid, patients = draws[np.isfinite(draws)], _patients(metric, scores, group)
    if not np.isfinite(value) or len(valid) < len(draws) / 2 or not patients:
        return np.nan, np.nan, "no definido"
    if np.ptp(valid) > 1e-12:
        low, high = np.quantile(valid, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high), "bootstrap"
    if metric in ("log_loss", "brier"):
        return np.nan, np.nan, "sin variación"
    if metric == "balanced_accuracy":  # es una media de dos proporciones: la de sus límites
        parts = [
            _interval(name, measured, scores, group, confidence) for name in ("sensitivity", "specificity")
        ]
        return (parts[0][0] + parts[1][0]) / 2, (parts[0][1] + parts[1][1]) / 2, "wilson"
    if metric == "mcc":  # va de -1 a 1: Wilson sobre la misma escala que una proporción
        low, high = wilson((value + 1) / 2, patients, confidence=confidence)
        return 2 * low - 1, 2 * high - 1, "wilson"
    return *wilson(min(max(value, 0.0), 1.0), patients, confidence=confidence), "wilson"


def _columns(values: Any) -> list[np.ndarray]:
    return [] if values is None else list(np.atleast_2d(np.asarray(values).T))


def bootstrap(
    y_true: Any, y_prob: Any, y_pred: Any, logits: Any, threshold: float, groups: Any, draws: tuple
) -> tuple:
    """Mide la muestra y sus remuestreos, promediando las columnas (semillas) de `y_prob`."""
    probs = _columns(y_prob)
    preds, zs = (_columns(values) or [None] * len(probs) for values in (y_pred, logits))
    runs = [
        as_scores(y_true, p, threshold=threshold, y_pred=d, logits=z)
        for p, d, z in zip(probs, preds, zs, strict=True)
    ]
    group, number = group_index(groups, len(runs[0].y))
    counts = np.vstack([np.ones((1, number)), resample(number, *draws)])
    measured = [measure(run, group, counts) for run in runs]
    return {name: np.mean([m[name] for m in measured], axis=0) for name in METRICS}, runs[0], group


def intervals(
    y_true: Any,
    y_prob: Any,
    *,
    groups: Any = None,
    threshold: float = 0.5,
    y_pred: Any = None,
    logits: Any = None,
    metrics: Iterable[str] = tuple(METRICS),
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> "pd.DataFrame":
    """Calcula cada métrica con su intervalo, remuestreando pacientes enteros (bootstrap de percentiles).

    Las imágenes de un paciente se parecen: remuestrear imágenes sueltas daría intervalos demasiado estrechos
    (Field y Welsh 2007, J. R. Stat. Soc. B 69:369). Donde todos los remuestreos dan lo mismo (una sensibilidad de 1) el bootstrap
    no dice nada y se da el intervalo de Wilson sobre el número de pacientes, señalado en `method`.

    Parameters
    ----------
    y_true : array_like of int, shape (n,)
        Clase real.
    y_prob : array_like of float, shape (n,) or (n, k)
        Probabilidad de PNEUMONIA; con k columnas (semillas) se mide el promedio de sus métricas.
    groups : array_like, shape (n,), optional
        Paciente de cada imagen; sin él, cada imagen es un paciente.
    threshold : float
        Umbral de decisión.
    y_pred, logits : array_like, same shape as y_prob, optional
        Decisiones ya tomadas y logits, como en `binary_metrics`.
    metrics : iterable of str
        Cuáles de `METRICS`.
    resamples : int
        Remuestreos.
    confidence : float
        Confianza, en (0, 1).
    seed : int
        Semilla de los remuestreos: la misma los repite, también entre modelos.

    Returns
    -------
    DataFrame
        `metric`, `value`, `low`, `high`, `method` (`bootstrap`, `wilson`, `sin variación` o `no definido`),
        `patients` (los que informan de la métrica) y `n`.
    """
    import pandas as pd

    measured, first, group = bootstrap(y_true, y_prob, y_pred, logits, threshold, groups, (resamples, seed))
    rows = [
        (
            name,
            float(measured[name][0]),
            *_interval(name, measured, first, group, confidence),
            _patients(name, first, group),
            len(first.y),
        )
        for name in metrics
    ]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "method", "patients", "n"])


def paired_difference(
    y_true: Any,
    y_prob_a: Any,
    y_prob_b: Any,
    *,
    groups: Any = None,
    threshold: float = 0.5,
    y_pred_a: Any = None,
    y_pred_b: Any = None,
    metrics: Iterable[str] = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "auc"),
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> "pd.DataFrame":
    """Compara dos modelos en las mismas imágenes con los mismos remuestreos de pacientes.

    Parameters
    ----------
    y_true, groups, threshold, metrics, resamples, confidence, seed
        Como en `intervals`.
    y_prob_a, y_prob_b : array_like of float, shape (n,) or (n, k)
        Probabilidades de cada modelo.
    y_pred_a, y_pred_b : array_like of int, optional
        Decisiones ya tomadas de cada uno.

    Returns
    -------
    DataFrame
        `metric`, `a`, `b`, `difference` (b - a), `low`, `high` y `p_value` (bilateral, del bootstrap); el intervalo es NaN
        si ningún remuestreo cambia la diferencia.
    """
    import pandas as pd

    draws = (resamples, seed)
    a, *_ = bootstrap(y_true, y_prob_a, y_pred_a, None, threshold, groups, draws)
    b, *_ = bootstrap(y_true, y_prob_b, y_pred_b, None, threshold, groups, draws)
    rows = []
    for name in metrics:
        point, *sample = b[name] - a[name]
        sample = np.array(sample)[np.isfinite(sample)]
        low, high = np.nan, np.nan  # si ningún remuestreo cambia la diferencia, no dicen nada de su error
        if len(sample) and np.ptp(sample) > 1e-12:
            low, high = np.quantile(sample, [(1 - confidence) / 2, (1 + confidence) / 2])
        tail = (1 + min(np.sum(sample <= 0), np.sum(sample >= 0))) / (1 + len(sample))
        rows.append((name, a[name][0], b[name][0], point, low, high, min(1.0, 2 * tail)))
    return pd.DataFrame(rows, columns=["metric", "a", "b", "difference", "low", "high", "p_value"])


def curve_band(
    y_true: Any,
    y_prob: Any,
    *,
    kind: str = "roc",
    groups: Any = None,
    resamples: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
    points: int = 101,
) -> "pd.DataFrame":
    """Calcula la banda punto a punto de una curva, remuestreando pacientes.

    Parameters
    ----------
    y_true, y_prob, groups, resamples, confidence, seed
        Como en `intervals`; `y_prob` de una columna.
    kind : {"roc", "pr"}
        Qué curva.
    points : int
        Puntos de la rejilla, de 0 a 1.

    Returns
    -------
    DataFrame
        `x` (1 - especificidad, o sensibilidad), `low` y `high` (sensibilidad, o precisión).
    """
    import pandas as pd

    scores = as_scores(y_true, y_prob)
    group, number = group_index(groups, len(scores.y))
    order = np.argsort(-scores.prob, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores.prob[order])), len(order) - 1)
    grid = np.linspace(0, 1, points)
    curves = []
    for row in resample(number, resamples, seed):
        weights = row[group[order]]
        tp, fp = (np.cumsum(weights * (scores.y[order] == k))[ends] for k in (1, 0))
        if tp[-1] and fp[-1]:
            curves.append(_curve(kind, tp, fp, grid))
    quantiles = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(curves, quantiles, axis=0) if curves else np.full((2, points), np.nan)
    return pd.DataFrame({"x": grid, "low": low, "high": high})


def _curve(kind: str, tp: np.ndarray, fp: np.ndarray, grid: np.ndarray) -> np.ndarray:
    if kind == "roc":
        return np.interp(grid, np.r_[0, fp / fp[-1]], np.r_[0, tp / tp[-1]])
    precision = tp / np.maximum(tp + fp, 1)
    reached = np.searchsorted(
        tp / tp[-1], np.maximum(grid - 1e-12, 1e-12)
    )  # en 0, la primera neumonía hallada
    return precision[np.minimum(reached, len(tp) - 1)]


def subgroup_metrics(
    y_true: Any, y_prob: Any, subgroups: Any, *, groups: Any = None, threshold: float = 0.5, **options: Any
) -> "pd.DataFrame":
    """Mide el acierto dentro de cada subgrupo de una sola clase (NORMAL, bacteria, virus), con intervalo.

    Parameters
    ----------
    y_true, y_prob, groups, threshold
        Como en `intervals`.
    subgroups : array_like of str, shape (n,)
        Nombre del subgrupo de cada imagen; las de nombre vacío no cuentan.
    **options
        `resamples`, `confidence` y `seed` de `intervals`.

    Returns
    -------
    DataFrame
        `subgroup` y las columnas de `intervals`; `metric` es `sensitivity` en los subgrupos de PNEUMONIA,
        `specificity` en los de NORMAL y `balanced_accuracy` en los mixtos.
    """
    import pandas as pd

    y, names = as_labels(y_true, "y_true"), np.asarray(subgroups).astype(str)
    prob, group = np.asarray(y_prob), None if groups is None else np.asarray(groups)
    rows = []
    for name in dict.fromkeys(names[names != ""]):
        mask = names == name
        metric = {0.0: "specificity", 1.0: "sensitivity"}.get(y[mask].mean(), "balanced_accuracy")
        patients = None if group is None else group[mask]
        row = intervals(
            y[mask], prob[mask], groups=patients, threshold=threshold, metrics=[metric], **options
        )
        rows.append(row.assign(subgroup=name))
    table = pd.concat(rows, ignore_index=True)
    return table[["subgroup", *table.columns.drop("subgroup")]]


def mean_interval(
    values: Sequence[float], *, groups: Sequence[Any] | None = None, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Media con su intervalo del 95 %, remuestreando grupos enteros (bootstrap de percentiles).

    Examples
    --------
    >>> mean_interval([0.5, 0.5, 0.5])
    (0.5, 0.5, 0.5)
    """
    values = np.asarray(values, dtype=float)
    if not len(values):
        return (float("nan"),) * 3
    names, group = np.unique(np.arange(len(values)) if groups is None else groups, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    draws = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return float(values.mean()), *(float(q) for q in np.quantile(means, (0.025, 0.975)))
