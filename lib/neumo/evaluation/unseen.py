"""Puntuar cada imagen con un modelo que no ha visto a su paciente: pliegues por pacientes o por tramos de una sucesión."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FOLDS = 4


def patient_folds(y: "ArrayLike", groups: "ArrayLike", *, seed: int = 0) -> np.ndarray:
    """Reparte las imágenes en `FOLDS` pliegues al azar, por pacientes enteros y con las mismas partes de cada clase.

    Parameters
    ----------
    y, groups : array_like, shape (n,)
        Clase (0 o 1) y paciente de cada imagen.

    Returns
    -------
    (n,) int array

    Examples
    --------
    >>> patient_folds([0, 0, 1, 1], ["a", "a", "b", "c"]).tolist()[:2]
    [0, 0]
    """
    import pandas as pd

    label = pd.Series(np.asarray(y)).groupby(np.asarray(groups)).max()
    shuffled = label.sample(frac=1, random_state=seed)
    fold = shuffled.groupby(shuffled).cumcount() % FOLDS
    return fold.reindex(groups).to_numpy()


def block_folds(series: "ArrayLike", numbers: "ArrayLike", groups: "ArrayLike") -> np.ndarray:
    """Corta cada serie en `FOLDS` tramos de números seguidos, por pacientes enteros.

    Los vecinos en número comparten aparato, día y manos: al azar caerían a los dos lados del corte.

    Parameters
    ----------
    series, numbers, groups : array_like, shape (n,)
        Serie a la que pertenece cada imagen, su número en ella y su paciente.

    Returns
    -------
    (n,) int array

    Examples
    --------
    >>> block_folds(["a"] * 4, [7, 1, 9, 3], list("wxyz")).tolist()
    [2, 0, 3, 1]
    """
    import pandas as pd

    table = pd.DataFrame({"series": series, "number": numbers, "group": groups}).groupby("group").min()
    place = table.groupby("series")["number"].rank(method="first") - 1
    size = table.groupby("series")["number"].transform("size")
    return (place * FOLDS // size).astype(int).reindex(groups).to_numpy()


def unseen_scores(
    model: Any, features: np.ndarray, y: np.ndarray, *, train: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """Puntúa cada imagen con un clasificador de scikit-learn que no se ajustó con ella.

    Parameters
    ----------
    model : estimator
        Con `fit` y `decision_function`; se ajusta varias veces.
    features : (n, p) array
    y : (n,) int array
    train : (n,) bool array
        Las de entrenamiento: cada una se puntúa con las de los otros pliegues; las demás, con todas estas.
    folds : (train.sum(),) int array
        Pliegue de cada imagen de entrenamiento.

    Returns
    -------
    (n,) float array
        Cero donde las imágenes con que habría que ajustar son de una sola clase.
    """
    scores, places = np.zeros(len(y)), np.flatnonzero(train)
    parts = [(places[folds != fold], places[folds == fold]) for fold in np.unique(folds)]
    for fit, told in [*parts, (places, np.flatnonzero(~train))]:
        if len(told) and len(np.unique(y[fit])) == 2:
            scores[told] = model.fit(features[fit], y[fit]).decision_function(features[told])
    return scores
