"""La ficha del modelo (Mitchell et al. 2019): para qué sirve, con qué se hizo, cuánto acierta y dónde no usarlo."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neumo.data.split import test_origin
from neumo.evaluation.intervals import intervals, subgroup_table
from neumo.evaluation.predictions import by_seed, joint_logit, joint_probability
from neumo.words import HEADERS, METRICS, PARTITIONS, brackets

if TYPE_CHECKING:
    import pandas as pd

_NAMES = {"bacteria": "neumonía bacteriana", "virus": "neumonía vírica"}
_NAMES |= {"PNEUMONIA": "neumonía", "NORMAL": "normal"}
_MARKS = re.compile(r"[\\`*_{}\[\]<>&$|~^#]")


_TESTS = {
    "official": "Prueba oficial del conjunto.",
    "own": "Prueba que ya traían apartada las imágenes; no es la oficial del conjunto de Kaggle.",
    "drawn": "Prueba interna, de pacientes apartados.",
}
_CITED = {
    "ethics": "Procedencia y licencia de las imágenes: {citation}. Nadie consintió en particular este uso.",
    "label": "La etiqueta es la lectura de la imagen por médicos, no un cultivo ni la evolución del paciente.",
    "people": "Adultos y adolescentes",
    "recipe": "Los ingredientes de la red mejorada se encontraron mirando la prueba oficial de Kaggle: sobre ella, su cifra "
    "puede ser algo optimista.",
}
_UNKNOWN = {
    "ethics": "Procedencia y licencia de las imágenes: sin indicar. Quien las use debe saber de dónde salen y con qué permiso.",
    "label": "Quién puso la etiqueta, y mirando qué, no consta en las imágenes: conviene averiguarlo antes de creer una cifra.",
    "people": "Personas de otra edad o de otro lugar que las de estas imágenes",
    "recipe": "La receta de la red mejorada se eligió con las radiografías del conjunto de Kaggle; para estas puede no ser la mejor.",
}
_SYNTHETIC = {
    "ethics": "Las imágenes las dibuja un programa: no son de nadie, y no había a quién pedir permiso.",
    "label": "La etiqueta es exacta, porque quien dibuja la lesión sabe que está; ninguna etiqueta real lo es.",
    "people": "Personas",
    "recipe": "Los valores por omisión se eligieron con radiografías de este mismo programa: sobre ellas, las cifras son "
    "optimistas.",
}


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


def results(
    scores: "pd.DataFrame", described: "pd.DataFrame", *, threshold: float, resamples: int, seed: int
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Mide el modelo elegido en la prueba, en conjunto y por grupo, con intervalos por paciente.

    `described` es el artefacto `partition`, que lleva los subgrupos.

    Returns
    -------
    overall, subgroups : DataFrame
        De `neumo.evaluation.intervals`: `intervals` y `subgroup_table`.
    """
    y, prob = scores["y_true"], scores["probability"]
    options: dict[str, Any] = {"threshold": threshold, "resamples": resamples, "seed": seed}
    names = ("balanced_accuracy", "sensitivity", "specificity", "auc", "brier")
    overall = intervals(y, prob, metrics=names, groups=scores["group"], **options)
    return overall, subgroup_table(scores, prob, described, **options)


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
        name = METRICS.get(row[label]) or _NAMES.get(row[label]) or _MARKS.sub(r"\\\g<0>", row[label])
        name += f" ({METRICS[row['metric']]})" if label != "metric" else ""
        interval = brackets(row["low"], row["high"]) or "no definido"
        lines.append(f"| {name} | {row['value']:.3f} | {interval} | {row['patients']} |")
    return "\n".join(lines)


def partitions(table: "pd.DataFrame") -> str:
    """Cuenta imágenes y pacientes de cada partición, en Markdown."""
    lines = ["| | NORMAL | PNEUMONIA | pacientes |", "| --- | ---: | ---: | ---: |"]
    for key, name in PARTITIONS.items():
        part = table[table["partition"] == key]
        sick = int(part["y"].sum())
        lines.append(f"| {name} | {len(part) - sick} | {sick} | {part['group'].nunique()} |")
    return "\n".join(lines)


