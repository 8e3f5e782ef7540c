"""Verificar y descodificar, repartido entre los trabajadores, lo que los puntos de un barrido van a pedir a la caché."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from neumo.data import split, store, verify
from neumo.data.blocks import Columns, Each
from neumo.data.table import scan_source
from neumo.modules import digest
from neumo.params import Params
from neumo.run import Run
from neumo.sweep.plan import Point


def prepare_images(client: Any, run: Run, points: Sequence[Point]) -> int:
    """Deja en la caché las medidas de cada imagen y las imágenes a los tamaños que ven las redes de los puntos.

    Hace lo que harían los capítulos 02 y 05 de cada punto, con las mismas funciones y las mismas claves: ellos lo encuentran hecho.

    Parameters
    ----------
    client : distributed.Client
    run : Run
        La del barrido, que sabe dónde están las imágenes.
    points : sequence of Point

    Returns
    -------
    int
        Imágenes utilizables del conjunto.
    """
    each = on_cluster(client)
    found = scan_source(run.params, run.images_folder)
    inspection = verify.inspect(found, run.images_folder, cache=run.cache, each=each)
    kept: dict[str, Any] = {}
    for params in (point.params for point in points):
        how = params.model_dump(include={"val_fraction", "val_counts", "test_fraction", "seed"})
        if (told := digest(how)) not in kept:  # los más de los puntos parten igual
            table = split.split(inspection, **how)
            kept[told] = table[table["partition"] != ""]
        for size in sizes(params):
            store.load(kept[told], run.images_folder, image_size=size, cache=run.cache, each=each)
    return int((~inspection["excluded"]).sum())


def sizes(params: Params) -> set[int]:
    """Lados, en píxeles, a los que las redes de una ejecución piden las imágenes.

    Examples
    --------
    >>> sorted(sizes(Params(image_size=48)))
    [48, 64]
    """
    experiments = [*params.tried(), *(params.experiment(name) for name in params.final_models)]
    return {side for experiment in experiments for side in (experiment.image_size, experiment.source_size) if side}


def on_cluster(client: Any) -> Each:
    """Reparte los bloques entre los trabajadores de un cliente de Dask, que ven los mismos archivos en las mismas rutas.

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
