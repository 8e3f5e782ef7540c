"""Atajos: cuánto delata la clase lo que no es anatomía."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.evaluation.unseen import patient_folds, unseen_scores
from neumo.studies.headers import HEADERS, LOSSLESS, headers
from neumo.words import CLASSES, with_interval

if TYPE_CHECKING:
    import pandas as pd

    from neumo.data.store import ImageSet
    from neumo.run import Run

SHORTCUTS = {
    "size": "tamaño del archivo",
    **HEADERS,
    "mean": "gris medio",
    "border": "gris del borde",
    "sharpness": "nitidez",
}
TOGETHER = "todos juntos"


def shortcut_features(inspection: "pd.DataFrame", pixels: np.ndarray) -> "pd.DataFrame":
    """Mide en cada imagen lo que no es anatomía y aun así podría delatar la clase.

    Parameters
    ----------
    inspection : DataFrame
        De `neumo.studies.headers.headers`: las columnas de la cabecera, con `path`, `size` (bytes) y `mean` (nivel de gris).
    pixels : (n, lado, lado) uint8 array
        Las mismas imágenes, ya decodificadas.

    Returns
    -------
    DataFrame
        Las columnas de `SHORTCUTS` que no valgan lo mismo en todas las imágenes, con `path` por índice; `border` es el gris medio del marco (un dieciseisavo por
        lado) y `sharpness`, la desviación del laplaciano entre la de la imagen.
    """
    import pandas as pd
    from scipy.ndimage import laplace

    edge = max(1, pixels.shape[1] // 16)
    frame = np.ones(pixels.shape[1:], dtype=bool)
    frame[edge:-edge, edge:-edge] = False
    floats = (image.astype(np.float32) for image in pixels)
    seen = [(image[frame].mean(), laplace(image).std() / max(image.std(), 1e-6)) for image in floats]
    border, sharpness = np.array(seen, dtype=float).reshape(-1, 2).T
    table = inspection.fillna({"quality": LOSSLESS}).assign(border=border, sharpness=sharpness)
    found = table.set_index("path")[list(SHORTCUTS)].astype(float)
    return pd.DataFrame(found.loc[:, found.nunique() > 1])


def shortcut_check(
    run: "Run", image_set: Callable[..., "ImageSet"], **options: Any
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Mide los atajos de todas las particiones: lo que devuelven `shortcut_features` y `shortcut_table`.

    Parameters
    ----------
    run : Run
        De ella, la carpeta de las imágenes y la caché.
    image_set : callable
        De `neumo.data.store.image_sets`.
    **options
        `resamples` y `seed` de `shortcut_table`.
    """
    import pandas as pd

    parts = [image_set(name) for name in ("train", "val", "test")]
    table = headers(pd.concat([part.table for part in parts]), run.images_folder, cache=run.cache)
    features = shortcut_features(table, np.concatenate([part.pixels() for part in parts]))
    return features, shortcut_table(features, table, **options)


def shortcut_table(
    features: "pd.DataFrame", table: "pd.DataFrame", *, resamples: int = 1000, seed: int = 0
) -> "pd.DataFrame":
    """Mide cuánto predice la clase cada atajo solo, y todos juntos con una regresión logística.

    El sentido de cada atajo (más es PNEUMONIA, o menos) y la regresión se aprenden en entrenamiento; el AUC, con su
    intervalo por pacientes, es de entrenamiento (el de la regresión, fuera de los pacientes con que se ajusta) y de
    prueba: una pista fuerte en uno y perdida en la otra es la firma de un conjunto que no generaliza.

    Parameters
    ----------
    features : DataFrame
        De `shortcut_features`.
    table : DataFrame
        Mismas filas: `y`, `group` y `partition`.

    Returns
    -------
    DataFrame
        `feature`, `partition`, `direction` (1 o -1), `value`, `low` y `high` (AUC).
    """
    import pandas as pd

    from neumo.evaluation.intervals import intervals

    rows = []
    for name, direction, scores in _shortcut_scores(features, table):
        for partition in ("train", "test"):
            mask = (table["partition"] == partition).to_numpy()
            known = {"groups": table.loc[mask, "group"], "metrics": ["auc"], "resamples": resamples, "seed": seed}
            found = intervals(table.loc[mask, "y"], _ranks(scores[mask]), **known).iloc[0]
            rows.append([name, partition, direction, found["value"], found["low"], found["high"]])
    return pd.DataFrame(rows, columns=["feature", "partition", "direction", "value", "low", "high"])


