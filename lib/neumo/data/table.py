"""La fuente `table`: una fila por imagen, con su ruta, su clase y lo que se sepa del paciente y de la toma."""

import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from neumo.data.layout import PARTITION_OF, PARTITIONS, image_paths
from neumo.data.manifest import fingerprinted, scan
from neumo.data.patients import with_patients
from neumo.errors import NeumoError
from neumo.words import CLASSES, HEADERS

if TYPE_CHECKING:
    import pandas as pd

    from neumo.params import Params, Table

# Cómo suele llamarse cada columna, sin mayúsculas ni signos: manda el nombre que está antes.
_USUAL = {
    "path": "path ruta filepath imagepath file filename archivo fichero image imagen imageindex imagename dicompath imageid"
    " dicomid id patientid studyid",
    "label": "label labels class classname target clase etiqueta diagnosis diagnostico diagnóstico findinglabels finding"
    " findings pneumonia neumonia neumonía",
    "patient": "patient patientid paciente idpaciente pacienteid subjectid subject nhc",
    "partition": "partition split subset particion partición",
    "age": "age patientage edad",
    "sex": "sex gender patientgender patientsex sexo genero género",
    "view": "view viewposition projection proyeccion proyección vista appa frontallateral",
}
# Los valores usuales de cada clase, separados por barras.
_POSITIVE = "1|pneumonia|neumonía|neumonia|positive|positivo|true|sí|si|yes|bacteria|virus|bacterial|viral"
_NEGATIVE = "0|normal|no finding|negative|negativo|false|no|healthy|sano|sana"
_AGES = ((5, "0 a 4 años"), (18, "5 a 17 años"), (40, "18 a 39 años"), (65, "40 a 64 años"), (121, "65 años o más"))
_MANY = 12


class Listed(NamedTuple):
    """Lo que una tabla dice de las imágenes.

    Attributes
    ----------
    table : DataFrame
        Una fila por imagen: `path` (relativa a `root`), `label`, `original_split`, `patient` si lo hay, y los subgrupos,
        `by_age`, `by_sex`, `by_view` y `by_<columna>`.
    root : Path
        Carpeta a la que se refieren las rutas.
    file : Path
        La tabla.
    notes : list of str
        Lo que hay que decir: qué columnas se usan y qué filas se dejan fuera, y por qué.
    """

    table: "pd.DataFrame"
    root: Path
    file: Path
    notes: list[str]


def scan_source(params: "Params", folder: str | Path) -> "pd.DataFrame":
    """Devuelve el manifiesto de las imágenes de `folder`: las que nombra la tabla de `params`, o las de sus carpetas.

    Parameters
    ----------
    params : Params
        Su fuente, las clases y dónde está el paciente.
    folder : path
        Carpeta de las imágenes.
    """
    whose: dict[str, Any] = {"patient_pattern": params.patient_pattern, "patient_folder": params.patient_folder}
    if params.source == "table":
        return scan_table(str(params.data_dir), params.image_table, **whose)
    return scan(folder, class_names=params.class_names, **whose)


def scan_table(data_dir: str | Path, settings: "Table", **whose: Any) -> "pd.DataFrame":
    """Lee la tabla y devuelve el manifiesto de sus imágenes, como `neumo.data.manifest.scan`, con sus subgrupos.

    `whose` es `patient_pattern` y `patient_folder`: valen donde la tabla no dice el paciente.
    """
    listed = read_table(data_dir, settings)
    how = {name.removeprefix("patient_"): value for name, value in whose.items()}
    return fingerprinted(with_patients(listed.table, **how), listed.root)


