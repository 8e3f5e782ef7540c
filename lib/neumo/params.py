"""Parámetros del informe: la única fuente de nombres, tipos, límites, valores por omisión y ayuda."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from neumo.errors import NeumoError


def _field(default: Any, help_text: str, **bounds: Any) -> Any:
    return Field(default, description=help_text, **bounds)


# Ni claves de más, ni infinitos, ni un tipo por otro: `true` no es 1.
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


class _Model(BaseModel):
    model_config = _STRICT


def _distinct(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError(f"hay valores repetidos en la lista {values}: cada uno, una vez")
    return values


_Seeds = Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], AfterValidator(_distinct)]
_Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Phantom(_Model):
    """Radiografías sintéticas de la fuente `phantom`."""

    images: int = _field(800, "imágenes sintéticas en total", ge=60, le=20_000)
    size: int = _field(128, "lado mediano de cada imagen, en píxeles", ge=64, le=1024)
    difficulty: float = _field(0.2, "parte de los enfermos con lesión tenue: de 0 (ninguno) a 1", ge=0, le=1)
    defects: bool = _field(True, "planta archivos defectuosos para el capítulo 03")
    shortcut: bool = _field(False, "planta un aparato que en entrenamiento es casi siempre de enfermos, y en prueba no")


def _as_name(given: Any) -> Any:
    """Donde se pide un nombre, lo escrito es un nombre, aunque parezca un número o un sí o no."""
    return str(given).lower() if isinstance(given, bool) else str(given) if isinstance(given, int | float) else given


_Name = Annotated[str, BeforeValidator(_as_name)]
_Names = list[_Name]


class Table(_Model):
    """La tabla de la fuente `table`: qué columna es cada cosa (vacía: la de nombre usual; `""`: no se usa)."""

    file: _Name | None = _field(None, "archivo CSV o TSV, desde data_dir (vacío: el único que haya)")
    images_dir: _Name | None = _field(None, "carpeta de las imágenes, desde la de la tabla (vacío: esa misma)")
    path: _Name | None = _field(None, "columna de la ruta de la imagen")
    label: _Name | None = _field(None, "columna de la clase")
    negative_labels: _Names = _field([], "valores que son NORMAL (ninguno: los usuales)")
    positive_labels: _Names = _field([], "valores que son PNEUMONIA (ninguno: los usuales)")
    patient: _Name | None = _field(None, "columna del paciente")
    partition: _Name | None = _field(None, "columna de la partición")
    age: _Name | None = _field(None, "columna de la edad")
    sex: _Name | None = _field(None, "columna del sexo")
    view: _Name | None = _field(None, "columna de la proyección")
    groups: _Names = _field([], "otras columnas cuyos valores son subgrupos")


class External(_Model):
    """Otro conjunto de imágenes, que solo se lee al final: ni se entrena ni se elige con él."""

    name: _Key = _field(..., "nombre del conjunto en las tablas")
    source: Literal["folder", "table"] = _field("folder", "carpetas o tabla")
    data_dir: _Name = _field(..., "carpeta de las imágenes o de la tabla")
    class_names: Annotated[_Names, AfterValidator(_distinct)] = _field(
        ["NORMAL", "PNEUMONIA"], "carpetas de las clases: negativa, positiva", min_length=2, max_length=2
    )
    image_table: Table = _field(Table(), "columnas y clases, si es una tabla")
    patient_pattern: str | None = _field(None, "como el general")
    patient_folder: int | None = _field(None, "como el general", ge=1, le=9)


def _named_apart(sets: list[External]) -> list[External]:
    names = [one.name for one in sets]
    if len(set(names)) < len(names) or {"train", "val", "test"} & set(names):
        raise ValueError(f"los nombres son {', '.join(names)}: cada conjunto, el suyo, y ninguno train, val ni test")
    return sets


class Augmentation(_Model):
    """Aumento de datos; nombres de `ImageDataGenerator`, cero = apagado."""

    rotation_range: float = _field(20.0, "giro máximo, en grados", ge=0, le=180)
    width_shift_range: float = _field(0.2, "desplazamiento horizontal, fracción del ancho", ge=0, lt=1)
    height_shift_range: float = _field(0.2, "desplazamiento vertical, fracción del alto", ge=0, lt=1)
    shear_range: float = _field(0.2, "cizallamiento, en grados", ge=0, lt=90)
    zoom_range: float = _field(0.2, "zoom: factor en [1 - z, 1 + z]", ge=0, lt=1)
    horizontal_flip: bool = _field(True, "volteo horizontal al azar")
    fill_mode: Literal["nearest", "reflect", "constant", "wrap"] = _field("nearest", "relleno de los bordes")
    brightness_range: float = _field(0.0, "brillo aditivo, fracción de 255", ge=0, lt=1)
    contrast_range: float = _field(0.0, "contraste: factor en [1 - c, 1 + c]", ge=0, lt=1)
    gamma_range: float = _field(0.0, "logaritmo natural de gamma, en [-g, g]", ge=0, le=2)
    blur_range: float = _field(0.0, "desenfoque o realce, de 0 a 1", ge=0, le=1)
    noise_stddev: float = _field(0.0, "ruido gaussiano, fracción de 255", ge=0, lt=1)
    spectrum_range: float = _field(0.0, "mezcla del espectro con otra imagen del lote, de 0 a 1", ge=0, le=1)
    cutout_fraction: float = _field(0.0, "lado del parche borrado, fracción de la imagen", ge=0, lt=1)
    crop_area: float = _field(0.0, "recorte al azar: su área mínima, fracción de la imagen (0: ninguno)", ge=0, le=1)
    crop_ratio: float = _field(4 / 3, "recorte al azar: proporción entre lados, en [1/r, r]", ge=1, le=4)


class Experiment(_Model):
    """Un entrenamiento: red, optimización y datos que ve."""

    name: str = _field("experimento", "lo pone `Params.experiment`", exclude=True)
    network: Literal["original", "residual"] = _field("original", "arquitectura")
    image_size: int | None = _field(None, "lado de la imagen en píxeles (vacío: el general)", ge=16, le=512)
    channels: Literal[1, 3] | None = _field(None, "canales (vacío: los generales)")
    learning_rate: float = _field(0.001, "tasa de aprendizaje de Adam", gt=0, le=10)
    epochs: int = _field(10, "épocas", ge=1, le=500)
    batch_size: int = _field(32, "imágenes por lote", ge=2, le=512)
    kernel_size: int = _field(3, "lado del filtro de las convoluciones", ge=1, le=11)
    dropout: float = _field(0.5, "fracción de neuronas apagadas", ge=0, lt=1)
    batchnorm_momentum: float = _field(0.99, "inercia de las medias móviles", ge=0, lt=1)
    recompute_batchnorm: bool = _field(False, "recalcula las medias móviles tras entrenar")
    l2: float = _field(0.0, "penalización L2 de Dense(128)", ge=0, le=1)
    class_weight: bool = _field(False, "pesa las clases por igual")
    augmentation: Augmentation | None = _field(Augmentation(), "aumento de datos (vacío: ninguno)")
    schedule: Literal["constant", "cosine"] = _field("constant", "curva de la tasa de aprendizaje")
    warmup_epochs: float = _field(0.0, "épocas de calentamiento", ge=0, le=50)
    label_smoothing: float = _field(0.0, "suavizado de etiquetas", ge=0, lt=0.5)
    precision: Literal["float32", "bfloat16", "auto"] = _field("float32", "precisión del cálculo")
    width: int = _field(16, "filtros del primer bloque de la red residual", ge=4, le=128)
    source_scale: Literal[1, 2, 3, 4] = _field(1, "aumenta desde imágenes de tantas veces el lado de la red")
    views: Literal[1, 2, 6] = _field(1, "vistas al predecir: 2, la imagen y su espejo; 6, además más cerca y más lejos")
    decision: Literal["threshold", "argmax"] = _field("threshold", "cómo se lee la salida")

    @property
    def source_size(self) -> int:
        """Lado, en píxeles, de las imágenes de entrenamiento antes de aumentarlas (con `image_size` resuelto)."""
        return (self.image_size or 0) * self.source_scale


class LrFinder(_Model):
    """Búsqueda de la tasa de aprendizaje (capítulo 08)."""

    min_lr: float = _field(1e-7, "tasa inicial", gt=0)
    max_lr: float = _field(10.0, "tasa final", gt=0)
    steps: int = _field(100, "lotes de la prueba", ge=20, le=2000)
    smoothing: float = _field(0.98, "inercia del suavizado de la pérdida", ge=0, lt=1)
    divergence: float = _field(4.0, "se detiene a tantas veces la mejor pérdida", gt=1)
    repeats: int = _field(3, "repeticiones con otras semillas", ge=1, le=20)

    @model_validator(mode="after")
    def _ordered(self) -> "LrFinder":
        if self.min_lr >= self.max_lr:
            raise ValueError(f"min_lr ({self.min_lr:g}) debe ser menor que max_lr ({self.max_lr:g})")
        return self


class Decision(_Model):
    """Regla de decisión, fijada antes de leer la prueba."""

    policy: Literal["fixed", "youden"] = _field("fixed", "umbral fijo o de Youden en validación")
    threshold: float = _field(0.5, "umbral de probabilidad si la regla es `fixed`", gt=0, lt=1)


class Anatomy(_Model):
    """Experimentos controlados del capítulo 12."""

    image_size: int = _field(32, "lado de la imagen, en píxeles", ge=16, le=224)
    epochs: int = _field(10, "épocas del experimento de normalización", ge=1, le=20)
    rate_epochs: int = _field(5, "épocas con cada tasa", ge=1, le=20)
    high_rates: list[float] = _field([0.03, 0.1, 1.0], "tasas altas que se comparan", min_length=1)


class Ablation(_Model):
    """Correcciones una a una (capítulo 13)."""

    image_size: int = _field(32, "lado de la imagen, en píxeles", ge=16, le=224)
    epochs: int = _field(6, "épocas de cada variante", ge=1, le=100)
    seeds: _Seeds = _field([0, 1], "semillas", min_length=1)

    def applied(self, experiment: Experiment) -> Experiment:
        """Devuelve `experiment` con el tamaño y las épocas de la ablación."""
        return experiment.model_copy(update=self.model_dump(include={"image_size", "epochs"}))


class LotShift(_Model):
    """Entrenar con un lote de adquisición y medir con el otro (capítulo 13)."""

    image_size: int | None = _field(64, "lado que ve cada red, en píxeles (vacío: el suyo)", ge=16, le=224)
    epochs: int | None = _field(10, "épocas de cada red (vacío: las suyas)", ge=1, le=500)
    seeds: _Seeds = _field([0], "semillas", min_length=1)

    def applied(self, experiment: Experiment) -> Experiment:
        """Devuelve `experiment` con el tamaño y las épocas que aquí se fijen."""
        fixed = self.model_dump(include={"image_size", "epochs"}, exclude_none=True)
        return experiment.model_copy(update=fixed)


class Explanation(_Model):
    """Mapas de Grad-CAM y atajos (capítulo 15)."""

    images: int = _field(60, "imágenes que se explican", ge=4, le=2000)


_ATTEMPTS = {
    "intento_1": {"learning_rate": 0.001, "epochs": 10, "batch_size": 16},
    "intento_2": {"learning_rate": 0.03, "epochs": 10, "batch_size": 16},
    "intento_3": {"learning_rate": 0.003, "epochs": 10, "batch_size": 16},
    "intento_4": {"learning_rate": 0.005, "epochs": 10, "batch_size": 16, "class_weight": True, "l2": 0.001},
}
_REPAIRED = {"epochs": 10, "batch_size": 16, "recompute_batchnorm": True, "batchnorm_momentum": 0.9}
_REPAIRED |= {"class_weight": True, "l2": 0.001}
# Lo que pide el fantoma, de lesiones tenues y pocas imágenes; los perfiles de radiografías reales añaden desenfoque,
# ruido, parche y suavizado de etiquetas, que en él tapan la lesión.
_ROBUST = {"rotation_range": 10.0, "width_shift_range": 0.1, "height_shift_range": 0.1, "shear_range": 5.0}
_ROBUST |= {"gamma_range": 0.5, "brightness_range": 0.1, "spectrum_range": 1.0}
_IMPROVED = {"network": "residual", "image_size": 64, "width": 16, "dropout": 0.3, "batchnorm_momentum": 0.9}
_IMPROVED |= {"learning_rate": 0.003, "schedule": "cosine", "warmup_epochs": 1.0, "epochs": 12}
_IMPROVED |= {"class_weight": True, "precision": "auto", "views": 6, "augmentation": _ROBUST}

_Final = Literal["original", "reparado", "mejorado"]
_SHARED = ("image_size", "channels")
USED_BY = {
    "tried": ("attempts", *_SHARED),
    "original": ("attempts", "original_attempt", *_SHARED),
    "reparado": ("repaired", *_SHARED),
    "mejorado": ("improved", *_SHARED),
    "experiment": ("attempts", "original_attempt", "repaired", "improved", *_SHARED),
}
"""De qué parámetros sale cada experimento, y lo que devuelven `Params.tried` y `Params.experiment`."""


def _fits(experiment: Experiment) -> bool:
    """Dice si a la red de 13 capas le queda algo tras sus tres convoluciones, cada una con su submuestreo."""
    side = experiment.image_size
    for _ in range(3):
        side = (side - experiment.kernel_size + 1) // 2
    return side >= 1


def _both_classes(counts: dict[str, int]) -> dict[str, int]:
    if len(counts) < 2:
        raise ValueError(f"vale {counts} y hacen falta las dos clases: NORMAL y PNEUMONIA")
    return counts


def _names_patient(pattern: str | None) -> str | None:
    try:
        named = pattern is None or "patient" in re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"vale «{pattern}» y no es una expresión regular ({error})") from None
    if not named:
        raise ValueError(f"vale «{pattern}» y le falta el grupo del paciente: (?P<patient>…)")
    return pattern


def _has_threshold(name: Any) -> Any:
    if name == "original":
        raise ValueError(
            "«original» se lee con arg-max, como entonces, y no tiene umbral: elija reparado, mejorado o auto"
        )
    return name


_Counts = Annotated[dict[Literal["NORMAL", "PNEUMONIA"], Annotated[int, Field(ge=1)]], AfterValidator(_both_classes)]


class Params(_Model):
    """Todos los parámetros de un informe."""

    source: Literal["phantom", "folder", "table", "kaggle", "pneumoniamnist"] = _field(
        "phantom", "origen de las radiografías"
    )
    data_dir: _Name | None = _field(None, "carpeta de las imágenes (folder, pneumoniamnist) o de la tabla (table)")
    image_table: Table = _field(Table(), "columnas y clases de la fuente table")
    class_names: Annotated[_Names, AfterValidator(_distinct)] = _field(
        ["NORMAL", "PNEUMONIA"], "carpetas de las clases: negativa, positiva", min_length=2, max_length=2
    )
    patient_pattern: Annotated[str | None, AfterValidator(_names_patient)] = _field(
        None, "expresión regular con un grupo `patient` que se busca en la ruta (vacío: esquemas conocidos)"
    )
    patient_folder: int | None = _field(
        None, "carpeta con el nombre del paciente: 1, la que contiene la imagen; 2, la de encima", ge=1, le=9
    )
    external: Annotated[
        list[External],
        BeforeValidator(lambda given: [given] if isinstance(given, dict) else given),
        AfterValidator(_named_apart),
    ] = _field([], "otros conjuntos (name, data_dir, source…) que las redes finales leen una vez, al final")
    phantom: Phantom = _field(Phantom(), "radiografías sintéticas de la fuente phantom")
    pneumoniamnist_size: Literal[28, 64, 128, 224] = _field(64, "lado de PneumoniaMNIST, en píxeles")
    seed: int = _field(0, "semilla de todo lo que se sortea", ge=0, le=2**31 - 1)
    image_size: int = _field(32, "lado de la imagen que ven las redes, en píxeles", ge=16, le=512)
    channels: Literal[1, 3] = _field(1, "canales: 1 (gris) o 3 (gris repetido)")
    threads: int | None = _field(1, "hilos de cálculo de cada capítulo (vacío: todos los núcleos)", ge=1, le=256)
    val_fraction: float = _field(0.2, "fracción de pacientes para validación", gt=0, lt=0.9)
    val_counts: _Counts | None = _field(None, "imágenes de validación por clase (manda sobre val_fraction)")
    test_fraction: float = _field(0.15, "fracción de pacientes para prueba si no hay test/", gt=0, lt=0.9)
    attempts: dict[_Key, Experiment] = _field(_ATTEMPTS, "los intentos del original, por su nombre", min_length=1)
    original_attempt: str = _field("intento_1", "intento que representa al original en la prueba")
    repaired: Experiment = _field(_REPAIRED, "la red original, reparada")
    improved: Experiment = _field(_IMPROVED, "la red mejorada")
    final_models: Annotated[list[_Final], AfterValidator(_distinct)] = _field(
        list(get_args(_Final)), "modelos que se leen una vez en la prueba, al menos dos", min_length=2
    )
    final_seeds: _Seeds = _field([0, 1, 2], "semillas de los modelos finales", min_length=1)
    chosen_model: Annotated[Literal["auto", "reparado", "mejorado"], BeforeValidator(_has_threshold)] = _field(
        "auto", "modelo que usa predict (auto: el mejor en validación)"
    )
    lr_finder: LrFinder = _field(LrFinder(), "búsqueda de la tasa de aprendizaje")
    decision: Decision = _field(Decision(), "regla de decisión, fijada antes de leer la prueba")
    bootstrap_resamples: int = _field(10_000, "remuestreos por paciente", ge=100, le=100_000)
    anatomy: Anatomy = _field(Anatomy(), "experimentos del capítulo 12")
    ablation: Ablation = _field(Ablation(), "ablación del capítulo 13")
    lot_shift: LotShift = _field(LotShift(), "cambio de lote del capítulo 13")
    explanation: Explanation = _field(Explanation(), "mapas y atajos del capítulo 15")

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        if problem := next(self._problems(), None):
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        names = ", ".join(self.attempts)
        if self.original_attempt not in self.attempts:
            yield f"original_attempt es «{self.original_attempt}» y los intentos son {names}"
        if taken := set(self.attempts) & set(get_args(_Final)):
            yield f"hay un intento llamado {', '.join(taken)}: ese nombre es de un modelo final; use otro"
        if self.experiment("original").network != "original":
            yield (
                f"el intento que representa al original ({self.original_attempt}) no es la red de 13 capas: el capítulo 12 "
                "la desmonta; señale otro en original_attempt"
            )
        for one in (*self.tried(), *map(self.experiment, ("reparado", "mejorado")), *self._reduced()):
            if one.network == "original" and not _fits(one):
                yield (
                    f"la red de 13 capas no cabe en imágenes de {one.image_size} píxeles con filtros de lado "
                    f"{one.kernel_size} (experimento {one.name}): suba image_size o baje kernel_size"
                )
            if one.warmup_epochs > one.epochs:
                yield (
                    f"warmup_epochs ({one.warmup_epochs:g}) pasa de epochs ({one.epochs}) en el experimento {one.name} y "
                    "la tasa no llegaría a su valor: baje una o suba la otra"
                )
        readable = [name for name in self.final_models if self.experiment(name).decision == "threshold"]
        if not readable:
            yield "todos los modelos de final_models se leen con arg-max, y predict necesita uno que tenga umbral"
        if self.chosen_model not in ("auto", *readable):
            yield (f"chosen_model es «{self.chosen_model}», y de final_models se leen con umbral {', '.join(readable)}")
        if self.patient_pattern and self.patient_folder:
            yield "patient_pattern y patient_folder dicen lo mismo de dos maneras: deje una"
        if self.source in ("folder", "table") and not self.data_dir:
            yield f'source es «{self.source}» y falta data_dir: escriba SET="data_dir=carpeta"'

    def outside(self, name: str) -> "Params":
        """Devuelve estos parámetros con las imágenes del conjunto externo `name` en lugar de las propias."""
        one = next(one for one in self.external if one.name == name)
        return self.model_copy(update={key: getattr(one, key) for key in External.model_fields if key != "name"})

    def experiment(self, name: str) -> Experiment:
        """Devuelve el experimento de un nombre, con su tamaño de imagen, sus canales y su precisión resueltos.

        Parameters
        ----------
        name : str
            Un intento (`intento_1`, …) o un modelo final (`original`, `reparado`, `mejorado`).

        Raises
        ------
        NeumoError
            Si no hay experimento de ese nombre.
        """
        original = self.attempts[self.original_attempt].model_copy(update={"decision": "argmax"})
        found = self.attempts | {"original": original, "reparado": self.repaired, "mejorado": self.improved}
        if name not in found:
            raise NeumoError(f"No hay experimento «{name}». Los que hay: {', '.join(found)}.")
        return self.resolve(found[name].model_copy(update={"name": name}))

    def tried(self) -> list[Experiment]:
        """Devuelve los intentos del original, en su orden, resueltos como los de `experiment`."""
        return [self.experiment(name) for name in self.attempts]

    def _reduced(self) -> Iterator[Experiment]:
        """Los experimentos de los capítulos 12 y 13, con lo que allí se les cambia."""
        for name, side in (("anatomy", self.anatomy.image_size), ("ablation", self.ablation.image_size)):
            yield self.experiment("original").model_copy(update={"name": name, "image_size": side})
        for name in ("reparado", "mejorado"):
            yield self.lot_shift.applied(self.experiment(name)).model_copy(update={"name": f"{name} de lot_shift"})

    def resolve(self, experiment: Experiment) -> Experiment:
        """Completa el tamaño de imagen y los canales de `experiment` con los generales, y decide su precisión.

        `auto` se decide aquí, según el procesador: así una caché llevada a otra máquina no da por suyas sus redes.
        """
        from neumo.hardware import resolved_precision

        return experiment.model_copy(
            update={
                "precision": resolved_precision(experiment.precision),
                "image_size": experiment.image_size or self.image_size,
                "channels": experiment.channels or self.channels,
            }
        )
