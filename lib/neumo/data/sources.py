"""De dónde vienen las radiografías: sintéticas, una carpeta, una tabla, Kaggle o PneumoniaMNIST; siempre acaban en una carpeta."""

import csv
import hashlib
import io
from dataclasses import asdict, dataclass
from pathlib import Path

from neumo.cache import cached, write_atomically
from neumo.data import pneumoniamnist
from neumo.data.layout import Layout, files, find
from neumo.data.table import read_table
from neumo.errors import NeumoError
from neumo.params import Params
from neumo.run import Run, encode, private_folder, shown

KAGGLE = "paultimothymooney/chest-xray-pneumonia"
_KAGGLE_VERSION = 2  # con la versión puesta, kagglehub usa sin red lo ya descargado
KAGGLE_CITATION = "Kermany, Zhang y Goldbaum, Mendeley Data, doi:10.17632/rscbjbr9sj; CC BY 4.0"
OFFICIAL_TEST = {"NORMAL": 234, "PNEUMONIA": 390}


@dataclass(frozen=True)
class Source:
    """Una carpeta de radiografías y lo que hay que decir de ella.

    Attributes
    ----------
    folder : Path
        Con `{train,val,test}/<clase>/` o `<clase>/`.
    name : str
        Fuente pedida.
    description : str
        Frase para la portada.
    synthetic : bool
        Si las imágenes son sintéticas.
    official_test : bool
        Si la prueba tiene las cuentas del conjunto de Kaggle (234 y 390): solo entonces se compara con lo publicado.
    citation : str
        Cita y licencia, vacía si no se conocen.
    notes : tuple of str
        Frases para el capítulo 02: lo que se entendió y lo que se deja fuera.
    files : tuple of Path
        La tabla y las imágenes que nombra; vacía si no hay tabla.
    """

    folder: Path
    name: str
    description: str
    synthetic: bool
    official_test: bool
    citation: str
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def locate(params: Params, *, cache: Path) -> Source:
    """Deja las imágenes de `params.source` en una carpeta y la describe.

    Parameters
    ----------
    params : Params
        `source` y lo que esa fuente use: `data_dir`, `class_names`, `phantom`, `pneumoniamnist_size`, `seed`.
    cache : Path
        Donde se guardan las imágenes generadas o descargadas.

    Raises
    ------
    NeumoError
        Si la carpeta no existe o no tiene las dos clases, o si una descarga no puede hacerse.
    """
    builders = {
        "phantom": _phantom,
        "folder": _folder,
        "table": _table,
        "kaggle": _kaggle,
        "pneumoniamnist": _pneumoniamnist,
    }
    return builders[params.source](params, Path(cache))


def _phantom(params: Params, cache: Path) -> Source:
    settings = params.phantom.model_dump()

    def build(folder: Path) -> None:
        from neumo.data.phantom import make_phantom

        make_phantom(folder, **settings, seed=params.seed)

    folder = cached(cache, "phantom", {**settings, "seed": params.seed}, build, code="neumo.data.phantom")
    text = f"{params.phantom.images} radiografías sintéticas de {params.phantom.size} píxeles, sin ningún paciente real"
    return Source(folder, "phantom", text, True, False, "")


def _folder(params: Params, cache: Path) -> Source:
    layout = find(Path(str(params.data_dir)), class_names=params.class_names)
    official = _is_official(layout)
    text = f"radiografías de la carpeta «{Path(str(params.data_dir)).name}»"
    return Source(
        layout.root, "folder", text, False, official, KAGGLE_CITATION if official else "", tuple(layout.notes)
    )


def _table(params: Params, cache: Path) -> Source:
    listed = read_table(str(params.data_dir), params.image_table)
    named = (listed.file, *(listed.root / path for path in listed.table["path"]))
    text = f"{len(listed.table)} radiografías de la tabla «{listed.file.name}»"
    return Source(listed.root, "table", text, False, False, "", tuple(listed.notes), named)


