"""Calibración: temperatura, fiabilidad y su error."""

from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.evaluation.intervals import group_index, wilson
from neumo.evaluation.metrics import as_labels, as_scores, as_vector, binary_metrics, probability
from neumo.evaluation.predictions import by_seed, joint_logit

if TYPE_CHECKING:
    import pandas as pd

BINS = 10


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

    y = as_labels(y_true, "y_true")
    z = np.nan_to_num(as_vector(logits, "logits", len(y)).astype(np.float64), posinf=1e6, neginf=-1e6)

    def loss(log_temperature: float) -> float:
        return float(np.mean(np.logaddexp(0.0, np.where(y == 1, -z, z) / np.exp(log_temperature))))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
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


def reliability_table(y_true: Any, y_prob: Any, *, groups: Any = None) -> "pd.DataFrame":
    """Compara la probabilidad anunciada con la frecuencia observada, en diez tramos de igual anchura.

    Returns
    -------
    DataFrame
        `low_edge`, `high_edge`, `n`, `mean_prob`, `fraction` (de PNEUMONIA), `low` y `high` (Wilson sobre los
        pacientes del tramo, 95 %); solo los tramos con imágenes. Una probabilidad NaN deja sin definir el primer tramo.
    """
    import pandas as pd

    scores = as_scores(y_true, y_prob)
    group, _ = group_index(groups, len(scores.y))
    index = np.minimum(np.nan_to_num(scores.prob * BINS).astype(int), BINS - 1)
    rows = []
    for k in np.unique(index):
        mask = index == k
        fraction, mean = float(scores.y[mask].mean()), scores.prob[mask].mean()
        interval = wilson(fraction, len(np.unique(group[mask])))
        rows.append((k / BINS, (k + 1) / BINS, int(mask.sum()), mean, fraction, *interval))
    return pd.DataFrame(rows, columns=["low_edge", "high_edge", "n", "mean_prob", "fraction", "low", "high"])


def expected_calibration_error(y_true: Any, y_prob: Any) -> float:
    """Promedia, por imagen, la distancia entre lo anunciado y lo observado de cada tramo (ECE)."""
    table = reliability_table(y_true, y_prob)
    return float(np.average((table.mean_prob - table.fraction).abs(), weights=table.n))


def fit_temperatures(predictions: "pd.DataFrame") -> dict[str, float]:
    """Ajusta en validación la temperatura del conjunto de cada modelo."""
    validation = predictions[predictions["partition"] == "val"]
    pairs = {model: by_seed(validation, model) for model in dict.fromkeys(validation["model"])}
    return {model: fit_temperature(images["y_true"], joint_logit(z)) for model, (images, z) in pairs.items()}


def calibration_table(predictions: "pd.DataFrame", temperatures: dict[str, float]) -> "pd.DataFrame":
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
        for when, logit in (("before", joint_logit(z)), ("after", joint_logit(z) / temperatures[model])):
            measured = binary_metrics(images["y_true"], probability(logit), logits=logit)
            row[f"ece_{when}"] = expected_calibration_error(images["y_true"], probability(logit))
            row |= {f"{name}_{when}": measured[name] for name in ("log_loss", "brier")}
        rows.append(row)
    return pd.DataFrame(rows)
