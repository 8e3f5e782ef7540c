"""`build/index.html`: las ejecuciones hechas, unas junto a otras."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neumo.cache import write_atomically
from neumo.report.render import TEMPLATE
from neumo.words import METRICS, cell_text, with_interval

INDEX_METRICS = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "auc")


def render_index(build: Path) -> Path:
    """Escribe `build/index.html`: las ejecuciones que hay, sus cifras en prueba con intervalos y en qué se diferencian.

    Parameters
    ----------
    build : Path
        Carpeta con una carpeta por ejecución; cuenta la que tiene `metrics.json`.
    """
    from jinja2 import Environment, FileSystemLoader

    runs = [_run_summary(path.parent) for path in sorted(build.glob("*/metrics.json"))]
    models = list(dict.fromkeys(model for run in runs for model in run["models"]))
    page = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True).get_template("ejecuciones.html.j2")
    metrics = {name: METRICS[name] for name in INDEX_METRICS}
    text = page.render(runs=runs, models=models, metrics=metrics, differences=_differences(runs))
    write_atomically(build / "index.html", text.encode())
    return build / "index.html"


def _differences(runs: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Los parámetros que no valen lo mismo en todas las ejecuciones, con lo que valen en cada una."""
    names = dict.fromkeys(name for run in runs for name in run["params"])
    rows = {name: [run["params"].get(name, "–") for run in runs] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Clave punteada y valor de cada parámetro; de las rutas, la última parte."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, Path(value).name if name == "data_dir" and value else cell_text(value)


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes()) if path.is_file() else {}


def _run_summary(folder: Path) -> dict[str, Any]:
    """Lo que el índice dice de una ejecución: datos, parámetros y cifras en prueba (si no se leyó, en validación)."""
    import pandas as pd

    table = pd.DataFrame(_records(_read(folder / "metrics.json")))
    table = table.reindex(columns=["model", "partition", *INDEX_METRICS])
    partition = "test" if "test" in set(table["partition"]) else "val"
    means = table[table["partition"] == partition].groupby("model", sort=False)[list(INDEX_METRICS)].mean()
    models = {model: {name: cell_text(row[name]) for name in row.index} for model, row in means.iterrows()}
    if partition == "test" and (folder / "intervals.csv").is_file():
        for row in pd.read_csv(folder / "intervals.csv").itertuples():
            if row.model in models and row.metric in INDEX_METRICS:
                models[row.model][row.metric] = with_interval(row.value, row.low, row.high)
    return {
        "name": folder.name,
        "data": _read(folder / "source.json").get("description", ""),
        "partition": {"test": "prueba", "val": "validación"}[partition],
        "report": f"{folder.name}/informe.html" if (folder / "informe.html").is_file() else "",
        "models": models,
        "params": dict(_flat(_read(folder / "params.json"))),
    }


def _records(value: Any) -> list[dict]:
    """Primera lista de registros con `model` que haya en `metrics.json`."""
    if isinstance(value, list):
        return value if value and isinstance(value[0], dict) and "model" in value[0] else []
    return next(filter(None, map(_records, value.values())), []) if isinstance(value, dict) else []
