"""El cambio de lote del capítulo 13: entrenar con las normales de un aparato y medir con las de otro."""

from typing import TYPE_CHECKING

import numpy as np

from neumo.data.split import draw
from neumo.errors import NeumoError

if TYPE_CHECKING:
    import pandas as pd

LOTS = ("IM", "NORMAL2")
"""Los lotes de adquisición en que vienen las radiografías normales, por el comienzo del nombre del archivo."""


def lot_shift(table: "pd.DataFrame", *, direction: str, seed: int = 0) -> "pd.DataFrame":
    """Reparte lo que no es prueba imitando el cambio de equipo: se entrena con un lote de normales y se mide con el otro.

    Entrenan los NORMAL del lote `direction` y el 80% de los PNEUMONIA; miden los NORMAL del otro lote y el resto. Por
    pacientes enteros, y con las mismas normales (salvo lo que obligue un paciente) de cada lote.

    Parameters
    ----------
    table : DataFrame
        Con `y`, `group`, `lot` y `partition`; la partición `test` no interviene.
    direction : str
        Lote con que se entrena: "IM" (la dirección difícil) o "NORMAL2".
    seed : int
        Semilla del sorteo.

    Returns
    -------
    DataFrame
        La tabla con `partition` nueva: train, val (el otro lote) o vacío.

    Raises
    ------
    NeumoError
        Si las normales no vienen en los dos lotes.
    """
    pool = table["partition"].isin(["train", "val"])
    lots = {lot: pool & (table["y"] == 0) & (table["lot"] == lot) for lot in LOTS}
    count = min(int(mask.sum()) for mask in lots.values())
    if direction not in LOTS or count < 2:
        found = ", ".join(f"{mask.sum()} de {lot}" for lot, mask in lots.items())
        raise NeumoError(
            f"No se puede entrenar con el lote «{direction}» y medir con el otro: hay {found}. Hacen falta normales "
            "de los lotes IM y NORMAL2, como en el conjunto de Kaggle."
        )
    rng = np.random.default_rng(seed)
    normal = {lot: _members(table, mask, [count, 0], rng) for lot, mask in lots.items()}
    positive = pool & (table["y"] == 1)
    held = _members(table, positive, [0, round(0.2 * positive.sum())], rng)
    train = normal.pop(direction) | (positive & ~held)
    other = (next(iter(normal.values())) | held) & ~table["group"].isin(table.loc[train, "group"])
    return table.assign(partition=np.select([train, other], ["train", "val"], default=""))


def _members(table: "pd.DataFrame", mask: "pd.Series", wanted: list[int], rng: np.random.Generator) -> "pd.Series":
    """Filas de `mask` cuyos grupos, elegidos al azar, suman lo más parecido a `wanted` de cada clase."""
    return mask & table["group"].isin(draw(table[mask], np.array(wanted), rng, exact=False))
