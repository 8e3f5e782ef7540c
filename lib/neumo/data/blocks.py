"""Hacer lo mismo con cada archivo de un conjunto grande, por bloques."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

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
