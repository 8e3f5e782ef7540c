"""Las tablas de un barrido: sus puntos, unas configuraciones frente a otras y sus curvas.

`load("barrido")` las da igual en JupyterLab que en `comparacion.html`.
"""

import functools
import json
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neumo.errors import NeumoError
from neumo.evaluation.comparison import intervals_by_model, paired_difference
from neumo.evaluation.metrics import probability
from neumo.evaluation.predictions import argmax_read, by_seed, metrics_table
from neumo.params import Params
from neumo.params_reader import validate
from neumo.run import Run, project_root
from neumo.sweep.point import DONE

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "auc")


@dataclass(frozen=True)
class Results:
    """Lo que dieron los puntos terminados de un barrido.

    Attributes
    ----------
    points : DataFrame
        Una fila por punto, modelo y semilla, en validación: `point`, `config`, `state`, `point_seconds`, `memory_mb`, los
        parámetros que se barren, `variant` (configuración y modelo) y lo de `metrics_table`.
    keys : list of str
        Los parámetros que se barren.
    predictions : dict
        `val` y, de la configuración declarada final, `test`: tablas de predicciones cuyo `model` es la variante.
    history : DataFrame
        Una fila por época, como `history_final`, con la variante en `model`.
    decisions : dict
        Cómo se lee cada variante.
    models : dict
        El modelo de cada variante.
    base : dict
        La variante de referencia de cada una.
    """

    points: "pd.DataFrame"
    keys: list[str]
    predictions: "dict[str, pd.DataFrame]"
    history: "pd.DataFrame"
    decisions: dict[str, str]
    models: dict[str, str]
    base: dict[str, str]


def load(folder: str | Path) -> Results:
    """Lee un barrido por su carpeta o, si está en `build/`, por su nombre.

    Raises
    ------
    NeumoError
        Si no es un barrido, o ninguno de sus puntos está hecho.
    """
    import pandas as pd

    folder = Path(folder) if Path(folder).is_dir() else project_root() / "build" / folder
    if not (folder / "plan.json").is_file():
        raise NeumoError(f"En «{folder.name}» no hay ningún barrido: hágalo con `make sweep`.")
    plan = json.loads((folder / "plan.json").read_bytes())
    rows = [row | {"params": validate(row["params"])} for row in plan["points"]]
    names = _compared([row["params"] for row in rows], final=rows[0]["until"] != "09")
    parts = [_read(folder, row, plan["keys"], names) for row in rows]
    done = [part for part in parts if part["predictions"]]
    if not done:
        raise NeumoError(f"Ningún punto de «{folder.name}» está hecho: vea sus registros y repita `make sweep`.")
    joined = {"val": pd.concat([part["predictions"]["val"] for part in done], ignore_index=True)}
    tested = [part["predictions"]["test"] for part in done if "test" in part["predictions"]]
    if tested:
        joined["test"] = pd.concat(tested, ignore_index=True)
    decisions = {name: rule for part in done for name, rule in part["decisions"].items()}
    points = pd.DataFrame([part["point"] for part in parts])
    measured = metrics_table(joined["val"], decisions=decisions).drop(columns="confusion_matrix")
    owners = pd.concat([part["owners"] for part in done], ignore_index=True)
    points = points.merge(owners, how="left", on="point")
    points = points.merge(measured.rename(columns={"model": "variant"}), how="left", on=["variant", "seed"])
    history = pd.concat([part["history"] for part in done], ignore_index=True)
    models = {name: model for part in done for name, model in part["models"].items()}
    base = {name: _variant(rows[0]["config"], model, names) for name, model in models.items()}
    return Results(points, plan["keys"], joined, history, decisions, models, base)


def _compared(several: list[Params], *, final: bool) -> list[str]:
    """Los modelos en que el barrido cambia algo; si no cambia ninguno (cambian los datos), todos."""
    names = list(several[0].final_models if final else several[0].attempts)
    shared = [name for name in names if all(name in (p.final_models if final else p.attempts) for p in several)]
    dumps = {name: [p.experiment(name).model_dump() for p in several] for name in shared}
    changed = [name for name, found in dumps.items() if any(one != found[0] for one in found)]
    return changed or shared


def _variant(config: str, model: str, names: list[str]) -> str:
    return config if len(names) == 1 else f"{config} · {model}"


def _read(folder: Path, row: dict[str, Any], keys: list[str], names: list[str]) -> dict[str, Any]:
    """Lo que hay en la carpeta de un punto; sin predicciones, si no está hecho con estos parámetros."""
    params, run = row["params"], Run(folder=folder / row["point"], params=row["params"])
    path = run.folder / DONE
    record = json.loads(path.read_bytes()) if path.is_file() else {}
    done = record.get("digest") == row["digest"]
    values = params.model_dump(mode="json")
    point = {"point": row["point"], "config": row["config"], "state": "hecho" if done else "falta"}
    point |= {"point_seconds": record.get("seconds"), "memory_mb": record.get("memory_mb")} if done else {}
    point |= {key: functools.reduce(operator.getitem, key.split("."), values) for key in keys}
    part: dict[str, Any] = {"point": point, "predictions": {}}
    if not done:
        return part
    kind = "attempts" if row["until"] == "09" else "final"
    variants = {name: _variant(row["config"], name, names) for name in names}

    def relabelled(table: "pd.DataFrame") -> "pd.DataFrame":
        return table[table["model"].isin(names)].assign(model=lambda one: one["model"].map(variants))

    part["predictions"]["val"] = relabelled(run.load(f"predictions_{kind}"))
    if row["final"] and run.is_whole("predictions_test"):
        part["predictions"]["test"] = relabelled(run.load("predictions_test"))
    owners = part["predictions"]["val"][["model", "seed"]].drop_duplicates().rename(columns={"model": "variant"})
    rule = {name: params.experiment(name).decision for name in names}
    return part | {
        "history": relabelled(run.load(f"history_{kind}")),
        "owners": owners.assign(point=row["point"]),
        "models": {variant: name for name, variant in variants.items()},
        "decisions": {variant: rule[name] for name, variant in variants.items()},
    }


def intervals(results: Results, *, partition: str = "val", **options: Any) -> "pd.DataFrame":
    """Calcula los intervalos de cada variante, por paciente y sobre la media de sus semillas (sin su conjunto)."""
    found = intervals_by_model(results.predictions[partition], decisions=results.decisions, metrics=METRICS, **options)
    return found[found["model"].isin(results.decisions)].reset_index(drop=True)


def differences(results: Results, **options: Any) -> "pd.DataFrame":
    """Compara cada variante con la base, emparejando por paciente; las que se midieron en otras imágenes no están.

    Returns
    -------
    DataFrame
        `variant`, `base` y lo de `paired_difference`.
    """
    import pandas as pd

    return pd.concat(
        [pd.DataFrame(columns=["variant", "metric"]), *_differences(results, **options)], ignore_index=True
    )


def _differences(results: Results, **options: Any) -> "Iterator[pd.DataFrame]":
    held = results.predictions["val"]
    for variant, base in results.base.items():
        if variant != base and base in set(held["model"]):
            (images, logits), (others, base_logits) = by_seed(held, variant), by_seed(held, base)
            if list(images["path"]) == list(others["path"]):
                prob_a, prob_b = probability(base_logits), probability(logits)
                reads = {
                    "y_pred_a": argmax_read(base, prob_a, results.decisions),
                    "y_pred_b": argmax_read(variant, prob_b, results.decisions),
                }
                found = paired_difference(
                    images["y_true"], prob_a, prob_b, groups=images["group"], **{**options, **reads}
                )
                yield found.assign(variant=variant, base=base)
