"""Particiones que no comparten pacientes: por fracción o por cuentas exactas."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from neumo.data.duplicates import leaders
from neumo.data.layout import PARTITIONS
from neumo.errors import NeumoError
from neumo.words import CLASSES

if TYPE_CHECKING:
    import pandas as pd


def split(
    table: "pd.DataFrame",
    *,
    val_fraction: float = 0.2,
    val_counts: Mapping[str, int] | None = None,
    test_fraction: float | None = None,
    seed: int = 0,
) -> "pd.DataFrame":
    """Reparte las imágenes en entrenamiento, validación y prueba sin que ningún grupo de pacientes se divida.

    Si hay prueba oficial no se toca: sus imágenes son la prueba, y las de otros conjuntos que comparten grupo con
    ellas se quedan fuera. El resto (`train` y `val` oficiales juntos) se reparte de nuevo.

    Parameters
    ----------
    table : DataFrame
        Manifiesto con `y`, `group` y `original_split`; si trae `excluded`, esas filas no entran en ninguna
        partición.
    val_fraction : float
        Parte de cada clase que va a validación, una vez apartada la prueba, en (0, 1).
    val_counts : mapping, optional
        Imágenes exactas de validación por clase (`{"NORMAL": 277, "PNEUMONIA": 783}`); manda sobre la fracción.
    test_fraction : float, optional
        Parte de cada clase que va a prueba cuando no hay prueba oficial, en (0, 1).
    seed : int
        Semilla del sorteo; el resultado no depende del orden de las filas.

    Returns
    -------
    DataFrame
        La tabla con una columna más, `partition`: train, val, test o vacío.

    Raises
    ------
    NeumoError
        Si las cuentas exactas no pueden cumplirse, falta `test_fraction` o alguna partición queda sin una clase.
    """
    kept = ~table["excluded"].astype(bool) if "excluded" in table else table["y"] >= 0
    if not kept.any():
        raise NeumoError("Ninguna imagen es utilizable: vea el motivo de cada una con `python -m neumo verify`.")
    test = kept & (table["original_split"] == "test")
    pool = kept & ~table["group"].isin(table.loc[test, "group"])
    rng = np.random.default_rng(seed)
    if not test.any():
        if test_fraction is None:
            raise NeumoError(
                "No hay carpeta test/ y falta test_fraction: diga qué parte va a prueba, por ejemplo 0.15."
            )
        drawn = draw(table[pool], _share(table[pool], test_fraction), rng, exact=False)
        test = pool & table["group"].isin(drawn)
        pool = pool & ~test
    wanted = _exact(table[pool], val_counts) if val_counts else _share(table[pool], val_fraction)
    val = pool & table["group"].isin(draw(table[pool], wanted, rng, exact=bool(val_counts)))
    partition = np.select([test, val, pool], ["test", "val", "train"], default="")
    _check_partitions(table, partition)
    return table.assign(partition=partition)


def test_origin(partition: "pd.DataFrame", *, official: bool) -> str:
    """Dice de dónde sale la prueba: `official` (la del conjunto de Kaggle), `own` (la traían las imágenes) o `drawn` (sorteada).

    Examples
    --------
    >>> import pandas as pd
    >>> test_origin(pd.DataFrame({"partition": ["train", "test"], "original_split": ["train", "test"]}), official=False)
    'own'
    """
    if official:
        return "official"
    return "own" if (partition.loc[partition["partition"] == "test", "original_split"] == "test").any() else "drawn"


def count_images(table: "pd.DataFrame") -> "pd.DataFrame":
    """Cuenta las imágenes de cada partición (filas) y clase (columnas), con sus totales."""
    used = table[table["partition"] != ""]
    counts = used.groupby(["partition", "label"]).size().unstack(fill_value=0)
    counts = counts.reindex(index=PARTITIONS, columns=CLASSES, fill_value=0)
    counts.loc["total"] = counts.sum()
    return counts.assign(total=counts.sum(axis=1))


def overlap(table: "pd.DataFrame", *, by: str) -> "pd.DataFrame":
    """Cuenta los valores de `by` que hay en cada partición (diagonal) y los que comparten dos de ellas.

    Parameters
    ----------
    table : DataFrame
        Con `partition` y la columna `by`: `group` para los pacientes, `sha256` para los contenidos.
    by : str
        Columna cuyos valores no deberían repetirse en dos particiones.

    Returns
    -------
    DataFrame of int, shape (3, 3)

    Examples
    --------
    >>> import pandas as pd
    >>> overlap(pd.DataFrame({"partition": ["train", "train", "val"], "group": list("aba")}), by="group").loc["train"]
    train    2
    val      1
    test     0
    Name: train, dtype: int64
    """
    import pandas as pd

    values = {name: set(table.loc[table["partition"] == name, by]) for name in PARTITIONS}
    shared = [[len(values[a] & values[b]) for b in PARTITIONS] for a in PARTITIONS]
    return pd.DataFrame(shared, index=PARTITIONS, columns=PARTITIONS)


def crossings(table: "pd.DataFrame") -> int:
    """Cuenta los grupos, los contenidos y las imágenes casi iguales que están en más de una partición: debe ser cero."""
    shared = [overlap(table.assign(look=leaders(table)), by=by).to_numpy() for by in ("group", "sha256", "look")]
    return int(sum(counts.sum() - counts.trace() for counts in shared) // 2)


def image_level_leak(table: "pd.DataFrame", *, fraction: float, seed: int, repeats: int = 50) -> "pd.DataFrame":
    """Mide lo que filtraría repartir imágenes sueltas en lugar de pacientes.

    Parameters
    ----------
    table : DataFrame
        Imágenes que se repartirían, con `label` y `group`.
    fraction : float
        Parte de cada clase que iría a validación.
    seed, repeats : int
        Semilla y número de sorteos.

    Returns
    -------
    DataFrame
        Por clase, y `total`: de las imágenes de validación, qué parte tendría otra de su paciente en
        entrenamiento; `mean`, `low` y `high` (media, mínimo y máximo de los sorteos).
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    draws = [_leaked(table, rng, fraction) for _ in range(repeats)]
    return pd.DataFrame(draws).agg(["mean", "min", "max"]).T.set_axis(["mean", "low", "high"], axis=1)


