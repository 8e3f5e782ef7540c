"""Parámetros del informe: la única fuente de nombres, tipos, límites, valores por omisión y ayuda."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from neumo.errors import NeumoError

if TYPE_CHECKING:
    import pandas as pd


def _field(default: Any, help_text: str, **bounds: Any) -> Any:
    if isinstance(default, (list, BaseModel)):
        return Field(default_factory=lambda: default, description=help_text, **bounds)
    return Field(default, description=help_text, **bounds)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`seed=true` no es un 1: pydantic lo tomaría por tal."""
        inside = value if isinstance(value, list) else [value]
        expects_number = "bool" not in str(cls.model_fields[info.field_name].annotation)
        if expects_number and any(isinstance(one, bool) for one in inside):
            raise ValueError(
                f"vale {value!r}, que es sí o no, y se esperaba otra cosa: un número, un texto o un grupo"
            )
        return value


def _distinct(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError(f"hay valores repetidos en la lista {values}: cada uno, una vez")
    return values


_Seeds = Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], AfterValidator(_distinct)]


class Phantom(_Model):
    """Radiografías sintéticas de la fuente `phantom`."""

    images: int = _field(800, "imágenes sintéticas en total", ge=60, le=20_000)
    size: int = _field(192, "lado mediano de cada imagen, en píxeles", ge=64, le=1024)
    difficulty: float = _field(0.5, "de 0 (evidente) a 1 (sutil)", ge=0, le=1)
    defects: bool = _field(True, "planta archivos defectuosos para el capítulo 03")


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


class Experiment(_Model):
    """Un entrenamiento: red, optimización y datos que ve."""

    name: str = _field("experimento", "nombre", pattern=r"^[a-z][a-z0-9_]*$")
    network: Literal["original", "residual", "transfer"] = _field("original", "arquitectura")
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
    weights: Literal["imagenet"] | None = _field(None, "pesos de partida de la red `transfer`")
    test_time_augmentation: bool = _field(
        False, "promedia seis vistas al predecir: tres escalas y sus espejos"
    )
    decision: Literal["threshold", "argmax"] = _field("threshold", "cómo se lee la salida")

    @model_validator(mode="after")
    def _warms_up_in_time(self) -> "Experiment":
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs ({self.warmup_epochs:g}) pasa de epochs ({self.epochs}): la tasa no llegaría a su valor"
            )
        return self


# Lo que pide el fantoma, de lesiones tenues y pocas imágenes; los perfiles de radiografías reales añaden desenfoque,
# ruido, parche y suavizado de etiquetas, que en él tapan la lesión.
_ROBUST = Augmentation(
    rotation_range=10,
    width_shift_range=0.1,
    height_shift_range=0.1,
    shear_range=5,
    zoom_range=0.2,
    gamma_range=0.5,
    brightness_range=0.1,
    spectrum_range=1,
)
_IMPROVED = Experiment(
    name="mejorado",
    network="residual",
    image_size=64,
    width=24,
    learning_rate=0.003,
    schedule="cosine",
    warmup_epochs=1,
    epochs=18,
    dropout=0.3,
    batchnorm_momentum=0.9,
    class_weight=True,
    precision="auto",
    test_time_augmentation=True,
    augmentation=_ROBUST,
)


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

    image_size: int = _field(64, "lado de la imagen, en píxeles", ge=16, le=224)
    epochs: int = _field(3, "épocas del experimento de normalización", ge=1, le=20)
    high_rates: list[float] = _field([0.03, 0.1, 1.0], "tasas altas que se comparan", min_length=1)


class Ablation(_Model):
    """Correcciones una a una (capítulo 13)."""

    image_size: int = _field(48, "lado de la imagen, en píxeles", ge=16, le=224)
    epochs: int = _field(4, "épocas de cada variante", ge=1, le=100)
    seeds: _Seeds = _field([0, 1], "semillas", min_length=1)


class LotShift(_Model):
    """Entrenar con un lote de adquisición y medir con el otro (capítulo 13)."""

    image_size: int | None = _field(
        64, "lado de la imagen, en píxeles (vacío: el de cada red)", ge=16, le=224
    )
    epochs: int | None = _field(10, "épocas de cada red (vacío: las suyas)", ge=1, le=500)
    seeds: _Seeds = _field([0], "semillas", min_length=1)


