"""Comparar modelos en las mismas imágenes: sus intervalos, y la diferencia de cada par."""

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.evaluation.intervals import TAILS, bootstrap, intervals
from neumo.evaluation.metrics import probability
from neumo.evaluation.predictions import ENSEMBLE, argmax_read, by_seed, joint_logit

if TYPE_CHECKING:
    import pandas as pd


def intervals_by_model(
    predictions: "pd.DataFrame",
    *,
    threshold: Mapping[str, float] | None = None,
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
        `metrics`, `resamples` y `seed` de `intervals`.

    Returns
    -------
    DataFrame
        `model`, `partition`, `seeds` y las columnas de `intervals`.
    """
    import pandas as pd

    tables = []
    for model in dict.fromkeys(predictions["model"]):
        images, logits = by_seed(predictions, model)
        cut = (threshold or {}).get(model, 0.5)
        for name, z in ((model, logits), (model + ENSEMBLE, joint_logit(logits)[:, None])):
            prob = probability(z)
            y_pred = argmax_read(model, prob, decisions)
            known = {"groups": images["group"], "threshold": cut, "y_pred": y_pred, "logits": z, **options}
            identity = {"model": name, "partition": images["partition"][0], "seeds": z.shape[1]}
            tables.append(intervals(images["y_true"], prob, **known).assign(**identity))
    table = pd.concat(tables, ignore_index=True)
    first = ["model", "partition", "seeds"]
    return table[[*first, *table.columns.drop(first)]]


def independent_differences(
    a: "pd.DataFrame",
    b: "pd.DataFrame",
    *,
    metrics: Iterable[str],
    threshold: Mapping[str, float] | None = None,
    decisions: Mapping[str, str] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> "pd.DataFrame":
    """Compara cada modelo, y su conjunto de semillas, en dos grupos de imágenes de pacientes distintos: `a` menos `b`.

    Los dos se remuestrean por separado.

    Returns
    -------
    DataFrame
        `model`, `metric`, `change`, `change_low` y `change_high` (intervalo del 95 %; NaN si los remuestreos no varían).
    """
    import pandas as pd

    rows = []
    for model in dict.fromkeys(a["model"]):
        (inside, many), (outside, several) = by_seed(b, model), by_seed(a, model)
        cut = (threshold or {}).get(model, 0.5)
        for name, one, two in (
            (model, several, many),
            (model + ENSEMBLE, joint_logit(several)[:, None], joint_logit(many)[:, None]),
        ):
            drawn = []
            for images, z, start in ((outside, one, seed), (inside, two, seed + 1)):
                prob = probability(z)
                decided = argmax_read(name, prob, decisions)
                drawn.append(bootstrap(images["y_true"], prob, decided, z, cut, images["group"], (resamples, start))[0])
            for metric in metrics:
                change = drawn[0][metric] - drawn[1][metric]
                varied = change[1:][np.isfinite(change[1:])]
                low, high = np.quantile(varied, TAILS) if len(varied) and np.ptp(varied) > 1e-12 else (np.nan, np.nan)
                rows.append((name, metric, float(change[0]), float(low), float(high)))
    return pd.DataFrame(rows, columns=["model", "metric", "change", "change_low", "change_high"])


def paired_difference(
    y_true: Any,
    y_prob_a: Any,
    y_prob_b: Any,
    *,
    groups: Any = None,
    y_pred_a: Any = None,
    y_pred_b: Any = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> "pd.DataFrame":
    """Compara dos modelos en las mismas imágenes con los mismos remuestreos de pacientes.

    Parameters
    ----------
    y_true, groups, resamples, seed
        Como en `intervals`.
    y_prob_a, y_prob_b : array_like of float, shape (n,) or (n, k)
        Probabilidades de cada modelo.
    y_pred_a, y_pred_b : array_like of int, optional
        Decisiones ya tomadas de cada uno; sin ellas, el umbral es 0.5.

    Returns
    -------
    DataFrame
        `metric`, `a`, `b`, `difference` (b - a), `low`, `high` y `p_value` (bilateral, del bootstrap); el intervalo es NaN
        si ningún remuestreo cambia la diferencia, y todo lo es si una red da NaN.
    """
    import pandas as pd

    pairs = ((y_prob_a, y_pred_a), (y_prob_b, y_pred_b))
    a, b = (bootstrap(y_true, p, d, None, 0.5, groups, (resamples, seed))[0] for p, d in pairs)
    rows = []
    for name in ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "auc"):
        point, *sample = b[name] - a[name]
        sample = np.array(sample)[np.isfinite(sample)]
        low, high = np.nan, np.nan  # si ningún remuestreo cambia la diferencia, no dicen nada de su error
        if len(sample) and np.ptp(sample) > 1e-12:
            low, high = np.quantile(sample, TAILS)
        tail = (1 + min(np.sum(sample <= 0), np.sum(sample >= 0))) / (1 + len(sample))
        p_value = min(1.0, 2 * tail) if np.isfinite(point) else np.nan
        rows.append((name, a[name][0], b[name][0], point, low, high, p_value))
    return pd.DataFrame(rows, columns=["metric", "a", "b", "difference", "low", "high", "p_value"])


def paired_differences(
    predictions: "pd.DataFrame",
    *,
    threshold: dict[str, float],
    decisions: dict[str, str],
    resamples: int = 10_000,
    seed: int = 0,
) -> "pd.DataFrame":
    """Compara cada modelo con el anterior en las mismas imágenes, emparejando por paciente y promediando las semillas.

    Parameters
    ----------
    predictions : DataFrame
        De una partición; el orden de los modelos es el de la comparación.
    threshold : dict
        Umbral de cada modelo (0.5 si falta).
    decisions : dict
        Modelos que se leen con arg-max: `{"original": "argmax"}`.

    Returns
    -------
    DataFrame
        `pair` y las columnas de `paired_difference`.
    """
    import pandas as pd

    known = {}
    for model in dict.fromkeys(predictions["model"]):
        images, logits = by_seed(predictions, model)
        prob = probability(logits)
        decided = argmax_read(model, prob, decisions)
        cut = threshold.get(model, 0.5)
        known[model] = prob, (prob >= cut).astype(np.int8) if decided is None else decided
    options = {"groups": images["group"], "resamples": resamples, "seed": seed}
    tables = []
    for (name_a, (prob_a, pred_a)), (name_b, (prob_b, pred_b)) in itertools.pairwise(known.items()):
        found = paired_difference(images["y_true"], prob_a, prob_b, y_pred_a=pred_a, y_pred_b=pred_b, **options)
        tables.append(found.assign(pair=f"{name_b} − {name_a}"))
    return pd.concat(tables, ignore_index=True)
