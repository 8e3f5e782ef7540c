"""La adquisición: cuánto de la clase se adivina por el marco de la placa, y qué sabe la red además de eso."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from neumo.cache import cached_tables, digest
from neumo.data.store import distinct
from neumo.evaluation.intervals import intervals, wilson
from neumo.evaluation.metrics import probability
from neumo.evaluation.unseen import block_folds, patient_folds, unseen_scores
from neumo.studies.headers import FALLS, STRONG
from neumo.words import CLASSES, PARTITIONS, brackets, with_interval

if TYPE_CHECKING:
    import pandas as pd

    from neumo.data.store import ImageSet
    from neumo.run import Run

SIDE, RING, STRATA = 32, 3, 5
"""Lado de la miniatura, píxeles de su marco por lado, y en cuántas partes iguales se ordena su puntuación."""


def ring(pixels: np.ndarray) -> np.ndarray:
    """Reduce las imágenes a miniaturas y devuelve los píxeles de su marco, donde no hay pulmón.

    Parameters
    ----------
    pixels : (n, lado, lado) uint8 array

    Returns
    -------
    (n, 348) float array
    """
    from PIL import Image

    small = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BOX)) for one in pixels]
    frame = np.ones((SIDE, SIDE), dtype=bool)
    frame[RING:-RING, RING:-RING] = False
    return np.stack(small)[:, frame].astype(float)


def sequence(table: "pd.DataFrame") -> "pd.DataFrame | None":
    """Lee el número de cada archivo y la serie a la que pertenece, si los nombres los llevan.

    El número es el último de la clave de paciente (o del nombre, si el paciente no se conoce), y la serie, lo demás:
    `person7_virus` es el 7 de `person#_virus`.

    Parameters
    ----------
    table : DataFrame
        Con `path`, `patient` y `patient_known`.

    Returns
    -------
    DataFrame or None
        `series` y `number`, con el índice de `table`; `None` si menos de nueve de cada diez imágenes están en series de
        veinte o más.

    Examples
    --------
    >>> import pandas as pd
    >>> names = [f"IM-{i:04d}" for i in range(40)]
    >>> sequence(pd.DataFrame({"path": names, "patient": names, "patient_known": True}))["number"].max()
    np.int64(39)
    """
    import pandas as pd

    stems = table["path"].map(lambda path: PurePosixPath(path).stem)
    key = table["patient"].astype(str).where(table["patient_known"].astype(bool), stems)
    found = pd.DataFrame({"series": key.str.replace(r"\d+(?=\D*$)", "#", regex=True)})
    found["number"] = pd.to_numeric(key.str.extract(r"(\d{1,15})(?=\D*$)")[0], errors="coerce")
    sizes = found.groupby("series")["number"].transform("count")
    return found.astype({"number": int}) if (sizes >= 20).mean() >= 0.9 and found["number"].notna().all() else None


def _whole(image_set: Callable[..., "ImageSet"], **options: int) -> "ImageSet":
    """Las imágenes de todas las particiones, juntas."""
    import pandas as pd

    parts = [image_set(name, **options) for name in PARTITIONS]
    rows = np.concatenate([part.rows for part in parts])
    return replace(parts[0], table=pd.concat([part.table for part in parts], ignore_index=True), rows=rows)


def frame_scores(run: "Run", image_set: Callable[..., "ImageSet"], *, seed: int = 0) -> "pd.DataFrame":
    """Puntúa cada imagen solo por su marco, con una regresión logística que no ha visto a su paciente.

    Parameters
    ----------
    run : Run
        De ella, la caché.
    image_set : callable
        De `neumo.data.store.image_sets`.

    Returns
    -------
    DataFrame
        La tabla de las imágenes con `score` (logit de PNEUMONIA, con las dos clases pesando lo mismo) y `block`: igual en
        validación y prueba, y en entrenamiento fuera del tramo de números propio, no solo del paciente (NaN si los
        nombres no llevan números); además, `series` y `number`.
    """
    import pandas as pd

    images = _whole(image_set)
    table, numbers = images.table, sequence(images.table)

    def measure() -> "dict[str, pd.DataFrame]":
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        train, y, groups = (table["partition"] == "train").to_numpy(), images.labels.astype(int), table["group"]
        logistic = LogisticRegression(class_weight="balanced", C=0.1, solver="newton-cholesky")
        model, seen = make_pipeline(StandardScaler(), logistic), ring(images.pixels())
        folds = {"score": patient_folds(y[train], groups[train], seed=seed)}
        if numbers is not None:
            folds["block"] = block_folds(numbers.loc[train, "series"], numbers.loc[train, "number"], groups[train])
        scores = {name: unseen_scores(model, seen, y, train=train, folds=fold) for name, fold in folds.items()}
        return {"scores": pd.DataFrame(scores).reindex(columns=["score", "block"])}

    split = digest([table["path"].tolist(), table["partition"].tolist(), table["group"].tolist()])
    key = {"images": distinct(table)[1], "side": images.image_size, "split": split, "seed": seed}
    scores = cached_tables(run.cache, "frame", key, measure, code=__name__)["scores"]
    return pd.concat([table, scores, *([] if numbers is None else [numbers])], axis=1)


def frame_table(framed: "pd.DataFrame", *, resamples: int = 1000, seed: int = 0) -> "pd.DataFrame":
    """Mide cuánto acierta el marco solo, en entrenamiento y en la prueba, con intervalos por paciente.

    Parameters
    ----------
    framed : DataFrame
        De `frame_scores`.

    Returns
    -------
    DataFrame
        `where`, `auc` con `low` y `high`, `sensitivity` y `specificity` (a partes iguales: logit 0).
    """
    import pandas as pd

    train, test = framed[framed["partition"] == "train"], framed[framed["partition"] == "test"]
    parts = {"entrenamiento, otros pacientes": (train, "score"), "entrenamiento, otros números": (train, "block")}
    parts["prueba"] = (test, "score")
    rows = []
    for where, (part, column) in parts.items():
        if part[column].notna().all():
            names = ["auc", "sensitivity", "specificity"]
            options = {"groups": part["group"], "metrics": names, "resamples": resamples, "seed": seed}
            found = intervals(part["y"], probability(part[column]), **options).set_index("metric")
            rows.append([where, *found.loc["auc", ["value", "low", "high"]], *found.loc[names[1:], "value"]])
    return pd.DataFrame(rows, columns=["where", "auc", "low", "high", "sensitivity", "specificity"])


def strata(framed: "pd.DataFrame", logits: "pd.DataFrame") -> "pd.DataFrame":
    """Mide la red dentro de los estratos de la puntuación del marco, donde el marco ya no dice casi nada.

    Parameters
    ----------
    framed : DataFrame
        De `frame_scores`.
    logits : DataFrame
        `path` y `logit` de la red, en validación y prueba.

    Returns
    -------
    DataFrame
        `partition`, `stratum` (1, el marco más propio de NORMAL), `NORMAL` y `PNEUMONIA` (imágenes), `frame` y `network`
        (AUC; NaN si falta una clase).
    """
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    rows, joined = [], framed.merge(logits[["path", "logit"]], on="path")
    for partition in ("val", "test"):
        part = joined[joined["partition"] == partition]
        stratum = (part["score"].rank(method="first") - 1) * STRATA // len(part) + 1
        for place, one in part.groupby(stratum.astype(int)):
            counts = np.bincount(one["y"], minlength=2)
            both = [roc_auc_score(one["y"], one[name]) if counts.all() else np.nan for name in ("score", "logit")]
            rows.append([partition, place, *counts, *both])
    return pd.DataFrame(rows, columns=["partition", "stratum", *CLASSES, "frame", "network"])


def within(table: "pd.DataFrame", column: str) -> float:
    """AUC dentro de los estratos: la media de los suyos, cada uno con el peso de sus parejas de una y otra clase.

    Es la probabilidad de ordenar bien una neumonía y una normal que el marco deja en el mismo estrato. NaN si no hay ninguna.
    """
    pairs = (table[CLASSES[0]] * table[CLASSES[1]]).to_numpy(float)
    known = pairs > 0
    return float(np.average(table[column][known], weights=pairs[known])) if known.any() else np.nan


def disagreement(framed: "pd.DataFrame", scores: "pd.DataFrame", *, threshold: float) -> "pd.DataFrame":
    """Mide la red donde el marco apunta a la otra clase, y donde apunta a la suya.

    Parameters
    ----------
    framed : DataFrame
        De `frame_scores`.
    scores : DataFrame
        `path` y `probability`, de la prueba.

    Returns
    -------
    DataFrame
        Por clase y según el marco: `label`, `agrees`, `images`, `patients`, `correct` (parte que la red acierta) y su
        intervalo de Wilson por pacientes, `low` y `high` (NaN si no hay ninguna).
    """
    import pandas as pd

    part, rows = framed.merge(scores[["path", "probability"]], on="path"), []
    right = (part["probability"] >= threshold) == (part["y"] == 1)
    agrees = (part["score"] >= 0) == (part["y"] == 1)
    for y, label in enumerate(CLASSES):
        for told in (True, False):
            mask = (part["y"] == y) & (agrees == told)
            patients = part.loc[mask, "group"].nunique()
            share = right[mask].mean() if patients else np.nan
            bounds = wilson(share, patients) if patients else (np.nan, np.nan)
            rows.append([label, told, int(mask.sum()), patients, share, *bounds])
    columns = ["label", "agrees", "images", "patients", "correct", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def extremes(framed: "pd.DataFrame", *, each: int = 6) -> "pd.DataFrame":
    """Escoge las placas que enseñan qué ve el marco: una por paciente, con `row` diciendo por qué está.

    Returns
    -------
    DataFrame
        Primero las de entrenamiento más propias de PNEUMONIA y de NORMAL según el marco; después, las NORMAL de la prueba que
        más parecen de PNEUMONIA.
    """
    import pandas as pd

    train, test = framed[framed["partition"] == "train"], framed[framed["partition"] == "test"]
    fooled = test[test["y"] == 0].sort_values("score", ascending=False)
    ordered = train.sort_values("score", ascending=False)
    rows = {"alto": ordered, "bajo": ordered[::-1], "prueba": fooled}
    return pd.concat([part.drop_duplicates("group").head(each).assign(row=name) for name, part in rows.items()])


def plates(image_set: Callable[..., "ImageSet"], paths: Sequence[str], *, image_size: int) -> np.ndarray:
    """Devuelve las imágenes de unas rutas, en su orden: uint8 de forma (rutas, lado, lado)."""
    import pandas as pd

    images = _whole(image_set, image_size=image_size)
    return np.asarray(images.images[images.rows[pd.Index(images.table["path"]).get_indexer(paths)]])


def frame_verdict(measured: "pd.DataFrame", layers: "pd.DataFrame", apart: "pd.DataFrame") -> str:
    """Dice en una lista de Markdown si el marco delata la clase, si en la prueba vale lo mismo y qué sabe la red además.

    Parameters
    ----------
    measured : DataFrame
        De `frame_table`.
    layers : DataFrame
        De `strata`.
    apart : DataFrame
        De `disagreement`.
    """
    train, test = measured.iloc[-2], measured.iloc[-1]
    told = f"**El marco solo**, sin un píxel de pulmón: AUC de {with_interval(train['auc'], train['low'], train['high'])} en "
    told += f"entrenamiento y de {with_interval(test['auc'], test['low'], test['high'])} en la prueba; "
    if train["auc"] < STRONG:
        return f"- {told}no hay en el borde de las placas una pista de adquisición que delate la clase."
    if test["auc"] >= train["auc"] - FALLS:
        told += "la misma pista está en las dos partes: la prueba no puede delatar a una red que la siga."
    elif test["high"] >= train["auc"]:
        told += "en la prueba la pista parece más débil, pero con tan pocas placas no se distingue."
    else:
        told += (
            "una pista fuerte donde se aprende y mucho más débil donde se examina. **Es la firma de un conjunto que no generaliza**: "
            "un aparato, o una manera de encuadrar, que en entrenamiento va con una clase."
        )
    lines = [told]
    for partition, part in layers.groupby("partition", sort=False):
        lines.append(
            f"Entre placas del mismo estrato de {PARTITIONS[partition]}, el AUC de la red es de {within(part, 'network'):.3f}; el del "
            f"marco, de {within(part, 'frame'):.3f}. Lo primero es lo que la red sabe además del marco."
        )
    for label, part in apart.groupby("label", sort=False):
        with_it, against = part[part["agrees"]].iloc[0], part[~part["agrees"]].iloc[0]
        if with_it["images"] and against["images"]:
            apart_text = "los intervalos no se tocan: la red sigue al marco, o a algo que va con él"
            if against["high"] >= with_it["low"]:
                apart_text = "los intervalos se solapan: no se demuestra que la red siga al marco"
            lines.append(
                f"De las {label} de la prueba, la red acierta el {_share(with_it)} donde el marco apunta a su clase y el "
                f"{_share(against)} donde apunta a la otra; {apart_text}."
            )
    return "\n".join(f"- {line}" for line in lines)


def _share(row: "pd.Series") -> str:
    return f"{row['correct']:.0%} {brackets(row['low'], row['high'], digits=2)} (de {row['images']})".replace("%", " %")
