"""De un DICOM, los valores de su primera imagen y un seudónimo de su paciente; nada más de la cabecera sale de aquí."""

import hashlib
import io
import re
import warnings
from typing import Any

import numpy as np

from neumo.errors import NeumoError

_RADIOGRAPHY = {"", "CR", "DX", "DR", "RG", "RF", "XA", "OT", "SC"}
# Los que no traen los 128 bytes y la marca empiezan por un dato de los grupos 0002 u 0008, de longitud corta.
_BARE = re.compile(
    rb"(?:\x02\0[\0-\x03]|\x08\0[\0-\x18])\0(?:(?:UL|UI|CS|DA|TM|SH|LO)[\0-\x40]\0|OB\0\0|[\x02-\x40]\0\0\0)"
)
_NOBODY = {"", "0", "anon", "anonymous", "anonymized", "anonymised", "none", "na", "n/a", "unknown"}


def is_dicom(content: bytes) -> bool:
    """Dice si un archivo, o sus primeros 132 bytes, llevan la marca de DICOM; o si, sin preámbulo, empiezan como sus datos."""
    return content[128:132] == b"DICM" or _BARE.match(content) is not None


def _dataset(content: bytes, **options: Any) -> Any:
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    warnings.filterwarnings("ignore", module="pydicom")  # cabeceras que no siguen la norma, y se leen igual
    dataset = pydicom.dcmread(io.BytesIO(content), force=True, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:  # sin preámbulo no suele decirse: lo que se haya visto al leer
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


def patient(content: bytes) -> str:
    """Da un seudónimo del paciente de un DICOM: el mismo en todos sus archivos, y del que no se lee su número.

    Es un resumen de `PatientID`: quien ya tenga una lista de números puede reconocerlos en él.

    Returns
    -------
    str
        Vacío si no es un DICOM, o no dice de quién es.
    """
    if not is_dicom(content):
        return ""
    try:
        told = str(
            _dataset(content, stop_before_pixels=True, specific_tags=["PatientID"]).get("PatientID") or ""
        ).strip()
    except Exception:  # una cabecera dañada: lo dirá quien lea la imagen
        return ""
    return "" if told.casefold() in _NOBODY else f"dicom-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def values(content: bytes) -> tuple[np.ndarray, int, bool]:
    """Da los valores de la primera imagen de un DICOM, después de su LUT de modalidad y de su ventana.

    Fuente: norma DICOM, PS3.3, C.11.1 (modalidad) y C.11.2 (ventana).

    Returns
    -------
    values : ndarray, shape (alto, ancho) o (alto, ancho, 3)
        uint8 si ya son los niveles de gris, o de color, que se ven; si no trae ventana, los que guarda.
    bits : int
        Bits por valor, según su cabecera.
    inverted : bool
        Si el blanco es el cero (MONOCHROME1).

    Raises
    ------
    NeumoError
        Si no trae imagen, no es una radiografía, no cabe en memoria o falta con qué descomprimirla.
    """
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, pixel_array

    dataset = _dataset(content)
    if "PixelData" not in dataset:
        raise NeumoError("DICOM sin imagen")
    if str(dataset.get("Modality") or "") not in _RADIOGRAPHY:
        raise NeumoError("DICOM de otra técnica: no es una radiografía")
    if dataset.Rows * dataset.Columns > (Image.MAX_IMAGE_PIXELS or np.inf):
        raise NeumoError("demasiado grande")
    kind = dataset.PhotometricInterpretation
    if not kind.startswith(("MONOCHROME", "RGB", "YBR")):
        raise NeumoError(f"DICOM con la paleta {kind}, que no se lee")
    try:
        pixels = pixel_array(dataset, index=0)
    except RuntimeError as error:
        if "missing dependencies" in str(error):
            raise NeumoError(
                "DICOM comprimido: para leerlo, instale pylibjpeg, pylibjpeg-libjpeg y pylibjpeg-openjpeg"
            ) from None
        raise
    bits = int(dataset.BitsStored)
    if pixels.ndim == 3:
        return pixels, bits, False
    return _shown(apply_modality_lut(pixels, dataset), dataset), bits, kind == "MONOCHROME1"


def _shown(values: np.ndarray, dataset: Any) -> np.ndarray:
    """Aplica la primera ventana o LUT de la cabecera; sin ella, o si no vale, deja los valores."""
    whole = values.astype(np.int32)
    if table := dataset.get("VOILUTSequence"):
        count, first, depth = table[0].LUTDescriptor
        data = table[0].LUTData
        levels = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
        shown = levels[(whole - first).clip(0, (count or 2**16) - 1)] * (255 / (2**depth - 1))
    elif (window := _window(dataset)) is not None:
        center, width, curve = window
        if curve == "SIGMOID":
            from scipy.special import expit

            shown = 255 * expit(4 * (values - center) / width)
        else:
            exact = curve == "LINEAR_EXACT"
            shown = 255 * ((values - center + (not exact) / 2) / max(width - (not exact), 1e-6) + 0.5)
    else:
        return whole if np.array_equal(whole, values) else values
    return np.rint(shown).clip(0, 255).astype(np.uint8)


def _window(dataset: Any) -> tuple[float, float, str] | None:
    """Centro, ancho y curva de la primera ventana; `None` si no hay o no es posible."""
    pair = [dataset.get(name) for name in ("WindowCenter", "WindowWidth")]
    if any(value in (None, "") for value in pair):
        return None
    center, width = (float(np.atleast_1d(value)[0]) for value in pair)
    return (center, width, str(dataset.get("VOILUTFunction") or "LINEAR")) if width > 0 else None
