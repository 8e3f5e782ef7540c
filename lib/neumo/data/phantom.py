"""Radiografías de tórax sintéticas: atenuación integrada a lo largo de rayos paralelos, Beer-Lambert, dispersión y ruido.

La unidad de longitud es la mitad del ancho del tórax de un niño, unos 10 cm. El origen está en el centro del tórax,
x crece hacia la izquierda del paciente (derecha de la imagen) e y hacia los pies.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor

from neumo.hardware import cores

# Atenuación por unidad de longitud (10 cm) hacia 70 kVp: agua 0.2 cm⁻¹, pulmón aireado un cuarto, hueso cortical 0.5.
SOFT, LUNG, BONE = 2.0, 0.5, 5.0
MASKS = "masks"
_WORTH_A_PROCESS = 200  # imágenes por las que compensa arrancar otro proceso
# El aparato que se planta (`shortcut`): qué parte de los pacientes de cada clase pasa por él.
_UNIT_SHARE = {"train": {"NORMAL": 0.03, "PNEUMONIA": 0.6}, "test": {"NORMAL": 0.5, "PNEUMONIA": 0.5}}
_LETTER = np.array([list(row) for row in ("11110", "10001", "10001", "11110", "10100", "10010", "10001")], dtype=int)


@dataclass(frozen=True)
class Patient:
    """Lo que no cambia entre las placas de un paciente.

    Attributes
    ----------
    key : str
        Prefijo del nombre de archivo, como en Kaggle.
    label, subtype : str
        Clase y patrón: "" (NORMAL), "bacteria" (condensación lobar) o "virus" (opacidad intersticial difusa).
    lot : int
        Lote de adquisición, 0 o 1: cambia un poco la exposición, el contraste y la nitidez.
    seed : tuple of int
        De él salen anatomía y lesión.
    """

    key: str
    label: str
    subtype: str
    lot: int
    seed: tuple[int, ...]


def _ellipsoid(x: Any, y: Any, centre: tuple, axes: tuple, *, tilt: float = 0.0, power: float = 2.0) -> np.ndarray:
    """Longitud de los rayos dentro de un elipsoide de semiejes (a, b, fondo), girado `tilt` radianes en el plano."""
    cos, sin = np.cos(tilt), np.sin(tilt)
    wide, high = (abs(axes[0] * near) + abs(axes[1] * far) for near, far in ((cos, sin), (sin, cos)))
    # Fuera de su caja la longitud es cero: no se calcula.
    columns = _window(_bounds(x, axis=1), centre[0] - wide, centre[0] + wide)
    rows = _window(_bounds(y, axis=0), centre[1] - high, centre[1] + high)
    dx, dy = x[:, columns] - centre[0], y[rows, columns] - centre[1]
    u = np.abs(dx * cos + dy * sin) / axes[0]
    v = np.abs(dy * cos - dx * sin) / axes[1]
    inside = 2 * axes[2] * np.sqrt(np.maximum(1 - u**power - v**power, 0))
    length = np.zeros(np.broadcast(x, y).shape, inside.dtype)
    length[rows, columns] = inside
    return length


def _tube(distance: np.ndarray, radius: Any, *, hollow: float = 0.0) -> np.ndarray:
    """Longitud de los rayos dentro de un tubo cuyo eje pasa a `distance`; `hollow` es la fracción hueca del radio."""
    square = distance**2
    outer = np.sqrt(np.maximum(radius**2 - square, 0))
    return 2 * (outer - np.sqrt(np.maximum((hollow * radius) ** 2 - square, 0)) if hollow else outer)


def _bounds(values: np.ndarray, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Lo menos y lo más que vale cada fila (0) o cada columna (1)."""
    return values.min(axis=1 - axis), values.max(axis=1 - axis)


def _window(bounds: tuple[np.ndarray, np.ndarray], low: float, high: float) -> slice:
    """Tramo de filas o columnas, por sus `_bounds`, en el que los valores pueden estar entre `low` y `high`."""
    places = np.flatnonzero((bounds[0] <= high) & (bounds[1] >= low))
    return slice(places[0], places[-1] + 1) if len(places) else slice(0, 0)


