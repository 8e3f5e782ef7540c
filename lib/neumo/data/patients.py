"""De qué paciente es cada imagen: lo que dicen el nombre del archivo, sus carpetas o lo que indique quien conoce el conjunto."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from neumo.errors import NeumoError
from neumo.words import CLASSES

if TYPE_CHECKING:
    import pandas as pd


class Reading(NamedTuple):
    """Lo que se lee en la ruta de una imagen; cadenas vacías si no dice nada."""

    patient: str
    subtype: str
    lot: str
    scheme: str


NOBODY = Reading("", "", "", "")


class Scheme(NamedTuple):
    """Una manera de nombrar los archivos: cómo se llama y qué se busca; sin grupo `patient`, el nombre no dice de quién es."""

    title: str
    pattern: re.Pattern[str]


def _in_name(pattern: str) -> re.Pattern[str]:
    """Busca en el nombre del archivo, entero o rodeado de lo que se le añade al copiarlo, exportarlo o aumentarlo."""
    return re.compile(rf"(?<![A-Za-z0-9])(?:{pattern})(?=[^/]*$)")


SCHEMES = {
    "indiana": Scheme("Indiana (Open-i)", _in_name(r"(?P<patient>(?:(?<![^/])|CXR)\d+)(?:_\d+)?_IM-\d+")),
    "kaggle": Scheme(
        "Kaggle",
        _in_name(
            r"(?P<patient>person\d+_(?P<subtype>bacteria|virus))_\d+"
            r"|(?P<normal>(?:(?P<lot>NORMAL2)-)?IM-\d+)-\d+"
        ),
    ),
    "mendeley": Scheme("Mendeley", _in_name(r"(?P<subtype>BACTERIA|VIRUS|NORMAL)-(?P<patient>\d+)-\d+")),
    "nih": Scheme("NIH ChestX-ray14", _in_name(r"(?P<patient>000[0-3]\d{4})_\d{3}(?!\d)")),
    "chexpert": Scheme("CheXpert", re.compile(r"(?<![A-Za-z0-9])(?P<patient>patient\d+)[/_-]study\d+")),
    "mimic": Scheme("MIMIC-CXR", re.compile(r"(?<![A-Za-z0-9])(?P<patient>p\d{8})[/_-]s\d{8}")),
    "tuberculosis": Scheme("Shenzhen y Montgomery", _in_name(r"(?P<patient>(?:CHN|MCU)CXR_\d{4})_[01]")),
    "bids": Scheme("BIMCV y otros en BIDS", _in_name(r"(?P<patient>sub-[A-Za-z0-9]+)_")),
    "rsna": Scheme(
        "RSNA (un identificador por imagen)", _in_name(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
    ),
    "siim": Scheme(
        "SIIM (un identificador por imagen)", _in_name(r"[0-9a-f]{12}_(?:image|study)|\d+(?:\.\d+){6,}(?![\d.]*\d)")
    ),
    "mimic_image": Scheme(
        "MIMIC-CXR sin sus carpetas (un identificador por imagen)", _in_name(r"(?:[0-9a-f]{8}-){4}[0-9a-f]{8}")
    ),
    "vindr": Scheme("VinDr (un identificador por imagen)", _in_name(r"[0-9a-f]{32}(?![0-9A-Za-z])")),
    "covid": Scheme(
        "COVID-19 Radiography (un número por imagen)", _in_name(r"(?:COVID|Normal|Lung_Opacity|Viral Pneumonia)-\d+")
    ),
}
"""Los esquemas de nombres de los conjuntos públicos, por orden: a igualdad de aciertos, el primero."""
OTHER = {"patient_pattern": "patient_pattern", "patient_folder": "patient_folder", "table": "columna de la tabla"}
GIVEN = frozenset(OTHER)
"""Lo que dijo quien da la orden: manda sobre los nombres y sobre la cabecera de un DICOM."""
OTHER |= {"dicom": "PatientID de los DICOM", "": "ninguno conocido"}

# Lo que al final de un nombre dice «soy una versión de otro»; los números entre paréntesis, no: así numera Windows.
_VERSION = re.compile(
    r"(?:[_.](?:jpe?g|png)\.rf\.[0-9A-Za-z]+|[ _-]+(?:copia|copy)(?: ?\(?\d+\)?)?|\.(?:jpe?g|png|dcm|dicom)"
    r"|[_-](?:aug(?:mented)?|[hv]?flip(?:ped)?|mirror(?:ed)?|espejo|rot(?:ated)?|resized)(?:[_-]?\d+)?)$",
    re.I,
)


def read_paths(
    paths: Sequence[str], *, pattern: str | None = None, folder: int | None = None, nobody: Collection[str] = ()
) -> list[Reading]:
    """Lee de quién es cada imagen en su ruta.

    De los esquemas conocidos manda, en cada ruta, el que más rutas del conjunto entienden. Se buscan dentro del nombre, no
    iguales a él: así lo que se le añade al copiar, exportar o aumentar una imagen la deja con su paciente.

    Parameters
    ----------
    paths : sequence of str
        Rutas relativas, con barras.
    pattern : str, optional
        Expresión regular con un grupo `patient`, que se busca en la ruta; sustituye a los esquemas.
    folder : int, optional
        Qué carpeta lleva el nombre del paciente, contando desde el archivo: 1 es la que lo contiene.
    nobody : collection of str
        Nombres de carpeta que no son de un paciente: los de las clases y las particiones.

    Returns
    -------
    list of Reading
        Sin paciente conocido, `patient` está vacío. La etiología forma parte de la clave en los nombres de Kaggle, que
        numeran cada serie por separado: `person7_virus` y `person7_bacteria` son dos pacientes.

    Raises
    ------
    NeumoError
        Si `pattern` o `folder` no sirven para ninguna ruta.

    Examples
    --------
    >>> read_paths(["NORMAL/NORMAL2-IM-0927-0001 - copia.jpeg"])
    [Reading(patient='NORMAL2-IM-0927', subtype='', lot='NORMAL2', scheme='kaggle')]
    >>> read_paths(["train/00000013_005_aug3.png", "placa 3.png"])[1]
    Reading(patient='', subtype='', lot='', scheme='')
    >>> read_paths(["sanos/ana/1.png"], folder=1)
    [Reading(patient='ana', subtype='', lot='', scheme='patient_folder')]
    """
    if pattern:
        return _given(paths, re.compile(pattern), "patient_pattern", pattern, nobody)
    if folder:
        level = re.compile(rf"(?:^|/)(?P<patient>[^/]+)/(?:[^/]+/){{{folder - 1}}}[^/]+$")
        return _given(paths, level, "patient_folder", folder, nobody)
    matched = {name: [scheme.pattern.search(path) for path in paths] for name, scheme in SCHEMES.items()}
    count = Counter({name: sum(map(bool, found)) for name, found in matched.items()})
    order = [name for name, _ in count.most_common()]
    return [
        next((_known(found, name) for name in order if (found := matched[name][i])), NOBODY) for i in range(len(paths))
    ]


def _given(
    paths: Sequence[str], pattern: re.Pattern[str], scheme: str, asked: Any, nobody: Collection[str]
) -> list[Reading]:
    """Lee cada ruta como pidió quien da la orden; lo que no encaja queda sin paciente."""
    matches = [pattern.search(path) for path in paths]
    patients = [(match["patient"] or "") if match else "" for match in matches]
    known = [patient not in ("", *nobody) for patient in patients]
    if not any(known):
        raise NeumoError(
            f"{scheme} = {asked} no encuentra el paciente en ninguna ruta; la primera es «{paths[0]}». Corríjalo o quítelo."
        )
    return [Reading(patient, "", "", scheme) if ok else NOBODY for patient, ok in zip(patients, known, strict=True)]


def _known(match: re.Match[str], scheme: str) -> Reading:
    said = match.groupdict()
    subtype = (said.get("subtype") or "").lower()
    lot = said.get("lot") or ("IM" if said.get("normal") else "")
    return Reading(said.get("patient") or said.get("normal") or "", subtype.replace("normal", ""), lot, scheme)


def without_version(path: str) -> str:
    """Quita de una ruta lo que dice que es una versión de otra imagen; sin nada que quitar, la devuelve igual.

    Examples
    --------
    >>> [without_version(name) for name in ("a/placa 3_jpg.rf.0a1b.jpg", "placa 3_aug2.png", "placa 3 (1).png")]
    ['a/placa 3', 'placa 3', 'placa 3 (1).png']
    """
    stem, before = str(PurePosixPath(path).with_suffix("")), ""
    first = stem
    while stem != before:
        stem, before = _VERSION.sub("", stem), stem
    return path if stem == first else stem


def keys(paths: Sequence[str], readings: Sequence[Reading]) -> list[str]:
    """Da la clave de paciente de cada imagen: la leída o, sin ella, la imagen de la que es versión (casi siempre, ella misma)."""
    versions = {without_version(path) for path in paths}
    originals = {plain: path for path in paths if (plain := str(PurePosixPath(path).with_suffix(""))) in versions}
    return [
        reading.patient or originals.get(plain := without_version(path), plain)
        for path, reading in zip(paths, readings, strict=True)
    ]


def with_patients(table: "pd.DataFrame", **how: Any) -> "pd.DataFrame":
    """Añade a una tabla con `path` lo que sus rutas dicen: `subtype`, `patient`, `patient_known`, `scheme` y `lot`.

    Si ya trae `patient`, manda donde no está vacío. `how` es lo de `read_paths`.
    """
    paths, said = list(table["path"]), list(table["patient"]) if "patient" in table else [""] * len(table)
    names = read_paths(paths, **({} if all(said) else how))
    names = [name._replace(patient=one, scheme="table") if one else name for name, one in zip(names, said, strict=True)]
    return table.assign(
        subtype=[name.subtype for name in names],
        patient=keys(paths, names),
        patient_known=[bool(name.patient) for name in names],
        scheme=[name.scheme for name in names],
        lot=[name.lot for name in names],
    )


def schemes_found(manifest: "pd.DataFrame") -> "pd.DataFrame":
    """Resume con qué esquema se leyó el paciente: imágenes, pacientes y un ejemplo de lo leído, una fila por esquema."""
    import pandas as pd

    rows = []
    for name, part in manifest.groupby("scheme", sort=False):
        known = part[part["patient_known"]]
        title = SCHEMES[name].title if name in SCHEMES else OTHER.get(name, name)
        shown = (known if len(known) else part).iloc[[0, -1]].drop_duplicates("path")
        read = [row.patient if row.patient_known else "sin paciente" for row in shown.itertuples()]
        example = "; ".join(
            f"{PurePosixPath(path).name} → {one}" for path, one in zip(shown["path"], read, strict=True)
        )
        rows.append((title, len(part), known["patient"].nunique(), example))
    table = pd.DataFrame(rows, columns=["esquema", "imágenes", "pacientes", "por ejemplo"])
    return table.sort_values("imágenes", ascending=False, kind="stable")


def coverage(manifest: "pd.DataFrame") -> tuple[str, str]:
    """Dice de cuántas imágenes se conoce el paciente, y qué recuadro lo lleva (`bien`, `aviso` o `peligro`)."""
    unknown, total = int((~manifest["patient_known"]).sum()), len(manifest)
    alone = [label for label in CLASSES if manifest.loc[manifest["label"] == label, "patient"].nunique() == 1]
    if alone:
        return (
            f"Según se lee, **todas las imágenes de {' y de '.join(alone)} son de un solo paciente**. Si no es así, diga cómo se "
            "lee con `patient_pattern` o `patient_folder`.",
            "peligro",
        )
    if not unknown:
        return "Se sabe de qué paciente es cada imagen.", "bien"
    return (
        f"No se sabe de qué paciente son {unknown} de {total} imágenes, y cada una cuenta como un paciente aparte. Si alguno "
        "tiene varias, **las particiones pueden compartir pacientes** y los resultados parecer mejores de lo que son. Si el "
        "nombre o las carpetas lo dicen de otro modo, use `patient_pattern` o `patient_folder`.",
        "peligro",
    )


def separation(partition: "pd.DataFrame", *, crossed: int) -> tuple[str, str]:
    """Dice qué se comprobó de la separación de las particiones y qué no pudo comprobarse, y qué recuadro lo lleva.

    Parameters
    ----------
    partition : DataFrame
        Con `partition` y `patient_known`.
    crossed : int
        Grupos, contenidos e imágenes casi iguales que están en más de una partición.
    """
    used = partition[partition["partition"] != ""]
    unknown = int((~used["patient_known"]).sum())
    found = f"Grupos de pacientes, archivos idénticos o imágenes casi iguales en más de una partición: **{crossed}**."
    if not unknown:
        return found, "bien" if crossed == 0 else "peligro"
    who = "de ninguna imagen" if unknown == len(used) else f"de {unknown} de las {len(used)} imágenes"
    return (
        f"{found} Se han comparado el contenido y el aspecto de todas; el paciente no, porque no se conoce {who}: **que las particiones "
        "no compartan pacientes no está comprobado**.",
        "aviso" if crossed == 0 else "peligro",
    )


def assurance(partition: "pd.DataFrame") -> str:
    """Dice en una frase, para el resumen, si los conjuntos comparten pacientes."""
    known = partition.loc[partition["partition"] != "", "patient_known"]
    if known.all():
        return "Ningún paciente está en dos de los tres conjuntos."
    if not known.any():
        return "No se sabe de qué paciente es ninguna imagen, así que los tres conjuntos pueden compartir pacientes."
    return (
        f"Ningún paciente identificado está en dos de los tres conjuntos; de {int((~known).sum())} imágenes no se sabe de quién "
        "son."
    )
