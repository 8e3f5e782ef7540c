"""Métricas, intervalos, umbrales, calibración y diagnóstico: entran matrices, salen tablas.

La clase positiva es PNEUMONIA (1). Nada de aquí importa TensorFlow.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.errors import NeumoError

if TYPE_CHECKING:
    import pandas as pd

CLASSES = ("NORMAL", "PNEUMONIA")
METRICS = {
    "accuracy": "exactitud",
    "balanced_accuracy": "exactitud equilibrada",
    "sensitivity": "sensibilidad",
    "specificity": "especificidad",
    "precision": "valor predictivo positivo (precisión)",
    "npv": "valor predictivo negativo",
    "f1": "F1 de PNEUMONIA",
    "mcc": "correlación de Matthews",
    "auc": "AUC",
    "average_precision": "precisión media",
    "log_loss": "entropía cruzada",
    "brier": "Brier",
}
HEADERS = {
    **METRICS,
    "balanced_accuracy": "equilibrada",
    "log_loss": "entropía",
    "precision": "precisión",
    "npv": "v. p. negativo",
    "f1": "F1",
    **{"model": "modelo", "seed": "semilla", "seeds": "semillas", "partition": "partición", "n": "imágenes"},
    **{"metric": "métrica", "value": "valor", "low": "desde", "high": "hasta", "method": "método"},
    **{"patients": "pacientes", "threshold": "umbral", "policy": "política", "decision": "lectura"},
    **{
        "subgroup": "subgrupo",
        "prevalence": "prevalencia",
        "ppv": "v. p. positivo",
        "probability": "probabilidad",
    },
    **{"epochs": "épocas", "seconds": "segundos", "path": "archivo", "temperature": "temperatura"},
    **{"ece_before": "ECE", "log_loss_before": "entropía", "brier_before": "Brier"},
    **{"ece_after": "ECE (T)", "log_loss_after": "entropía (T)", "brier_after": "Brier (T)"},
}
POLICIES = {
    "fixed": "fijo",
    "youden": "Youden",
    "f1": "mejor F1",
    "sensitivity": "sensibilidad",
    "specificity": "especificidad",
    "cost": "coste",
}
ENSEMBLE = "_conjunto"
ENSEMBLE_SEED = -1


# --- Datos comprobados -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scores:
    """Etiquetas, probabilidades, decisiones y pérdida de cada imagen, ya comprobadas."""

    y: np.ndarray
    prob: np.ndarray
    pred: np.ndarray
    loss: np.ndarray


def _vector(values: Any, name: str, length: int | None = None) -> np.ndarray:
    array = np.asarray(values)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or not array.size:
        raise NeumoError(
            f"{name} tiene la forma {array.shape}; se esperaba un vector con un valor por imagen."
        )
    if length is not None and len(array) != length:
        raise NeumoError(
            f"{name} tiene {len(array)} valores y hay {length} imágenes: revise de dónde sale cada uno."
        )
    return array


def _labels(values: Any, name: str, length: int | None = None) -> np.ndarray:
    array = _vector(values, name, length)
    if not np.isin(array, (0, 1)).all():
        raise NeumoError(
            f"{name} contiene valores distintos de 0 (NORMAL) y 1 (PNEUMONIA): aplique antes un umbral."
        )
    return array.astype(np.int8)


def _image_loss(y: np.ndarray, prob: np.ndarray, logits: np.ndarray | None) -> np.ndarray:
    sign = np.where(y == 1, -1.0, 1.0)
    if logits is not None:
        with np.errstate(invalid="ignore"):  # una red divergida da NaN: su pérdida también
            return np.logaddexp(0.0, sign * logits.astype(np.float64))
    eps = np.finfo(prob.dtype if prob.dtype.kind == "f" else np.float64).eps
    p = np.clip(prob.astype(np.float64), eps, 1 - eps)
    return -np.log(np.where(y == 1, p, 1 - p))


def _scores(
    y_true: Any, y_prob: Any, *, threshold: float = 0.5, y_pred: Any = None, logits: Any = None
) -> _Scores:
    y = _labels(y_true, "y_true")
    raw = _vector(y_prob, "y_prob", len(y))
    prob = raw.astype(np.float64)
    if ((prob < 0) | (prob > 1)).any():
        raise NeumoError(
            "y_prob tiene valores fuera de [0, 1]: si son logits, páselos antes por `probability`."
        )
    z = None if logits is None else _vector(logits, "logits", len(y))
    pred = (prob >= threshold).astype(np.int8) if y_pred is None else _labels(y_pred, "y_pred", len(y))
    return _Scores(y, prob, pred, _image_loss(y, raw, z))


def probability(logits: Any) -> np.ndarray:
    """Convierte logits en probabilidades de PNEUMONIA, en float64 y sin desbordar.

    Examples
    --------
    >>> probability([-800.0, 0.0, 800.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    from scipy.special import expit

    return expit(np.asarray(logits, dtype=np.float64))


def argmax_decision(y_prob: Any) -> np.ndarray:
    """Decide como el informe original: `np.argmax(..., axis=1)` sobre una salida de una sola columna.

    Con una columna, la posición del máximo es siempre 0: NORMAL, diga lo que diga la red.

    Parameters
    ----------
    y_prob : array_like of float, shape (n,) or (n, 1)
        Probabilidad de PNEUMONIA.

    Returns
    -------
    ndarray of int8, shape (n,)

    Examples
    --------
    >>> argmax_decision([0.1, 0.9, 0.999]).tolist()
    [0, 0, 0]
    """
    return np.argmax(np.asarray(y_prob, dtype=np.float64).reshape(-1, 1), axis=1).astype(np.int8)


# --- Métricas: las mismas cuentas para una muestra y para diez mil remuestreos --------------------


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


def _rates(tn: np.ndarray, fp: np.ndarray, fn: np.ndarray, tp: np.ndarray) -> dict[str, np.ndarray]:
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    both = np.where((tp + fn > 0) & (tn + fp > 0), 1.0, np.nan)
    product = np.sqrt((tp + fp) * (tn + fn) * (tp + fn) * (tn + fp))
    return {
        "accuracy": _ratio(tp + tn, tn + fp + fn + tp),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "mcc": both * np.nan_to_num(_ratio(tp * tn - fp * fn, product)),
    }


def _ranking(y: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC (con empates a medias) y precisión media para cada fila de `weights`, de forma (r, n)."""
    order = np.argsort(-prob, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(prob[order])), len(prob) - 1)
    positive = y[order] == 1
    sorted_weights = weights[:, order]
    tp = np.cumsum(np.where(positive, sorted_weights, 0), axis=1)[:, ends]
    fp = np.cumsum(np.where(positive, 0, sorted_weights), axis=1)[:, ends]
    steps = [np.diff(counts, axis=1, prepend=0) for counts in (tp, fp)]
    area = np.sum(steps[1] * (tp - steps[0] / 2), axis=1)
    precision = np.nan_to_num(_ratio(tp, tp + fp))
    both = (tp[:, -1] > 0) & (fp[:, -1] > 0)
    auc = _ratio(area, np.where(both, tp[:, -1] * fp[:, -1], 0))
    return auc, _ratio(np.sum(steps[0] * precision, axis=1), np.where(both, tp[:, -1], 0))


def _measure(scores: _Scores, group: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Calcula cada métrica para cada fila de `counts`, (r, grupos): cuántas veces entra cada grupo."""
    y, pred = scores.y, scores.pred
    cells = [(y == a) & (pred == b) for a in (0, 1) for b in (0, 1)]
    columns = [*cells, (scores.prob - y) ** 2, scores.loss, np.ones(len(y))]
    sums = np.stack([np.bincount(group, column, counts.shape[1]) for column in columns], axis=1)
    with np.errstate(invalid="ignore"):  # una pérdida infinita por cero veces: ese remuestreo no cuenta
        *matrix, brier, loss, total = (counts @ sums).T
    auc = average = np.full(len(counts), np.nan)
    if np.isfinite(scores.prob).all():
        rows = max(1, 1_000_000 // len(y))
        parts = [
            _ranking(y, scores.prob, counts[i : i + rows][:, group]) for i in range(0, len(counts), rows)
        ]
        auc, average = (np.concatenate(part) for part in zip(*parts, strict=True))
    measured = {"auc": auc, "average_precision": average, "log_loss": loss / total, "brier": brier / total}
    return _rates(*matrix) | measured


def binary_metrics(
    y_true: Any, y_prob: Any, *, threshold: float = 0.5, y_pred: Any = None, logits: Any = None
) -> dict[str, Any]:
    """Mide un clasificador binario.

    Parameters
    ----------
    y_true : array_like of int, shape (n,)
        Clase real: 0 NORMAL, 1 PNEUMONIA.
    y_prob : array_like of float, shape (n,) or (n, 1)
        Probabilidad de PNEUMONIA, en [0, 1].
    threshold : float
        Se predice PNEUMONIA cuando la probabilidad es mayor o igual.
    y_pred : array_like of int, optional
        Decisiones ya tomadas; mandan sobre `threshold`, que queda en `None`.
    logits : array_like of float, optional
        Si se dan, la entropía cruzada sale de ellos, sin recortar.

    Returns
    -------
    dict
        `n`, las de `METRICS`, `threshold` y `confusion_matrix` (`[[tn, fp], [fn, tp]]`: filas reales, columnas
        predichas). Lo que no está definido (por ejemplo, el AUC con una sola clase) es NaN.

    Raises
    ------
    NeumoError
        Si las longitudes no coinciden, una etiqueta no es 0 o 1 o una probabilidad sale de [0, 1].

    Examples
    --------
    >>> m = binary_metrics([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
    >>> m["confusion_matrix"], m["accuracy"], m["auc"]
    ([[1, 1], [1, 1]], 0.5, 0.75)
    """
    scores = _scores(y_true, y_prob, threshold=threshold, y_pred=y_pred, logits=logits)
    measured = _measure(scores, np.arange(len(scores.y)), np.ones((1, len(scores.y))))
    matrix = [[int(np.sum((scores.y == a) & (scores.pred == b))) for b in (0, 1)] for a in (0, 1)]
    return {
        "n": len(scores.y),
        **{name: float(measured[name][0]) for name in METRICS},
        "threshold": float(threshold) if y_pred is None else None,
        "confusion_matrix": matrix,
    }


def classification_report(y_true: Any, y_pred: Any) -> "pd.DataFrame":
    """Tabula precisión, sensibilidad, F1 y soporte de cada clase, como scikit-learn.

    Lo que divide entre cero vale 0, como en el informe original; la última fila es la exactitud, repetida.

    Parameters
    ----------
    y_true, y_pred : array_like of int, shape (n,)
        Clase real y predicha: 0 NORMAL, 1 PNEUMONIA.

    Returns
    -------
    DataFrame
        Filas NORMAL, PNEUMONIA, `media simple`, `media ponderada` y `exactitud`; columnas `precisión`,
        `sensibilidad`, `F1` y `soporte`.

    Examples
    --------
    >>> classification_report([0, 1, 1], [0, 1, 0]).loc["NORMAL", "precisión"]
    np.float64(0.5)
    """
    return report_from_confusion(confusion(y_true, y_pred))


def report_from_confusion(matrix: Any) -> "pd.DataFrame":
    """Tabula lo mismo que `classification_report` a partir de `[[tn, fp], [fn, tp]]`."""
    import pandas as pd

    matrix = np.asarray(matrix, dtype=float)
    hits, support, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    by_class = np.nan_to_num(
        [_ratio(hits, predicted), _ratio(hits, support), _ratio(2 * hits, support + predicted)]
    )
    rows = [
        *by_class.T,
        by_class.mean(axis=1),
        by_class @ support / support.sum(),
        [hits.sum() / support.sum()] * 3,
    ]
    names = [*CLASSES, "media simple", "media ponderada", "exactitud"]
    table = pd.DataFrame(rows, index=names, columns=["precisión", "sensibilidad", "F1"])
    return table.assign(soporte=[*support.astype(int), *[int(support.sum())] * 3])


def confusion(y_true: Any, y_pred: Any) -> "pd.DataFrame":
    """Cuenta imágenes por clase real (filas) y predicha (columnas), en el orden NORMAL, PNEUMONIA."""
    y = _labels(y_true, "y_true")
    return confusion_table(np.bincount(2 * y + _labels(y_pred, "y_pred", len(y)), minlength=4).reshape(2, 2))


def confusion_table(matrix: Any) -> "pd.DataFrame":
    """Pone nombre a las filas (reales) y columnas (predichas) de `[[tn, fp], [fn, tp]]`."""
    import pandas as pd

    real, predicted = (pd.Index(CLASSES, name=f"Clase {name}") for name in ("real", "predicha"))
    return pd.DataFrame(np.asarray(matrix, dtype=int), index=real, columns=predicted)


# --- Intervalos por paciente -----------------------------------------------------------------------


def _groups(groups: Any, n: int) -> tuple[np.ndarray, int]:
    if groups is None:
        return np.arange(n), n
    _, group = np.unique(_vector(groups, "groups", n).astype(str), return_inverse=True)
    return group, int(group.max()) + 1


def _resample(groups: int, resamples: int, seed: int) -> np.ndarray:
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


def _patients(metric: str, scores: _Scores, group: np.ndarray) -> int:
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


def _interval(metric: str, measured: Mapping, scores: _Scores, group: np.ndarray, confidence: float) -> tuple:
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


def _bootstrap(
    y_true: Any, y_prob: Any, y_pred: Any, logits: Any, threshold: float, groups: Any, draws: tuple
) -> tuple:
    """Mide la muestra y sus remuestreos, promediando las columnas (semillas) de `y_prob`."""
    probs = _columns(y_prob)
    preds, zs = (_columns(values) or [None] * len(probs) for values in (y_pred, logits))
    runs = [
        _scores(y_true, p, threshold=threshold, y_pred=d, logits=z)
        for p, d, z in zip(probs, preds, zs, strict=True)
    ]
    group, number = _groups(groups, len(runs[0].y))
    counts = np.vstack([np.ones((1, number)), _resample(number, *draws)])
    measured = [_measure(run, group, counts) for run in runs]
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

    measured, first, group = _bootstrap(y_true, y_prob, y_pred, logits, threshold, groups, (resamples, seed))
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
    a, *_ = _bootstrap(y_true, y_prob_a, y_pred_a, None, threshold, groups, draws)
    b, *_ = _bootstrap(y_true, y_prob_b, y_pred_b, None, threshold, groups, draws)
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


# --- Curvas ----------------------------------------------------------------------------------------


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

    scores = _scores(y_true, y_prob)
    values, inverse = np.unique(scores.prob, return_inverse=True)
    below = [np.append(0, np.cumsum(np.bincount(inverse, scores.y == k, len(values)))) for k in (0, 1)]
    tn, fn = below
    fp, tp = tn[-1] - tn, fn[-1] - fn
    thresholds = np.r_[0.0, (values[1:] + values[:-1]) / 2, np.nextafter(values[-1], 2)]
    rates = _rates(tn, fp, fn, tp)
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

    scores = _scores(y_true, y_prob)
    group, number = _groups(groups, len(scores.y))
    order = np.argsort(-scores.prob, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores.prob[order])), len(order) - 1)
    grid = np.linspace(0, 1, points)
    curves = []
    for row in _resample(number, resamples, seed):
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


# --- Umbrales ---------------------------------------------------------------------------------------


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
    return pd.DataFrame({"prevalence": p, "ppv": _ratio(tp, tp + fp), "npv": _ratio(tn, tn + fn)})


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

    y, names = _labels(y_true, "y_true"), np.asarray(subgroups).astype(str)
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


# --- Calibración ------------------------------------------------------------------------------------


def fit_temperature(y_true: Any, logits: Any) -> float:
    """Ajusta la temperatura que minimiza la entropía cruzada de `logits / T` (Guo et al. 2017, ICML).

    Un logit positivo sigue siendo positivo: la temperatura corrige la confianza y no mueve ninguna decisión a 0.5.
    Se busca en [0.05, 20]; en un extremo (validación sin errores), la temperatura es una cota, no un ajuste.

    Parameters
    ----------
    y_true : array_like of int, shape (n,)
        Clase real, de validación.
    logits : array_like of float, shape (n,)
        Logits; los infinitos se recortan.

    Returns
    -------
    float
    """
    from scipy.optimize import minimize_scalar

    y = _labels(y_true, "y_true")
    z = np.nan_to_num(_vector(logits, "logits", len(y)).astype(np.float64), posinf=1e6, neginf=-1e6)
    sign = np.where(y == 1, -1.0, 1.0)
    found = minimize_scalar(
        lambda t: float(np.mean(np.logaddexp(0.0, sign * z / np.exp(t)))),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x))


def calibrated_threshold(threshold: float, temperature: float) -> float:
    """Traduce un umbral de la probabilidad sin calibrar a la calibrada: las decisiones son las mismas.

    Examples
    --------
    >>> calibrated_threshold(0.5, 3.0), round(calibrated_threshold(0.9, 2.0), 3)
    (0.5, 0.75)
    """
    from scipy.special import expit, logit

    return float(expit(logit(min(max(threshold, 0.0), 1.0)) / temperature))


def reliability_table(y_true: Any, y_prob: Any, *, groups: Any = None, bins: int = 10) -> "pd.DataFrame":
    """Compara la probabilidad anunciada con la frecuencia observada, en tramos de igual anchura.

    Returns
    -------
    DataFrame
        `low_edge`, `high_edge`, `n`, `mean_prob`, `fraction` (de PNEUMONIA), `low` y `high` (Wilson sobre los
        pacientes del tramo, 95 %); solo los tramos con imágenes.
    """
    import pandas as pd

    scores = _scores(y_true, y_prob)
    group, _ = _groups(groups, len(scores.y))
    index = np.minimum((scores.prob * bins).astype(int), bins - 1)
    rows = []
    for k in np.unique(index):
        mask = index == k
        fraction, n = float(scores.y[mask].mean()), int(mask.sum())
        interval = wilson(fraction, len(np.unique(group[mask])))
        rows.append((k / bins, (k + 1) / bins, n, scores.prob[mask].mean(), fraction, *interval))
    return pd.DataFrame(rows, columns=["low_edge", "high_edge", "n", "mean_prob", "fraction", "low", "high"])


def expected_calibration_error(y_true: Any, y_prob: Any, *, bins: int = 10) -> float:
    """Promedia, por imagen, la distancia entre lo anunciado y lo observado de cada tramo (ECE)."""
    table = reliability_table(y_true, y_prob, bins=bins)
    return float(np.average((table.mean_prob - table.fraction).abs(), weights=table.n))


# --- Tablas de predicciones --------------------------------------------------------------------------


def metrics_table(
    predictions: "pd.DataFrame",
    *,
    threshold: float | Mapping[str, float] = 0.5,
    decisions: Mapping[str, str] | None = None,
) -> "pd.DataFrame":
    """Mide cada modelo, semilla y partición de una tabla de predicciones.

    Parameters
    ----------
    predictions : DataFrame
        Columnas `model`, `seed`, `partition`, `path`, `group` (paciente), `y_true` y `logit`.
    threshold : float or dict
        Umbral de todos, o de cada modelo (los que falten, 0.5).
    decisions : dict, optional
        Modelos cuya salida se lee con `argmax_decision`: `{"original": "argmax"}`.

    Returns
    -------
    DataFrame
        `model`, `seed`, `partition`, `patients`, `decision` y lo de `binary_metrics`.
    """
    import pandas as pd

    rows = []
    for (model, seed, partition), part in predictions.groupby(["model", "seed", "partition"], sort=False):
        prob, base = probability(part["logit"]), model.removesuffix(ENSEMBLE)
        rule = (decisions or {}).get(base, "threshold")
        cut = threshold.get(base, 0.5) if isinstance(threshold, Mapping) else threshold
        y_pred = argmax_decision(prob) if rule == "argmax" else None
        measured = binary_metrics(part["y_true"], prob, threshold=cut, y_pred=y_pred, logits=part["logit"])
        patients = part["group"].nunique() if "group" in part else len(part)
        identity = {"model": model, "seed": seed, "partition": partition, "patients": patients}
        rows.append({**identity, "decision": rule, **measured})
    return pd.DataFrame(rows)


def seed_summary(metrics: "pd.DataFrame", *, names: Iterable[str] = tuple(METRICS)) -> "pd.DataFrame":
    """Resume las semillas de cada modelo y partición: `seeds` y, por métrica, su media y `<métrica>_sd`."""
    names = list(names)
    grouped = metrics.groupby(["model", "partition"], sort=False)
    mean, sd = grouped[names].mean(), grouped[names].std(ddof=1).add_suffix("_sd")
    order = [column for name in names for column in (name, f"{name}_sd")]
    return mean.join(sd)[order].assign(seeds=grouped.size()).reset_index()


def ensemble(predictions: "pd.DataFrame") -> "pd.DataFrame":
    """Promedia los logits de las semillas de cada modelo, como un modelo más: lo mismo que hace `predict`.

    Returns
    -------
    DataFrame
        Como `predictions`, con el modelo llamado `<model>_conjunto` y la semilla -1.
    """
    keys = ["model", "partition", "path"]
    mean = predictions.groupby(keys, sort=False)["logit"].mean()
    first = predictions.drop_duplicates(keys).set_index(keys).assign(logit=mean, seed=ENSEMBLE_SEED)
    table = first.reset_index()[list(predictions.columns)]
    return table.assign(model=table["model"] + ENSEMBLE)


def by_seed(predictions: "pd.DataFrame", model: str) -> "tuple[pd.DataFrame, np.ndarray]":
    """Devuelve las imágenes de un modelo (una fila cada una) y sus logits, (n, semillas), en el mismo orden."""
    part = predictions[predictions["model"] == model]
    if part.empty:
        known = ", ".join(dict.fromkeys(predictions["model"]))
        raise NeumoError(f"No hay predicciones del modelo «{model}». Las hay de {known}.")
    images = part.drop_duplicates("path").reset_index(drop=True)
    logits = part.pivot(index="path", columns="seed", values="logit").loc[images["path"]]
    return images, logits.to_numpy()


def intervals_by_model(
    predictions: "pd.DataFrame",
    *,
    threshold: float | Mapping[str, float] = 0.5,
    decisions: Mapping[str, str] | None = None,
    **options: Any,
) -> "pd.DataFrame":
    """Calcula los intervalos de cada modelo (media de sus semillas) y de su conjunto, en una sola partición.

    Parameters
    ----------
    predictions : DataFrame
        Como en `metrics_table`, con la columna `group`.
    threshold, decisions
        Como en `metrics_table`.
    **options
        `metrics`, `resamples`, `confidence` y `seed` de `intervals`.

    Returns
    -------
    DataFrame
        `model`, `partition`, `seeds` y las columnas de `intervals`.
    """
    import pandas as pd

    tables = []
    for model in dict.fromkeys(predictions["model"]):
        images, logits = by_seed(predictions, model)
        cut = threshold.get(model, 0.5) if isinstance(threshold, Mapping) else threshold
        for name, z in ((model, logits), (model + ENSEMBLE, logits.mean(axis=1, keepdims=True))):
            prob = probability(z)
            argmax = (decisions or {}).get(model) == "argmax"
            y_pred = np.column_stack([argmax_decision(p) for p in prob.T]) if argmax else None
            known = {"groups": images["group"], "threshold": cut, "y_pred": y_pred, "logits": z, **options}
            identity = {"model": name, "partition": images["partition"][0], "seeds": z.shape[1]}
            tables.append(intervals(images["y_true"], prob, **known).assign(**identity))
    table = pd.concat(tables, ignore_index=True)
    first = ["model", "partition", "seeds"]
    return table[[*first, *table.columns.drop(first)]]


def fit_temperatures(predictions: "pd.DataFrame") -> dict[str, float]:
    """Ajusta en validación la temperatura del conjunto de cada modelo."""
    validation = predictions[predictions["partition"] == "val"]
    pairs = {model: by_seed(validation, model) for model in dict.fromkeys(validation["model"])}
    return {model: fit_temperature(images["y_true"], z.mean(axis=1)) for model, (images, z) in pairs.items()}


def calibration_table(predictions: "pd.DataFrame", temperatures: Mapping[str, float]) -> "pd.DataFrame":
    """Mide la calibración del conjunto de cada modelo en cada partición, antes y después de la temperatura.

    Returns
    -------
    DataFrame
        `model`, `partition`, `temperature`, y `ece`, `log_loss` y `brier` con los sufijos `_before` y `_after`.
    """
    import pandas as pd

    rows = []
    for (model, partition), part in predictions.groupby(["model", "partition"], sort=False):
        images, z = by_seed(part, model)
        row = {"model": model, "partition": partition, "temperature": temperatures[model]}
        for when, logit in (("before", z.mean(axis=1)), ("after", z.mean(axis=1) / temperatures[model])):
            measured = binary_metrics(images["y_true"], probability(logit), logits=logit)
            row[f"ece_{when}"] = expected_calibration_error(images["y_true"], probability(logit))
            row |= {f"{name}_{when}": measured[name] for name in ("log_loss", "brier")}
        rows.append(row)
    return pd.DataFrame(rows)


def choose_model(metrics: "pd.DataFrame", *, chosen: str = "auto") -> str:
    """Elige el modelo con la regla fijada antes de leer la prueba.

    `auto`: la mejor media (sobre las semillas) de la exactitud equilibrada de validación; a igualdad, el mejor AUC.

    Parameters
    ----------
    metrics : DataFrame
        Salida de `metrics_table`; solo se miran las filas de validación de modelos que no son conjuntos.
    chosen : str
        `auto` o el nombre del modelo.

    Raises
    ------
    NeumoError
        Si el modelo nombrado no está o no hay filas de validación.
    """
    rows = metrics[(metrics.partition == "val") & (metrics.seed != ENSEMBLE_SEED)]
    if rows.empty or (chosen != "auto" and chosen not in set(rows.model)):
        found = ", ".join(dict.fromkeys(rows.model)) or "ninguno"
        raise NeumoError(
            f"No se puede elegir el modelo «{chosen}»: con predicciones de validación está(n) {found}."
        )
    if chosen != "auto":
        return chosen
    means = rows.groupby("model", sort=False)[["balanced_accuracy", "auc"]].mean().round(12)
    return str(means.sort_values(["balanced_accuracy", "auc"], ascending=False, kind="stable").index[0])


def plus_minus(summary: "pd.DataFrame", *, names: Iterable[str]) -> "pd.DataFrame":
    """Escribe un resumen de `seed_summary` como «media ± desviación», con las cabeceras en español."""
    import pandas as pd

    columns = {"modelo": summary["model"], "semillas": summary["seeds"]}
    for name in names:
        pairs = zip(summary[name], summary[f"{name}_sd"], strict=True)
        columns[HEADERS[name]] = [f"{m:.3f}" + (f" ± {sd:.3f}" if np.isfinite(sd) else "") for m, sd in pairs]
    return pd.DataFrame(columns)


def interval_text(intervals: "pd.DataFrame", *, names: Iterable[str]) -> "pd.DataFrame":
    """Escribe `intervals_by_model` con una fila por modelo y «valor [desde, hasta]» en cada métrica; * es Wilson."""
    import pandas as pd

    marks = {"bootstrap": " [{0.low:.3f}, {0.high:.3f}]", "wilson": " [{0.low:.3f}, {0.high:.3f}]*"}
    rows: dict[str, dict[str, str]] = {}
    for row in intervals.itertuples():
        text = f"{row.value:.3f}" + marks.get(row.method, "").format(row) if np.isfinite(row.value) else "–"
        rows.setdefault(row.model, {})[row.metric] = text
    return pd.DataFrame(rows).T[list(names)].rename(columns=HEADERS).rename_axis("modelo")


def in_spanish(table: "pd.DataFrame", columns: Iterable[str] | None = None) -> "pd.DataFrame":
    """Prepara una tabla para mostrarla: escoge columnas y traduce cabeceras, particiones, métricas, políticas y lecturas."""
    words = {
        "partition": {"train": "entrenamiento", "val": "validación", "test": "prueba"},
        "metric": METRICS,
        "policy": POLICIES,
        "decision": {"threshold": "umbral", "argmax": "arg-max"},
        "method": {"bootstrap": "remuestreo", "wilson": "Wilson"},
    }
    shown = table[list(columns)].copy() if columns is not None else table.copy()
    for name in words.keys() & set(shown):
        shown[name] = shown[name].replace(words[name])
    return shown.rename(columns=HEADERS)


def to_records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Convierte una tabla en registros de JSON: NaN, infinitos y la semilla de los conjuntos quedan en `None`."""

    def clean(name: str, value: Any) -> Any:
        value = value.item() if isinstance(value, np.generic) else value
        missing = isinstance(value, float) and not np.isfinite(value)
        return None if missing or (name == "seed" and value == ENSEMBLE_SEED) else value

    return [{name: clean(name, value) for name, value in row.items()} for row in table.to_dict("records")]


# --- Diagnóstico ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """Un síntoma reconocido: código, frase con causa y remedio, y las cifras en que se apoya."""

    code: str
    message: str
    evidence: dict[str, float]


def diagnose(
    y_true: Any, y_prob: Any, *, y_pred: Any = None, logits: Any = None, y_prob_batch: Any = None
) -> list[Finding]:
    """Reconoce en unas predicciones los fallos que un informe no debería publicar sin decirlo.

    Los avisos son compatibles con su causa, no la demuestran; un clasificador flojo pero honrado no da ninguno.

    Parameters
    ----------
    y_true : array_like of int, shape (n,)
        Clase real.
    y_prob : array_like of float, shape (n,) or (n, 1)
        Probabilidad de PNEUMONIA en modo de inferencia.
    y_pred : array_like of int, optional
        Decisiones tomadas.
    logits : array_like of float, optional
        Logits, si se guardaron: descubren la saturación que la probabilidad esconde.
    y_prob_batch : array_like of float, optional
        Probabilidad de los mismos pesos con las estadísticas del lote (`training=True`).

    Returns
    -------
    list of Finding
        Códigos `single_class`, `argmax`, `batchnorm_lag`, `saturated`, `constant`, `inverted` y `shuffled`; vacía si
        nada llama la atención.

    Examples
    --------
    >>> [f.code for f in diagnose([0, 1, 1, 0], [0.2, 0.9, 0.8, 0.4], y_pred=[0, 0, 0, 0])]
    ['argmax']
    """
    scores = _scores(y_true, y_prob, y_pred=y_pred)
    z = None if logits is None else _vector(logits, "logits", len(scores.y)).astype(np.float64)
    batch = None if y_prob_batch is None else _scores(y_true, y_prob_batch).prob
    found = [_single_class(scores)]
    if found[0] is None:
        argmax = _argmax(scores) if y_pred is not None else None
        found = [argmax, _batchnorm_lag(scores, batch), _saturated(scores, z)]
        if np.isfinite(scores.prob).all():
            constant = _constant(scores, z)
            found += [constant] if constant else [_inverted(scores), _shuffled(scores)]
    return [finding for finding in found if finding]


def diagnose_all(predictions: "pd.DataFrame", *, decisions: Mapping[str, str] | None = None) -> list[Finding]:
    """Diagnostica cada modelo y semilla de una tabla de predicciones; un aviso por modelo y código."""
    found: dict[tuple[str, str], list[Finding]] = {}
    for (model, _, _), part in predictions.groupby(["model", "seed", "partition"], sort=False):
        prob = probability(part["logit"])
        argmax = (decisions or {}).get(model.removesuffix(ENSEMBLE)) == "argmax"
        y_pred = argmax_decision(prob) if argmax else None
        for finding in diagnose(part["y_true"], prob, y_pred=y_pred, logits=part["logit"]):
            found.setdefault((model, finding.code), []).append(finding)
    seeds = predictions.groupby("model")["seed"].nunique()
    several = {m: f", {{}} de {n} semillas" if n > 1 else "" for m, n in seeds.items()}
    return [
        Finding(code, f"{model}{several[model].format(len(same))}: {same[0].message}", same[0].evidence)
        for (model, code), same in found.items()
    ]


def _single_class(s: _Scores) -> Finding | None:
    positives = int(s.y.sum())
    if 0 < positives < len(s.y):
        return None
    message = (
        f"Las {len(s.y)} imágenes son {CLASSES[s.y[0]]}: sensibilidad o especificidad, AUC y exactitud equilibrada no "
        "están definidas. Reparta de nuevo por clase y paciente, o revise el nombre de las carpetas."
    )
    return Finding("single_class", message, {"n": len(s.y), "positives": positives})


def _argmax(s: _Scores) -> Finding | None:
    above = int(np.sum(s.prob >= 0.5))
    if s.pred.any() or not above:
        return None
    message = (
        f"Todas las decisiones son NORMAL, aunque {above} de {len(s.y)} probabilidades llegan a 0.5: es lo que da "
        "np.argmax(..., axis=1) sobre una sola columna. Decida con (probabilidad >= 0.5)."
    )
    return Finding("argmax", message, {"n": len(s.y), "above_half": above, "predicted_positive": 0})


def _balanced(y: np.ndarray, pred: np.ndarray) -> float:
    return float((np.mean(pred[y == 1] == 1) + np.mean(pred[y == 0] == 0)) / 2)


def _batchnorm_lag(s: _Scores, batch: np.ndarray | None) -> Finding | None:
    if batch is None:
        return None
    now, then = (s.prob >= 0.5) == (s.y == 1), (batch >= 0.5) == (s.y == 1)
    gained, lost = int(np.sum(then & ~now)), int(np.sum(now & ~then))
    gap = _balanced(s.y, batch >= 0.5) - _balanced(s.y, s.prob >= 0.5)
    if gap < 0.1 or gained - lost < 3 * np.sqrt(gained + lost):
        return None
    message = (
        f"Los mismos pesos aciertan {then.mean():.3f} con las estadísticas del lote y {now.mean():.3f} en inferencia: "
        "las medias móviles de BatchNormalization no han llegado a las verdaderas. Baje su momentum a 0.9, entrene más "
        "pasos o recalcule las medias al terminar."
    )
    evidence = {
        "accuracy": float(now.mean()),
        "accuracy_batch": float(then.mean()),
        "balanced_accuracy_gap": gap,
    }
    return Finding("batchnorm_lag", message, evidence)


def _saturated(s: _Scores, z: np.ndarray | None) -> Finding | None:
    limit = 16.0  # la sigmoide de float32 ya no distingue de 1; ninguna entropía recortada pasa de 16.1
    size = (
        np.abs(z)
        if z is not None
        else np.where(np.minimum(s.prob, 1 - s.prob) <= np.exp(-limit), np.inf, 0.0)
    )
    positive = z > 0 if z is not None else s.prob >= 0.5
    extreme = ~(size <= limit)
    wrong = extreme & (positive != (s.y == 1))
    if extreme.mean() < 0.9 and wrong.sum() < max(2, 0.01 * len(s.y)):
        return None
    message = (
        f"El {100 * extreme.mean():.0f} % de las imágenes recibe una certeza absoluta (|logit| > {limit:g}) y {int(wrong.sum())} de "
        "ellas con error: tasa de aprendizaje demasiado alta, entrenamiento divergente o decisiones dadas en lugar de "
        "probabilidades. Baje la tasa, regularice o calibre, y mida la pérdida desde los logits."
    )
    finite = size[np.isfinite(size)]
    evidence = {"share": float(extreme.mean()), "wrong": int(wrong.sum()), "n": len(s.y)}
    if z is not None and len(finite):
        evidence["median_abs_logit"] = float(np.median(finite))
    return Finding("saturated", message, evidence)


def _constant(s: _Scores, z: np.ndarray | None) -> Finding | None:
    spread = float(np.ptp(s.prob if z is None else z))
    mean, share = float(s.prob.mean()), float(s.y.mean())
    side = int(mean >= 0.5)
    auc, error = _auc_and_error(s)
    # Un clasificador flojo y honrado puede decir siempre la mayoría. Uno roto ordena bien y aun así dice siempre lo
    # mismo, o anuncia mucha más certeza de la que da la proporción de esa clase.
    other, announced = (1 - share, 1 - mean) if side else (share, mean)
    overclaims = other - announced > 0.1 and announced < other / 4
    orders = auc > max(0.75, 0.5 + 3 * error) and 0.1 < share < 0.9
    stuck = ((s.prob >= 0.5) == side).all() and (overclaims or orders)
    if spread >= 1e-3 and not stuck:
        return None
    message = (
        f"Todas las imágenes caen del mismo lado de 0.5, {CLASSES[side]}, con probabilidades entre {s.prob.min():.3f} y "
        f"{s.prob.max():.3f}, cuando {share:.3f} son PNEUMONIA: red sin aprender o colapsada. Revise la tasa de "
        "aprendizaje, la escala de los píxeles y las medias móviles de BatchNormalization."
    )
    evidence = {"spread": spread, "mean_probability": mean, "positive_share": share, "auc": auc}
    return Finding("constant", message, evidence)


def _auc_and_error(s: _Scores) -> tuple[float, float]:
    auc, _ = _ranking(s.y, s.prob, np.ones((1, len(s.y))))
    positives = int(s.y.sum())
    negatives = len(s.y) - positives
    return float(auc[0]), float(np.sqrt((len(s.y) + 1) / (12 * positives * negatives)))


def _inverted(s: _Scores) -> Finding | None:
    auc, error = _auc_and_error(s)
    agreement = float(np.mean(s.pred == (s.prob >= 0.5)))
    opposite = 0 < s.pred.mean() < 1 and agreement < 0.2
    if not opposite and (auc > 0.4 or auc > 0.5 - 3 * error):
        return None
    message = (
        f"El AUC es {auc:.3f}: la red ordena las imágenes al revés, o la decisión contradice a la probabilidad. Suele ser "
        "el orden de las clases (carpetas ordenadas por nombre): fije class_names = [NORMAL, PNEUMONIA]."
    )
    return Finding("inverted", message, {"auc": auc, "standard_error": error, "agreement": agreement})


def _shuffled(s: _Scores) -> Finding | None:
    auc, error = _auc_and_error(s)
    decided = s.prob >= 0.5
    announced, actual = float(np.maximum(s.prob, 1 - s.prob).mean()), float(np.mean(decided == (s.y == 1)))
    gap = announced - actual
    noise = 3 * np.sqrt(actual * (1 - actual) / len(s.y))
    if abs(auc - 0.5) > 3 * error or gap < max(0.1, noise) or not 0.05 <= decided.mean() <= 0.95:
        return None
    message = (
        f"La red está segura (anuncia {announced:.3f} de aciertos) y acierta {actual:.3f}, con un AUC de {auc:.3f}: "
        "como si las etiquetas fueran de otras imágenes, o la red hubiera aprendido solo ruido. Compruebe primero que "
        "predicciones y clases van en el mismo orden: "
        "generador con shuffle=False, o etiquetas leídas junto a cada imagen."
    )
    return Finding("shuffled", message, {"auc": auc, "announced_accuracy": announced, "accuracy": actual})
