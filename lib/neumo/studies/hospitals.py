"""La prueba en otros conjuntos: imágenes que solo se leen al final, con las redes, el umbral y la temperatura ya fijados."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neumo.data.store import ImageSet, load
from neumo.data.table import scan_source
from neumo.data.verify import inspect
from neumo.evaluation.calibration import calibration_table
from neumo.evaluation.comparison import independent_differences, intervals_by_model
from neumo.evaluation.predictions import ENSEMBLE
from neumo.learning import inference
from neumo.words import METRICS, difference_text, with_interval

if TYPE_CHECKING:
    import pandas as pd

    from neumo.learning.training import Training
    from neumo.run import Run

SHOWN = ("balanced_accuracy", "sensitivity", "specificity", "auc")


def images(run: "Run", name: str) -> "pd.DataFrame":
    """Reúne las imágenes del conjunto externo `name`, revisadas como las demás.

    Returns
    -------
    DataFrame
        Como `neumo.data.verify.inspect`, con `partition`: el nombre del conjunto, o vacía si la imagen no se usa; `reason`
        dice por qué (también, que su archivo está entre los de este informe).
    """
    folder = run.outside_folder(name)
    manifest = scan_source(run.params.outside(name), folder)
    # Aquí todo es prueba: las particiones que traiga no dicen nada.
    table = inspect(manifest.assign(original_split=""), folder, cache=run.cache)
    known = table["sha256"].isin(run.load("partition")["sha256"]) & (table["reason"] == "")
    table.loc[known, "reason"] = "su archivo está entre las imágenes de este informe"
    table["excluded"] = table["reason"] != ""
    return table.assign(partition=table["excluded"].map({True: "", False: name}))


def predictions(
    run: "Run", sets: Sequence[Mapping[str, Any]], trainings: Sequence["Training"]
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Lee una vez cada conjunto externo con las redes finales.

    Returns
    -------
    predictions : DataFrame
        Como `neumo.learning.inference.predictions`; `partition` es el nombre del conjunto. Vacía si no hay conjuntos.
    counts : DataFrame
        Por conjunto: imágenes usadas de cada clase, pacientes y excluidas.
    """
    import pandas as pd

    tables, counts = [], []
    for name in (one["name"] for one in sets):
        table = images(run, name)
        used = table[table["partition"] != ""]
        tables.append(inference.predictions(trainings, _image_set(run, used, name), partition=name))
        sick = int(used["y"].sum())
        counts.append((name, len(used) - sick, sick, used["group"].nunique(), len(table) - len(used)))
    named = ["conjunto", "NORMAL", "PNEUMONIA", "pacientes", "excluidas"]
    empty = ["model", "seed", "partition", "path", "group", "subtype", "y_true", "logit"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=empty), pd.DataFrame(
        counts, columns=named
    )


def _image_set(run: "Run", table: "pd.DataFrame", name: str) -> Any:
    folder = run.outside_folder(name)

    @functools.cache
    def image_set(partition: str, *, image_size: int) -> ImageSet:
        return load(table, folder, image_size=image_size, cache=run.cache).partition(partition)

    return image_set


def measured(outside: "pd.DataFrame", test: "pd.DataFrame", **options: Any) -> "pd.DataFrame":
    """Mide cada modelo y su conjunto de semillas en cada conjunto externo, y lo que cae desde la prueba interna.

    Parameters
    ----------
    outside, test : DataFrame
        Predicciones de los conjuntos externos y de la prueba.
    **options
        `threshold`, `decisions`, `resamples` y `seed` de `intervals_by_model`.

    Returns
    -------
    DataFrame
        Las columnas de `intervals_by_model` (`partition` es el conjunto), y `change`, `change_low` y `change_high`: fuera menos
        dentro, con su intervalo. Vacía si no hay conjuntos.
    """
    import pandas as pd

    tables = []
    for _, part in outside.groupby("partition", sort=False):
        alone = part.reset_index(drop=True)
        change = independent_differences(alone, test, metrics=SHOWN, **options)
        tables.append(intervals_by_model(alone, **options).merge(change, how="left", on=["model", "metric"]))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["model", "partition", "metric"])


def table(measured: "pd.DataFrame", model: str) -> "pd.DataFrame":
    """Escribe lo de un modelo (su conjunto de semillas) para leerlo: una fila por conjunto externo y métrica."""
    import pandas as pd

    shown = measured[(measured["model"] == model + ENSEMBLE) & measured["metric"].isin(SHOWN)]
    rows = [
        (
            row.partition,
            METRICS[row.metric],
            with_interval(row.value, row.low, row.high),
            difference_text(row.change, row.change_low, row.change_high),
            row.patients,
        )
        for row in shown.itertuples()
    ]
    return pd.DataFrame(rows, columns=["conjunto", "métrica", "fuera", "diferencia con la prueba", "pacientes"])


def calibration(outside: "pd.DataFrame", temperatures: dict[str, float], model: str) -> "pd.DataFrame":
    """Mide la calibración de un modelo en cada conjunto externo, con la temperatura que se ajustó en validación."""
    found = calibration_table(outside, temperatures)
    return found[found["model"] == model].drop(columns=["model", "temperature"])


def card_text(measured: "pd.DataFrame", sets: Sequence[Mapping[str, Any]], model: str) -> str:
    """Escribe en Markdown, para la ficha, lo que da el modelo en cada conjunto externo, o que no hay ninguno."""
    if not sets:
        return "No se ha probado en otro hospital."
    shown = table(measured, model)
    lines = ["| " + " | ".join(shown.columns) + " |", "| --- | --- | --- | --- | ---: |"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in shown.itertuples(index=False)]
    return "\n".join(lines)
