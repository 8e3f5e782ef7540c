"""Un archivo, una imagen gris de 8 bits: JPEG, PNG, BMP, TIFF, WebP y DICOM, de cualquier profundidad."""

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from neumo.data import dicom
from neumo.errors import NeumoError

if TYPE_CHECKING:
    from PIL import Image, ImageFile

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
EXTENSIONS = (".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom")
MARK = {"Software": "neumo predict"}
"""Lo que llevan escrito los mapas de `predict`, para no tomarlos por radiografías."""
OURS_MAP = "es un mapa que escribió `predict`, no una radiografía"

# Pillow da de un color de 16 bits el byte alto. El bajo lo da este otro modo, sobre los mismos datos.
_LOW_BYTE = {f"{c};16{a}": f"{c};16{b}" for c in ("RGB", "RGBA") for a, b in ("BL", "LB", "NB")} | {"LA;16B": "RGBA"}


class Picture(NamedTuple):
    """Una imagen leída: en gris (modo `L`) y derecha; y el ancho, el alto y el modo que declara su archivo."""

    grey: "Image.Image"
    width: int
    height: int
    mode: str


def is_image(path: str | Path) -> bool:
    """Dice si un archivo se ofrece como imagen: por su extensión o, sin ella (o con la de un UID), por ser DICOM."""
    suffix = Path(path).suffix.lower()
    if suffix in EXTENSIONS:
        return True
    return not suffix.strip(".0123456789") and Path(path).name != "DICOMDIR" and dicom.is_dicom(_first_bytes(path))


def _first_bytes(path: str | Path) -> bytes:
    if os.path.isfile(path):  # una tubería con nombre no terminaría nunca de leerse
        with contextlib.suppress(OSError), open(path, "rb") as file:
            return file.read(132)
    return b""


def content_of(path: str | Path) -> bytes:
    """Lee un archivo entero.

    Raises
    ------
    NeumoError
        El motivo, sin la ruta, si no se puede.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise NeumoError("no es un archivo corriente")
        return Path(path).read_bytes()
    except PermissionError:
        raise NeumoError("sin permiso de lectura") from None
    except FileNotFoundError:
        unnamed = "su nombre no está en UTF-8: cámbielo" if "\\udc" in str(path) else "no existe"
        raise NeumoError("enlace roto" if os.path.islink(path) else unnamed) from None
    except OSError:
        raise NeumoError("no se puede abrir") from None


def read(content: bytes, *, least: int = 0) -> Picture:
    """Decodifica una imagen hasta el último píxel.

    Se aplica la orientación EXIF, la transparencia se pone sobre negro y el color pasa a su luminancia. Lo que tiene más
    de 8 bits pasa a ellos con `eight_bits`; un DICOM, por su ventana.

    Parameters
    ----------
    content : bytes
        El archivo.
    least : int
        Si no es 0, un JPEG puede decodificarse ya reducido (en la transformada del coseno), a no menos de este lado.

    Raises
    ------
    NeumoError
        El motivo de que no se pueda leer: vacío, truncado, dañado, de otro formato, demasiado grande o escrito por `predict`.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise NeumoError("archivo vacío")
    try:
        if dicom.is_dicom(content):
            return _from_dicom(content)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            size, mode = image.size, image.mode
            if MARK.items() <= image.info.items():
                raise NeumoError(OURS_MAP)
            if least:
                image.draft("L", (least, least))
            return Picture(_grey(image, content), *size, mode)
    except NeumoError:
        raise
    except UnidentifiedImageError:
        raise NeumoError("no es una imagen JPEG, PNG, BMP, TIFF, WebP ni DICOM") from None
    except Image.DecompressionBombError:
        raise NeumoError("demasiado grande") from None
    except Exception as error:  # Pillow y pydicom avisan de un archivo dañado con casi cualquier clase de error
        raise NeumoError("archivo truncado" if "truncated" in str(error) else "datos dañados") from error


