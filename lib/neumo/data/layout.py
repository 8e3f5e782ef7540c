"""Las carpetas como vienen: dónde está cada clase de cada partición, y qué se deja fuera y por qué."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from neumo.data.pixels import is_image
from neumo.errors import NeumoError
from neumo.words import CLASSES, visible

PARTITIONS = ("train", "val", "test")
_PART_WORDS = {
    "train": "train training entrenamiento",
    "val": "val valid validate validation dev validación validacion",
    "test": "test testing prueba",
}
PARTITION_OF = {word: name for name, words in _PART_WORDS.items() for word in words.split()}
"""Cómo se llama cada partición en las carpetas y tablas de la gente, en minúsculas."""

_MASKS = ("mask", "masks", "máscara", "máscaras", "mascara", "mascaras", "segmentation", "segmentations")
_MASK_FILE = re.compile(r"[\W_]masks?$", re.I)
_NOT_DATA = ("pyvenv.cfg", "conda-meta", "key.json", "source.json")  # un entorno, nuestra caché, una ejecución
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz")
_HEALTHY = re.compile(r"(no|non|not|sin)\b|no.?finding|normal|negativ|san[oa]s?\b|health|control", re.I)
_SICK = re.compile(r"p?neumon|covid|positiv|enferm|sick|abnormal|bacteri|vir(us|al)|opaci", re.I)
_SHOWN = 8
_DEPTH = 4


class Layout(NamedTuple):
    """Una carpeta entendida.

    Attributes
    ----------
    root : Path
        La que contiene las clases, o las particiones.
    counts : Counter of (str, str)
        Imágenes por partición (vacía: ninguna) y clase.
    notes : list of str
        Qué carpeta es cada clase, y lo que no se usa: frases para la terminal y el capítulo 02.
    """

    root: Path
    counts: Counter[tuple[str, str]]
    notes: list[str]


def files(folder: str | Path, *, hidden: bool = False) -> Iterator[Path]:
    """Recorre, en orden, los archivos de una carpeta; se salta lo oculto, lo que añade macOS, los entornos y nuestras salidas.

    Sigue los enlaces, y entra en cada carpeta una sola vez: ni da vueltas ni cuenta dos veces lo mismo.

    Parameters
    ----------
    folder : path
        Las rutas que devuelve empiezan por ella, tal como se escribió.
    hidden : bool
        Si da también lo oculto y lo que añade macOS.

    Raises
    ------
    PermissionError
        Si una de las carpetas no se puede leer.
    """
    root, seen = Path(os.path.realpath(folder)), set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        shown = {name for name in (*folders, *names) if hidden or not is_hidden(name)}
        folders[:] = [name for name in sorted(shown.intersection(folders)) if _enters(Path(parent, name), root)]
        yield from (Path(parent, name) for name in sorted(shown.intersection(names)))


def _refuse(error: OSError) -> None:
    """Una carpeta que no se puede leer no se pasa por alto: faltarían sus imágenes."""
    raise error


def is_hidden(name: str) -> bool:
    """Dice si un archivo o carpeta de ese nombre está oculto, o lo añade macOS al comprimir."""
    return name.startswith(".") or name == "__MACOSX"


def _enters(folder: Path, root: Path) -> bool:
    """Dice si se entra en una subcarpeta: no en lo que no son datos, ni por un enlace a lo que ya se recorre o lo contiene."""
    if any(os.path.exists(folder / mark) for mark in _NOT_DATA):
        return False
    if not folder.is_symlink():
        return True
    real = Path(os.path.realpath(folder))
    inside = real.is_relative_to(root) and not any(part.startswith(".") for part in real.relative_to(root).parts)
    return not inside and not root.is_relative_to(real)


def image_paths(folder: str | Path) -> Iterator[Path]:
    """Recorre, en orden, las imágenes de una carpeta: los archivos de `files` que se ofrecen como tales, sin las máscaras."""
    return (path for path in files(folder) if is_image(path) and not is_mask(path, folder))


def is_mask(path: Path, folder: str | Path) -> bool:
    """Dice si una imagen de `folder` es, según su nombre o sus carpetas, la máscara de otra.

    Examples
    --------
    >>> [is_mask(Path("a", name), "a") for name in ("COVID/masks/1.png", "lung masks/1.png", "x_mask.png", "images/1.png")]
    [True, True, True, False]
    """
    inside = path.relative_to(folder)
    return any(_is_mask_folder(part) for part in inside.parts[:-1]) or bool(_MASK_FILE.search(inside.stem))


def _is_mask_folder(name: str) -> bool:
    return name.casefold().endswith(_MASKS)


def class_folders(root: Path, class_names: Sequence[str]) -> list[tuple[str, str, Path]]:
    """Encuentra las carpetas de las clases: las de la propia `root` y las de sus particiones, se escriban como se escriban.

    Returns
    -------
    list of (str, str, Path)
        Partición (vacía: ninguna), clase y carpeta; con imágenes o sin ellas.
    """
    places = [("", root), *((PARTITION_OF.get(child.name.casefold(), ""), child) for child in _subfolders(root))]
    found = {
        os.path.realpath(folder): (partition, label, folder)
        for partition, place in reversed(places)
        if partition or place == root
        for label, name in zip(CLASSES, class_names, strict=True)
        for folder in reversed(_named(place, name))
    }
    return list(reversed(found.values()))


def _named(place: Path, name: str) -> list[Path]:
    """Las carpetas de ese nombre, mayúsculas aparte; un nombre con barras es una ruta."""
    if "/" in name:
        return [place / name] if (place / name).is_dir() else []
    return [child for child in _subfolders(place) if child.name.casefold() == name.casefold()]


def _subfolders(folder: Path) -> list[Path]:
    inside = sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []
    return [child for child in inside if not is_hidden(child.name)]


def find(folder: Path, *, class_names: Sequence[str]) -> Layout:
    """Encuentra las dos clases en una carpeta, o en una de las que envuelve, y dice qué es cada cosa.

    Parameters
    ----------
    folder : Path
        La que se dio.
    class_names : sequence of str
        Nombres de las carpetas de las clases: negativa, positiva.

    Raises
    ------
    NeumoError
        Si no es una carpeta, falta una clase o toda imagen, una clase está dentro de la otra o hay varias candidatas: dice qué hay.
    """
    if not folder.is_dir():
        raise NeumoError(_not_a_folder(folder))
    level = [folder]
    for _ in range(_DEPTH):
        fit = [one for one in level if _labels(one, class_names) == set(CLASSES)]
        if len(fit) > 1:
            several = ", ".join(f"«{one.relative_to(folder)}»" for one in fit)
            raise NeumoError(
                f"En «{folder}» hay varias carpetas con las dos clases: {several}. Diga cuál con data_dir."
            )
        if fit:
            return _described(folder, fit[0], class_names)
        root = Path(os.path.realpath(folder))
        level = [one for parent in level for one in _subfolders(parent) if _wraps(one, root)]
    raise NeumoError(_without_classes(folder, class_names))


def _wraps(folder: Path, root: Path) -> bool:
    return not _is_mask_folder(folder.name) and _enters(folder, root)


def _labels(root: Path, class_names: Sequence[str]) -> set[str]:
    return {label for _, label, folder in class_folders(root, class_names) if any(image_paths(folder))}


def _not_a_folder(path: Path) -> str:
    if path.suffix.lower() in _ARCHIVES:
        return f"«{path}» es un archivo comprimido, y se esperaba una carpeta: descomprímalo y dé la carpeta que salga."
    if path.exists():
        return f"«{path}» es un archivo, y se esperaba una carpeta de imágenes. Si es una tabla, use source=table."
    return f"No existe la carpeta «{path}». Revise data_dir: las rutas cuentan desde donde da la orden."


def _without_classes(folder: Path, class_names: Sequence[str]) -> str:
    negative, positive = class_names
    seen = ", ".join(sorted({visible(path.parent.name) for path in image_paths(folder)})) or "ninguna imagen"
    packed = [path.name for path in folder.iterdir() if path.suffix.lower() in _ARCHIVES]
    unpack = f" Hay archivos comprimidos, que antes se descomprimen: {', '.join(sorted(packed))}." if packed else ""
    return (
        f"En «{folder}» se esperaban imágenes de las clases {negative} y {positive} (en {negative}/ y {positive}/, o dentro "
        f"de train/, val/ y test/) y se encontró: {seen}. Si sus carpetas se llaman de otro modo, use "
        f'SET="class_names=[negativa,positiva]".{unpack}'
    )


def _described(given: Path, root: Path, class_names: Sequence[str]) -> Layout:
    images = {
        (partition, label, folder): list(image_paths(folder))
        for partition, label, folder in class_folders(root, class_names)
    }
    used = {key: paths for key, paths in images.items() if paths}
    _check_nested(used, class_names)
    _check_parts(used, root, class_names)
    notes = [*_where(given, root, used), *_reversed(class_names), *_unused(root, used)]
    counts: Counter[tuple[str, str]] = Counter()
    for (partition, label, _), paths in used.items():
        counts[partition, label] += len(paths)
    return Layout(root, counts, notes)


def _check_nested(used: dict[tuple[str, str, Path], list[Path]], class_names: Sequence[str]) -> None:
    other = dict(zip(CLASSES, reversed(class_names), strict=True))
    for (_, label, folder), paths in used.items():
        inside = [
            path for path in paths if other[label].casefold() in map(str.casefold, path.relative_to(folder).parts[:-1])
        ]
        if inside:
            raise NeumoError(
                f"«{inside[0].parent}» está dentro de la carpeta de la otra clase, y sus imágenes ({len(inside)}) no se sabe de cuál "
                "son. Saque esa carpeta, o quítela."
            )


def _check_parts(used: Iterable[tuple[str, str, Path]], root: Path, class_names: Sequence[str]) -> None:
    """`train/` y `test/` necesitan las dos clases; en una `val/` se tolera que falte alguna, porque se reparte de nuevo."""
    names = dict(zip(CLASSES, class_names, strict=True))
    for part in ("train", "test"):
        labels = {label: folder.parent for partition, label, folder in used if partition == part}
        lacking = [label for label in CLASSES if labels and label not in labels]
        if lacking:
            place = root / next(iter(labels.values())).name
            raise NeumoError(
                f"En «{place}» no hay imágenes de la clase {names[lacking[0]]}: se esperaban las dos. Añádalas o quite "
                "esa carpeta."
            )


def _where(given: Path, root: Path, used: dict[tuple[str, str, Path], list[Path]]) -> Iterator[str]:
    if root != given:
        yield f"Las imágenes están en «{visible(root.relative_to(given).as_posix())}», dentro de la carpeta dada."
    for label in CLASSES:
        found = [
            f"«{visible(folder.relative_to(root).as_posix())}» ({len(paths)})"
            for (_, one, folder), paths in used.items()
            if one == label
        ]
        yield f"Carpetas de {label}: {', '.join(found)}."


def _reversed(class_names: Sequence[str]) -> Iterator[str]:
    negative, positive = class_names
    sick_first = _SICK.search(negative) and not _HEALTHY.match(negative)
    if sick_first or (_HEALTHY.match(positive) and not _SICK.search(negative + positive)):
        yield (
            f"Atención: «{negative}» se toma por la clase negativa y «{positive}» por la positiva, y sus nombres dicen lo "
            "contrario. En class_names va primero la negativa."
        )


def _unused(root: Path, used: dict[tuple[str, str, Path], list[Path]]) -> Iterator[str]:
    for child in _subfolders(root):
        if child.name.casefold() in PARTITION_OF and not any(key[2].is_relative_to(child) for key in used):
            yield f"«{visible(child.name)}» no tiene imágenes de ninguna de las dos clases: es como si no estuviera."
    kept = {path for paths in used.values() for path in paths}
    rest = [path for path in files(root) if path not in kept and is_image(path)]
    masks = [path for path in rest if is_mask(path, root)]
    if masks:
        yield f"Máscaras, que no son radiografías y se pasan por alto: {len(masks)} ({_places(masks, root)})."
    if others := [path for path in rest if not is_mask(path, root)]:
        yield f"Imágenes de otras carpetas, que no se usan: {len(others)} ({_places(others, root)})."


def _places(paths: Iterable[Path], root: Path) -> str:
    counts = Counter(path.parent.relative_to(root).as_posix() for path in paths).most_common()
    told = [f"«{visible(name)}», {count}" for name, count in counts[:_SHOWN]]
    return "; ".join([*told, "…"] if len(counts) > _SHOWN else told)