def factors(table: "pd.DataFrame") -> str:
    """Dice qué se sabe de cada imagen además de su clase, y qué no."""
    told = [HEADERS.get(name, name.removeprefix("by_")) for name in table if name.startswith("by_")]
    names = ["la clase", *told]
    if table["subtype"].isin(["bacteria", "virus"]).any():
        names.append("la etiología")
    known = ", ".join(names[:-1]) + " y " + names[-1] if len(names) > 1 else names[0]
    hidden = [word for word in ("edad", "sexo", "gravedad") if word not in told]
    known = _MARKS.sub(r"\\\g<0>", known)
    return (
        f"Lo que los datos dejan ver de cada imagen: {known}. No se conocen {', '.join(hidden)} ni aparato: "
        "no se puede saber si el acierto es igual para todos."
    )


def model_card(
    *,
    chosen: Mapping[str, Any],
    source: Mapping[str, Any],
    table: "pd.DataFrame",
    image_size: int,
    overall: "pd.DataFrame",
    subgroups: "pd.DataFrame",
    checks: str,
    external: str,
) -> str:
    """Escribe la ficha en Markdown, con el texto de `card.md`.

    Parameters
    ----------
    chosen, source : mapping
        Los artefactos de esos nombres; lo que en la descripción de las imágenes sería marcado (el nombre de una carpeta)
        se escapa.
    table : DataFrame
        El artefacto `partition`.
    image_size : int
        Lado de la entrada de la red, en píxeles.
    overall, subgroups : DataFrame
        De `results`.
    checks : str
        De `neumo.studies.shortcuts.verdicts`.
    external : str
        De `neumo.studies.hospitals.card_text`.
    """
    number, data = len(chosen["files"][chosen["model"]]), _MARKS.sub(r"\\\g<0>", source["description"])
    synthetic = " Son imágenes **sintéticas**: estas cifras no dicen nada de la neumonía real."
    about = {"synthetic": _SYNTHETIC, "cited": _CITED, "unknown": _UNKNOWN}[images_origin(source)]
    unit = ("por imagen: no se conoce el paciente", "remuestreando pacientes")
    text = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    return text.format(
        chosen=chosen,
        networks="una sola red" if number == 1 else f"conjunto de {number} redes (media de sus logits)",
        image_size=image_size,
        seeds=", ".join(map(str, chosen["seeds"])),
        temperature=chosen["temperature"].get(chosen["model"], 1),
        data=f"{data[:1].upper()}{data[1:]}." + (synthetic if source["synthetic"] else ""),
        factors=factors(table),
        partitions=partitions(table),
        test_note=_TESTS[test_origin(table, official=source["official_test"])],
        unit=unit[bool(table["patient_known"].any())],
        metrics=rows(overall, "metric"),
        subgroups=rows(subgroups, "subgroup"),
        checks=checks,
        external=external,
        **{name: words.format(citation=source["citation"]) for name, words in about.items()},
    )


def images_origin(source: Mapping[str, Any]) -> str:
    """De dónde vienen las imágenes: `synthetic`, `cited` (un conjunto publicado que se reconoce) o `unknown`."""
    return "synthetic" if source["synthetic"] else "cited" if source["citation"] else "unknown"


def claim_table(
    items: Iterable[Mapping[str, Any]], *, origin: str, described: bool = False, external: bool = False
) -> str:
    """Escribe la lista CLAIM en Markdown: el capítulo que cumple cada punto, o el motivo de que no se cumpla.

    Con imágenes sintéticas o de procedencia desconocida (`origin`: `synthetic`, `unknown` o `cited`), los puntos que hablan de
    quienes hicieron el conjunto dicen lo suyo; con una tabla que da sexo, edad u otros grupos, el de las características de
    los pacientes se cumple (`described`); con un conjunto externo, el de la prueba externa (`external`).
    """
    lines = ["| n.º | apartado | punto | dónde, o por qué no |", "| ---: | --- | --- | --- |"]
    for item in items:
        if origin in item:
            item = {**item, "chapter": None, "note": item[origin]}
        if described and "described" in item:
            item = {**item, "chapter": "02", "note": item["described"]}
        if external and "external" in item:
            item = {**item, "chapter": "11", "note": item["external"]}
        link = f"[](#cap-{item['chapter']})" if item["chapter"] else "No:"
        where = f"{link}{': ' if item['chapter'] and item['note'] else ' '}{item['note']}".strip()
        lines.append(f"| {item['item']} | {item['section']} | {item['text']} | {where} |")
    return "\n".join(lines)
