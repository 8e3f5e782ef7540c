"""Las palabras y los números tal como los lee una persona: cabeceras, métricas, intervalos y cifras."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


METRICS = {
    "accuracy": "exactitud",
    "balanced_accuracy": "exactitud equilibrada",
    "sensitivity": "sensibilidad",
    "specificity": "especificidad",
    "precision": "valor predictivo positivo (precisión)",
    "npv": "valor predictivo negativo",
    "f1": "F1 de PNEUMONIA",
    "mcc": "correlación de Matthews",
    "auc": "AUC",
    "average_precision": "precisión media",
    "log_loss": "entropía cruzada",
    "brier": "Brier",
}
HEADERS = {
    **METRICS,
    "balanced_accuracy": "equilibrada",
    "log_loss": "entropía",
    "precision": "precisión",
    "npv": "v. p. negativo",
    "f1": "F1",
    **{"model": "modelo", "seed": "semilla", "seeds": "semillas", "partition": "partición", "n": "imágenes"},
    **{"metric": "métrica", "value": "valor", "low": "desde", "high": "hasta", "method": "método"},
    **{"patients": "pacientes", "threshold": "umbral", "policy": "política", "decision": "lectura"},
    **{
        "subgroup": "subgrupo",
        "prevalence": "prevalencia",
        "ppv": "v. p. positivo",
        "probability": "probabilidad",
    },
    **{"epochs": "épocas", "seconds": "segundos", "path": "archivo", "temperature": "temperatura"},
    **{"ece_before": "ECE", "log_loss_before": "entropía", "brier_before": "Brier"},
    **{"ece_after": "ECE (T)", "log_loss_after": "entropía (T)", "brier_after": "Brier (T)"},
}
POLICIES = {
    "fixed": "fijo",
    "youden": "Youden",
    "f1": "mejor F1",
    "sensitivity": "sensibilidad",
    "specificity": "especificidad",
    "cost": "coste",
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plus_minus(summary: "pd.DataFrame", *, names: Iterable[str]) -> "pd.DataFrame":
    """Escribe un resumen de `seed_summary` como «media ± desviación», con las cabeceras en español."""
    import pandas as pd

    columns = {"modelo": summary["model"], "semillas": summary["seeds"]}
    for name in names:
        pairs = zip(summary[name], summary[f"{name}_sd"], strict=True)
        columns[HEADERS[name]] = [f"{m:.3f}" + (f" ± {sd:.3f}" if np.isfinite(sd) else "") for m, sd in pairs]
    return pd.DataFrame(columns)


def interval_text(intervals: "pd.DataFrame", *, names: Iterable[str]) -> "pd.DataFrame":
    """Escribe `intervals_by_model` con una fila por modelo y «valor [desde, hasta]» en cada métrica; * es Wilson."""
    import pandas as pd

    marks = {"bootstrap": " [{0.low:.3f}, {0.high:.3f}]", "wilson": " [{0.low:.3f}, {0.high:.3f}]*"}
    rows: dict[str, dict[str, str]] = {}
    for row in intervals.itertuples():
        text = f"{row.value:.3f}" + marks.get(row.method, "").format(row) if np.isfinite(row.value) else "–"
        rows.setdefault(row.model, {})[row.metric] = text
    return pd.DataFrame(rows).T[list(names)].rename(columns=HEADERS).rename_axis("modelo")


def in_spanish(table: "pd.DataFrame", columns: Iterable[str] | None = None) -> "pd.DataFrame":
    """Prepara una tabla para mostrarla: escoge columnas y traduce cabeceras, particiones, métricas, políticas y lecturas."""
    words = {
        "partition": {"train": "entrenamiento", "val": "validación", "test": "prueba"},
        "metric": METRICS,
        "policy": POLICIES,
        "decision": {"threshold": "umbral", "argmax": "arg-max"},
        "method": {"bootstrap": "remuestreo", "wilson": "Wilson"},
    }
    shown = table[list(columns)].copy() if columns is not None else table.copy()
    for name in words.keys() & set(shown):
        shown[name] = shown[name].replace(words[name])
    return shown.rename(columns=HEADERS)


def scientific(value: float, *, digits: int = 2) -> str:
    """Escribe un número como producto de una potencia de diez.

    Examples
    --------
    >>> scientific(9.8e-5), scientific(-1234567.0, digits=1)
    ('9.80×10⁻⁵', '-1.2×10⁶')
    """
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def rate_text(rate: float) -> str:
    """Escribe una tasa de aprendizaje corta: decimal si es legible, si no en potencias de diez.

    Examples
    --------
    >>> rate_text(0.003), rate_text(0.14125), rate_text(9.8e-05)
    ('0.003', '0.14', '9.8×10⁻⁵')
    """
    if np.isnan(rate):
        return "–"
    return f"{rate:.2g}" if rate >= 1e-3 else scientific(rate, digits=1)


def cell_text(value: Any, digits: int = 3) -> str:
    """Escribe un valor como lo hace el informe en sus tablas.

    Examples
    --------
    >>> [cell_text(value) for value in (0.9123, 9.8e-5, 4172, True, float("nan"), None)]
    ['0.912', '9.80×10⁻⁵', '4172', 'sí', '–', '–']
    """
    if isinstance(value, bool | np.bool_):
        return "sí" if value else "no"
    if value is None or str(value) in {"nan", "<NA>", "NaT"}:
        return "–"
    if not isinstance(value, float | np.floating):
        return str(value)
    if value == 0 or not np.isfinite(value) or 0.5 * 10**-digits <= abs(value) < 1e7:
        return f"{value:.{digits}f}"
    return scientific(value)
