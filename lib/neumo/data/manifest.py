"""La tabla de imágenes: ruta, clase, etiología, paciente, contenido y partición oficial de cada una."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from neumo.data import dicom
from neumo.data.duplicates import groups
from neumo.data.layout import class_folders, image_paths
from neumo.data.patients import GIVEN, with_patients
from neumo.data.pixels import EXTENSIONS, content_of
from neumo.errors import NeumoError
from neumo.words import CLASSES, visible

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = [
    *("path", "label", "y", "subtype", "patient", "patient_known", "scheme", "lot", "group"),
    *("sha256", "size", "original_split"),
]


def scan(
    folder: str | Path,
    *,
    class_names: Sequence[str] = CLASSES,
    patient_pattern: str | None = None,
    patient_folder: int | None = None,
) -> "pd.DataFrame":
    """Recorre una carpeta de radiografías y devuelve su manifiesto.

    Parameters
    ----------
    folder : path
        Con `train/`, `val/` y `test/` (las que haya) y una carpeta por clase dentro, o solo las de las clases.
    class_names : sequence of str
        Nombre de las carpetas: primero la clase negativa, después la positiva.
    patient_pattern, patient_folder
        Dónde está el paciente en la ruta, si no es un esquema conocido: `pattern` y `folder` de
        `neumo.data.patients.read_paths`.

    Returns
    -------
    DataFrame
        Una fila por imagen, ordenadas por ruta: `path` (relativa, con barras), `label` (NORMAL o PNEUMONIA), `y`
        (0 o 1), `subtype` (bacteria, virus o vacío), `patient` (de un DICOM, un seudónimo), `patient_known`, `scheme`
        (cómo se leyó), `lot` (IM, NORMAL2 o vacío), `group` (pacientes que comparten algún archivo idéntico cuentan como uno), `sha256`,
        `size` (bytes) y `original_split` (train, val, test o vacío).

    Raises
    ------
    NeumoError
        Si falta la carpeta o alguna de las dos clases no tiene imágenes.
    """
    import pandas as pd

    root = Path(folder)
    if not root.is_dir():
        raise NeumoError(
            f"No existe la carpeta de imágenes «{root}». Revise la ruta: si es relativa, cuenta desde donde da la orden."
        )
    folders = class_folders(root, class_names)
    found = [
        (relative(path, root), label, split)
        for split, label, class_folder in folders
        for path in image_paths(class_folder)
    ]
    _check_classes(root, Counter(label for _, label, _ in found), class_names)
    table = pd.DataFrame(sorted(found), columns=["path", "label", "original_split"])
    nobody = {part for _, _, folder in folders for part in folder.relative_to(root).parts}
    table = with_patients(table, pattern=patient_pattern, folder=patient_folder, nobody=nobody)
    return fingerprinted(table, root)


def fingerprinted(table: "pd.DataFrame", root: Path) -> "pd.DataFrame":
    """Completa un manifiesto con la clase en número, la huella y el tamaño de cada archivo, y los grupos que forman.

    Los subgrupos, las columnas `by_…` de una tabla, se conservan.
    """
    with ThreadPoolExecutor() as pool:
        prints = list(pool.map(lambda path: _fingerprint(root / path), table["path"]))
    table["sha256"], table["size"], told = zip(*prints, strict=True)
    dicoms = np.array([patient != "" for patient in told]) & ~table["scheme"].isin(GIVEN).to_numpy()
    table.loc[dicoms, "patient"] = [patient for patient, use in zip(told, dicoms, strict=True) if use]
    table.loc[dicoms, ["patient_known", "scheme"]] = True, "dicom"
    table["group"] = groups(table["patient"], table["sha256"].where(table["size"] > 0, ""))
    table["y"] = (table["label"] == CLASSES[1]).astype(int)
    return table[[*_COLUMNS, *(name for name in table if name.startswith("by_"))]]


def relative(path: Path, root: Path) -> str:
    """Da la ruta de un archivo desde `root`, con barras; lo que no esté en UTF-8, que no podría escribirse, escapado."""
    return path.relative_to(root).as_posix().encode(errors="backslashreplace").decode()


def left_out(paths: Iterable[str], used: Collection[str]) -> str:
    """Cuenta por extensión los archivos que no se usan y no están ocultos.

    Examples
    --------
    >>> left_out(["a.png", "b.GIF", "c.gif", "LEEME", ".git/x"], {"a.png"})
    '2 .gif, 1 sin extensión'
    """
    rest = [PurePosixPath(path) for path in paths if path not in used]
    shown = [path for path in rest if not any(part.startswith(".") for part in path.parts)]
    counts = Counter(visible(path.suffix.lower()) or "sin extensión" for path in shown)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())


def _check_classes(root: Path, counts: Counter, class_names: Sequence[str]) -> None:
    for label, name in zip(CLASSES, class_names, strict=True):
        if not counts[label]:
            present = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "ninguna"
            raise NeumoError(
                f"No hay imágenes de la clase {label} en «{root.name}»: se buscaron archivos "
                f"{', '.join(EXTENSIONS)} en carpetas «{name}», sueltas o dentro de train/, val/ y test/; hay estas "
                f"carpetas: {present}. Corrija data_dir o class_names (primero la negativa, después la positiva)."
            )


def _fingerprint(path: Path) -> tuple[str, int, str]:
    """Resumen y tamaño de un archivo, y su paciente si es un DICOM.

    Los que no se dejan leer quedan con tamaño cero y el resumen de su motivo: los señala `verify`.
    """
    try:
        content = content_of(path)
    except NeumoError as error:
        return hashlib.sha256(str(error).encode()).hexdigest(), 0, ""
    return hashlib.sha256(content).hexdigest(), len(content), dicom.patient(content)
