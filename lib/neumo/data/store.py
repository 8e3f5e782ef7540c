"""Las imágenes se decodifican una vez, a gris de 8 bits, en un archivo que se lee por trozos sin cargarlo entero."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neumo.cache import cached
from neumo.data.blocks import Each, blocks, in_threads
from neumo.data.pixels import content_of, read
from neumo.errors import NeumoError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike
    from PIL import Image

    from neumo.run import Run


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Imágenes decodificadas con su tabla.

    Attributes
    ----------
    table : DataFrame
        Una fila por imagen, con índice 0..n-1.
    images : ndarray of uint8, shape (N, S, S)
        Todas las imágenes guardadas, en gris; suele ser un archivo proyectado en memoria.
    rows : ndarray of int, shape (n,)
        Posición en `images` de cada fila de la tabla.
    """

    table: "pd.DataFrame"
    images: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def image_size(self) -> int:
        """Lado de las imágenes, en píxeles."""
        return int(self.images.shape[1])

    @property
    def labels(self) -> np.ndarray:
        """Clase de cada imagen, int8 de forma (n,): 0 NORMAL, 1 PNEUMONIA."""
        return self.table["y"].to_numpy(dtype=np.int8)

    def pixels(self) -> np.ndarray:
        """Copia en memoria de las imágenes: uint8 de forma (n, S, S)."""
        return np.asarray(self.images[self.rows])

    def where(self, mask: "ArrayLike") -> "ImageSet":
        """Devuelve el subconjunto en el que `mask`, de forma (n,), es verdadero."""
        kept = np.asarray(mask, dtype=bool)
        return ImageSet(self.table[kept].reset_index(drop=True), self.images, self.rows[kept])

    def partition(self, name: str) -> "ImageSet":
        """Devuelve las imágenes de una partición: train, val o test."""
        return self.where(self.table["partition"] == name)

    @property
    def digest(self) -> str:
        """Resumen de contenidos, clases, orden y tamaño: dos conjuntos con el mismo dan el mismo entrenamiento."""
        told = hashlib.sha256(str(self.image_size).encode())
        for content, label in zip(self.table["sha256"], self.labels, strict=True):
            told.update(f"{content}{label}".encode())
        return told.hexdigest()[:16]


def image_sets(run: "Run") -> Callable[..., ImageSet]:
    """Devuelve la función que da las imágenes de una ejecución, decodificadas una sola vez.

    Returns
    -------
    callable
        `image_set(partition, image_size=None)`: partición (`train`, `val`, `test`) y lado en píxeles, que por omisión es el
        general de los parámetros.
    """

    @functools.cache
    def whole(size: int) -> ImageSet:
        table = run.load("partition")
        kept = table[table["partition"] != ""]
        return load(kept, run.images_folder, image_size=size, cache=run.cache)

    def image_set(partition: str, *, image_size: int | None = None) -> ImageSet:
        return whole(image_size or run.params.image_size).partition(partition)

    return image_set


def load(
    table: "pd.DataFrame", folder: str | Path, *, image_size: int, cache: str | Path, each: Each = in_threads
) -> ImageSet:
    """Decodifica las imágenes de `table`, o las toma de la caché si ya lo fueron a ese tamaño.

    Parameters
    ----------
    table : DataFrame
        Con `path`, `sha256` e `y`. Solo imágenes legibles.
    folder : path
        Carpeta de las imágenes, a la que se refiere `path`.
    image_size : int
        Lado de las imágenes que se guardan, en píxeles.
    cache : path
        Carpeta de la caché; cada archivo idéntico se guarda una vez y una decodificación a medias continúa.
    each : callable
        Quién hace cada bloque de archivos (`neumo.data.blocks`).

    Returns
    -------
    ImageSet
        Con las filas en el mismo orden.

    Raises
    ------
    NeumoError
        Si no hay imágenes, alguna no se puede leer o su contenido ya no es el del manifiesto.
    """
    if table.empty:
        raise NeumoError("No queda ninguna imagen legible que decodificar: vea las exclusiones del capítulo 03.")
    table = table.reset_index(drop=True)
    unique, told = distinct(table)
    key = {"image_size": image_size, "images": told}
    files = [Path(folder) / path for path in unique["path"]]
    stored = cached(
        cache,
        "store",
        key,
        lambda partial: _decode_all(partial, files, list(unique["sha256"]), image_size, each),
        code=__name__,
    )
    images = np.load(stored / "images.npy", mmap_mode="r")
    rows = np.searchsorted(unique["sha256"].to_numpy(dtype=str), table["sha256"].to_numpy(dtype=str))
    return ImageSet(table, images, rows)


