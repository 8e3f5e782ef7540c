"""La carpeta de una ejecución: el nombre de cada artefacto, cómo se guarda, cómo se lee y de qué parámetros salió."""

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neumo import __version__
from neumo.cache import decode_table, encode_table, file_digest, library_versions, write_atomically
from neumo.errors import NeumoError
from neumo.modules import code_digest, digest
from neumo.params import Params
from neumo.progress import VARIABLE

INTERACTIVE = "interactivo"
_IMAGES = ("source", "data_dir", "image_table")  # de qué imágenes habla un artefacto: se compara siempre

# nombre -> (archivo, capítulo que lo escribe; "" si lo escribe la orden `report` antes del primer capítulo)
ARTEFACTS = {
    "params": ("params.json", ""),
    "source": ("source.json", ""),
    "listing": ("listing.csv", ""),
    "external": ("external.json", ""),
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
    "predictions_external": ("predictions_external.csv", "11"),
    "intervals_external": ("intervals_external.csv", "11"),
    "metrics": ("metrics.json", "11"),
    "intervals": ("intervals.csv", "11"),
    "calibration": ("calibration.json", "11"),
    "chosen": ("chosen.json", "11"),
    "threshold_data": ("threshold_data.json", "11"),
    "models": ("models", "11"),
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


def encode(value: Any, suffix: str) -> bytes:
    """Escribe un artefacto: tabla en CSV, estructura en JSON (lo que no es un número finito queda en `null`) o texto."""
    if suffix == ".csv":
        return encode_table(value)
    if suffix == ".json":
        return (json.dumps(_to_json(value), ensure_ascii=False, indent=1) + "\n").encode()
    return str(value).encode()


def _decode(content: bytes, suffix: str) -> Any:
    if suffix == ".csv":
        return decode_table(content)
    return json.loads(content) if suffix == ".json" else content.decode()


def versions() -> dict[str, str]:
    """Versión de Python y de las bibliotecas que pueden cambiar un número."""
    return {"python": platform.python_version(), **library_versions()}


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
        Parámetros que este cuaderno usa.
    """

    folder: Path
    params: Params
    used: tuple[str, ...] = ()
    _inherited: dict = field(default_factory=dict, repr=False)

    @property
    def cache(self) -> Path:
        """Carpeta de la caché, común a todas las ejecuciones."""
        return self.folder.parent / "cache"

    @property
    def images_folder(self) -> Path:
        """Carpeta de las radiografías de esta ejecución; fuera de ella, porque quien comparte `build/<nombre>` no dice dónde están.

        Raises
        ------
        NeumoError
            Si no se sabe dónde están.
        """
        return self._place(read_places(self.folder).get("images"))

    def outside_folder(self, name: str) -> Path:
        """Carpeta de las radiografías del conjunto externo `name`, como `images_folder`."""
        return self._place(read_places(self.folder).get("external", {}).get(name))

    def _place(self, folder: str | None) -> Path:
        if folder:
            return Path(folder)
        raise NeumoError(
            f"No se sabe dónde están las imágenes de «{self.folder.name}»: dé la orden `make report`, que lo anota."
        )

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

    def model_files(self) -> dict[str, list[Path]]:
        """Devuelve las redes finales que la ejecución guarda: de cada modelo, una por semilla, en su orden."""
        names, seeds = self.params.final_models, self.params.final_seeds
        return {name: [self.path("models") / f"{name}-{seed}.keras" for seed in seeds] for name in names}

    def files(self, name: str) -> list[Path]:
        """Devuelve los archivos de un artefacto: casi siempre uno; de `models`, una red por modelo y semilla."""
        if name != "models":
            return [self.path(name)]
        return [path for several in self.model_files().values() for path in several]

    def seal(self, chapter: str) -> dict[str, Any]:
        """Lee el sello de un capítulo: `parameters`, `versions`, `code` (qué neumo lo hizo) y la huella de cada archivo (`files`).

        Vacío si no lo hay: lo que escribe la orden `report` antes del primer capítulo ("") no lo tiene nunca.
        """
        path = self._seal_path(chapter)
        try:
            return json.loads(path.read_bytes()) if path.is_file() else {}
        except ValueError:
            return {}

    def _seal_path(self, chapter: str) -> Path:
        return self.folder / "seals" / f"{chapter}.json"

    def is_whole(self, name: str) -> bool:
        """Dice si los archivos del artefacto `name` están y son los que escribió su capítulo."""
        files, chapter = self.files(name), ARTEFACTS[name][1]
        known = self.seal(chapter).get("files", {})
        return all(
            path.is_file() and (not chapter or known.get(self._relative(path)) == file_digest(path)) for path in files
        )

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def save(self, name: str, value: Any) -> None:
        """Escribe un artefacto de una pieza y anota los parámetros de los que salió.

        No devuelve su ruta: al final de una celda la llevaría, entera, al cuaderno ejecutado.

        Parameters
        ----------
        name : str
            Nombre del artefacto; su archivo decide el formato.
        value : DataFrame, dict or str
            Tabla para CSV, diccionario para JSON, texto para lo demás.
        """
        write_atomically(self.path(name), encode(value, self.path(name).suffix))
        self.stamp(name)

    def stamp(self, name: str) -> None:
        """Pone en el sello del capítulo un artefacto que ya está escrito: sus huellas y de qué parámetros salió."""
        values, chapter = shown(self.params), ARTEFACTS[name][1]
        parameters = {**self._inherited, **{key: values[key] for key in self.used}}
        before = self.seal(chapter)
        same = all(parameters.get(key, value) == value for key, value in before.get("parameters", {}).items())
        seal = {
            "parameters": parameters,
            "versions": versions(),
            "code": f"{__version__} ({code_digest()})",
            "files": (before.get("files", {}) if same else {})
            | {self._relative(path): file_digest(path) for path in self.files(name)},
        }
        write_atomically(self._seal_path(chapter), encode(seal, ".json"))

    def load(self, name: str) -> Any:
        """Lee un artefacto; de `models`, los archivos de cada modelo.

        Raises
        ------
        NeumoError
            Si falta, si está dañado o si salió de otros parámetros que los de este cuaderno: dice qué cuaderno lo escribe.
        """
        if not self.is_whole(name):
            problem = "Está dañado" if all(path.is_file() for path in self.files(name)) else "Falta"
            raise NeumoError(f"{problem} «{self.path(name).name}» en {self.folder.name}: {self._remedy(name)}")
        self._check_parameters(name)
        if name == "models":
            return self.model_files()
        return _decode(self.path(name).read_bytes(), self.path(name).suffix)

    def _check_parameters(self, name: str) -> None:
        made_with = self.seal(ARTEFACTS[name][1]).get("parameters", {})
        values = shown(self.params)
        # Cuenta lo que usa este cuaderno, de qué imágenes se habla y lo que traían los artefactos ya leídos.
        known = self._inherited | {key: values[key] for key in (*_IMAGES, *self.used)}
        for key in (*_IMAGES, *known):  # las imágenes, lo primero que se compara
            if key in made_with and made_with[key] != known[key]:
                raise NeumoError(
                    f"«{self.path(name).name}» se hizo con {key} = {json.dumps(made_with[key])[:80]} y aquí vale "
                    f"{json.dumps(known[key])[:80]}: {self._remedy(name)}"
                )
        self._inherited.update(made_with)

    def _remedy(self, name: str) -> str:
        chapter = ARTEFACTS[name][1]
        if not chapter:
            return "lo escribe la orden `make report`: désela."
        if self.folder.name == INTERACTIVE:
            return f"lo escribe el cuaderno {chapter}. Ejecútelo antes con estos parámetros."
        return f"lo escribe el cuaderno {chapter}. Haga `make report` con estos parámetros."


def shown(params: Params, *, apart: bool = True) -> dict[str, Any]:
    """Los parámetros como se comparten: de cada ruta absoluta, su última parte.

    Parameters
    ----------
    params : Params
    apart : bool
        Añadir un resumen de la ruta, que distingue dos carpetas que se llaman igual.

    Examples
    --------
    >>> shown(Params(source="folder", data_dir="/casa/de/ana/placas"))["data_dir"]
    'placas (9afc20)'
    """

    def named(place: str | None) -> str | None:
        if not place or not Path(place).is_absolute():
            return place
        return Path(place).name + (f" ({digest(place)[:6]})" if apart else "")

    def apart_from(values: dict[str, Any]) -> dict[str, Any]:
        table = {key: named(values["image_table"][key]) for key in ("file", "images_dir")}
        return values | {"data_dir": named(values["data_dir"]), "image_table": values["image_table"] | table}

    values = params.model_dump(mode="json")
    return apart_from(values) | {"external": [apart_from(one) for one in values["external"]]}


def private_folder(folder: Path) -> Path:
    """Carpeta de lo que una ejecución no comparte: dónde están las imágenes y el estado del grafo."""
    return folder.parent / "cache" / "runs" / folder.name


def read_places(folder: Path) -> dict[str, Any]:
    """Lee dónde están las imágenes de una ejecución (`images`) y sus parámetros enteros (`params`); vacío si no se sabe."""
    try:
        return json.loads((private_folder(folder) / "places.json").read_bytes())
    except (OSError, ValueError):
        return {}


def exploring(folder: Path) -> bool:
    """Dice si se trabaja en JupyterLab, en la ejecución `interactivo`, y no en una construcción."""
    return folder.name == INTERACTIVE and VARIABLE not in os.environ


def project_root() -> Path:
    """Devuelve la carpeta del proyecto: la más cercana hacia arriba que tenga `notebooks/` y `params/`."""
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    return Path.cwd()


def inherited_parameters(run: Run, names: Iterable[str]) -> dict[str, Any]:
    """Reúne los parámetros de los que salieron unos artefactos."""
    chapters = dict.fromkeys(ARTEFACTS[name][1] for name in names)
    return {key: value for chapter in chapters for key, value in run.seal(chapter).get("parameters", {}).items()}
