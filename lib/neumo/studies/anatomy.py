"""Experimentos controlados del capítulo 12: cada sospechoso del fracaso original, aislado."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo import references
from neumo.evaluation.metrics import argmax_decision, classification_report
from neumo.evaluation.predictions import metrics_table

if TYPE_CHECKING:
    import pandas as pd


CLIPPED = -math.log(1e-7)
"""Lo más que puede valer, por imagen, una entropía cruzada calculada sobre probabilidades recortadas como Keras."""


def verdict(*, reproduces: bool, cures: bool = False, possible: bool = False, contradicts: bool = False) -> str:
    """Falla sobre un sospechoso según lo que dieron sus experimentos.

    Parameters
    ----------
    reproduces : bool
        En las condiciones que el informe original dice, aparece el síntoma.
    cures : bool
        Y al quitar solo esa causa, desaparece.
    possible : bool
        El síntoma aparece en otras condiciones, o la aritmética lo permite.
    contradicts : bool
        Algo medido es incompatible con la sospecha.

    Examples
    --------
    >>> verdict(reproduces=True, cures=True), verdict(reproduces=True), verdict(reproduces=False)
    ('demostrado', 'compatible', 'no demostrado')
    >>> verdict(reproduces=True, cures=True, contradicts=True)
    'descartado'
    """
    if contradicts:
        return "descartado"
    if reproduces and cures:
        return "demostrado"
    return "compatible" if reproduces or possible else "no demostrado"


def at_original_counts(y_true: np.ndarray, y_prob: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sortea con reemplazo tantas imágenes de cada clase como tenía la validación del original.

    Returns
    -------
    tuple of ndarray
        Etiquetas y probabilidades, en el mismo orden.

    Examples
    --------
    >>> y, prob = at_original_counts(np.array([0, 1]), np.array([0.2, 0.9]))
    >>> np.bincount(y).tolist(), sorted(set(prob.tolist()))
    ([277, 783], [0.2, 0.9])
    """
    rng = np.random.default_rng(seed)
    counts = references.original()["partitions"]["val"].values()
    chosen = [rng.choice(np.flatnonzero(y_true == label), count) for label, count in enumerate(counts)]
    rows = np.concatenate(chosen)
    return np.asarray(y_true)[rows], np.asarray(y_prob)[rows]


def original_digits(y_true: np.ndarray, y_prob: np.ndarray) -> "pd.DataFrame":
    """Lee unas probabilidades con arg-max y pone cada cifra de su informe junto a la del original.

    Returns
    -------
    DataFrame
        `row`, `figure`, `original`, `computed` (con los decimales del original) y `equal`.
    """
    import pandas as pd

    computed = classification_report(y_true, argmax_decision(y_prob))
    computed.index = ["NORMAL", "PNEUMONIA", "macro", "weighted", "accuracy"]
    computed.columns = ["precision", "recall", "f1", "support"]
    quoted = dict(references.original()["report"])
    quoted["accuracy"] = {"precision": quoted["accuracy"]}
    rows = [
        {"row": row, "figure": figure, "original": value, "computed": round(computed.loc[row, figure], 2)}
        for row, figures in quoted.items()
        for figure, value in figures.items()
        if figure != "support"
    ]
    table = pd.DataFrame(rows)
    table.loc[table["row"] == "accuracy", "figure"] = "accuracy"
    return table.assign(equal=np.isclose(table["original"], table["computed"]))


def wrong_logit(loss: float, accuracy: float) -> float:
    """Estima el logit medio de las imágenes falladas: lo que deben costar para que la media sea `loss`.

    Examples
    --------
    >>> round(wrong_logit(1.2, 0.9), 6)
    12.0
    """
    return loss / (1 - accuracy)


def shuffled_accuracy(positive_share: float, predicted_share: float) -> float:
    """Exactitud esperada al comparar unas decisiones con etiquetas que van en otro orden.

    Examples
    --------
    >>> shuffled_accuracy(0.75, 0.75)
    0.625
    """
    return positive_share * predicted_share + (1 - positive_share) * (1 - predicted_share)


def hits(accuracy: float, images: int, *, digits: int = 4) -> list[int]:
    """Enumera los aciertos, entre `images`, cuya proporción se escribe como `accuracy` con `digits` decimales.

    Examples
    --------
    >>> hits(0.7386, 352), hits(0.7386, 1060)
    ([260], [])
    """
    return [k for k in range(images + 1) if round(k / images, digits) == round(accuracy, digits)]


def lag_steps(initial: float, true: float, momentum: float, *, factor: float = 2.0) -> int:
    """Cuenta los pasos hasta que una media móvil está a menos de `factor` veces de un valor constante.

    Tras n pasos vale true + (initial - true)·momentumⁿ.

    Examples
    --------
    >>> lag_steps(1.0, 3.5e-5, 0.99), lag_steps(1.0, 3.5e-5, 0.9), lag_steps(1.0, 0.6, 0.99)
    (1021, 98, 0)
    """
    ratio = initial / true
    excess, allowed = (ratio - 1, factor - 1) if ratio > 1 else (1 - ratio, 1 - 1 / factor)
    if excess <= allowed:
        return 0
    return math.ceil(math.log(allowed / excess) / math.log(momentum))