def _leaked(table: "pd.DataFrame", rng: np.random.Generator, fraction: float) -> dict[str, float]:
    order = table.assign(draw=rng.random(len(table))).groupby("label")["draw"].rank(pct=True)
    val = order <= fraction
    exposed = table.loc[val, "group"].isin(table.loc[~val, "group"])
    shares = exposed.groupby(table.loc[val, "label"]).mean()
    return {**{label: shares.get(label, 0.0) for label in CLASSES}, "total": exposed.mean()}


def choose_groups(sizes: np.ndarray, target: np.ndarray, *, rng: np.random.Generator, exact: bool = True) -> np.ndarray:
    """Elige grupos enteros al azar para que sus imágenes de cada clase sumen lo pedido.

    Un programa lineal entero decide cuántos grupos se toman de cada tamaño, lo más parecido a la parte que toca de todos;
    cuáles, se sortea.

    Parameters
    ----------
    sizes : ndarray of int, shape (groups, 2)
        Imágenes de cada clase en cada grupo.
    target : ndarray of int, shape (2,)
        Imágenes de cada clase que se quieren.
    rng : Generator
        Fuente del azar.
    exact : bool
        Si no, basta con la suma alcanzable más cercana.

    Returns
    -------
    ndarray of bool, shape (groups,)
        Los grupos elegidos; ninguno si `exact` y no hay solución.

    Examples
    --------
    >>> sizes = np.array([[2, 0], [2, 0], [0, 3], [0, 1]])
    >>> chosen = choose_groups(sizes, np.array([2, 3]), rng=np.random.default_rng(0))
    >>> sizes[chosen].sum(axis=0).tolist()
    [2, 3]
    """
    kinds, kind, count = np.unique(sizes, axis=0, return_inverse=True, return_counts=True)
    wanted = _groups_of_each_size(kinds, count, target if exact else _nearest(kinds, count, target))
    if wanted is None:
        return np.zeros(len(sizes), dtype=bool)
    shuffled = rng.permutation(len(sizes))
    by_kind = shuffled[np.argsort(kind[shuffled], kind="stable")]
    place = np.empty(len(sizes), dtype=int)  # el turno de cada grupo entre los de su tamaño
    place[by_kind] = np.arange(len(sizes)) - np.repeat(np.cumsum(count) - count, count)
    return place < wanted[kind]


def _nearest(kinds: np.ndarray, count: np.ndarray, target: np.ndarray) -> np.ndarray:
    """La suma alcanzable más cercana a `target`: la que minimiza lo que falta y lo que sobra de cada clase."""
    k = len(kinds)
    found = _solve(
        np.r_[np.zeros(k), np.ones(4)],
        [(np.hstack([kinds.T, np.eye(2), -np.eye(2)]), target, target)],
        np.r_[count, np.full(4, np.inf)],
    )
    assert found is not None  # lo que falta y lo que sobra no tienen tope: siempre hay solución
    return found[:k] @ kinds