class Explanation(_Model):
    """Mapas de Grad-CAM y atajos (capítulo 15)."""

    images: int = _field(60, "imágenes que se explican", ge=4, le=2000)


_ATTEMPTS = {
    "intento_1": {"learning_rate": 0.001, "epochs": 6},
    "intento_2": {"learning_rate": 0.03, "epochs": 6},
    "intento_3": {"learning_rate": 0.003, "epochs": 6},
    "intento_4": {"learning_rate": 0.005, "epochs": 6, "class_weight": True, "l2": 0.001},
}


def attempts_by_name(attempts: Any) -> Any:
    """Da a cada intento su nombre: el de su clave o, en una lista (como se escribía antes), el que trae dentro.

    Un intento vacío (`intento_4: null`) se quita.
    """
    if isinstance(attempts, list):
        named = [a if isinstance(a, dict) else {} for a in attempts]
        if len({a.get("name") for a in named}) < len(named):
            raise ValueError(
                "en la lista hay intentos sin nombre o con el mismo: escriba attempts: {nombre: {…}, …}"
            )
        attempts = {a["name"]: a for a in named}
    if isinstance(attempts, dict):
        pairs = {name: a for name, a in attempts.items() if a is not None}
        return {name: {**a, "name": name} if isinstance(a, dict) else a for name, a in pairs.items()}
    return attempts


_FINAL = ("original", "reparado", "mejorado")
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


def _both_classes(counts: dict[str, int] | None) -> dict[str, int] | None:
    if counts is not None and len(counts) < 2:
        raise ValueError(f"vale {counts} y hacen falta las dos clases: NORMAL y PNEUMONIA")
    return counts