def lag_metrics(logits: "pd.DataFrame") -> "pd.DataFrame":
    """Mide cada época y modo de `batchnorm_lag`: `epoch`, `mode`, exactitudes, AUC y `predicted_positive`."""
    table = metrics_table(logits.assign(model=logits["mode"], seed=logits["epoch"], partition="val"))
    matrices = np.array(table["confusion_matrix"].tolist())
    table["predicted_positive"] = matrices[:, :, 1].sum(axis=1) / table["n"]
    columns = ["accuracy", "balanced_accuracy", "auc", "log_loss", "predicted_positive"]
    return table.rename(columns={"model": "mode", "seed": "epoch"})[["epoch", "mode", *columns]]


def lag_table(variances: "pd.DataFrame", *, factor: float = 2.0) -> "pd.DataFrame":
    """Resume el retraso de cada capa e inercia al terminar el entrenamiento medido.

    Returns
    -------
    DataFrame
        `layer`, `momentum`, `steps`, `true` (media de los últimos diez lotes), `moving`, `times_too_large`, `analytic`
        (`lag_steps` desde 1 hasta esa verdadera) y `measured`: el paso desde el que ya no se aleja más de `factor`
        veces de la verdadera de su lote y los nueve anteriores (NaN si no llegó).
    """
    import pandas as pd

    rows = []
    for layer, part in variances.groupby("layer"):
        curves = part.pivot(index="step", columns="mode", values="variance")
        smooth = curves["batch"].rolling(10, min_periods=1).mean()
        true = float(smooth.iloc[-1])
        for mode in sorted(set(curves) - {"batch"}, key=float, reverse=True):
            ratio = curves[mode] / smooth
            outside = ratio.index[(ratio > factor) | (ratio < 1 / factor)]
            last = int(outside[-1]) if len(outside) else 0
            row = {"layer": layer, "momentum": float(mode), "steps": int(ratio.index[-1]), "true": true}
            row |= {"moving": float(curves[mode].iloc[-1]), "times_too_large": float(ratio.iloc[-1])}
            row["analytic"] = lag_steps(1.0, true, float(mode), factor=factor)
            rows.append({**row, "measured": last + 1 if last < ratio.index[-1] else math.nan})
    return pd.DataFrame(rows)


def lag_evidence(metrics: "pd.DataFrame", *, momentum: float) -> dict[str, Any]:
    """Busca en `lag_metrics` la época en que más separa a los mismos pesos su manera de normalizar.

    Returns
    -------
    dict
        `epoch`, `inference` y `batch` (exactitudes), `gap` (diferencia de exactitud equilibrada), `predicted_positive`
        en inferencia, `stuck` (si la inferencia responde, salvo un 2 %, siempre lo mismo) y `verdict`.
    """
    slow = metrics[metrics["mode"] == f"{momentum:g}"].set_index("epoch")
    true = metrics[metrics["mode"] == "batch"].set_index("epoch")
    gap = true["balanced_accuracy"] - slow["balanced_accuracy"]
    epoch = int(gap.idxmax())
    share = float(slow["predicted_positive"][epoch])
    stuck = min(share, 1 - share) <= 0.02
    found = {"epoch": epoch, "inference": float(slow["accuracy"][epoch]), "gap": float(gap[epoch])}
    found |= {"batch": float(true["accuracy"][epoch]), "predicted_positive": share, "stuck": stuck}
    return {**found, "verdict": verdict(reproduces=stuck, cures=bool(gap[epoch] >= 0.1))}


def rate_metrics(measured: dict[str, "pd.DataFrame"]) -> "pd.DataFrame":
    """Mide cada condición de `rate_experiment` en su peor época: la de mayor pérdida, de entrenamiento o validación.

    Returns
    -------
    DataFrame
        `condition`, `epoch`, `train_loss`, `train_accuracy` (NaN en la época 0), `loss` y `accuracy` (validación, desde
        los logits), `clipped_loss` (la misma, recortando la probabilidad como Keras), `median_logit`, `largest_logit`
        (valores absolutos) y `worst`: la mayor de las dos pérdidas.
    """
    logits = measured["logits"]
    by = ["condition", "epoch"]
    loss = np.logaddexp(0, np.where(logits["y_true"] == 1, -1, 1) * logits["logit"])
    columns = {"size": logits["logit"].abs(), "clipped": np.minimum(loss, CLIPPED)}
    grouped = logits.assign(**columns).groupby(by, sort=False)
    table = metrics_table(logits.assign(model=logits["condition"], seed=logits["epoch"], partition="val"))
    table = table.rename(columns={"model": "condition", "seed": "epoch", "log_loss": "loss"}).set_index(by)
    table = table[["loss", "accuracy"]].assign(
        clipped_loss=grouped["clipped"].mean(),
        median_logit=grouped["size"].median(),
        largest_logit=grouped["size"].max(),
    )
    training = measured["histories"].set_index(by)[["loss", "accuracy"]].add_prefix("train_")
    table = (
        table.join(training).assign(worst=lambda t: np.fmax(t["loss"].fillna(np.inf), t["train_loss"])).reset_index()
    )
    worst = table.loc[table.groupby("condition", sort=False)["worst"].idxmax()]
    return worst[[*by, *training, *(c for c in table if c not in (*by, *training))]].reset_index(drop=True)
