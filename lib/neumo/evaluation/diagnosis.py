"""Diagnóstico: reconoce en unas predicciones los fallos que un informe no debería publicar sin decirlo."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.evaluation.metrics import Scores, as_scores, as_vector, probability, ranking
from neumo.evaluation.predictions import argmax_read
from neumo.words import CLASSES

if TYPE_CHECKING:
    import pandas as pd


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
    scores = as_scores(y_true, y_prob, y_pred=y_pred)
    z = None if logits is None else as_vector(logits, "logits", len(scores.y)).astype(np.float64)
    batch = None if y_prob_batch is None else as_scores(y_true, y_prob_batch).prob
    found = [_single_class(scores)]
    if found[0] is None:
        argmax = _argmax(scores) if y_pred is not None else None
        found = [argmax, _batchnorm_lag(scores, batch), _saturated(scores, z)]
        if np.isfinite(scores.prob).all():
            order = _auc_and_error(scores)
            constant = _constant(scores, z, *order)
            found += [constant] if constant else [_inverted(scores, *order), _shuffled(scores, *order)]
    return [finding for finding in found if finding]


def diagnose_all(predictions: "pd.DataFrame", *, decisions: Mapping[str, str] | None = None) -> list[Finding]:
    """Diagnostica cada modelo y semilla de una tabla de predicciones; un aviso por modelo y código."""
    found: dict[tuple[str, str], list[Finding]] = {}
    for (model, _, _), part in predictions.groupby(["model", "seed", "partition"], sort=False):
        prob = probability(part["logit"])
        y_pred = argmax_read(model, prob, decisions)
        for finding in diagnose(part["y_true"], prob, y_pred=y_pred, logits=part["logit"]):
            found.setdefault((model, finding.code), []).append(finding)
    seeds = predictions.groupby("model")["seed"].nunique()
    several = {m: f", {{}} de {n} semillas" if n > 1 else "" for m, n in seeds.items()}
    return [
        Finding(code, f"{model}{several[model].format(len(same))}: {same[0].message}", same[0].evidence)
        for (model, code), same in found.items()
    ]


def _single_class(s: Scores) -> Finding | None:
    positives = int(s.y.sum())
    if 0 < positives < len(s.y):
        return None
    message = (
        f"Las {len(s.y)} imágenes son {CLASSES[s.y[0]]}: sensibilidad o especificidad, AUC y exactitud equilibrada no "
        "están definidas. Reparta de nuevo por clase y paciente, o revise el nombre de las carpetas."
    )
    return Finding("single_class", message, {"n": len(s.y), "positives": positives})


def _argmax(s: Scores) -> Finding | None:
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


def _batchnorm_lag(s: Scores, batch: np.ndarray | None) -> Finding | None:
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
    evidence = {"accuracy": float(now.mean()), "accuracy_batch": float(then.mean()), "balanced_accuracy_gap": gap}
    return Finding("batchnorm_lag", message, evidence)


def _saturated(s: Scores, z: np.ndarray | None) -> Finding | None:
    limit = 16.0  # la sigmoide de float32 ya no distingue de 1; ninguna entropía recortada pasa de 16.1
    size = np.abs(z) if z is not None else np.where(np.minimum(s.prob, 1 - s.prob) <= np.exp(-limit), np.inf, 0.0)
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


def _constant(s: Scores, z: np.ndarray | None, auc: float, error: float) -> Finding | None:
    spread = float(np.ptp(s.prob if z is None else z))
    mean, share = float(s.prob.mean()), float(s.y.mean())
    side = int(mean >= 0.5)
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


def _auc_and_error(s: Scores) -> tuple[float, float]:
    auc, _ = ranking(s.y, s.prob, np.ones((1, len(s.y))))
    positives = int(s.y.sum())
    negatives = len(s.y) - positives
    return float(auc[0]), float(np.sqrt((len(s.y) + 1) / (12 * positives * negatives)))


def _inverted(s: Scores, auc: float, error: float) -> Finding | None:
    agreement = float(np.mean(s.pred == (s.prob >= 0.5)))
    opposite = 0 < s.pred.mean() < 1 and agreement < 0.2
    if not opposite and (auc > 0.4 or auc > 0.5 - 3 * error):
        return None
    message = (
        f"El AUC es {auc:.3f}: la red ordena las imágenes al revés, o la decisión contradice a la probabilidad. Suele ser "
        "el orden de las clases (carpetas ordenadas por nombre): fije class_names = [NORMAL, PNEUMONIA]."
    )
    return Finding("inverted", message, {"auc": auc, "standard_error": error, "agreement": agreement})


def _shuffled(s: Scores, auc: float, error: float) -> Finding | None:
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
