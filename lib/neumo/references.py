"""Lo que se cita: cifras del informe original, resultados publicados y bibliografía, todo de una sola tabla."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import pandas as pd

    from neumo.params import Experiment


@functools.cache
def _all() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("references.yaml").read_text(encoding="utf-8"))


def original() -> dict[str, Any]:
    """Cifras y frases del informe original, citadas tal cual."""
    return _all()["original"]


def assumptions(first: "Experiment", last: "Experiment") -> "pd.DataFrame":
    """Tabula lo que el original calla: lo supuesto y lo que vale aquí.

    Parameters
    ----------
    first, last : Experiment
        El intento que representa al original y el último.

    Returns
    -------
    DataFrame
        `name`, `assumed`, `here` y `reason`.
    """
    import pandas as pd

    here = {"original": first.model_dump(), "last": last.model_dump()}
    rows = [
        {
            "name": item["name"],
            "assumed": item["value"],
            "here": _look_up(here, item["parameter"]) if item["parameter"] else item["value"],
            "reason": item["reason"],
        }
        for item in original()["assumptions"]
    ]
    return pd.DataFrame(rows)


def _look_up(tree: Any, dotted: str) -> Any:
    """Sigue una clave punteada; lo que un grupo apagado (`augmentation: null`) no tiene vale `None`."""
    for part in dotted.split("."):
        tree = tree[part] if tree is not None else None
    return tree


def dataset() -> dict[str, Any]:
    """Cifras del conjunto de Kaggle tal como se distribuye."""
    return _all()["dataset"]


def published() -> list[dict[str, Any]]:
    """Resultados publicados sobre las 624 imágenes de prueba del conjunto de Kaggle."""
    return _all()["published"]


def bibliography() -> dict[str, dict[str, str]]:
    """Fuentes por su clave de cita."""
    return _all()["bibliography"]


def glossary() -> dict[str, str]:
    """Definición de cada término técnico del informe."""
    return _all()["glossary"]


def claim() -> list[dict[str, Any]]:
    """Los 44 puntos de CLAIM 2024 (Tejani et al. 2024): capítulo que cumple cada uno, o el motivo de que no se cumpla."""
    return _all()["claim"]
