"""Intervalos por paciente: bootstrap de grupos enteros, y Wilson donde el bootstrap no dice nada."""

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.evaluation.metrics import Scores, as_labels, as_scores, as_vector, measure
from neumo.words import CLASSES, HEADERS, METRICS

if TYPE_CHECKING:
    import pandas as pd

TAILS = ((1 - 0.95) / 2, (1 + 0.95) / 2)  # todos los intervalos son del 95 %


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


def wilson(value: float, n: int) -> tuple[float, float]:
    """Intervalo de Wilson del 95 % de una proporción `value` vista en `n` casos (Wilson 1927).

    Examples
    --------
    >>> [round(x, 4) for x in wilson(1.0, 30)]
    [0.8865, 1.0]
    """
    z = NormalDist().inv_cdf(TAILS[1])
    center = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def _patients(runs: Sequence[Scores], group: np.ndarray) -> dict[str, int]:
    """Cuenta los pacientes que informan de cada métrica: los de su denominador, o los de la clase menor.

    Los valores predictivos dividen entre lo decidido, que cambia con la semilla: cuentan los de cualquiera de ellas.
    """
    y = runs[0].y
    decided = [np.any([run.pred == label for run in runs], axis=0) for label in (0, 1)]
    masks = {"sensitivity": y == 1, "f1": y == 1, "specificity": y == 0}
    masks |= {"npv": decided[0], "precision": decided[1]}
    masks |= dict.fromkeys(("accuracy", "log_loss", "brier"), y >= 0)
    counts = {name: len(np.unique(group[mask])) for name, mask in masks.items()}
    smaller = min(counts["sensitivity"], counts["specificity"])
    return {name: counts.get(name, smaller) for name in METRICS}


def _interval(metric: str, measured: Mapping, patients: Mapping[str, int]) -> tuple[float, float, str]:
    value, draws = float(measured[metric][0]), measured[metric][1:]
    valid = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(valid) < len(draws) / 2 or not patients[metric]:
        return np.nan, np.nan, "no definido"
    if np.ptp(valid) > 1e-12:
        low, high = np.quantile(valid, TAILS)
        return float(low), float(high), "bootstrap"
    if metric in ("log_loss", "brier"):
        return np.nan, np.nan, "sin variación"
    if metric == "balanced_accuracy":  # es una media de dos proporciones: la de sus límites
        a, b = (_interval(name, measured, patients) for name in ("sensitivity", "specificity"))
        return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, "wilson"
    if metric == "mcc":  # va de -1 a 1: Wilson sobre la misma escala que una proporción
        low, high = wilson((value + 1) / 2, patients[metric])
        return 2 * low - 1, 2 * high - 1, "wilson"
    return *wilson(min(max(value, 0.0), 1.0), patients[metric]), "wilson"


def _columns(values: Any) -> list[Any]:
    return [] if values is None else list(np.atleast_2d(np.asarray(values).T))