def _groups_of_each_size(kinds: np.ndarray, count: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Cuántos grupos tomar de cada tamaño (k,) para sumar `target`, cerca de su parte; `None` si no puede ser."""
    k = len(kinds)
    share = np.minimum(target / np.maximum(count @ kinds, 1), 1)
    part = np.rint(count * (kinds @ share) / np.maximum(kinds.sum(axis=1), 1))
    one, none = np.eye(k), np.zeros((2, k))
    rows = [
        (np.hstack([kinds.T, none]), target, target),
        (np.hstack([one, -one]), -np.inf, part),  # las últimas incógnitas: cuánto se aparta cada tamaño de su parte
        (np.hstack([one, one]), part, np.inf),
    ]
    found = _solve(np.r_[np.zeros(k), np.ones(k)], rows, np.r_[count, np.full(k, np.inf)])
    return None if found is None else found[:k]


def _solve(cost: np.ndarray, rows: list, highest: np.ndarray) -> np.ndarray | None:
    """Minimiza `cost · x` con `x` entre 0 y `highest`, todo entero; `None` si no hay solución."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    found = milp(
        cost,
        constraints=[LinearConstraint(*row) for row in rows],
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, highest),
    )
    return None if found.x is None else np.rint(found.x).astype(int)


def _sizes(table: "pd.DataFrame") -> "pd.DataFrame":
    """Imágenes de cada clase por grupo, con los grupos en orden alfabético."""
    counts = table.groupby(["group", "y"]).size().unstack(fill_value=0)
    return counts.reindex(columns=[0, 1], fill_value=0).sort_index()


def _share(table: "pd.DataFrame", fraction: float) -> np.ndarray:
    return np.maximum(np.rint(fraction * _sizes(table).sum().to_numpy()).astype(int), 1)


def _exact(table: "pd.DataFrame", counts: Mapping[str, int]) -> np.ndarray:
    wanted = np.array([counts.get(label, 0) for label in CLASSES])
    available = _sizes(table).sum().to_numpy()
    for label, asked, there in zip(CLASSES, wanted, available, strict=True):
        if not 0 < asked < there:
            raise NeumoError(
                f"val_counts pide {asked} imágenes de {label} y hay {there} para entrenamiento y validación: pida "
                f"entre 1 y {there - 1}, o quite val_counts y use val_fraction."
            )
    return wanted


def draw(table: "pd.DataFrame", wanted: np.ndarray, rng: np.random.Generator, *, exact: bool) -> "pd.Index":
    """Sortea grupos de `table` que sumen `wanted` imágenes de cada clase, o lo más parecido si no se pide exacto.

    Raises
    ------
    NeumoError
        Si se piden cuentas exactas que ninguna combinación de grupos suma: dice la más cercana.
    """
    sizes = _sizes(table)
    chosen = choose_groups(sizes.to_numpy(), wanted, rng=rng, exact=exact)
    if exact and not chosen.any():
        near = choose_groups(sizes.to_numpy(), wanted, rng=rng, exact=False)
        found = " y ".join(f"{n} {c}" for n, c in zip(sizes[near].sum(), CLASSES, strict=True))
        raise NeumoError(
            f"val_counts pide {wanted[0]} NORMAL y {wanted[1]} PNEUMONIA, pero las imágenes vienen en {len(sizes)} "
            f"grupos de pacientes de hasta {sizes.sum(axis=1).max()} imágenes que no pueden dividirse, y ninguna "
            f"combinación suma eso. Lo más cercano es {found}: pida esas cuentas o use val_fraction."
        )
    return sizes.index[chosen]


def _check_partitions(table: "pd.DataFrame", partition: np.ndarray) -> None:
    for name in PARTITIONS:
        for y, label in enumerate(CLASSES):
            if not ((partition == name) & (table["y"] == y)).any():
                raise NeumoError(f"La partición {name} queda sin imágenes de {label}: {_why(table[table['y'] == y])}")


def _why(table: "pd.DataFrame") -> str:
    """Por qué una clase no llega a todas las particiones: casi siempre, porque sus nombres dan muy pocos pacientes."""
    groups, images = sorted(set(table["group"])), len(table)
    if len(groups) > 2 or images < 3:
        return "hay demasiado pocos pacientes para las fracciones pedidas. Añada imágenes o cambie val_fraction y test_fraction."
    whose = (
        f"del mismo paciente («{groups[0]}»)" if len(groups) == 1 else f"de dos pacientes («{'» y «'.join(groups)}»)"
    )
    return (
        f"según se lee, las {images} son {whose}, y un paciente no se divide. Si no es así, diga dónde está el paciente "
        "con patient_pattern o patient_folder."
    )
