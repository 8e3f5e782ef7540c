"""Lo que se cita: cifras del informe original, resultados publicados y bibliografía, todo de una sola tabla."""

import functools
from pathlib import Path
from typing import Any

import yaml


@functools.cache
def _all() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("references.yaml").read_text(encoding="utf-8"))


def original() -> dict[str, Any]:
    """Cifras y frases del informe original, citadas tal cual."""
    return _all()["original"]


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
