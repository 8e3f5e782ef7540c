"""La ficha del modelo (Mitchell et al. 2019): para qué sirve, con qué se hizo, cuánto acierta y dónde no usarlo."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.evaluation.intervals import intervals, subgroup_metrics
from neumo.evaluation.predictions import by_seed, joint_logit, joint_probability
from neumo.studies.shortcuts import SHORTCUTS, TOGETHER
from neumo.words import METRICS

if TYPE_CHECKING:
    import pandas as pd


_NAMES = {
    "bacteria": "neumonía bacteriana",
    "virus": "neumonía vírica",
    "PNEUMONIA": "neumonía",
    "NORMAL": "normal",
}
_SYNTHETIC = " Son imágenes **sintéticas**: estas cifras no dicen nada de la neumonía real."
_CARD = """\
> **No es un producto sanitario.** No está autorizado ni evaluado para diagnosticar, descartar ni priorizar a nadie.

### Detalles del modelo

Red neuronal convolucional «{model}», {networks}; entrada de {image_size} × {image_size} píxeles en gris, salida la
probabilidad de `PNEUMONIA`. Se entrenó con el código de este informe, con las semillas {seeds}. Se responde
`PNEUMONIA` a partir de una probabilidad de {threshold:.3g}, tras dividir el logit por una temperatura de
{temperature:.3g}. Licencia del código: MIT.

### Uso previsto

Docencia e investigación: aprender cómo se construye y se juzga un clasificador de radiografías, y comparar métodos sobre
el mismo conjunto. Lo usan estudiantes e investigadores, con el informe a la vista.

### Fuera de alcance

- Cualquier decisión sobre una persona: diagnóstico, cribado, prioridad o alta.
- Adultos y adolescentes, otras proyecciones, otros hospitales o aparatos, fotografías de placas, imágenes recortadas.
- Otras enfermedades: una radiografía sin neumonía, pero con otra lesión, no es «normal», y la red no conoce esa diferencia.
- Distinguir la neumonía bacteriana de la vírica: la red no lo intenta.

### Factores

Los grupos que los datos dejan ver son la clase y la etiología. No se conocen edad, sexo, gravedad ni aparato de cada
imagen, así que no se puede saber si el acierto es igual para todos.

### Datos

{data}

{partitions}

### Métricas en la prueba

{test_note} Intervalos del 95 %, {unit}.

{metrics}

### Métricas por grupo

{subgroups}

### Explicaciones y atajos

{checks}

### Consideraciones éticas

Procedencia y licencia de las imágenes: {citation}. Nadie consintió en particular este uso. Un falso
negativo podría retrasar un tratamiento y un falso positivo llevar a antibióticos innecesarios: de ahí que no se deba usar
con personas.

### Límites y advertencias

- La etiqueta es la lectura de la imagen por médicos, no un cultivo ni la evolución del paciente.
- La proporción de neumonías de estos datos no es la de una consulta: los valores predictivos no se trasladan.
- El acierto baja cuando cambian exposición, contraste o nitidez; no se ha probado en otro hospital.
- La probabilidad solo está calibrada para imágenes como las de validación.
- Los ingredientes de la red mejorada se encontraron mirando la prueba oficial de Kaggle: sobre ella, su cifra puede ser
  algo optimista.
