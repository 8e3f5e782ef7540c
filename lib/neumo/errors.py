"""El único error que la biblioteca dirige a una persona, y lo que la máquina no deja hacer, dicho como él."""

import errno
import os

_REMEDIES = {
    errno.EACCES: "no hay permiso para leer o escribir ahí. Cambie los permisos o elija otra carpeta",
    errno.EPERM: "no hay permiso para leer o escribir ahí. Cambie los permisos o elija otra carpeta",
    errno.EROFS: "ese disco es de solo lectura. Elija otra carpeta",
    errno.ENOSPC: "el disco está lleno. Libere espacio y repita la orden: sigue donde quedó",
    errno.EDQUOT: "se ha agotado su cuota de disco. Libere espacio y repita la orden: sigue donde quedó",
    errno.EFBIG: "el archivo pasa del tamaño que el sistema permite. Suba ese límite (`ulimit -f`) y repita la orden",
    errno.ENAMETOOLONG: "el nombre es demasiado largo. Acórtelo",
    errno.EMFILE: "hay demasiados archivos abiertos. Suba ese límite (`ulimit -n`) y repita la orden",
}


class NeumoError(Exception):
    """Error con remedio: una frase en español que dice qué se encontró, qué se esperaba y qué hacer."""


def machine_failure(error: BaseException) -> str:
    """Dice en una frase qué no deja hacer la máquina y qué hacer; vacía si `error` no es de esos.

    Examples
    --------
    >>> machine_failure(OSError(errno.ENOSPC, "No space left on device", "/datos/manifest.csv"))
    'No se puede usar «manifest.csv»: el disco está lleno. Libere espacio y repita la orden: sigue donde quedó.'
    """
    if not isinstance(error, OSError) or error.errno not in _REMEDIES:
        return ""
    where = f"«{os.path.basename(os.fsdecode(error.filename))}»" if error.filename else "el disco"
    return f"No se puede usar {where}: {_REMEDIES[error.errno]}."
