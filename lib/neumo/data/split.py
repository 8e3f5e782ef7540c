"""Particiones que no comparten pacientes: por fracción o por cuentas exactas."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from neumo.data.manifest import PARTITIONS
from neumo.errors import NeumoError
from neumo.words import CLASSES

if TYPE_CHECKING:
    import pandas as pd

# Con más bits que estos, la búsqueda exacta guardaría más de medio gigabyte.
_MAX_BITS = 4_000_000_000


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
        raise NeumoError(
            "Ninguna imagen es utilizable: vea el motivo de cada una con `python -m neumo verify`."
        )
    test = kept & (table["original_split"] == "test")
    pool = kept & ~table["group"].isin(table.loc[test, "group"])
    rng = np.random.default_rng(seed)
    if not test.any():
        if test_fraction is None:
            raise NeumoError(
                "No hay carpeta test/ y falta test_fraction: diga qué parte va a prueba, por ejemplo 0.15."
            )
        drawn = _draw(table[pool], _share(table[pool], test_fraction), rng, exact=False)
        test = pool & table["group"].isin(drawn)
        pool = pool & ~test
    wanted = _exact(table[pool], val_counts) if val_counts else _share(table[pool], val_fraction)
    val = pool & table["group"].isin(_draw(table[pool], wanted, rng, exact=bool(val_counts)))
    partition = np.select([test, val, pool], ["test", "val", "train"], default="")
    _check_partitions(table, partition)
    return table.assign(partition=partition)


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


def _members(
    table: "pd.DataFrame", mask: "pd.Series", wanted: list[int], rng: np.random.Generator
) -> "pd.Series":
    """Filas de `mask` cuyos grupos, elegidos al azar, suman lo más parecido a `wanted` de cada clase."""
    return mask & table["group"].isin(_draw(table[mask], np.array(wanted), rng, exact=False))


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


def image_level_leak(
    table: "pd.DataFrame", *, fraction: float, seed: int, repeats: int = 50
) -> "pd.DataFrame":
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


def choose_groups(
    sizes: np.ndarray, target: np.ndarray, *, rng: np.random.Generator, exact: bool = True
) -> np.ndarray:
    """Elige grupos enteros al azar para que sus imágenes de cada clase sumen lo pedido.

    Es el problema de la suma de subconjuntos en dos dimensiones: las sumas alcanzables se guardan como bits de un
    entero, grupo a grupo en orden aleatorio, y se para en cuanto se alcanza el objetivo.

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
    order = rng.permutation(len(sizes))
    # Primero se toman grupos sin mirar y la búsqueda exacta solo cierra el resto, para no crecer con los datos.
    for slack in (64, int(target.max()) + 1):
        taken, rest = _take_blindly(sizes, target, order, slack)
        remaining = target - sizes[taken].sum(axis=0)
        closing = _subset(sizes[rest], remaining, exact=exact)
        if closing is not None:
            return np.isin(np.arange(len(sizes)), [*taken, *np.asarray(rest, dtype=int)[closing]])
    return np.zeros(len(sizes), dtype=bool)


def _take_blindly(
    sizes: np.ndarray, target: np.ndarray, order: np.ndarray, slack: int
) -> tuple[list[int], list[int]]:
    taken: list[int] = []
    rest: list[int] = []
    missing = target.copy()
    for index in order:
        fits = bool(np.all((sizes[index] == 0) | (missing - sizes[index] >= slack)))
        (taken if fits else rest).append(int(index))
        missing = missing - sizes[index] * fits
    return taken, rest


def _subset(sizes: np.ndarray, target: np.ndarray, *, exact: bool) -> np.ndarray | None:
    """Índices de los grupos que suman `target` (o lo más cerca posible); `None` si no puede ser."""
    largest = sizes.max(axis=0, initial=0)
    top = target if exact else target + np.maximum(largest, target.sum())
    width = int(top[1] + largest[1] + 1)
    if width * (int(top[0]) + 1) * len(sizes) > _MAX_BITS:
        return None
    row = "0" * (width - int(top[1]) - 1) + "1" * (int(top[1]) + 1)
    inside = int(row * (int(top[0]) + 1), 2)
    steps = [int(a) * width + int(b) for a, b in sizes]
    goal = int(target[0]) * width + int(target[1])
    reached = [1]
    for step in steps:
        reached.append((reached[-1] | reached[-1] << step) & inside)
        if reached[-1] >> goal & 1:
            break
    if not reached[-1] >> goal & 1:
        if exact:
            return None
        goal = _nearest(reached[-1], target, width)
    return np.array(_trace_back(reached, steps, goal), dtype=int)


def _nearest(reached: int, target: np.ndarray, width: int) -> int:
    bits = np.unpackbits(
        np.frombuffer(reached.to_bytes(reached.bit_length() // 8 + 1, "little"), np.uint8), bitorder="little"
    )
    sums = np.flatnonzero(bits)
    distance = np.abs(sums // width - target[0]) + np.abs(sums % width - target[1])
    return int(sums[distance.argmin()])


def _trace_back(reached: list[int], steps: list[int], goal: int) -> list[int]:
    chosen = []
    for index in range(len(reached) - 2, -1, -1):
        if not reached[index] >> goal & 1:
            chosen.append(index)
            goal -= steps[index]
    return chosen


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


def _draw(table: "pd.DataFrame", wanted: np.ndarray, rng: np.random.Generator, *, exact: bool) -> "pd.Index":
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
                raise NeumoError(
                    f"La partición {name} queda sin imágenes de {label}: hay demasiado pocos pacientes para las "
                    "fracciones pedidas. Añada imágenes o cambie val_fraction y test_fraction."
                )
