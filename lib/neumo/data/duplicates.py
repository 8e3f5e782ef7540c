"""Qué imágenes van juntas: las de un paciente, las de los mismos bytes y las casi iguales, la misma radiografía recodificada, reducida, aclarada o en espejo, que sus bytes no delatan."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

_SIDE = 16
_BITS = _SIDE**2 - 1
_BLOCK = 512
NEAR = 16
"""De los 255 bits, cuántos pueden diferir en dos imágenes casi iguales.

En 5216 radiografías reales de 224 píxeles, las de pacientes distintos difieren en 38 o más, y una misma, recodificada con
calidad 30, a la mitad de tamaño o aclarada, en 12 o menos. Con los 64 bits habituales no se distinguen.
"""


def look(grey: "Image.Image") -> str:
    """Resume el aspecto de una imagen gris en 64 cifras hexadecimales: la huella perceptual (pHash), a mayor tamaño.

    Son los signos de las 16×16 frecuencias más bajas de su transformada del coseno, a 32×32 píxeles, sin la media. Una
    imagen sin ninguna variación no tiene aspecto: cadena vacía.

    Fuente: C. Zauner, *Implementation and Benchmarking of Perceptual Image Hash Functions* (2010).
    """
    from PIL import Image
    from scipy.fft import dctn

    small = np.asarray(grey.resize((2 * _SIDE, 2 * _SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
    if np.ptp(small) == 0:
        return ""
    signs = dctn(small, norm="ortho")[:_SIDE, :_SIDE] > 0
    signs[0, 0] = False
    return np.packbits(signs).tobytes().hex()


def alike(looks: Sequence[str]) -> np.ndarray:
    """Agrupa las imágenes casi iguales, derechas o en espejo: componentes conexas de los pares que difieren en `NEAR` bits.

    Compara todas con todas con productos de matrices, por bloques: en un espejo cambian de signo las frecuencias
    horizontales impares, y basta el valor absoluto de su parte.

    Parameters
    ----------
    looks : sequence of str, shape (n,)
        De `look`; una vacía no se parece a ninguna.

    Returns
    -------
    ndarray of int, shape (n,)
        Posición de la primera imagen de su grupo.

    Examples
    --------
    >>> a, b = "0" * 64, "f" * 64
    >>> alike([a, b, a, "", ""]).tolist()
    [0, 1, 0, 3, 4]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(looks)
    known = np.flatnonzero([bool(one) for one in looks])
    pairs = [known[np.column_stack(part)] for part in _near([one for one in looks if one])]
    first, second = np.concatenate([np.empty((0, 2), int), *pairs]).T
    edges = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    group = connected_components(edges, directed=False)[1]
    return np.unique(group, return_index=True)[1][group] if n else group


def joined(table: "pd.DataFrame") -> "pd.DataFrame":
    """Une los grupos de pacientes que comparten una imagen casi igual.

    Parameters
    ----------
    table : DataFrame
        Con `path`, `sha256`, `group` y `look`, vacío en las imágenes que no hay que comparar.

    Returns
    -------
    DataFrame
        Sin `look`, con `near_duplicate_of` (ruta de la primera imagen casi igual y de otros bytes, o vacío) y los grupos
        unidos.
    """
    first = table.iloc[alike(list(table["look"]))]
    near = first["sha256"].to_numpy() != table["sha256"].to_numpy()
    paths = np.where(near, first["path"].to_numpy(), "")
    group = groups(table["group"], first["sha256"])
    return table.drop(columns="look").assign(near_duplicate_of=paths, group=group)


def leaders(table: "pd.DataFrame") -> "pd.Series":
    """Da, de cada imagen, la ruta de la que es casi igual o, si no la hay, la suya: la misma en todas las que se parecen."""
    return table["near_duplicate_of"].where(table["near_duplicate_of"] != "", table["path"])


def summary(table: "pd.DataFrame") -> dict[str, int]:
    """Cuenta las imágenes casi iguales a otra (`near`), sus conjuntos (`sets`) y en cuántos hay dos pacientes o dos clases."""
    near = table[table["near_duplicate_of"] != ""]
    whole = table.assign(leader=leaders(table))
    found = whole[whole["leader"].isin(near["near_duplicate_of"])].groupby("leader")[["patient", "y"]].nunique() > 1
    return {
        "near": len(near),
        "sets": len(found),
        "patients": int(found["patient"].sum()),
        "classes": int(found["y"].sum()),
    }


def groups(patients: Sequence[str], contents: Sequence[str]) -> list[str]:
    """Une los pacientes que comparten contenido: componentes conexas del grafo paciente-archivo.

    Parameters
    ----------
    patients, contents : sequence of str, shape (n,)
        Clave de paciente y resumen del contenido de cada imagen; un contenido vacío no une.

    Returns
    -------
    list of str
        El grupo de cada imagen: la primera, por orden alfabético, de las claves de sus pacientes.

    Examples
    --------
    >>> groups(["b", "a", "c"], ["1", "1", "2"])
    ['a', 'a', 'c']
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    hashes = [content or f"sin contenido {i}" for i, content in enumerate(contents)]
    content = np.unique(hashes, return_inverse=True)[1] + len(names)
    nodes = len(names) + len(hashes)
    edges = coo_array((np.ones(len(hashes)), (patient, content)), shape=(nodes, nodes))
    component = connected_components(edges, directed=False)[1][: len(names)]
    first = np.unique(component, return_index=True)[1]
    leader = dict(zip(component[first], names[first], strict=True))
    return [str(leader[component[index]]) for index in patient]


def _near(looks: list[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Los pares casi iguales (i < j), por bloques."""
    if not looks:
        return
    bits = np.unpackbits(np.frombuffer(bytes.fromhex("".join(looks)), np.uint8)).reshape(-1, _SIDE, _SIDE)
    signs = bits * np.float32(2) - 1
    signs[:, 0, 0] = 0
    even, odd = (signs[:, :, start::2].reshape(len(signs), -1) for start in (0, 1))
    for start in range(0, len(signs), _BLOCK):
        rows = slice(start, start + _BLOCK)
        agreement = even[rows] @ even[start:].T + np.abs(odd[rows] @ odd[start:].T)
        i, j = np.nonzero(agreement >= _BITS - 2 * NEAR)
        yield start + i[i < j], start + j[i < j]
