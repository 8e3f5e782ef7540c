"""La carpeta de una ejecución: el nombre de cada artefacto, cómo se guarda, cómo se lee y de qué parámetros salió."""

import csv
import hashlib
import io
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neumo.cache import write_atomically
from neumo.errors import NeumoError
from neumo.params import Params, validate
from neumo.progress import VARIABLE

if TYPE_CHECKING:
    from neumo.data.store import ImageSet

INTERACTIVE = "interactivo"
_IMAGES = ("source", "data_dir")  # de qué imágenes habla un artefacto: se compara siempre

# nombre -> (archivo, capítulo que lo escribe; "" si lo escribe la orden `report` antes del primer capítulo)
ARTEFACTS = {
    "params": ("params.json", ""),
    "source": ("source.json", ""),
    "listing": ("listing.csv", ""),
    "manifest": ("manifest.csv", "02"),
    "inspection": ("inspection.csv", "02"),
    "partition": ("partition.csv", "02"),
    "exclusions": ("exclusions.csv", "03"),
    "layers": ("layers.csv", "06"),
    "lr_curves": ("lr_curves.csv", "08"),
    "lr_suggestions": ("lr_suggestions.csv", "08"),
    "attempts": ("attempts.csv", "09"),
    "history_attempts": ("history_attempts.csv", "09"),
    "predictions_attempts": ("predictions_attempts.csv", "09"),
    "final": ("final.csv", "10"),
    "history_final": ("history_final.csv", "10"),
    "predictions_final": ("predictions_final.csv", "10"),
    "predictions_test": ("predictions_test.csv", "11"),
    "metrics": ("metrics.json", "11"),
    "intervals": ("intervals.csv", "11"),
    "calibration": ("calibration.json", "11"),
    "chosen": ("chosen.json", "11"),
    "anatomy": ("anatomy.json", "12"),
    "ablation": ("ablation.csv", "13"),
    "predictions_ablation": ("predictions_ablation.csv", "13"),
    "explanation": ("explanation.json", "15"),
    "model_card": ("ficha.md", "15"),
    "reproducibility": ("reproducibility.json", "16"),
}


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if hasattr(value, "tolist"):
        return _to_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _encode(value: Any, suffix: str) -> bytes:
    if suffix == ".csv":
        return value.to_csv(index=False, lineterminator="\n", na_rep="nan").encode()
    if suffix == ".json":
        return (json.dumps(_to_json(value), ensure_ascii=False, indent=1) + "\n").encode()
    return str(value).encode()


def _decode(content: bytes, suffix: str) -> Any:
    if suffix == ".csv":
        import pandas as pd

        return pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=["nan", "NaN"])
    return json.loads(content) if suffix == ".json" else content.decode()


@dataclass(frozen=True)
class Run:
    """Una ejecución del informe: su carpeta, sus parámetros y lo que se ha leído en este capítulo.

    Attributes
    ----------
    folder : Path
        `build/<nombre>`.
    params : Params
        Parámetros completos y validados.
    used : tuple of str
        Parámetros que este cuaderno declara en su celda `parameters`.
    """

    folder: Path
    params: Params
    used: tuple[str, ...] = ()
    _seal: dict = field(default_factory=dict, repr=False)

    @property
    def cache(self) -> Path:
        """Carpeta de la caché, común a todas las ejecuciones."""
        return self.folder.parent / "cache"

    @property
    def images_folder(self) -> Path:
        """Carpeta de las radiografías de esta ejecución."""
        return Path(self.load("source")["folder"])

    def image_set(self, partition: str, *, image_size: int | None = None) -> "ImageSet":
        """Devuelve las imágenes de una partición, decodificadas una sola vez.

        Parameters
        ----------
        partition : {"train", "val", "test"}
        image_size : int, optional
            Lado en píxeles; por omisión, el general de los parámetros.
        """
        from neumo.data import store

        table = self.load("partition")
        kept = table[table["partition"] != ""]
        images = store.load(
            kept, self.images_folder, image_size=image_size or self.params.image_size, cache=self.cache
        )
        return images.partition(partition)

    def path(self, name: str) -> Path:
        """Devuelve la ruta del artefacto `name`.

        Raises
        ------
        NeumoError
            Si no hay artefacto de ese nombre.
        """
        if name not in ARTEFACTS:
            raise NeumoError(f"No hay artefacto «{name}». Los que hay: {', '.join(ARTEFACTS)}.")
        return self.folder / ARTEFACTS[name][0]

    def seal_path(self, name: str) -> Path:
        """Devuelve la ruta del sello de un artefacto: los parámetros de los que salió."""
        return self.folder / "seals" / f"{name}.json"

    def exists(self, name: str) -> bool:
        """Dice si el artefacto `name` ya está escrito."""
        return self.path(name).is_file()

    def save(self, name: str, value: Any) -> Path:
        """Escribe un artefacto de una pieza y anota los parámetros de los que salió.

        Parameters
        ----------
        name : str
            Nombre del artefacto; su archivo decide el formato.
        value : DataFrame, dict or str
            Tabla para CSV, diccionario para JSON, texto para lo demás.
        """
        values = self.params.model_dump(mode="json")
        seal = {**self._seal, **{key: values[key] for key in self.used}}
        write_atomically(self.path(name), _encode(value, self.path(name).suffix))
        write_atomically(self.seal_path(name), _encode(seal, ".json"))
        return self.path(name)

    def load(self, name: str) -> Any:
        """Lee un artefacto.

        Raises
        ------
        NeumoError
            Si falta, o si salió de otros parámetros que los de este cuaderno: dice qué cuaderno lo escribe.
        """
        path = self.path(name)
        if not path.is_file():
            self._make(name)
        self._check_seal(name)
        return _decode(path.read_bytes(), path.suffix)

    def _make(self, name: str) -> None:
        """Hace un artefacto que falta, si se está explorando; en una construcción, el grafo ya debió hacerlo."""
        chapter = ARTEFACTS[name][1]
        if self.folder.name != INTERACTIVE or not chapter or VARIABLE in os.environ:
            raise NeumoError(f"Falta «{self.path(name).name}» en {self.folder.name}: {_remedy(name)}")
        from neumo.report.graph import build

        print(
            f"Falta «{self.path(name).name}»: se ejecuta el cuaderno {chapter}, con lo que necesite. Puede tardar."
        )
        build(self, until=chapter)

    def _check_seal(self, name: str) -> None:
        seal_path = self.seal_path(name)
        seal = json.loads(seal_path.read_bytes()) if seal_path.is_file() else {}
        values = self.params.model_dump(mode="json")
        # Cuenta lo que declara este cuaderno, de qué imágenes se habla y lo que traían los artefactos ya leídos.
        mine = {key: values[key] for key in (*_IMAGES, *self.used)}
        known = self._seal | mine
        for key in (*_IMAGES, *known):  # las imágenes, lo primero que se compara
            if key in seal and seal[key] != known[key]:
                raise NeumoError(
                    f"«{self.path(name).name}» se hizo con {key} = {json.dumps(seal[key])[:80]} y aquí vale "
                    f"{json.dumps(known[key])[:80]}: {_remedy(name)}"
                )
        self._seal.update(seal)


