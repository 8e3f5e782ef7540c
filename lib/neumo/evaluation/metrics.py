"""Métricas de un clasificador binario: las mismas cuentas para una muestra y para diez mil remuestreos.

La clase positiva es PNEUMONIA (1). Nada de este piso importa TensorFlow.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.errors import NeumoError
from neumo.words import CLASSES, METRICS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Scores:
    """Etiquetas, probabilidades, decisiones y pérdida de cada imagen, ya comprobadas.

    La decisión de una imagen sin probabilidad (NaN, de una red divergida) es NaN, la dé un umbral o quien la dé: no es NORMAL.
    """

    y: np.ndarray
    prob: np.ndarray
    pred: np.ndarray
    loss: np.ndarray


def as_vector(values: Any, name: str, length: int | None = None) -> np.ndarray:
    """Comprueba que `values` es un vector (n,) o una columna (n, 1), de `length` valores si se dice, y lo devuelve (n,)."""
    array = np.asarray(values)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or not array.size:
        raise NeumoError(f"{name} tiene la forma {array.shape}; se esperaba un valor por imagen.")
    if length is not None and len(array) != length:
        raise NeumoError(f"{name} tiene {len(array)} valores y hay {length} imágenes: revise de dónde sale.")
    return array


def as_labels(values: Any, name: str, length: int | None = None) -> np.ndarray:
    """Comprueba que `values` son etiquetas 0 o 1, y las devuelve (n,) int8."""
    array = as_vector(values, name, length)
    if not np.isin(array, (0, 1)).all():
        raise NeumoError(f"{name} tiene valores que no son 0 (NORMAL) ni 1 (PNEUMONIA): aplique un umbral.")
    return array.astype(np.int8)


def _image_loss(y: np.ndarray, prob: np.ndarray, logits: np.ndarray | None) -> np.ndarray:
    if logits is not None:
        with np.errstate(invalid="ignore"):  # una red divergida da NaN: su pérdida también
            return np.logaddexp(0.0, np.where(y == 1, -1.0, 1.0) * logits.astype(np.float64))
    eps = np.finfo(prob.dtype if prob.dtype.kind == "f" else np.float64).eps
    p = np.clip(prob.astype(np.float64), eps, 1 - eps)
    return -np.log(np.where(y == 1, p, 1 - p))


def as_scores(y_true: Any, y_prob: Any, *, threshold: float = 0.5, y_pred: Any = None, logits: Any = None) -> Scores:
    """Comprueba etiquetas, probabilidades, decisiones y logits de las mismas imágenes y calcula la pérdida de cada una."""
    y = as_labels(y_true, "y_true")
    raw = as_vector(y_prob, "y_prob", len(y))
    prob = raw.astype(np.float64)
    if ((prob < 0) | (prob > 1)).any():
        raise NeumoError("y_prob tiene valores fuera de [0, 1]: si son logits, aplíqueles `probability`.")
    decided = prob >= threshold if y_pred is None else as_labels(y_pred, "y_pred", len(y))
    pred = np.where(np.isnan(prob), np.nan, decided)
    loss = _image_loss(y, raw, None if logits is None else as_vector(logits, "logits", len(y)))
    return Scores(y, prob, pred, loss)


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


def decide(y_prob: Any, threshold: float) -> np.ndarray:
    """Decide PNEUMONIA (1) desde el umbral.

    Raises
    ------
    NeumoError
        Si alguna probabilidad es NaN: de ella no sale una clase.

    Examples
    --------
    >>> decide([0.2, 0.5], 0.5).tolist()
    [0, 1]
    """
    prob = as_vector(y_prob, "y_prob").astype(np.float64)
    if undecided := int(np.isnan(prob).sum()):
        raise NeumoError(
            f"La red no da un número (NaN) en {undecided} de {len(prob)} imágenes: no hay con qué decidir. Su entrenamiento "
            "divergió; baje su tasa de aprendizaje o elija otro modelo con chosen_model."
        )
    return (prob >= threshold).astype(np.int8)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, y da NaN donde el denominador no es positivo."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


def decision_rates(tn: np.ndarray, fp: np.ndarray, fn: np.ndarray, tp: np.ndarray) -> dict[str, np.ndarray]:
    """Calcula de las cuentas de la matriz de confusión, de cualquier forma, las métricas que solo dependen de ella."""
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    both = np.where((tp + fn > 0) & (tn + fp > 0), 1.0, np.nan)
    product = np.sqrt((tp + fp) * (tn + fn) * (tp + fn) * (tn + fp))
    return {
        "accuracy": ratio(tp + tn, tn + fp + fn + tp),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "mcc": both * np.nan_to_num(ratio(tp * tn - fp * fn, product)),
    }


def cumulated(y: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    """Suma las PNEUMONIA y las NORMAL desde la mayor probabilidad hasta cada una de las distintas, para cada fila de `weights`.

    Parameters
    ----------
    weights : (r, n) float array
        Cuántas veces cuenta cada imagen.

    Returns
    -------
    tp, fp : (r, probabilidades distintas) float array
    """
    order = np.argsort(-prob, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(prob[order])), len(prob) - 1)
    sorted_weights, label = weights[:, order], y[order]
    return [np.cumsum(np.where(label == k, sorted_weights, 0), axis=1)[:, ends] for k in (1, 0)]


def ranking(y: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC (con empates a medias) y precisión media para cada fila de `weights`, de forma (r, n)."""
    tp, fp = cumulated(y, prob, weights)
    steps = [np.diff(counts, axis=1, prepend=0) for counts in (tp, fp)]
    area = np.sum(steps[1] * (tp - steps[0] / 2), axis=1)
    precision = np.nan_to_num(ratio(tp, tp + fp))
    both = (tp[:, -1] > 0) & (fp[:, -1] > 0)
    auc = ratio(area, np.where(both, tp[:, -1] * fp[:, -1], 0))
    return auc, ratio(np.sum(steps[0] * precision, axis=1), np.where(both, tp[:, -1], 0))


