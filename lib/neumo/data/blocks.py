"""Hacer lo mismo con cada archivo de un conjunto grande, por bloques: en los hilos de este proceso o en un clúster."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

BLOCK = 128
"""Archivos de un bloque: lo que se pierde, como mucho, al interrumpir, y lo que hace de una vez un trabajador."""

Columns = tuple[Sequence, ...]
Each = Callable[[Callable, Iterable[Columns]], Iterator[list]]
"""Aplica una función a los archivos de cada bloque y da sus resultados, bloque a bloque y en orden."""


def blocks(*columns: Sequence, start: int = 0) -> Iterator[Columns]:
    """Corta varias columnas a la vez en bloques, desde la fila `start`.

    Examples
    --------
    >>> [len(names) for names, _ in blocks(range(300), range(300))]
    [128, 128, 44]
    """
    for first in range(start, len(columns[0]), BLOCK):
        yield tuple(column[first : first + BLOCK] for column in columns)


def in_threads(function: Callable, parts: Iterable[Columns]) -> Iterator[list]:
    """Lo hace con los hilos de este proceso: descodificar suelta el cerrojo de Python."""
    with ThreadPoolExecutor() as pool:
        for part in parts:
            yield list(pool.map(function, *part))


def on_cluster(client: Any) -> Each:
    """Lo hace con los trabajadores de un cliente de Dask, que ven los mismos archivos en las mismas rutas.

    Cada trabajador tiene, como mucho, tres bloques pedidos: ni espera ni se llena la memoria de quien los reúne.
    """

    def each(function: Callable, parts: Iterable[Columns]) -> Iterator[list]:
        rest, asked = iter(parts), collections.deque[Any]()
        room = 3 * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        while True:
            for part in itertools.islice(rest, room - len(asked)):
                asked.append(client.submit(_block, function, part, pure=False, retries=3))
            if not asked:
                return
            yield asked.popleft().result()

    return each


def _block(function: Callable, part: Columns) -> list:
    return list(map(function, *part))
