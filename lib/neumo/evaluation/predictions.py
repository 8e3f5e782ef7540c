"""Tablas de predicciones (una fila por imagen, modelo y semilla): medirlas, resumirlas y elegir."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.errors import NeumoError
from neumo.evaluation.metrics import argmax_decision, binary_metrics, probability
from neumo.words import METRICS

if TYPE_CHECKING:
    import pandas as pd

ENSEMBLE = "_conjunto"
ENSEMBLE_SEED = -1


def metrics_table(
    predictions: "pd.DataFrame",
    *,
    threshold: Mapping[str, float] | None = None,
    decisions: Mapping[str, str] | None = None,
) -> "pd.DataFrame":
    """Mide cada modelo, semilla y partición de una tabla de predicciones.

    Parameters
    ----------
    predictions : DataFrame
        Columnas `model`, `seed`, `partition`, `path`, `group` (paciente), `y_true` y `logit`.
    threshold : dict, optional
        Umbral de cada modelo (los que falten, 0.5).
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
        cut = (threshold or {}).get(base, 0.5)
        y_pred = argmax_read(model, prob, decisions)
        measured = binary_metrics(part["y_true"], prob, threshold=cut, y_pred=y_pred, logits=part["logit"])
        patients = part["group"].nunique() if "group" in part else len(part)
        identity = {"model": model, "seed": seed, "partition": partition, "patients": patients}
        rows.append({**identity, "decision": rule, **measured})
    return pd.DataFrame(rows)


def argmax_read(model: str, prob: np.ndarray, decisions: Mapping[str, str] | None) -> np.ndarray | None:
    """Decide, con la forma de `prob`, lo que un modelo que `decisions` lee con arg-max; `None` si se lee con umbral."""
    if (decisions or {}).get(model.removesuffix(ENSEMBLE)) != "argmax":
        return None
    return argmax_decision(prob).reshape(prob.shape)


def seed_summary(metrics: "pd.DataFrame", *, names: Iterable[str] = tuple(METRICS)) -> "pd.DataFrame":
    """Resume las semillas de cada modelo y partición: `seeds` y, por métrica, su media y `<métrica>_sd`.

    Una semilla divergida no tiene exactitud: el resumen de su modelo queda sin definir (NaN), no es el de las otras.
    """
    names = list(names)
    grouped = metrics.groupby(["model", "partition"], sort=False)
    mean, sd = grouped[names].mean(), grouped[names].std(ddof=1).add_suffix("_sd")
    summary = mean.join(sd)[[column for name in names for column in (name, f"{name}_sd")]]
    summary[grouped["accuracy"].count() < grouped.size()] = np.nan
    return summary.assign(seeds=grouped.size()).reset_index()


def ensemble(predictions: "pd.DataFrame") -> "pd.DataFrame":
    """Promedia los logits de las semillas de cada modelo, como un modelo más: lo mismo que hace `predict`.

    Returns
    -------
    DataFrame
        Como `predictions`, con el modelo llamado `<model>_conjunto` y la semilla -1.
    """
    import pandas as pd

    tables = []
    for (model, _), part in predictions.groupby(["model", "partition"], sort=False):
        images, logits = by_seed(part, model)
        tables.append(images.assign(model=model + ENSEMBLE, seed=ENSEMBLE_SEED, logit=joint_logit(logits)))
    return pd.concat(tables, ignore_index=True)


def joint_logit(logits: Any) -> np.ndarray:
    """Une los logits de las semillas de un modelo, (n, semillas), en los de su conjunto, (n,): la media.

    Examples
    --------
    >>> joint_logit([[1.0, 3.0], [-2.0, 0.0]]).tolist()
    [2.0, -1.0]
    """
    return np.asarray(logits, dtype=np.float64).mean(axis=1)


def joint_probability(logits: Any, *, temperature: float = 1.0) -> np.ndarray:
    """Da la probabilidad de PNEUMONIA del conjunto: la de la media de los logits (n, semillas), dividida por la temperatura.

    Lo usan igual los capítulos y `predict`.
    """
    return probability(joint_logit(logits) / temperature)


def by_seed(predictions: "pd.DataFrame", model: str) -> "tuple[pd.DataFrame, np.ndarray]":
    """Devuelve las imágenes de un modelo (una fila cada una) y sus logits, (n, semillas), en el mismo orden."""
    part = predictions[predictions["model"] == model]
    if part.empty:
        known = ", ".join(dict.fromkeys(predictions["model"]))
        raise NeumoError(f"No hay predicciones del modelo «{model}». Las hay de {known}.")
    images = part.drop_duplicates("path").reset_index(drop=True)
    logits = part.pivot(index="path", columns="seed", values="logit").loc[images["path"]]
    return images, logits.to_numpy()


def choose_model(metrics: "pd.DataFrame", *, chosen: str = "auto") -> str:
    """Elige el modelo con la regla fijada antes de leer la prueba.

    `auto`: la mejor media (sobre las semillas) de la exactitud equilibrada de validación; a igualdad, el mejor AUC. Un
    modelo con una semilla divergida va el último. El que se lee con arg-max no se elige: `predict` necesita un umbral.

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
    rows = rows[rows.decision == "threshold"]
    if rows.empty or (chosen != "auto" and chosen not in set(rows.model)):
        found = ", ".join(dict.fromkeys(rows.model)) or "ninguno"
        raise NeumoError(
            f"No se puede elegir el modelo «{chosen}»: con predicciones de validación y umbral está(n) {found}."
        )
    if chosen != "auto":
        return chosen
    names = ["balanced_accuracy", "auc"]
    means = rows.groupby("model", sort=False)[names].agg(lambda seeds: seeds.mean(skipna=False)).round(12)
    return str(means.sort_values(names, ascending=False, kind="stable").index[0])


def to_records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Convierte una tabla en registros de JSON: NaN, infinitos y la semilla de los conjuntos quedan en `None`."""

    def clean(name: str, value: Any) -> Any:
        value = value.item() if isinstance(value, np.generic) else value
        missing = isinstance(value, float) and not np.isfinite(value)
        return None if missing or (name == "seed" and value == ENSEMBLE_SEED) else value

    return [{name: clean(name, value) for name, value in row.items()} for row in table.to_dict("records")]