class Params(_Model):
    """Todos los parámetros de un informe."""

    source: Literal["phantom", "folder", "kaggle", "pneumoniamnist"] = _field(
        "phantom", "origen de las radiografías"
    )
    data_dir: str | None = _field(None, "carpeta de las imágenes (fuentes folder y pneumoniamnist)")
    class_names: Annotated[list[str], AfterValidator(_distinct)] = _field(
        ["NORMAL", "PNEUMONIA"], "carpetas de las clases: negativa, positiva", min_length=2, max_length=2
    )
    phantom: Phantom = _field(Phantom(), "radiografías sintéticas de la fuente phantom")
    pneumoniamnist_size: Literal[28, 64, 128, 224] = _field(64, "lado de PneumoniaMNIST, en píxeles")
    seed: int = _field(0, "semilla de todo lo que se sortea", ge=0, le=2**31 - 1)
    image_size: int = _field(64, "lado de la imagen que ven las redes, en píxeles", ge=16, le=512)
    channels: Literal[1, 3] = _field(1, "canales: 1 (gris) o 3 (gris repetido)")
    val_fraction: float = _field(0.2, "fracción de pacientes para validación", gt=0, lt=0.9)
    val_counts: Annotated[dict[Literal["NORMAL", "PNEUMONIA"], int] | None, AfterValidator(_both_classes)] = (
        _field(None, "cuentas exactas de validación por clase (manda sobre val_fraction)")
    )
    test_fraction: float = _field(0.15, "fracción de pacientes para prueba si no hay test/", gt=0, lt=0.9)
    attempts: Annotated[dict[str, Experiment], BeforeValidator(attempts_by_name)] = Field(
        _ATTEMPTS, description="los intentos del informe original, por su nombre", min_length=1
    )
    original_attempt: str = _field("intento_3", "intento que representa al original en la prueba")
    repaired: Experiment = _field(
        Experiment(
            name="reparado",
            recompute_batchnorm=True,
            learning_rate=0.001,
            epochs=12,
            batchnorm_momentum=0.9,
            class_weight=True,
            l2=0.001,
        ),
        "la red original, reparada",
    )
    improved: Experiment = _field(
        _IMPROVED,
        "la red mejorada",
    )
    final_models: Annotated[list[Literal["original", "reparado", "mejorado"]], AfterValidator(_distinct)] = (
        _field(
            ["original", "reparado", "mejorado"],
            "modelos que se leen una vez en la prueba, al menos dos",
            min_length=2,
        )
    )
    final_seeds: _Seeds = _field([0, 1, 2], "semillas de los modelos finales", min_length=1)
    chosen_model: Literal["auto", "original", "reparado", "mejorado"] = _field(
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
        names = list(self.attempts)
        if self.original_attempt not in names:
            raise ValueError(
                f"original_attempt es «{self.original_attempt}» y los intentos son {', '.join(names)}"
            )
        if taken := set(names) & set(_FINAL):
            raise ValueError(
                f"hay un intento llamado {', '.join(taken)}: ese nombre es de un modelo final; use otro"
            )
        if self.experiment("original").network != "original":
            raise ValueError(
                f"el intento que representa al original ({self.original_attempt}) no es la red de 13 capas: el capítulo 12 "
                "la desmonta; señale otro en original_attempt"
            )
        for experiment in (*map(self.experiment, (*names, "reparado", "mejorado")), *self._reduced()):
            if experiment.network == "original" and not _fits(experiment):
                raise ValueError(
                    f"la red de 13 capas no cabe en imágenes de {experiment.image_size} píxeles con filtros de lado "
                    f"{experiment.kernel_size} (experimento {experiment.name}): suba image_size o baje kernel_size"
                )
        if self.chosen_model == "original":
            raise ValueError(
                "chosen_model es «original», que se lee con arg-max, como entonces, y no tiene umbral: elija reparado, "
                "mejorado o auto"
            )
        if self.chosen_model not in ("auto", *self.final_models):
            raise ValueError(f"chosen_model es «{self.chosen_model}» y no está en final_models")
        if self.source == "folder" and not self.data_dir:
            raise ValueError('source es «folder» y falta data_dir: escriba SET="data_dir=carpeta"')
        return self

    def experiment(self, name: str) -> Experiment:
        """Devuelve el experimento de un nombre, con su tamaño de imagen y sus canales resueltos.

        Parameters
        ----------
        name : str
            Un intento (`intento_1`, …) o un modelo final (`original`, `reparado`, `mejorado`).

        Raises
        ------
        NeumoError
            Si no hay experimento de ese nombre.
        """
        found = dict(self.attempts)
        original = found[self.original_attempt].model_copy(update={"name": "original", "decision": "argmax"})
        found |= {"original": original, "reparado": self.repaired, "mejorado": self.improved}
        if name not in found:
            raise NeumoError(f"No hay experimento «{name}». Los que hay: {', '.join(found)}.")
        return self.resolve(found[name].model_copy(update={"name": name}))

    def tried(self) -> list[Experiment]:
        """Devuelve los intentos del original, en su orden, con tamaño, canales y precisión resueltos."""
        return [self.resolve(attempt) for attempt in self.attempts.values()]

    def _reduced(self) -> list[Experiment]:
        """Los experimentos de los capítulos 12 y 13, al tamaño que allí se les da."""
        sizes = {"anatomy": self.anatomy.image_size, "ablation": self.ablation.image_size}
        base = self.experiment("original")
        reduced = [base.model_copy(update={"name": name, "image_size": side}) for name, side in sizes.items()]
        if self.lot_shift.image_size:
            update = {"name": "lot_shift", "image_size": self.lot_shift.image_size}
            reduced += [self.experiment(name).model_copy(update=update) for name in ("reparado", "mejorado")]
        return reduced

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


def differences(experiments: Sequence[Experiment], *, augmentation: bool = False) -> "pd.DataFrame":
    """Tabula los parámetros en los que no coinciden todos los experimentos, una columna por cada uno.

    Parameters
    ----------
    experiments : sequence of Experiment
    augmentation : bool
        Compara los rangos del aumento de datos en lugar de lo demás.
    """
    import pandas as pd

    values = {
        e.name: dict(e.augmentation or {}) if augmentation else e.model_dump(exclude={"name", "augmentation"})
        for e in experiments
    }
    table = pd.DataFrame(values, dtype=object).map(lambda v: f"{v:g}" if isinstance(v, float) else v)
    return table[table.astype(str).nunique(axis=1) > 1]