def read_table(data_dir: str | Path, settings: "Table") -> Listed:
    """Lee una tabla de radiografías y encuentra sus imágenes.

    Parameters
    ----------
    data_dir : path
        Carpeta de la tabla, o la tabla misma.
    settings : Table
        De `neumo.params`: nombres de las columnas (vacíos: se buscan los usuales; `""`: no se usa) y valores de cada clase.

    Raises
    ------
    NeumoError
        Si falta la tabla, una columna, una clase o toda imagen: dice lo que hay y qué escribir.
    """
    file = _find(Path(data_dir), settings.file)
    rows = _read(file)
    columns, notes = _columns(rows, settings, file)
    rows = rows[rows[columns["path"]] != ""]
    labels = _labels(rows, columns, settings)
    images = rows.drop_duplicates(columns["path"])
    images = images[images[columns["path"]].map(labels) != ""]
    names = list(images[columns["path"]])
    found, root = _locate(names, file.parent, settings.images_dir)
    lost = [name for name, path in zip(names, found, strict=True) if path is None]
    kept = images[[path is not None for path in found]]
    table = _described(kept, columns, settings)
    table.insert(0, "path", [path for path in found if path is not None])
    table.insert(1, "label", list(kept[columns["path"]].map(labels)))
    _check(table, lost, labels, file)
    left = [
        (len(labels) - len(images), "no son de ninguna de las dos clases"),
        (len(lost), "nombran un archivo que no se encuentra"),
    ]
    notes += [f"Imágenes de la tabla que se dejan fuera porque {why}: {n}." for n, why in left if n]
    return Listed(table.drop_duplicates("path").sort_values("path").reset_index(drop=True), root, file, notes)


def composition(partition: "pd.DataFrame") -> "pd.DataFrame":
    """Cuenta las imágenes de cada subgrupo (filas) en cada partición (columnas); vacía si la tabla no da ninguno."""
    import pandas as pd

    used = partition[partition["partition"] != ""]
    names = [name for name in used if name.startswith("by_")]
    counts = {
        HEADERS.get(name, name.removeprefix("by_")): used.assign(value=used[name].astype(str).replace("", "no consta"))
        .groupby(["value", "partition"])
        .size()
        .unstack(fill_value=0)
        .reindex(columns=list(PARTITIONS), fill_value=0)
        for name in names
    }
    return pd.concat(counts, names=["grupo", ""]).reset_index() if counts else pd.DataFrame()


def _find(data_dir: Path, name: str | None) -> Path:
    file = data_dir if data_dir.is_file() else data_dir / name if name else None
    if file is None:
        found = (
            sorted(p for p in data_dir.glob("*") if p.suffix.lower() in (".csv", ".tsv")) if data_dir.is_dir() else []
        )
        if len(found) != 1:
            there = ", ".join(path.name for path in found) or "ninguna"
            raise NeumoError(
                f"En «{data_dir}» se esperaba una tabla .csv o .tsv y hay: {there}. Dígala con image_table.file."
            )
        file = found[0]
    if not file.is_file():
        raise NeumoError(f"No existe la tabla «{file}». Revise data_dir y image_table.file, que cuenta desde data_dir.")
    return file


