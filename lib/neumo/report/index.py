"""`build/index.html`: las ejecuciones hechas, unas junto a otras."""

import json
from pathlib import Path
from typing import Any

from neumo.cache import write_atomically
from neumo.report.render import TEMPLATE
from neumo.words import METRICS, cell_text

INDEX_METRICS = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "auc")


def render_index(build: Path) -> Path:
    """Escribe `build/index.html`: las ejecuciones que hay, sus datos y sus cifras en prueba, unas junto a otras.

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
    write_atomically(build / "index.html", page.render(runs=runs, models=models, metrics=metrics).encode())
    return build / "index.html"


def _run_summary(folder: Path) -> dict[str, Any]:
    """Lo que el índice dice de una ejecución: sus datos y la media de cada modelo en prueba (o en validación)."""
    import pandas as pd

    source = folder / "source.json"
    table = pd.DataFrame(_records(json.loads((folder / "metrics.json").read_bytes())))
    table = table.reindex(columns=["model", "partition", *INDEX_METRICS])
    partition = "test" if "test" in set(table["partition"]) else "val"
    means = table[table["partition"] == partition].groupby("model", sort=False)[list(INDEX_METRICS)].mean()
    return {
        "name": folder.name,
        "data": json.loads(source.read_bytes()).get("description", "") if source.is_file() else "",
        "partition": {"test": "prueba", "val": "validación"}[partition],
        "report": f"{folder.name}/informe.html" if (folder / "informe.html").is_file() else "",
        "models": {model: {name: cell_text(row[name]) for name in row.index} for model, row in means.iterrows()},
    }


def _records(value: Any) -> list[dict]:
    """Primera lista de registros con `model` que haya en `metrics.json`."""
    if isinstance(value, list):
        return value if value and isinstance(value[0], dict) and "model" in value[0] else []
    return next(filter(None, map(_records, value.values())), []) if isinstance(value, dict) else []
