"""Las correcciones del capítulo 13: una a una y todas juntas, ante un cambio de aparato y junto a la red mejorada."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo import references
from neumo.errors import NeumoError
from neumo.evaluation.predictions import metrics_table
from neumo.studies.experiments import recomputed_logits
from neumo.words import difference_text, with_spread

if TYPE_CHECKING:
    import pandas as pd

    from neumo.data.store import ImageSet
    from neumo.params import Experiment, LotShift
    from neumo.run import Run

LABELS = {
    "base": "la red original",
    "umbral": "umbral en lugar de arg-max",
    "inercia": "inercia menor en la normalización",
    "recalculo": "estadísticas recalculadas al terminar",
    "pesos": "pesos de clase",
    "aumento": "aumento de datos",
    "l2": "penalización L2",
    "tasa": "la tasa «segura» de la segunda búsqueda",
    "todas": "todas juntas",
}
"""Cómo se llama en el informe cada corrección."""


def ablation_recipes(base: "Experiment", repaired: "Experiment") -> list["Experiment"]:
    """Escribe los entrenamientos de la ablación: la base, una corrección cada vez, y todas.

    Parameters
    ----------
    base : Experiment
        El original, con el tamaño y las épocas de la ablación.
    repaired : Experiment
        De él se toman la inercia y la L2 corregidas.

    Returns
    -------
    list of Experiment
        `base`, `inercia`, `pesos`, `aumento` (el original ya lo tenía: esta variante lo **quita**), `l2`, `tasa` y
        `todas`.
    """
    inertia = {"batchnorm_momentum": repaired.batchnorm_momentum}
    weights, penalty = {"class_weight": True}, {"l2": repaired.l2}
    rate = {"learning_rate": references.original()["second_finder"]["safe"]}
    changes: dict[str, dict[str, Any]] = {
        "base": {},
        "inercia": inertia,
        "pesos": weights,
        "aumento": {"augmentation": None},
    }
    changes |= {
        "l2": penalty,
        "tasa": rate,
        "todas": {"recompute_batchnorm": True, **inertia, **weights, **penalty, **rate},
    }
    return [
        base.model_copy(update={**change, "name": name, "decision": "threshold"}) for name, change in changes.items()
    ]


def ablation(
    recipes: Sequence["Experiment"], image_set: Callable[..., "ImageSet"], *, seeds: Sequence[int], cache: Path
) -> "pd.DataFrame":
    """Entrena cada receta con cada semilla y predice validación dos veces: tal como queda y recalculando.

    La inercia de la normalización no cambia los pesos, así que recalcular sus estadísticas al terminar dice lo que cada
    receta daría con la normalización reparada, sin entrenar otra vez.

    Parameters
    ----------
    image_set : callable
        `image_set(partition, image_size=…)`, de `neumo.data.store.image_sets`.

    Returns
    -------
    DataFrame
        Las columnas de `inference.predictions` y `statistics`: `moving` o `recomputed`.
    """
    import pandas as pd

    from neumo.learning import inference, training

    trainings = training.train_all(recipes, image_set, seeds=seeds, cache=cache)
    moving = inference.predictions(trainings, image_set, partition="val")
    parts = (moving.groupby(["model", "seed"], sort=False).indices.values(), trainings)
    repaired = moving.copy()
    for rows, done in zip(*parts, strict=True):
        train_set = image_set("train", image_size=done.experiment.source_size)
        val_set = image_set("val", image_size=done.experiment.image_size)
        repaired.loc[rows, "logit"] = recomputed_logits(done, train_set, val_set, cache=cache)
    return pd.concat([moving.assign(statistics="moving"), repaired.assign(statistics="recomputed")], ignore_index=True)


def train_ahead(run: "Run") -> None:
    """Hace los entrenamientos que los capítulos 10 y 13 pedirán, y los deja en la caché para entonces.

    Todo, del último al primero: los capítulos lo hacen del primero al último, y se encuentran.
    """
    from neumo.data.store import image_sets
    from neumo.learning import training

    image_set, seeds = image_sets(run), list(reversed(run.params.final_seeds))
    finals = [run.params.experiment(name) for name in reversed(run.params.final_models)]
    training.train_all(finals, image_set, seeds=seeds, cache=run.cache)
    settings = run.params.ablation
    recipes = ablation_recipes(settings.applied(run.params.experiment("original")), run.params.repaired)
    for recipe in reversed(recipes):
        ablation([recipe], image_set, seeds=list(reversed(settings.seeds)), cache=run.cache)


def ablation_table(predictions: "pd.DataFrame") -> "pd.DataFrame":
    """Mide cada receta, semilla, estadística y lectura (`argmax` o `threshold`) de una ablación."""
    import pandas as pd

    tables = []
    for statistics, part in predictions.groupby("statistics", sort=False):
        for decision in ("argmax", "threshold"):
            measured = metrics_table(part, decisions=dict.fromkeys(part["model"].unique(), decision))
            tables.append(measured.assign(statistics=statistics))
    table = pd.concat(tables, ignore_index=True)
    columns = ["accuracy", "balanced_accuracy", "auc", "sensitivity", "specificity", "log_loss"]
    return table[["model", "statistics", "decision", "seed", *columns]]


def ablation_effects(
    table: "pd.DataFrame", *, metric: str = "balanced_accuracy", least: float = 0.02
) -> "pd.DataFrame":
    """Calcula qué corrección movió `metric`, emparejando semilla con semilla.

    Parameters
    ----------
    table : DataFrame
        La de `ablation_table`.
    least : float
        Cambio medio por debajo del cual no se dice que algo se movió.

    Returns
    -------
    DataFrame
        `correction`, `setting` (`sola`: sobre la red original leída con umbral; `reparada`: sobre la misma con la
        normalización recalculada; `arg-max`: leída como el original), `change` (media), `low` y `high` (extremos entre
        semillas) y `moves`: si el cambio medio llega a `least` y todas las semillas van en el mismo sentido.
    """
    import pandas as pd

    cells = table.set_index(["model", "statistics", "decision", "seed"])[metric]

    def pick(model: str, statistics: str, decision: str) -> "pd.Series":
        return cells.xs((model, statistics, decision), level=("model", "statistics", "decision"))

    alone = pick("base", "moving", "threshold")
    argmax, repaired = pick("base", "moving", "argmax"), pick("base", "recomputed", "threshold")
    changes = [("umbral", "sola", alone - argmax), ("recalculo", "sola", repaired - alone)]
    for model in [m for m in table["model"].unique() if m != "base"]:
        sign = -1 if model == "aumento" else 1  # la variante lo quita: ponerlo es el cambio contrario
        readings = {
            "arg-max": pick(model, "moving", "argmax") - argmax,
            "sola": pick(model, "moving", "threshold") - alone,
            "reparada": pick(model, "recomputed", "threshold") - repaired,
        }
        changes += [(model, where, sign * change + 0.0) for where, change in readings.items()]
    rows = [
        {"correction": name, "setting": where, "change": c.mean(), "low": c.min(), "high": c.max()}
        for name, where, c in changes
    ]
    effects = pd.DataFrame(rows)
    same_way = np.sign(effects["low"]) == np.sign(effects["high"])
    return effects.assign(moves=same_way & (effects["change"].abs() >= least))


def spread(table: "pd.DataFrame", *, metric: str) -> "pd.Series":
    """Escribe la media ± desviación típica entre semillas de `metric`, por `model`.

    Examples
    --------
    >>> import pandas as pd
    >>> spread(pd.DataFrame({"model": ["a", "a"], "auc": [0.9, 0.92]}), metric="auc").to_dict()
    {'a': '0.910 ± 0.014'}
    """
    return table.groupby("model", sort=False)[metric].agg(_mean_and_spread)


def _mean_and_spread(values: "pd.Series") -> str:
    return with_spread(values.mean(skipna=False), values.std(ddof=1, skipna=False))


def effects_table(effects: "pd.DataFrame", *, claims: dict[str, str]) -> "pd.DataFrame":
    """Escribe los efectos de `ablation_effects` para leerlos: una fila por corrección, junto a lo que dijo el original."""
    written = effects.assign(
        text=[
            difference_text(row.change, row.low, row.high) + (" ●" if row.moves else "") for row in effects.itertuples()
        ]
    )
    wide = written.pivot(index="correction", columns="setting", values="text")
    wide = wide.reindex(index=list(LABELS)[1:], columns=["arg-max", "sola", "reparada"]).dropna(how="all")
    wide.insert(0, "el original dijo", [claims[name] for name in wide.index])
    return wide.rename(index=LABELS).rename_axis("corrección").reset_index().rename_axis(columns=None)


def lot_shift_recipes(experiments: Sequence["Experiment"], settings: "LotShift") -> list["Experiment"]:
    """Lleva los experimentos que se leen con umbral al tamaño y las épocas de `lot_shift`, si los fija."""
    return [settings.applied(e) for e in experiments if e.decision == "threshold"]


def lot_shift_table(predictions: "pd.DataFrame") -> "pd.DataFrame":
    """Mide por red y dirección, y las dos direcciones juntas: media ± desviación típica entre semillas.

    Parameters
    ----------
    predictions : DataFrame
        Las de `lot_shift_predictions`.
    """
    import pandas as pd

    columns = {"auc": "AUC", "specificity": "especificidad", "sensitivity": "sensibilidad"}
    columns |= {"balanced_accuracy": "exactitud equilibrada"}
    tables = [
        metrics_table(part).assign(direction=direction)
        for direction, part in predictions.groupby("direction", sort=False)
    ]
    tables.append(metrics_table(predictions).assign(direction="las dos"))
    grouped = pd.concat(tables).groupby(["model", "direction"], sort=False)
    written = grouped[list(columns)].agg(_mean_and_spread).rename(columns=columns)
    return written.rename_axis(["red", "entrenada con"]).reset_index()


def lot_shift_predictions(
    experiments: Sequence["Experiment"], load: Callable[..., "ImageSet"], *, seeds: Sequence[int], cache: Path
) -> "pd.DataFrame":
    """Entrena con un lote de adquisición de las normales y predice el otro, en las dos direcciones.

    Parameters
    ----------
    load : callable
        `load(image_size=…)`: todas las imágenes utilizables, con su `partition` (la prueba no interviene).
    seeds : sequence of int
        Cada una decide también el sorteo de quién entrena.

    Returns
    -------
    DataFrame
        Las columnas de `inference.predictions` y `direction`: el lote con que se entrenó.

    Raises
    ------
    NeumoError
        Si las normales no vienen en dos lotes (`neumo.studies.lots.lot_shift`).
    """
    import pandas as pd

    from neumo.learning import inference, training
    from neumo.studies.lots import LOTS, lot_shift

    if not experiments:
        raise NeumoError("No hay red que entrenar: ninguna de final_models se lee con umbral.")
    tables = []
    for direction, seed in itertools.product(LOTS, seeds):

        def image_set(name: str, *, image_size: int, direction: str = direction, seed: int = seed) -> "ImageSet":
            images = load(image_size=image_size)
            shifted = lot_shift(images.table, direction=direction, seed=seed)
            return dataclasses.replace(images, table=shifted).partition(name)

        done = training.train_all(experiments, image_set, seeds=[seed], cache=cache)
        tables.append(inference.predictions(done, image_set, partition="val").assign(direction=direction))
    return pd.concat(tables, ignore_index=True)