def _remedy(name: str) -> str:
    chapter = ARTEFACTS[name][1]
    who = f"lo escribe el cuaderno {chapter}" if chapter else "lo escribe la orden `make report`"
    return f"{who}. Ejecútelo antes con estos parámetros, o haga `make report`."


def open_run(cell: Mapping[str, Any]) -> Run:
    """Abre la ejecución de un cuaderno a partir de las variables de su celda `parameters`.

    Parameters
    ----------
    cell : mapping
        `globals()` del cuaderno: de él se toman `run_dir` y los nombres que son parámetros.

    Returns
    -------
    Run
        Con los parámetros de la carpeta (si `make report` la preparó) y, por encima, los de la celda.

    Raises
    ------
    NeumoError
        Si algún valor de la celda no vale.
    """
    # TensorFlow fija él mismo el nivel de su registro al importarse; un filtro puesto antes se conserva.
    logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
    used = tuple(name for name in Params.model_fields if name in cell)
    folder = Path(cell.get("run_dir", f"build/{INTERACTIVE}"))
    if not folder.is_absolute():
        folder = project_root() / folder
    stored = folder / "params.json"
    # Quien explora no acumula cambios: sus parámetros son los de la celda y, los demás, por omisión. Los capítulos que
    # la exploración hace por su cuenta son una construcción: toman los de quien los pidió.
    exploring = folder.name == INTERACTIVE and VARIABLE not in os.environ
    base = json.loads(stored.read_bytes()) if stored.is_file() and not exploring else {}
    params = validate({**base, **{name: cell[name] for name in used}}, where="celda de parámetros")
    if params.data_dir and not Path(params.data_dir).is_absolute():
        # JupyterLab arranca el núcleo en notebooks/; la ruta de la celda cuenta desde el proyecto.
        params = params.model_copy(update={"data_dir": str(project_root() / params.data_dir)})
    run = Run(folder=folder, params=params, used=used)
    if exploring:
        prepare(run)
    return run


def prepare(run: Run) -> None:
    """Resuelve la fuente de imágenes y escribe los artefactos previos al primer capítulo.

    Escribe `params` (todos, resueltos), `source` (qué imágenes son) y `listing` (ruta, tamaño y fecha de cada una,
    para ver si algo cambió).
    """
    from neumo.data import sources

    source = sources.prepare(run.params, cache=run.cache)
    write_atomically(run.path("params"), _encode(run.params.model_dump(mode="json"), ".json"))
    described = {**asdict(source), "folder": str(source.folder), "folder_name": source.folder.name}
    write_atomically(run.path("source"), _encode(described, ".json"))
    write_atomically(run.path("listing"), _listing(source.folder))


def _listing(folder: Path) -> bytes:
    found = sorted(
        Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names
    )
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "size", "mtime_ns"])
    for path in found:
        if path.is_file():
            status = path.stat()
            rows.writerow([path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns])
    return text.getvalue().encode()


def project_root() -> Path:
    """Devuelve la carpeta del proyecto: la más cercana hacia arriba que tenga `notebooks/` y `params/`."""
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    return Path.cwd()


def file_digest(path: Path) -> str:
    """Resume los bytes de un archivo (SHA-256 en hexadecimal)."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