def _from_dicom(content: bytes) -> Picture:
    from PIL import Image

    values, bits, inverted = dicom.values(content)
    levels = values if values.dtype == np.uint8 else eight_bits(values)
    image = Image.fromarray(255 - levels if inverted else levels)
    return Picture(image.convert("L"), *image.size, f"DICOM de {bits} bits")


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Lleva a 8 bits los valores de una imagen de más profundidad, que se busca en ellos: la que declara el archivo engaña.

    Es la menor de 8, 10, 12, 14 o 16 bits en que cabe el percentil 99: los valores se dividen por su máximo, y los pocos
    que pasen de él (un rótulo, un píxel roto) quedan blancos. Así la misma radiografía en cualquiera de ellas da los
    mismos grises que en 8, y el ruido de una imagen vacía no se estira.

    Parameters
    ----------
    values : ndarray
        Enteros; o decimales, también entre 0 y 1. Si los hay negativos, el negro pasa a ser el percentil 1.

    Returns
    -------
    ndarray of uint8

    Examples
    --------
    >>> grey = np.array([[0, 100], [200, 250]])
    >>> eight_bits(grey).tolist() == eight_bits(grey * 257).tolist() == eight_bits(grey / 255).tolist() == grey.tolist()
    True
    """
    whole = values.dtype.kind in "iu"
    finite = values if whole else np.nan_to_num(values, posinf=0.0, neginf=0.0)
    every = max(1, int((values.size / 500_000) ** 0.5))  # medio millón de píxeles bastan para un percentil
    low, high = np.percentile(finite[::every, ::every], (1, 99))
    low = min(low, 0.0)
    depths = [1.0] * (not whole) + [2.0**depth - 1 for depth in (8, 10, 12, 14, 16)]
    full = next((full for full in depths if high - low <= full), high - low)
    return np.rint((finite - low) * (255 / full)).clip(0, 255).astype(np.uint8)


def _grey(image: "ImageFile.ImageFile", content: bytes) -> "Image.Image":
    """Da una imagen abierta de cualquier modo en gris de 8 bits, derecha."""
    from PIL import Image

    if (deep := _deep_colour(image, content)) is not None:
        grey = Image.fromarray(eight_bits(deep))
        grey.info["exif"] = image.getexif().tobytes()
        return _upright(grey)
    image.load()
    _upright(image)
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        levels = eight_bits(np.asarray(image))
        white_is_zero = getattr(image, "tag_v2", {}).get(262) == 0  # en TIFF, «PhotometricInterpretation»
        return Image.fromarray(255 - levels if white_is_zero else levels)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("L")
    return image.convert("L")


def _deep_colour(image: "ImageFile.ImageFile", content: bytes) -> np.ndarray | None:
    """Da la luminancia de un color (o un gris con transparencia) de 16 bits por canal; `None` si no lo es."""
    from PIL import Image

    arguments = [[t.args] if isinstance(t.args, str) else list(t.args or [""]) for t in image.tile]
    mode = arguments[0][0] if arguments else ""
    if mode not in _LOW_BYTE:
        return None
    with Image.open(io.BytesIO(content), formats=FORMATS) as other:
        swapped = [(_LOW_BYTE[mode], *rest) for _, *rest in arguments]
        other.tile = [t._replace(args=args) for t, args in zip(other.tile, swapped, strict=True)]
        low_bytes = np.asarray(other).astype(np.uint32)
    if mode == "LA;16B":  # aquí los cuatro bytes de un píxel salen juntos: dos de gris y dos de transparencia
        values = low_bytes[..., ::2] << 8 | low_bytes[..., 1::2]
    else:
        values = np.asarray(image).astype(np.uint32) << 8 | low_bytes
    grey, alpha = values[..., 0], values[..., 3:] if values.shape[-1] > 2 else values[..., 1:]
    if values.shape[-1] > 2:
        grey = (values[..., :3] @ np.array([299, 587, 114]) + 500) // 1000
    return (grey * alpha[..., 0] + 32767) // 65535 if alpha.size else grey


def _upright(image: "Image.Image") -> "Image.Image":
    """Endereza en su sitio una imagen de Pillow según su orientación EXIF y la devuelve."""
    from PIL import ImageOps

    with contextlib.suppress(Exception):  # unos metadatos dañados no impiden ver la imagen
        ImageOps.exif_transpose(image, in_place=True)
    return image