"""


def chosen_scores(predictions: "pd.DataFrame", chosen: Mapping[str, Any]) -> "pd.DataFrame":
    """Reúne las semillas del modelo elegido como lo hace `predict`: logit medio, temperatura y sigmoide.

    Parameters
    ----------
    predictions : DataFrame
        `model`, `seed`, `path`, `group`, `subtype`, `y_true` y `logit`, de la prueba.
    chosen : mapping
        El artefacto `chosen`.

    Returns
    -------
    DataFrame
        Una fila por imagen: `path`, `group`, `subtype`, `y_true`, `logit` y `probability`.
    """
    images, logits = by_seed(predictions, chosen["model"])
    table = images[["path", "group", "subtype", "y_true"]]
    temperature = chosen["temperature"].get(chosen["model"], 1)
    scaled = joint_probability(logits, temperature=temperature)
    return table.assign(logit=joint_logit(logits) / temperature, probability=scaled)


def results(scores: "pd.DataFrame", *, threshold: float, resamples: int, seed: int) -> tuple:
    """Mide el modelo elegido en la prueba, en conjunto y por grupo, con intervalos por paciente.

    Returns
    -------
    overall, subgroups : DataFrame
        De `neumo.evaluation.intervals` y `subgroup_metrics`.
    """
    y, prob = scores["y_true"], scores["probability"]
    options = {"groups": scores["group"], "threshold": threshold, "resamples": resamples, "seed": seed}
    names = ("balanced_accuracy", "sensitivity", "specificity", "auc", "brier")
    kinds = [
        kind or ("PNEUMONIA" if label else "NORMAL") for kind, label in zip(scores["subtype"], y, strict=True)
    ]
    return intervals(y, prob, metrics=names, **options), subgroup_metrics(y, prob, kinds, **options)


def rows(table: "pd.DataFrame", label: str) -> str:
    """Escribe una tabla de intervalos en Markdown; `label` es la columna que nombra cada fila.

    Examples
    --------
    >>> import pandas as pd
    >>> one = pd.DataFrame([{"metric": "auc", "value": 0.9, "low": 0.8, "high": 1.0, "n": 50, "patients": 40}])
    >>> print(rows(one, "metric").splitlines()[-1])
    | AUC | 0.900 | [0.800, 1.000] | 40 |
    """
    lines = ["| | valor | intervalo | pacientes |", "| --- | ---: | --- | ---: |"]
    for row in table.to_dict("records"):
        name = METRICS.get(row[label], _NAMES.get(row[label], row[label]))
        name += f" ({METRICS[row['metric']]})" if label != "metric" else ""
        interval = f"[{row['low']:.3f}, {row['high']:.3f}]" if np.isfinite(row["low"]) else "no definido"
        lines.append(f"| {name} | {row['value']:.3f} | {interval} | {row['patients']} |")
    return "\n".join(lines)


def partitions(table: "pd.DataFrame") -> str:
    """Cuenta imágenes y pacientes de cada partición, en Markdown."""
    names = {"train": "entrenamiento", "val": "validación", "test": "prueba"}
    lines = ["| | NORMAL | PNEUMONIA | pacientes |", "| --- | ---: | ---: | ---: |"]
    for key, name in names.items():
        part = table[table["partition"] == key]
        sick = int(part["y"].sum())
        lines.append(f"| {name} | {len(part) - sick} | {sick} | {part['group'].nunique()} |")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def model_card(
    *,
    chosen: Mapping[str, Any],
    source: Mapping[str, Any],
    table: "pd.DataFrame",
    image_size: int,
    overall: "pd.DataFrame",
    subgroups: "pd.DataFrame",
    checks: str,
) -> str:
    """Escribe la ficha en Markdown.

    Parameters
    ----------
    chosen, source : mapping
        Los artefactos de esos nombres.
    table : DataFrame
        El artefacto `partition`.
    image_size : int
        Lado de la entrada de la red, en píxeles.
    overall, subgroups : DataFrame
        De `results`.
    checks : str
        De `neumo.explain.verdicts`.
    """
    model, number = chosen["model"], len(chosen["files"][chosen["model"]])
    official = (
        "Prueba oficial del conjunto."
        if source["official_test"]
        else "Prueba interna, de pacientes apartados."
    )
    return _CARD.format(
        model=model,
        networks="una sola red" if number == 1 else f"conjunto de {number} redes (media de sus logits)",
        image_size=image_size,
        seeds=", ".join(map(str, chosen["seeds"])),
        threshold=chosen["threshold"],
        temperature=chosen["temperature"].get(model, 1),
        data=_sentence(source["description"]) + (_SYNTHETIC if source["synthetic"] else ""),
        partitions=partitions(table),
        test_note=official,
        unit="remuestreando pacientes"
        if table["patient_known"].any()
        else "por imagen: no se conoce el paciente",
        metrics=rows(overall, "metric"),
        subgroups=rows(subgroups, "subgroup"),
        checks=checks,
        citation=source["citation"] or "sin indicar",
    )


def claim_table(items: Iterable[Mapping[str, Any]]) -> str:
    """Escribe la lista CLAIM en Markdown: el capítulo que cumple cada punto, o el motivo de que no se cumpla."""
    lines = ["| n.º | apartado | punto | dónde, o por qué no |", "| ---: | --- | --- | --- |"]
    for item in items:
        link = f"[](#cap-{item['chapter']})" if item["chapter"] else "No:"
        where = f"{link}{': ' if item['chapter'] and item['note'] else ' '}{item['note']}".strip()
        lines.append(f"| {item['item']} | {item['section']} | {item['text']} | {where} |")
    return "\n".join(lines)


def verdicts(
    randomised: "pd.DataFrame", localised: "pd.DataFrame | None", shortcuts: "pd.DataFrame", *, auc: float
) -> str:
    """Dice en una lista de Markdown qué dieron las comprobaciones.

    Parameters
    ----------
    randomised, localised, shortcuts : DataFrame
        De `randomisation_summary`, `localisation_summary` (o `None`) y `shortcut_table`.
    auc : float
        El de la red elegida en la prueba.
    """
    lines = []
    for row in randomised.to_dict("records"):
        end = "los mapas dependen" if row["passes"] else "no se demuestra que los mapas dependan"
        lines.append(
            f"**{row['model']}**: con todos los pesos barajados, la correlación absoluta con los mapas de la red entrenada es de "
            f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]; {end} de lo aprendido."
        )
    for row in [] if localised is None else localised.to_dict("records"):
        end = "más que el azar" if row["passes"] else "no más de lo que daría el azar"
        lines.append(
            f"**{row['model']}**, lesiones de tipo `{row['subtype']}`: dentro cae el {row['share']:.0%} del calor, frente "
            f"al {row['share_swapped']:.0%} de los mapas de otras imágenes; {end}.".replace("%", " %")
        )
    test = shortcuts[shortcuts["partition"] == "test"].set_index("feature")
    single = test.drop(TOGETHER)["value"]
    lines.append(
        f"El atajo más fuerte, «{SHORTCUTS[single.idxmax()]}», separa las clases de la prueba con un AUC de "
        f"{single.max():.3f}; todos juntos, con {test.loc[TOGETHER, 'value']:.3f}; la red, con {auc:.3f}."
    )
    return "\n".join(f"- {line}" for line in lines)