def _kaggle(params: Params, cache: Path) -> Source:
    by_hand = (
        f"Descárguelo a mano de https://www.kaggle.com/datasets/{KAGGLE}, descomprímalo y use "
        'SET="source=folder data_dir=chest_xray".'
    )
    try:
        import kagglehub

        downloaded = Path(kagglehub.dataset_download(f"{KAGGLE}/versions/{_KAGGLE_VERSION}"))
    except ImportError:
        raise NeumoError(f"La fuente kaggle necesita el paquete kagglehub, que no está instalado. {by_hand}") from None
    except Exception as error:
        raise NeumoError(f"Kaggle no respondió ({type(error).__name__}): sin red o sin cuenta. {by_hand}") from error
    layout = find(downloaded, class_names=params.class_names)
    text = f"el conjunto de Kaggle {KAGGLE}"
    return Source(layout.root, "kaggle", text, False, _is_official(layout), KAGGLE_CITATION, tuple(layout.notes))


def _is_official(layout: Layout) -> bool:
    return {label: count for (part, label), count in layout.counts.items() if part == "test"} == OFFICIAL_TEST


def _pneumoniamnist(params: Params, cache: Path) -> Source:
    folder, text = pneumoniamnist.unpacked(params, cache=cache)
    citation = "Yang et al. 2023, Zenodo 10519652, de Kermany et al. 2018; CC BY 4.0"
    return Source(
        folder, "pneumoniamnist", text, False, _is_official(find(folder, class_names=params.class_names)), citation
    )


def prepare(run: Run) -> Source:
    """Resuelve la fuente de imágenes y escribe los artefactos previos al primer capítulo.

    Escribe `params` (todos, resueltos), `source` (qué imágenes son) y `listing` (ruta, tamaño y fecha de cada una,
    para ver si algo cambió) y `external` (los conjuntos externos, vacía si no hay). Dónde están las imágenes queda aparte: no
    es cosa de quien lea el informe.
    """
    source = locate(run.params, cache=run.cache)
    outside = {one.name: locate(run.params.outside(one.name), cache=run.cache) for one in run.params.external}
    away = {name: str(found.folder) for name, found in outside.items()}
    places = {"images": str(source.folder), "external": away, "params": run.params.model_dump(mode="json")}
    write_atomically(private_folder(run.folder) / "places.json", encode(places, ".json"))
    write_atomically(run.path("params"), encode(shown(run.params), ".json"))
    described = {key: value for key, value in asdict(source).items() if key not in ("folder", "files")}
    described["folder_name"] = source.folder.name
    write_atomically(run.path("source"), encode(described, ".json"))
    write_atomically(run.path("listing"), _listing(source.folder, _files(source, run.folder.parent)))
    write_atomically(run.path("external"), encode([_outside(run, *one) for one in outside.items()], ".json"))
    return source


def _outside(run: Run, name: str, source: Source) -> dict[str, object]:
    """Lo que hay que saber de un conjunto externo; `digest` cambia si cambia alguno de sus archivos."""
    listing = _listing(source.folder, _files(source, run.folder.parent))
    told = {"name": name, "description": source.description, "notes": source.notes}
    settings = next(one for one in shown(run.params)["external"] if one["name"] == name)
    return told | {"settings": settings, "digest": hashlib.sha256(listing).hexdigest()}


def _files(source: Source, build: Path) -> list[Path]:
    """Los archivos de los que depende la ejecución: los que nombra la tabla, o los de la carpeta, sin los que escribe el informe."""
    if source.files:
        return list(source.files)
    written = build.is_relative_to(source.folder)
    return sorted(path for path in files(source.folder) if not (written and path.is_relative_to(build)))


def _listing(folder: Path, found: list[Path]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "size", "mtime_ns"])
    for path in found:
        if path.is_file():
            status = path.stat()
            name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
            rows.writerow([name, status.st_size, status.st_mtime_ns])
    return text.getvalue().encode(errors="backslashreplace")  # un nombre puede no estar en UTF-8
