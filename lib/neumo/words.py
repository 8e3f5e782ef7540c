"""Las palabras y los números tal como los lee una persona: cabeceras, métricas, intervalos y cifras."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

if TYPE_CHECKING:
    import pandas as pd

CLASSES = ("NORMAL", "PNEUMONIA")
_WORDS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
METRICS: dict[str, str] = _WORDS["metrics"]
HEADERS: dict[str, str] = METRICS | _WORDS["headers"]
PARTITIONS: dict[str, str] = _WORDS["partitions"]
DATA: dict[str, str] = PARTITIONS | _WORDS["data"]
POLICIES: dict[str, str] = _WORDS["policies"]
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def visible(text: str) -> str:
    r"""Escapa lo que no se puede imprimir: caracteres de control, y bytes de un nombre que no está en UTF-8.

    Examples
    --------
    >>> print(visible("caf\u00e9\n\x1b[2J\udcff"))
    café\n\x1b[2J\udcff
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def brackets(low: float, high: float, *, digits: int = 3, sign: str = "") -> str:
    """Escribe los extremos de un intervalo; si no está definido (NaN), nada.

    Examples
    --------
    >>> brackets(0.8, 1.0), brackets(math.nan, math.nan)
    ('[0.800, 1.000]', '')
    """
    return f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]" if math.isfinite(low) else ""


def with_interval(value: float, low: float, high: float, *, digits: int = 3, sign: str = "") -> str:
    """Escribe un valor con su intervalo, si lo hay; lo que no está definido (NaN) es «–».

    Examples
    --------
    >>> with_interval(0.9, 0.8, 1.0), with_interval(1.0, math.nan, math.nan)
    ('0.900 [0.800, 1.000]', '1.000')
    """
    if not math.isfinite(value):
        return "–"
    return f"{value:{sign}.{digits}f} {brackets(low, high, digits=digits, sign=sign)}".rstrip()


def from_to(value: float, low: float, high: float) -> str:
    """Escribe dentro de una frase un valor con su intervalo; si no puede calcularse, lo dice.

    Examples
    --------
    >>> from_to(0.9, 0.8, 1.0), from_to(1.0, math.nan, math.nan)
    ('0.900 (de 0.800 a 1.000)', '1.000 (sin intervalo: son muy pocos pacientes)')
    """
    if not math.isfinite(value):
        return "sin definir"
    return f"{value:.3f} " + (
        f"(de {low:.3f} a {high:.3f})" if math.isfinite(low) else "(sin intervalo: son muy pocos pacientes)"
    )


def difference_text(change: float, low: float, high: float) -> str:
    """Escribe una diferencia y su intervalo, todo con signo.

    Examples
    --------
    >>> difference_text(0.01, -0.002, 0.021), difference_text(1.0, math.nan, math.nan)
    ('+0.010 [-0.002, +0.021]', '+1.000')
    """
    return with_interval(change, low, high, sign="+")


def drop_text(outside: "pd.DataFrame") -> str:
    """Dice, con sus intervalos, cuánto cambia la exactitud equilibrada en cada conjunto externo; vacío si no hay ninguno.

    `outside` tiene una fila por conjunto, de `neumo.studies.hospitals.measured`.
    """
    return " ".join(
        f"En el conjunto externo **{row.partition}**, su exactitud equilibrada es {with_interval(row.value, row.low, row.high)}; "
        f"la diferencia con la prueba, {difference_text(row.change, row.change_low, row.change_high)}: "
        f"{_verdict(row.change_low, row.change_high)}."
        for row in outside.itertuples()
    )


def _verdict(low: float, high: float) -> str:
    if high < 0:
        return "fuera acierta menos, y el azar de la muestra no lo explica"
    if low > 0:
        return "fuera acierta más, quizá porque esas imágenes son más fáciles"
    if low <= 0 <= high:
        return "el intervalo incluye el cero, así que no se ve una caída, pero tampoco se descarta la que él permite"
    return "son pocas imágenes para darle un intervalo"


def with_spread(mean: float, sd: float, *, digits: int = 3) -> str:
    """Escribe «media ± desviación típica»; de una sola semilla (desviación NaN), la media.

    Examples
    --------
    >>> with_spread(0.91, 0.014), with_spread(0.91, math.nan)
    ('0.910 ± 0.014', '0.910')
    """
    if math.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if math.isfinite(sd) else "")


def plus_minus(summary: "pd.DataFrame", *, names: Iterable[str]) -> "pd.DataFrame":
    """Escribe un resumen de `seed_summary` como «media ± desviación», con las cabeceras en español."""
    import pandas as pd

    columns = {"modelo": summary["model"], "semillas": summary["seeds"]}
    for name in names:
        columns[HEADERS[name]] = list(map(with_spread, summary[name], summary[f"{name}_sd"]))
    return pd.DataFrame(columns)


def interval_text(intervals: "pd.DataFrame", *, names: Iterable[str]) -> "pd.DataFrame":
    """Escribe `intervals_by_model` con una fila por modelo y «valor [desde, hasta]» en cada métrica; * es Wilson."""
    import pandas as pd

    rows: dict[str, dict[str, str]] = {}
    for row in intervals.itertuples():
        mark = "*" if row.method == "wilson" else ""
        rows.setdefault(row.model, {})[row.metric] = with_interval(row.value, row.low, row.high) + mark
    return pd.DataFrame(rows).T[list(names)].rename(columns=HEADERS).rename_axis("modelo")


def in_spanish(table: "pd.DataFrame", columns: Iterable[str] | None = None) -> "pd.DataFrame":
    """Prepara una tabla para mostrarla: escoge columnas y traduce cabeceras, particiones, métricas, políticas y lecturas."""
    words = {
        "partition": PARTITIONS,
        "metric": METRICS,
        "policy": POLICIES,
        "decision": {"threshold": "umbral", "argmax": "arg-max"},
        "method": {"bootstrap": "remuestreo", "wilson": "Wilson"},
    }
    shown = table[list(columns)].copy() if columns is not None else table.copy()
    for name in words.keys() & set(shown):
        shown[name] = shown[name].replace(words[name])
    return shown.rename(columns=HEADERS)


def headings(table: "pd.DataFrame") -> "pd.DataFrame":
    """Traduce las cabeceras de una tabla de los datos para mostrarla: nombres de filas, de columnas y de sus ejes."""
    shown = table.rename(index=DATA, columns=DATA)
    shown.index.names = [DATA.get(name, name) for name in shown.index.names]
    shown.columns.names = [DATA.get(name, name) for name in shown.columns.names]
    return shown


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
    >>> [cell_text(value) for value in (0.9123, 9.8e-5, 4172, True, float("nan"), None, math.inf)]
    ['0.912', '9.80×10⁻⁵', '4172', 'sí', '–', '–', '∞']
    """
    if isinstance(value, bool | np.bool_):
        return "sí" if value else "no"
    if value is None or str(value) in {"nan", "<NA>", "NaT"}:
        return "–"
    if not isinstance(value, float | np.floating):
        return str(value)
    number = float(value)
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    if number == 0 or 0.5 * 10.0**-digits <= abs(number) < 1e7:
        return f"{number:.{digits}f}"
    return scientific(number)