def measure(scores: Scores, group: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Calcula cada métrica para cada fila de `counts`, (r, grupos): cuántas veces entra cada grupo."""
    y, pred = scores.y, scores.pred
    cells = [np.where(np.isnan(pred), np.nan, (y == a) & (pred == b)) for a in (0, 1) for b in (0, 1)]
    columns = [*cells, (scores.prob - y) ** 2, scores.loss, np.ones(len(y))]
    sums = np.stack([np.bincount(group, column, counts.shape[1]) for column in columns], axis=1)
    with np.errstate(invalid="ignore"):  # una pérdida infinita por cero veces: ese remuestreo no cuenta
        *matrix, brier, loss, total = (counts @ sums).T
    auc = average = np.full(len(counts), np.nan)
    if np.isfinite(scores.prob).all():
        rows = max(1, 1_000_000 // len(y))
        parts = [ranking(y, scores.prob, counts[i : i + rows][:, group]) for i in range(0, len(counts), rows)]
        auc, average = (np.concatenate(part) for part in zip(*parts, strict=True))
    measured = {"auc": auc, "average_precision": average, "log_loss": loss / total, "brier": brier / total}
    return decision_rates(*matrix) | measured


def binary_metrics(
    y_true: Any, y_prob: Any, *, threshold: float = 0.5, y_pred: Any = None, logits: Any = None
) -> dict[str, Any]:
    """Mide un clasificador binario.

    Parameters
    ----------
    y_true : array_like of int, shape (n,)
        Clase real: 0 NORMAL, 1 PNEUMONIA.
    y_prob : array_like of float, shape (n,) or (n, 1)
        Probabilidad de PNEUMONIA, en [0, 1]. Si alguna es NaN (una red divergida), esa imagen no tiene decisión: las
        métricas que dependen de decisiones u orden son NaN.
    threshold : float
        Se predice PNEUMONIA cuando la probabilidad es mayor o igual.
    y_pred : array_like of int, optional
        Decisiones ya tomadas; mandan sobre `threshold`, que queda en `None`. Donde la probabilidad es NaN no cuentan.
    logits : array_like of float, optional
        Si se dan, la entropía cruzada sale de ellos, sin recortar.

    Returns
    -------
    dict
        `n`, las de `METRICS`, `threshold` y `confusion_matrix` (`[[tn, fp], [fn, tp]]`: filas reales, columnas
        predichas; las imágenes sin decisión no están). Lo que no está definido (por ejemplo, el AUC con una sola clase)
        es NaN.

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
    scores = as_scores(y_true, y_prob, threshold=threshold, y_pred=y_pred, logits=logits)
    measured = measure(scores, np.arange(len(scores.y)), np.ones((1, len(scores.y))))
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
    """Tabula lo mismo que `classification_report` a partir de `[[tn, fp], [fn, tp]]`.

    Raises
    ------
    NeumoError
        Si la matriz está vacía: ninguna imagen tiene decisión.
    """
    import pandas as pd
    from sklearn import metrics

    cells = np.ravel(matrix)
    if not cells.any():
        raise NeumoError("La matriz de confusión está vacía: la red no decidió nada (sus logits son NaN).")
    options = {"target_names": CLASSES, "output_dict": True, "zero_division": 0}
    found = metrics.classification_report([0, 0, 1, 1], [0, 1, 0, 1], sample_weight=cells, **options)
    names = {"macro avg": "media simple", "weighted avg": "media ponderada", "accuracy": "exactitud"}
    table = pd.DataFrame(found)[[*CLASSES, *names]].rename(columns=names).T
    table.columns = ["precisión", "sensibilidad", "F1", "soporte"]
    table.loc["exactitud", "soporte"] = cells.sum()
    return table.astype({"soporte": int})


def confusion(y_true: Any, y_pred: Any) -> "pd.DataFrame":
    """Cuenta imágenes por clase real (filas) y predicha (columnas), en el orden NORMAL, PNEUMONIA."""
    from sklearn.metrics import confusion_matrix

    y = as_labels(y_true, "y_true")
    return confusion_table(confusion_matrix(y, as_labels(y_pred, "y_pred", len(y)), labels=[0, 1]))


def confusion_table(matrix: Any) -> "pd.DataFrame":
    """Pone nombre a las filas (reales) y columnas (predichas) de `[[tn, fp], [fn, tp]]`."""
    import pandas as pd

    real, predicted = (pd.Index(CLASSES, name=f"Clase {name}") for name in ("real", "predicha"))
    return pd.DataFrame(np.asarray(matrix, dtype=int), index=real, columns=predicted)