def _shortcut_scores(features: "pd.DataFrame", table: "pd.DataFrame") -> list[tuple[str, int, np.ndarray]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer

    train, y = (table["partition"] == "train").to_numpy(), table["y"].to_numpy()
    found = []
    for name in features.columns:
        values = features[name].to_numpy(float)
        direction = 1 if roc_auc_score(y[train], values[train]) >= 0.5 else -1
        found.append((name, direction, direction * values))
    uniform = QuantileTransformer(n_quantiles=min(100, int(train.sum()) // 2), random_state=0)
    together = make_pipeline(uniform, LogisticRegression(class_weight="balanced", max_iter=1000))
    folds = patient_folds(y[train], table.loc[train, "group"])
    return [*found, (TOGETHER, 1, unseen_scores(together, features.to_numpy(float), y, train=train, folds=folds))]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Lleva valores cualesquiera a [0, 1] sin cambiar su orden ni sus empates."""
    from scipy.stats import rankdata

    return (rankdata(values) - 0.5) / len(values)


def shortcut_use(features: "pd.DataFrame", predictions: "pd.DataFrame") -> "pd.DataFrame":
    """Mide si la red sigue un atajo: correlación de rangos entre él y el logit, dentro de cada clase.

    Dentro de una clase la enfermedad ya no los une: lo que quede es la red mirando el atajo, o algo que va con él.

    Parameters
    ----------
    features : DataFrame
        De `shortcut_features`, en las filas de `predictions`.
    predictions : DataFrame
        `y_true` y `logit`, una fila por imagen.

    Returns
    -------
    DataFrame
        `feature`, `NORMAL` y `PNEUMONIA` (correlaciones en [-1, 1]).
    """
    import pandas as pd

    y = predictions["y_true"].to_numpy()
    table = features.reset_index(drop=True).assign(logit=predictions["logit"].to_numpy())
    columns = {
        name: table[y == label].corr(method="spearman")["logit"].drop("logit") for label, name in enumerate(CLASSES)
    }
    return pd.DataFrame(columns).rename_axis("feature").reset_index()


def lesion_lead(localised: "pd.DataFrame | None", *, model: str) -> str:
    """Dice de entrada si el calor de la red elegida cae en la lesión, por tipos de lesión.

    Parameters
    ----------
    localised : DataFrame or None
        De `neumo.studies.maps.localisation_summary`; `None` si no se sabe dónde está la lesión.
    model : str
        La red elegida.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"model": "mejorado", "subtype": ["virus", "bacteria"], "passes": [False, True]})
    >>> lesion_lead(table, model="mejorado")
    'De la red elegida, «mejorado», se demuestra que mira la lesión en las de tipo bacteria; en las de tipo virus, no.'
    """
    if localised is None:
        return "En estas radiografías no se sabe dónde está la lesión: de ninguna red se demuestra aquí que la mire."
    own = localised[localised["model"] == model]
    yes, no = (" y ".join(own.loc[own["passes"] == passes, "subtype"]) for passes in (True, False))
    told = f"se demuestra que mira la lesión en las de tipo {yes}" if yes else "no se demuestra que mire la lesión"
    rest = f"; en las de tipo {no}, no" if yes and no else ""
    return f"De la red elegida, «{model}», {told}{rest}."


def verdicts(
    randomised: "pd.DataFrame", localised: "pd.DataFrame | None", shortcuts: "pd.DataFrame", *, auc: float
) -> str:
    """Dice en una lista de Markdown qué dieron las comprobaciones de los mapas y los atajos.

    Parameters
    ----------
    randomised, localised : DataFrame
        De `randomisation_summary` y `localisation_summary` (o `None`), de `neumo.studies.maps`.
    shortcuts : DataFrame
        De `shortcut_table`.
    auc : float
        El de la red elegida en la prueba.
    """
    lines = []
    for row in randomised.to_dict("records"):
        end = "los mapas dependen" if row["passes"] else "no se demuestra que los mapas dependan"
        lines.append(
            f"**{row['model']}**: con todos los pesos barajados, la correlación absoluta con los mapas de la red entrenada es de "
            f"{with_interval(row['value'], row['low'], row['high'], digits=2)}; {end} de lo aprendido."
        )
    for row in [] if localised is None else localised.to_dict("records"):
        end = "más que el azar" if row["passes"] else "no más de lo que daría el azar"
        lines.append(
            f"**{row['model']}**, lesiones de tipo `{row['subtype']}`: dentro cae el {row['share']:.0%} del calor, frente "
            f"al {row['share_swapped']:.0%} de los mapas de otras imágenes; {end}.".replace("%", " %")
        )
    test = shortcuts[shortcuts["partition"] == "test"].set_index("feature")["value"]
    single = test.drop(TOGETHER)
    lines.append(
        f"El atajo más fuerte, «{SHORTCUTS[single.idxmax()]}», separa las clases de la prueba con un AUC de "
        f"{single.max():.3f}; todos juntos, con {test[TOGETHER]:.3f}; la red, con {auc:.3f}."
    )
    return "\n".join(f"- {line}" for line in lines)