def distinct(table: "pd.DataFrame") -> tuple["pd.DataFrame", str]:
    """Devuelve una fila por contenido (`sha256`), en el orden de este, y el resumen de todos."""
    unique = table.drop_duplicates("sha256").sort_values("sha256")
    return unique, hashlib.sha256("".join(unique["sha256"]).encode()).hexdigest()


def decode_grey(source: str | Path | bytes, image_size: int) -> np.ndarray:
    """Decodifica una radiografía a gris de 8 bits y la lleva a un cuadrado.

    Los JPEG se decodifican ya reducidos, siempre a no menos del tamaño pedido, y el resto del camino es una reducción
    bilineal que promedia. Lo demás, como en `neumo.data.pixels.read`.

    Parameters
    ----------
    source : path or bytes
        El archivo, o su contenido.
    image_size : int
        Lado del resultado, en píxeles.

    Returns
    -------
    ndarray of uint8, shape (image_size, image_size)

    Raises
    ------
    NeumoError
        Si el archivo no se puede leer entero.
    """
    name = "imagen" if isinstance(source, bytes) else Path(source).name
    try:
        content = source if isinstance(source, bytes) else content_of(source)
        return to_square(read(content, least=image_size).grey, image_size)
    except NeumoError as error:
        raise NeumoError(f"No se puede leer «{name}» ({error}). Sustitúyalo o quítelo.") from error


def to_square(grey: "Image.Image", image_size: int) -> np.ndarray:
    """Lleva una imagen gris a un cuadrado de `image_size` píxeles de lado: lo que ven las redes."""
    from PIL import Image

    return np.asarray(grey.resize((image_size, image_size), Image.Resampling.BILINEAR))


def _decode_all(partial: Path, files: list[Path], hashes: list[str], image_size: int, each: Each) -> None:
    """Escribe `images.npy` por bloques; `done` cuenta los terminados, para continuar tras una interrupción."""
    target, done = partial / "images.npy", partial / "done"
    if not (target.is_file() and done.is_file()):
        shape = (len(files), image_size, image_size)
        np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape).flush()
        done.write_text("0")
    offset = target.stat().st_size - len(files) * image_size**2
    start = int(done.read_text() or 0)
    decode = functools.partial(_decode_checked, image_size=image_size)
    with open(target, "r+b") as output:
        output.seek(offset + start * image_size**2)
        for decoded in each(decode, blocks(files, hashes, start=start)):
            output.writelines(image.tobytes() for image in decoded)
            output.flush()
            start += len(decoded)
            done.write_text(str(start))


def _decode_checked(file: Path, sha256: str, image_size: int) -> np.ndarray:
    try:
        content = content_of(file)
    except NeumoError as error:
        raise NeumoError(f"No se puede abrir «{file.name}» ({error}): ¿se movió tras el capítulo 02?") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NeumoError(f"«{file.name}» cambió después de hacer el manifiesto: ejecute de nuevo el capítulo 02.")
    try:
        return decode_grey(content, image_size)
    except NeumoError as error:
        raise NeumoError(str(error).replace("«imagen»", f"«{file.name}»")) from error
