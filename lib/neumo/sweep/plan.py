"""El plan de un barrido: qué puntos pide un archivo de parámetros, cómo se llama cada uno y cuál está ya hecho."""

import dataclasses
import functools
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from neumo.cache import write_atomically
from neumo.errors import NeumoError
from neumo.modules import digest, modules_digest
from neumo.params import Params
from neumo.params_reader import checked, load, read_sweep
from neumo.report.chapters import read_chapters
from neumo.report.graph import needed
from neumo.run import Run, encode, versions
from neumo.sweep.point import DONE

SEEDS = "final_seeds"


def _two_digits(value: Any) -> Any:
    return value if value is None else str(value).zfill(2)


class Sweep(BaseModel):
    """El grupo `sweep` de un archivo de parámetros."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    until: Annotated[Literal["09", "10", "11"] | None, BeforeValidator(_two_digits)] = "10"  # vacío: el informe entero
    seeds: list[int] = Field([])
    grid: dict[str, list[Any]] = Field({})
    points: list[dict[str, Any]] = Field([])
    final: dict[str, Any] | None = None
    memory_gb: float = Field(2.0, gt=0)


@dataclass(frozen=True, eq=False)
class Point:
    """Un punto del barrido: una ejecución como las demás, con unos cambios.

    Attributes
    ----------
    folder : Path
        `build/<barrido>/<punto>`.
    config : str
        Sus cambios sin la semilla: lo que tienen en común los puntos que solo se distinguen en ella.
    changes : dict
        Claves con punto y sus valores, como en `SET`.
    params : Params
        Los que resultan.
    until : str
        Capítulo hasta el que llega; vacío, el informe entero.
    final : bool
        Si es de la configuración declarada final: la única cuya prueba se muestra.
    """

    folder: Path
    config: str
    changes: dict[str, Any]
    params: Params
    until: str
    final: bool = False

    @property
    def run(self) -> Run:
        """La ejecución del punto."""
        return Run(folder=self.folder, params=self.params)

    def digest(self, images: str) -> str:
        """Resume lo que decide si está hecho: parámetros, capítulos con su código, versiones y listado de imágenes."""
        return digest([self.params.model_dump(mode="json"), self.until, _code(self.until), versions(), images])

    def done(self, images: str) -> dict[str, Any] | None:
        """Lee lo que dejó escrito al terminar, si sigue valiendo."""
        try:
            record = json.loads((self.folder / DONE).read_bytes())
        except (OSError, ValueError):
            return None
        return record if record.get("digest") == self.digest(images) else None

    def order(self, params: Path) -> list[str]:
        """Compone los argumentos de `python -m neumo`: la orden que haría este punto solo."""
        changes = " ".join(shlex.quote(f"{key}={json.dumps(value)}") for key, value in self.changes.items())
        order = ["report", "--params", str(params), "--build", str(self.folder.parent), "--run", self.folder.name]
        return [*order, "--set", changes, *(["--until", self.until] if self.until else [])]


@functools.cache
def _code(until: str) -> list:
    chapters = read_chapters()
    wanted = needed(chapters, until) if until else chapters
    return [[chapter.cells, modules_digest(chapter.modules)] for chapter in wanted]


def read_plan(path: Path, folder: Path, *, overrides: dict[str, Any] | None = None) -> tuple[Sweep, list[Point]]:
    """Lee un archivo con el grupo `sweep` y devuelve sus puntos, sin repetir ninguno; el primero es la base.

    Parameters
    ----------
    path : Path
        Archivo de parámetros.
    folder : Path
        `build/<barrido>`.
    overrides : dict, optional
        Los de `SET`, que valen para todos los puntos.

    Raises
    ------
    NeumoError
        Si no hay `sweep`, alguna clave o valor no vale, o `final` no es ninguna de sus configuraciones.
    """
    known, where = overrides or {}, f"{path}, sweep"
    if (values := read_sweep(path)) is None:
        raise NeumoError(
            f"{path} no dice qué barrer: añádale un grupo como «sweep: {{grid: {{repaired.learning_rate: [0.001, 0.003]}}}}»."
        )
    sweep = checked(values, Sweep, where=where)
    if sweep.seeds and sweep.until == "09":
        raise NeumoError(
            f"{where}: seeds son las semillas de los modelos finales, que entrena el capítulo 10, y until es {sweep.until}. "
            "Suba until, o quite seeds y ponga `seed` en grid (sortea además la partición)."
        )
    found: dict[str, Point] = {}
    for changes in _changes(sweep):
        params = load(path, {**known, **changes})
        place = folder / _name(changes)
        point = Point(place, _described(changes), {**known, **changes}, params, sweep.until or "")
        found.setdefault(digest(params.model_dump(mode="json")), point)
    return sweep, list(_finished(found.values(), sweep, load(path, {**known, **(sweep.final or {})}), where))


def _changes(sweep: Sweep) -> Iterator[dict[str, Any]]:
    grid = (dict(zip(sweep.grid, values, strict=True)) for values in itertools.product(*sweep.grid.values()))
    for config in ({}, *grid, *sweep.points):
        yield from ({**config, SEEDS: [seed]} for seed in sweep.seeds) if sweep.seeds else [config]


def _described(changes: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in changes.items() if key != SEEDS) or "base"


def _name(changes: dict[str, Any]) -> str:
    """Nombre de carpeta que no depende de los demás puntos: así un barrido puede crecer sin repetir nada."""
    seeds = f" semilla {json.dumps(changes[SEEDS])}" if SEEDS in changes else ""
    name = re.sub(r"[^\w.+-]+", "-", _described(changes) + seeds).strip("-")
    return name if len(name) <= 80 else f"{name[:60]}-{digest(changes)}"


def _finished(points: Any, sweep: Sweep, final: Params, where: str) -> Iterator[Point]:
    """Los puntos, con los de la configuración `final` llevados hasta la prueba."""
    same = {SEEDS} if sweep.seeds else set()
    wanted, hits = final.model_dump(exclude=same), 0
    for point in points:
        is_final = sweep.final is not None and point.params.model_dump(exclude=same) == wanted
        hits += is_final
        until = max(point.until, "11") if is_final and point.until else point.until
        yield dataclasses.replace(point, until=until, final=is_final)
    if sweep.final is not None and not hits:
        raise NeumoError(f"{where}: final no es ninguna de las configuraciones del barrido. Póngala también en points.")


def write_plan(folder: Path, points: list[Point], *, images: str) -> None:
    """Deja en la carpeta del barrido lo que hace falta para leerlo (`neumo.sweep.tables.load`)."""
    rows = [
        {
            "point": point.folder.name,
            "config": point.config,
            "params": point.params.model_dump(mode="json"),
            "until": point.until,
            "final": point.final,
            "digest": point.digest(images),
        }
        for point in points
    ]
    keys = sorted({key for point in points for key in point.changes if key != SEEDS})
    write_atomically(folder / "plan.json", encode({"keys": keys, "points": rows}, ".json"))