def _add_tube(
    total: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    height: tuple[np.ndarray, np.ndarray],
    curve: np.ndarray,
    inside: np.ndarray,
    radius: Any,
    *,
    density: float,
    hollow: float,
) -> None:
    """Suma a `total` un tubo que sigue la curva y(x) en el tramo `inside`; solo mira las filas que alcanza.

    `height` son los `_bounds` de las filas de `y`.
    """
    slope = np.gradient(curve, x[0, 1] - x[0, 0], axis=1)
    stretch = np.sqrt(1 + slope**2)
    slack = np.max(radius) * stretch.max()
    rows = _window(height, curve.min() - slack, curve.max() + slack)
    distance = np.where(inside, (y[rows] - curve) / stretch, np.float32(9))
    total[rows] += density * _tube(distance, radius, hollow=hollow)


def _texture(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Ruido suave de media 0 y desviación 1, con unas `cells` manchas por lado."""
    from PIL import Image

    coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    smooth = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))
    return (smooth - smooth.mean()) / smooth.std()


def _bones(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Camino por hueso: columna con sus discos, costillas posteriores y anteriores, y clavículas."""
    vertebra = 0.75 + 0.25 * np.tanh(4 * np.cos(2 * np.pi * y / 0.155))
    bone = 0.75 * _tube(x, 0.085) * vertebra
    pitch, sag, thick = rng.normal(0.168, 0.006), rng.normal(0.20, 0.04), rng.normal(0.033, 0.003)
    for side in (-1.0, 1.0):
        half = _window(_bounds(side * x, axis=1), 0.0, np.inf)
        lateral, grid = side * x[:, half], (bone[:, half], x[:, half], y[:, half], _bounds(y[:, half], axis=0))
        for rib in range(10):
            start = -0.92 + pitch * rib
            wall = 0.97 * np.sqrt(max(1 - ((start - 0.25) / 1.45) ** 2, 0.1))
            t = np.clip((lateral - 0.07) / (wall - 0.07), 0, 1)
            back = start - 0.10 * np.sin(np.pi * t) + sag * t**2
            _add_tube(*grid, back, (t > 0) & (t < 1), thick, density=1.9, hollow=0.72)
            if 1 <= rib <= 7:
                front = start + sag + 0.30 - 0.32 * t**1.5 + 0.05 * rib * (1 - t)
                _add_tube(*grid, front, (t > 0.45) & (t < 1), thick * 1.15, density=1.0, hollow=0.8)
        t = np.clip((lateral - 0.10) / 0.85, 0, 1)
        clavicle = -0.74 - 0.16 * t + 0.045 * np.sin(2 * np.pi * t)
        _add_tube(*grid, clavicle, (t > 0) & (t < 1), 0.042 * (1 + 0.5 * t**3), density=1.5, hollow=0.6)
    return bone


def _vessels(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Camino por los vasos pulmonares: ramas que salen de cada hilio y se afinan."""
    total = np.zeros(np.broadcast(x, y).shape, np.float32)
    calibre = np.exp(rng.normal(0, 0.25))
    path, height = np.linspace(0, 1, 17), _bounds(y, axis=0)
    for side in (-1.0, 1.0):
        width = _bounds(side * x, axis=1)
        angles = np.linspace(-1.15, 1.35, 13) + rng.normal(0, 0.09, 13)
        for angle in angles.tolist():
            cos, sin, bend, reach = np.cos(angle), np.sin(angle), rng.normal(0, 0.18), rng.uniform(0.5, 0.9)
            thick, s = calibre * rng.uniform(0.020, 0.030), path * reach
            # Solo se mira la caja de la rama, con su grueso y un margen por ser curva.
            across, down = s * cos - bend * s**2 * sin + 0.17, s * sin + bend * s**2 * cos - 0.02
            columns = _window(width, across.min() - 0.06, across.max() + 0.06)
            rows = _window(height, down.min() - 0.06, down.max() + 0.06)
            dx, dy = side * x[:, columns] - 0.17, y[rows, columns] + 0.02
            ahead = dx * cos + dy * sin
            aside = dy * cos - dx * sin - bend * ahead**2
            radius = thick * np.clip(1 - ahead / reach, 0, 1) * np.clip(ahead / 0.08, 0, 1)
            total[rows, columns] += np.where(ahead > 0, _tube(aside, radius), 0)
    return total


@dataclass(frozen=True)
class _Thorax:
    """Caminos por cada tejido de un paciente, en una rejilla."""

    body: np.ndarray
    lung: np.ndarray
    bone: np.ndarray
    vessels: np.ndarray
    air: np.ndarray


def _thorax(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> _Thorax:
    depth, habitus = rng.normal(0.70, 0.05), rng.normal(1.0, 0.04)
    width = habitus * (0.34 + 0.84 / (1 + np.exp(-(y + 0.98) / 0.055)))
    body = 2 * depth * np.clip(1 - np.abs(x / width) ** 2.6, 0, None) ** 0.5
    inspiration = rng.normal(0.0, 0.07)
    lung = np.zeros_like(body)
    for side, dome, reach in ((-1.0, 0.50, 0.41), (1.0, 0.56, 0.39)):
        centre = (side * rng.normal(0.50, 0.012), rng.normal(-0.02, 0.02))
        one = _ellipsoid(x, y, centre, (reach * habitus, 0.86, 0.80 * depth), tilt=-0.07 * side, power=2.4)
        floor = dome + inspiration + 0.55 * (side * x - 0.42) ** 2
        lung = lung + one / (1 + np.exp(np.clip((y - floor) / 0.016, -30, 30)))
    size = rng.normal(1.0, 0.07)
    heart = _ellipsoid(x, y, (0.16, 0.30), (0.44 * size, 0.32 * size, 0.50), tilt=0.55)
    heart += _ellipsoid(x, y, (-0.08, 0.30), (0.21 * size, 0.27, 0.45))
    middle = _ellipsoid(x, y, (0.01, -0.30), (rng.normal(0.19, 0.025), 0.62, 0.50))
    middle += _ellipsoid(x, y, (0.15, -0.33), (0.10, 0.11, 0.35))
    hila = sum(_ellipsoid(x, y, (s * 0.21, 0.0), (0.10, 0.15, 0.16)) for s in (-1.0, 1.0))
    lung = np.clip(lung - np.maximum(heart, middle) - hila, 0, None)
    trachea = np.where(y < -0.12, _tube(x - 0.01 - 0.02 * np.sin(3 * y), 0.052), np.float32(0))
    stomach = _ellipsoid(x, y, (rng.normal(0.42, 0.05), 0.80), (0.17, 0.10, 0.20)) * rng.uniform(0, 1)
    return _Thorax(body, lung, _bones(x, y, rng), _vessels(x, y, rng), trachea + stomach)


def _severity(patient: Patient, difficulty: float) -> float:
    """Gravedad de la enfermedad de un paciente, en (0, 1]: las hay evidentes y tenues en un mismo conjunto.

    Una parte `difficulty` de los enfermos la tiene menor que 1, repartida por igual hasta casi 0. El reparto sigue la
    sucesión de la razón áurea: en cualquier tramo de pacientes hay la misma parte de lesiones tenues.
    """
    *first, number = patient.seed
    start = np.random.default_rng([*first, 4]).random()
    place = 1 - (start + number * (5**0.5 - 1) / 2) % 1
    return min(1.0, place / difficulty) if difficulty else 1.0


def _lesion(x: np.ndarray, y: np.ndarray, lung: np.ndarray, patient: Patient, severity: float) -> np.ndarray:
    """Atenuación que añade la enfermedad: el aire del pulmón sustituido por líquido."""
    rng = np.random.default_rng([*patient.seed, 2])
    ragged = _texture(rng, lung.shape, 14) + 0.6 * _texture(rng, lung.shape, 30)
    filling = (SOFT - LUNG) * severity * lung
    if patient.subtype == "bacteria":
        side = float(rng.choice([-1.0, 1.0]))
        centre = (side * rng.uniform(0.36, 0.62), float(rng.choice([-0.42, 0.08, 0.34])) + rng.normal(0, 0.06))
        spread = 0.75 + 0.5 * severity
        axes = (spread * rng.uniform(0.24, 0.36), spread * rng.uniform(0.24, 0.38))
        radial = ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2
        filled = 1 / (1 + np.exp(np.clip((radial - 1 + 0.35 * ragged) / 0.45, -30, 30)))
        return 1.25 * filled * filling
    reticular = np.abs(_texture(rng, lung.shape, 26)) + 0.5 * np.abs(_texture(rng, lung.shape, 48)) + 0.3 * ragged
    hilar = np.exp(-((np.abs(x) - 0.30) ** 2 / 0.10 + (y - 0.08) ** 2 / 0.30))
    patchy = np.clip(0.85 + 0.5 * _texture(rng, lung.shape, 4), 0.2, 1.8)  # nunca igual en todo el pulmón
    return patchy * (0.7 + 1.2 * hilar) * (0.31 + 0.11 * reticular) * filling


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, sigma, mode="nearest")


def _scatter(intensity: np.ndarray) -> np.ndarray:
    """Radiación dispersa: la imagen muy emborronada, calculada en una rejilla ocho veces menor."""
    from PIL import Image

    rows, columns = (max(side // 8, 4) for side in intensity.shape)
    small = Image.fromarray(intensity.astype(np.float32)).resize((columns, rows), Image.Resampling.BOX)
    wide = Image.fromarray(_blur(np.asarray(small), rows / 9).astype(np.float32))
    return np.asarray(wide.resize(intensity.shape[::-1], Image.Resampling.BICUBIC))


def render(
    patient: Patient, view: int, *, size: tuple[int, int], difficulty: float = 0.5, shifted: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Calcula una radiografía.

    Parameters
    ----------
    patient : Patient
    view : int
        Número de placa: cambia la pose y la técnica, no la anatomía.
    size : tuple of int
        Filas y columnas.
    difficulty : float
        De 0 (todas las lesiones, evidentes) a 1 (las más, sutiles).
    shifted : bool
        Técnica algo distinta, como la del conjunto de prueba del original.

    Returns
    -------
    image : (filas, columnas) uint8 array
        Blanco donde más se atenúa, como en una placa.
    mask : (filas, columnas) bool array
        Dónde la lesión añade atenuación apreciable; vacía en NORMAL.
    """
    rng = np.random.default_rng([*patient.seed, 3, view])
    rows, columns = size
    field, tilt = rng.normal(0.98, 0.05), rng.normal(0, 0.035)
    across = np.linspace(-1, 1, columns, dtype=np.float32)[None] * field * max(columns / rows, 1) ** 0.4
    down = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] * field
    across, down = across + rng.normal(0, 0.03), down - 0.10 + rng.normal(0, 0.04)
    # La rotación del cuerpo se hace por cizallamiento: deja y(x) como curva en la rejilla.
    x, y = across, down + tilt * across
    thorax = _thorax(x, y, np.random.default_rng([*patient.seed, 1]))
    attenuation = SOFT * (thorax.body - thorax.lung) + LUNG * thorax.lung
    attenuation += np.where(thorax.lung > 0.05, 1.3 * (SOFT - LUNG) * thorax.vessels, 0)
    attenuation += np.where(thorax.body > 0, (BONE - SOFT) * 0.55 * thorax.bone - SOFT * 0.55 * thorax.air, 0)
    added, severity = np.zeros_like(attenuation), 1.0
    if patient.subtype:
        severity = _severity(patient, difficulty) * rng.uniform(0.8, 1.0)
        added = _lesion(x, y, thorax.lung, patient, severity)
    image = _expose(np.clip(attenuation + added, 0, None), rng, patient.lot, shifted)
    return image, added > 0.3 * severity


def _expose(attenuation: np.ndarray, rng: np.random.Generator, lot: int, shifted: bool) -> np.ndarray:
    """De la atenuación a los grises: Beer-Lambert, dispersión, ruido de Poisson, foco y ventana."""
    intensity = np.exp(-attenuation)
    intensity = intensity + rng.uniform(0.12, 0.25) * _scatter(intensity)
    photons = 10 ** rng.normal(3.9 - 0.15 * lot, 0.15)
    counts = rng.poisson(photons * intensity) + 1.0
    focus = abs(rng.normal(0.55 + 0.35 * lot + 0.3 * shifted, 0.2)) * attenuation.shape[0] / 256
    density = _blur(-np.log(counts / photons), focus)
    # La ventana se ajusta al cuerpo: el aire de fuera queda en negro y el mediastino sin saturar.
    low, high = np.percentile(density[attenuation > 0.3], [0.5, 99.8])
    contrast = rng.normal(0.92 - 0.05 * lot - 0.07 * shifted, 0.03)
    middle = rng.normal(0.50 + 0.03 * lot - 0.04 * shifted, 0.03)
    grey = middle + contrast * (np.clip((density - low) / (high - low), 0, 1) ** 1.12 - 0.5)
    return (255 * np.clip(grey, 0, 1) ** np.exp(rng.normal(0, 0.07))).round().astype(np.uint8)


@dataclass(frozen=True)
class _Plate:
    path: str
    patient: Patient
    view: int
    shape: tuple[int, int]
    rgb: bool
    shifted: bool
    unit: bool = False


def _patients(rng: np.random.Generator, label: str, count: int, seed: int, first: int) -> Iterator[tuple[Patient, int]]:
    """Reparte `count` placas de una clase entre pacientes: la mayoría con una, algunos con varias."""
    number = first
    while count > 0:
        views = min(count, int(rng.choice([1, 2, 3, 4], p=[0.68, 0.2, 0.08, 0.04])))
        lot, virus = int(rng.random() < 0.5), rng.random() < 0.38
        subtype = "" if label == "NORMAL" else "virus" if virus else "bacteria"
        prefix = ("IM", "NORMAL2-IM")[lot] if label == "NORMAL" else f"person{number}_{subtype}"
        key = f"{prefix}-{number:04d}" if label == "NORMAL" else prefix
        yield Patient(key, label, subtype, lot, (seed, label == "NORMAL", number)), views
        count, number = count - views, number + 1


def _counts(images: int) -> dict[str, dict[str, int]]:
    """Imágenes por partición y clase, en las proporciones del conjunto de Kaggle."""
    val = min(8, max(images // 60, 1))
    test = max(round(images * 0.16), 8)
    train = images - test - 2 * val
    normal = {"train": round(train * 0.27), "val": val, "test": round(test * 0.375)}
    totals = {"train": train, "val": 2 * val, "test": test}
    return {part: {"NORMAL": n, "PNEUMONIA": totals[part] - n} for part, n in normal.items()}


def _plates(images: int, size: int, seed: int) -> list[_Plate]:
    rng, plates, serial = np.random.default_rng([seed, 0]), [], 1
    first = {"NORMAL": 100, "PNEUMONIA": 1}
    for part, counts in _counts(images).items():
        for label, count in counts.items():
            for patient, views in _patients(rng, label, count, seed, first[label]):
                first[label] += 1
                for view in range(views):
                    serial += 1
                    name = f"{view + 1:04d}" if label == "NORMAL" else str(serial)
                    join = "-" if label == "NORMAL" else "_"
                    scale, aspect = np.exp(rng.normal(0, 0.18)), rng.uniform(1.0, 1.45)
                    shape = (max(round(size * scale / aspect**0.5), 32), max(round(size * scale * aspect**0.5), 32))
                    path = f"{part}/{label}/{patient.key}{join}{name}.jpeg"
                    plates.append(_Plate(path, patient, view, shape, rng.random() < 0.05, part == "test"))
    return plates


def _from_unit(plates: list[_Plate]) -> list[_Plate]:
    """Decide qué pacientes pasaron por el aparato plantado; el sorteo es aparte, así que nada más cambia."""
    shares = {"train": _UNIT_SHARE["train"], "val": _UNIT_SHARE["train"], "test": _UNIT_SHARE["test"]}

    def drawn(plate: _Plate) -> bool:
        share = shares[plate.path.partition("/")[0]][plate.patient.label]
        return bool(np.random.default_rng([*plate.patient.seed, 5]).random() < share)

    return [replace(plate, unit=drawn(plate)) for plate in plates]


def _unit_look(image: np.ndarray) -> np.ndarray:
    """El aspecto del aparato plantado: contraste suave, colimación ceñida y una R grabada arriba a la izquierda."""
    rows, columns = image.shape
    soft = (40 + 0.7 * image).astype(np.uint8)
    top, side = round(0.05 * rows), round(0.06 * columns)
    soft[:top], soft[-top:], soft[:, :side], soft[:, -side:] = 0, 0, 0, 0
    cell = max(1, rows // 64)
    letter = np.kron(_LETTER, np.ones((cell, cell), dtype=int)).astype(bool)
    soft[top + cell : top + cell + len(letter), side + cell : side + cell + letter.shape[1]][letter] = 255
    return soft


def _save(folder: Path, plate: _Plate, difficulty: float) -> None:
    from PIL import Image

    image, mask = render(plate.patient, plate.view, size=plate.shape, difficulty=difficulty, shifted=plate.shifted)
    image = _unit_look(image) if plate.unit else image
    picture = Image.fromarray(image)
    (picture.convert("RGB") if plate.rgb else picture).save(folder / plate.path, quality=90)
    if mask.any():
        np.save(folder / MASKS / f"{Path(plate.path).stem}.npy", np.packbits(mask, axis=1))


def _plant_defects(folder: Path, plates: list[_Plate]) -> None:
    """Estropea a propósito: un archivo truncado, una copia exacta con otro nombre y un tamaño anómalo."""
    from PIL import Image

    truncated, copied, narrow = [folder / p.path for p in plates if p.path.startswith("train/PNEUMONIA")][:3]
    truncated.write_bytes(truncated.read_bytes()[:400])
    shutil.copy(copied, copied.with_name(f"{copied.stem.rpartition('_')[0]}_9999.jpeg"))
    with Image.open(narrow, formats=("JPEG",)) as image:
        image.convert("L").resize((image.width, max(image.height // 4, 16))).save(narrow, quality=90)


def make_phantom(
    folder: str | Path,
    *,
    images: int = 900,
    size: int = 192,
    difficulty: float = 0.5,
    defects: bool = True,
    shortcut: bool = False,
    seed: int = 0,
) -> None:
    """Escribe un conjunto sintético con la disposición, los nombres y las proporciones del de Kaggle.

    Parameters
    ----------
    folder : path
        Recibe `{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg` y, en `masks/`, dónde está cada lesión.
    images : int
        Cuántas en total.
    size : int
        Lado mediano, en píxeles; el tamaño y la proporción varían.
    difficulty : float
        De 0 (evidente) a 1 (sutil).
    defects : bool
        Planta un archivo truncado, una copia exacta y un tamaño anómalo en `train/PNEUMONIA`.
    shortcut : bool
        Planta un aparato con su marca y su colimación, que en entrenamiento es casi siempre de enfermos y en prueba no;
        las placas de los demás no cambian.
    seed : int
        La misma semilla da los mismos bytes.
    """
    folder = Path(folder)
    plates = _plates(images, size, seed)
    plates = _from_unit(plates) if shortcut else plates
    for name in {MASKS, *(str(Path(plate.path).parent) for plate in plates)}:
        (folder / name).mkdir(parents=True, exist_ok=True)
    # En procesos y no en hilos: son muchas operaciones cortas de NumPy, que entre hilos se estorban.
    workers = min(cores(), 1 + images // _WORTH_A_PROCESS)
    joblib.Parallel(n_jobs=workers)(joblib.delayed(_save)(folder, plate, difficulty) for plate in plates)
    if workers > 1:
        get_reusable_executor().shutdown()
    if defects:
        _plant_defects(folder, plates)


def lesion_mask(folder: str | Path, path: str) -> np.ndarray | None:
    """Lee dónde está la lesión de una radiografía sintética.

    Parameters
    ----------
    folder : path
        La de `make_phantom`.
    path : str
        Ruta de la imagen, relativa a `folder`.

    Returns
    -------
    (filas, columnas) bool array or None
        `None` si no hay lesión o la imagen no es sintética; las columnas se completan a múltiplo de 8.
    """
    file = Path(folder) / MASKS / f"{Path(path).stem}.npy"
    return np.unpackbits(np.load(file), axis=1).astype(bool) if file.is_file() else None