def _read(file: Path) -> "pd.DataFrame":
    """Lee un CSV o TSV de Excel o de cualquier programa: el separador que más haya en la cabecera, UTF-8 o Windows."""
    import pandas as pd

    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    header = text.partition("\n")[0]
    try:
        rows = pd.read_csv(io.StringIO(text), sep=max(",;\t", key=header.count), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise NeumoError(
            f"«{file.name}» no se entiende como CSV ni TSV ({str(error).strip()}). Guárdela como «CSV UTF-8», con una cabecera."
        ) from None
    return rows.rename(columns=str.strip).apply(lambda column: column.str.strip())


def _columns(rows: "pd.DataFrame", settings: "Table", file: Path) -> tuple[dict[str, str], list[str]]:
    """La columna de cada papel, la pedida o la de nombre usual, y la frase que lo dice."""
    known = {re.sub(r"[\W_]+", "", name.casefold()): name for name in reversed(list(rows))}
    asked = {role: getattr(settings, role) for role in _USUAL}
    columns: dict[str, str] = {role: name for role, name in asked.items() if name}
    absent = [name for name in [*columns.values(), *settings.groups] if name not in rows]
    if absent:
        raise NeumoError(f"En «{file.name}» no hay columna «{absent[0]}». Las que hay: {', '.join(rows)}.")
    for role, names in _USUAL.items():
        free = (known[name] for name in names.split() if name in known and known[name] not in columns.values())
        if asked[role] is None and (name := next(free, None)):
            columns[role] = name
    for role in ("path", "label"):
        if role not in columns:
            raise NeumoError(
                f"En «{file.name}» no se sabe qué columna es {'la ruta' if role == 'path' else 'la clase'}: hay "
                f"{', '.join(rows)}. Dígala con image_table.{role}."
            )
    spanish = {"path": "ruta", "label": "clase", "patient": "paciente", "partition": "partición"}
    spanish |= {"age": "edad", "sex": "sexo", "view": "proyección"}
    told = "; ".join(
        f"{spanish[role]}, «{columns[role]}»{'' if asked[role] else ' (por su nombre)'}"
        for role in _USUAL
        if role in columns
    )
    return columns, [f"Columnas de la tabla: {told}."]


def _normal(value: str) -> str:
    """Un valor de clase para compararlo: sin mayúsculas ni espacios alrededor; `1.0` es `1`."""
    return re.sub(r"^(-?\d+)\.0*$", r"\1", value.strip().casefold())


def _labels(rows: "pd.DataFrame", columns: dict[str, str], settings: "Table") -> dict[str, str]:
    """La clase de cada imagen, con todas sus filas: positiva si algo lo es, negativa si todo lo es, vacía si no o si chocan."""
    values: dict[str, set[str]] = {}
    for name, cell in zip(rows[columns["path"]], rows[columns["label"]], strict=True):
        values.setdefault(name, set()).update(_normal(part) for part in re.split(r"[|;]", cell))
    present = Counter(value for several in values.values() for value in several)
    wanted = []
    for key, usual in (("negative_labels", _NEGATIVE), ("positive_labels", _POSITIVE)):
        asked = [_normal(value) for value in getattr(settings, key)]
        wanted.append(set(asked or usual.split("|")))
        if not wanted[-1] & present.keys():
            seen = ", ".join(f"{value or '(vacío)'} ({n})" for value, n in present.most_common(_MANY))
            raise NeumoError(
                f"La columna «{columns['label']}» no tiene ningún valor de image_table.{key} ({', '.join(sorted(wanted[-1]))}). Tiene: "
                f"{seen}. Diga cuáles son con image_table.{key}=[…]."
            )
    negative, positive = wanted
    return {
        name: (CLASSES[1] if not several & negative else "")
        if several & positive
        else (CLASSES[0] if several <= negative else "")
        for name, several in values.items()
    }


def _locate(names: list[str], base: Path, images_dir: str | None) -> tuple[list[str | None], Path]:
    """La ruta de cada imagen respecto de una carpeta común, y esa carpeta.

    Se busca donde dice la fila, desde `images_dir` o desde la carpeta de la tabla y la de encima; si no hay ninguna, sin sus
    primeras carpetas, las mismas en todas; y si es un nombre suelto, con extensión o sin ella, en cualquier subcarpeta, si no
    hay dos iguales.
    """
    roots = [base / images_dir] if images_dir else [base, base.parent]
    if not roots[0].is_dir():
        raise NeumoError(
            f"No existe la carpeta «{roots[0]}». Revise image_table.images_dir, que cuenta desde la tabla."
        )
    plain = [PurePosixPath(name.replace("\\", "/")) for name in names]
    for skipped in range(max((len(path.parts) for path in plain), default=0)):
        paths = [next(_present(path, skipped, roots), None) for path in plain]
        if any(paths):
            break
    if None in paths:
        index = _index(roots[0])
        paths = [
            path or (index.get(name.name) if len(name.parts) == 1 else None)
            for path, name in zip(paths, plain, strict=True)
        ]
    whole = [Path(os.path.abspath(path)) if path else None for path in paths]
    root, found = Path(os.path.abspath(roots[0])), [path for path in whole if path]
    if not all(path.is_relative_to(root) for path in found):
        root = Path(os.path.commonpath([path.parent for path in found]))
    return [path.relative_to(root).as_posix() if path else None for path in whole], root


def _present(path: PurePosixPath, skipped: int, roots: Sequence[Path]) -> Iterator[Path]:
    tail = path if not skipped else PurePosixPath(*path.parts[skipped:])
    return (root / tail for root in roots if (root / tail).is_file())


def _index(root: Path) -> dict[str, Path]:
    """Las imágenes de una carpeta por su nombre, con extensión y sin ella, si en toda ella solo hay una que se llame así."""
    every = list(image_paths(root))
    count = Counter(key for path in every for key in {path.name, path.stem})
    return {key: path for path in every for key in {path.name, path.stem} if count[key] == 1}


def _check(table: "pd.DataFrame", lost: list[str], labels: dict[str, str], file: Path) -> None:
    counts, told = Counter(table["label"]), Counter(labels.values())
    for label in CLASSES:
        if not counts[label] and lost:
            raise NeumoError(
                f"No se encuentran las imágenes de «{file.name}»: faltan {len(lost)}, la primera «{lost[0]}». Las rutas cuentan "
                "desde la tabla; si están en otra carpeta, dígala con image_table.images_dir."
            )
        if not counts[label]:
            raise NeumoError(
                f"«{file.name}» no deja ninguna imagen de {label}: {told[CLASSES[0]]} NORMAL, {told[CLASSES[1]]} PNEUMONIA y "
                f"{told['']} de ninguna. Revise image_table.positive_labels y image_table.negative_labels."
            )


def _described(table: "pd.DataFrame", columns: dict[str, str], settings: "Table") -> "pd.DataFrame":
    """Lo que se guarda de cada fila, además de la ruta y la clase: partición, paciente y subgrupos."""
    import pandas as pd

    kept = pd.DataFrame({"original_split": ""}, index=table.index)
    if "partition" in columns:
        kept["original_split"] = _partitions(table[columns["partition"]])
    if "patient" in columns:
        kept["patient"] = table[columns["patient"]]
    for role in ("age", "sex", "view"):
        if role in columns:
            values = table[columns[role]]
            kept[f"by_{role}"] = {"age": _age_bands, "sex": _sexes}.get(role, list)(values)
    for name in settings.groups:
        if (values := table[name].nunique()) > _MANY:
            raise NeumoError(
                f"image_table.groups: «{name}» tiene {values} valores distintos, y una tabla por grupos se lee con {_MANY} como "
                "mucho. Agrúpelos en la tabla."
            )
        kept[f"by_{name}"] = table[name]
    return kept


def _partitions(values: "pd.Series") -> list[str]:
    unknown = sorted({value for value in values if value and value.casefold() not in PARTITION_OF})
    if unknown:
        raise NeumoError(
            f"La columna «{values.name}» debería decir la partición ({', '.join(PARTITIONS)}) y dice también «{unknown[0]}». "
            'Corríjala, o no la use: image_table.partition="".'
        )
    return [PARTITION_OF.get(value.casefold(), "") for value in values]


def _age_bands(values: "pd.Series") -> list[str]:
    """Tramos de edad: años, o como en DICOM (`060Y`, `005M`); lo que no es una edad, vacío."""
    units = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 1 / 52, "D": 1 / 365}
    matches = [re.fullmatch(r"(\d+(?:\.\d+)?)\s*([YMWD]?)", value.upper()) for value in values]
    years = [float(match[1]) * units[match[2]] if match else -1 for match in matches]
    return [next((name for top, name in _AGES if 0 <= age < top), "") for age in years]


def _sexes(values: "pd.Series") -> list[str]:
    """Mujer u hombre; `M` es mujer donde también hay `H` o `V`, y hombre donde hay `F` o no se sabe."""
    first = {value[:1].upper() for value in values}
    words = {
        "f": "mujer",
        "female": "mujer",
        "femenino": "mujer",
        "mujer": "mujer",
        "male": "hombre",
        "masculino": "hombre",
    }
    words |= dict.fromkeys(("h", "v", "hombre", "varon", "varón"), "hombre")
    words["m"] = "mujer" if first & {"H", "V"} else "hombre"
    return [words.get(value.casefold(), value) for value in values]