def bootstrap(
    y_true: Any, y_prob: Any, y_pred: Any, logits: Any, threshold: float, groups: Any, draws: tuple[int, int]
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Mide la muestra y sus remuestreos, promediando las columnas (semillas) de `y_prob`, y cuenta los pacientes."""
    probs = _columns(y_prob)
    preds, zs = (_columns(values) or [None] * len(probs) for values in (y_pred, logits))
    columns = zip(probs, preds, zs, strict=True)
    runs = [as_scores(y_true, p, threshold=threshold, y_pred=d, logits=z) for p, d, z in columns]
    group, number = group_index(groups, len(runs[0].y))
    counts = np.vstack([np.ones((1, number)), resample(number, *draws)])
    measured = [measure(run, group, counts) for run in runs]
    return {name: np.mean([m[name] for m in measured], axis=0) for name in METRICS}, _patients(runs, group)


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
    seed: int = 0,
) -> "pd.DataFrame":
    """Calcula cada métrica con su intervalo del 95 %, remuestreando pacientes enteros (bootstrap de percentiles).

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
    seed : int
        Semilla de los remuestreos: la misma los repite, también entre modelos.

    Returns
    -------
    DataFrame
        `metric`, `value`, `low`, `high`, `method` (`bootstrap`, `wilson`, `sin variación` o `no definido`),
        `patients` (los que informan de la métrica) y `n`.
    """
    import pandas as pd

    draws = (resamples, seed)
    measured, patients = bootstrap(y_true, y_prob, y_pred, logits, threshold, groups, draws)
    rows = [
        (name, float(measured[name][0]), *_interval(name, measured, patients), patients[name], len(y_true))
        for name in metrics
    ]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "method", "patients", "n"])


def subgroup_metrics(
    y_true: Any, y_prob: Any, subgroups: Any, *, groups: Any = None, threshold: float = 0.5, **options: Any
) -> "pd.DataFrame":
    """Mide el acierto dentro de cada subgrupo (NORMAL, bacteria, mujeres), con intervalo.

    Parameters
    ----------
    y_true, y_prob, groups, threshold
        Como en `intervals`.
    subgroups : array_like of str, shape (n,)
        Nombre del subgrupo de cada imagen; las de nombre vacío no cuentan.
    **options
        `resamples` y `seed` de `intervals`.

    Returns
    -------
    DataFrame
        `subgroup` y las columnas de `intervals`; `metric` es `sensitivity` en los subgrupos de PNEUMONIA,
        `specificity` en los de NORMAL, y las dos, una fila cada una, en los mixtos.
    """
    import pandas as pd

    y, names = as_labels(y_true, "y_true"), np.asarray(subgroups).astype(str)
    prob, group = np.asarray(y_prob), None if groups is None else np.asarray(groups)
    tables = {}
    for name in dict.fromkeys(names[names != ""]):
        mask = names == name
        metrics = [name for label, name in ((1, "sensitivity"), (0, "specificity")) if (y[mask] == label).any()]
        known = {"groups": None if group is None else group[mask], "metrics": metrics, **options}
        tables[name] = intervals(y[mask], prob[mask], threshold=threshold, **known)
    return pd.concat(tables, names=["subgroup"]).reset_index("subgroup").reset_index(drop=True)


def subgroup_table(images: "pd.DataFrame", y_prob: Any, described: "pd.DataFrame", **options: Any) -> "pd.DataFrame":
    """Mide todos los subgrupos que los datos dejan ver: la etiología y, si vienen de una tabla, sexo, edad y los demás.

    Parameters
    ----------
    images : DataFrame
        Una fila por imagen: `path`, `group`, `subtype` e `y_true`.
    y_prob : array_like of float, shape (n,)
        Probabilidad de PNEUMONIA, en el mismo orden.
    described : DataFrame
        El artefacto `partition`: `path` y las columnas `by_…`.
    **options
        `threshold`, `resamples` y `seed` de `intervals`.

    Returns
    -------
    DataFrame
        Como `subgroup_metrics`; un valor de `by_sex` se llama «sexo: mujer».
    """
    import pandas as pd

    known = described.set_index("path").loc[images["path"]].astype(str)
    classes = images["y_true"].map(dict(enumerate(CLASSES)))
    named = [images["subtype"].where(images["subtype"] != "", classes).to_numpy(dtype=str)]
    for name in (column for column in known if column.startswith("by_")):
        label = HEADERS.get(name, name.removeprefix("by_"))
        named.append(np.array([f"{label}: {value}" if value else "" for value in known[name]]))
    y, prob, tables = images["y_true"].to_numpy(), np.asarray(y_prob), []
    for names in named:
        order = np.argsort([_natural(name) for name in names], kind="stable")
        if names[order[-1]]:
            whose = {"groups": images["group"].to_numpy()[order], **options}
            tables.append(subgroup_metrics(y[order], prob[order], names[order], **whose))
    return pd.concat(tables, ignore_index=True)


def _natural(name: str) -> str:
    """Para ordenar «5 a 17» antes que «18 a 39»."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(9), name)


def mean_interval(
    values: Sequence[float], *, groups: Sequence[Any] | None = None, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Media con su intervalo del 95 %, remuestreando grupos enteros (bootstrap de percentiles).

    Examples
    --------
    >>> mean_interval([0.5, 0.5, 0.5])
    (0.5, 0.5, 0.5)
    """
    sample = np.asarray(values, dtype=float)
    if not len(sample):
        return np.nan, np.nan, np.nan
    group, number = group_index(groups, len(sample))
    drawn = resample(number, resamples, seed)
    means = (drawn @ np.bincount(group, sample)) / (drawn @ np.bincount(group))
    low, high = np.quantile(means, TAILS)
    return float(sample.mean()), float(low), float(high)
