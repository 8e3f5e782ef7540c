"""Lo que de la máquina cambia un número: si su procesador multiplica en bfloat16, y los hilos fijados."""

import os

_CPU_INFO = "/proc/cpuinfo"
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def thread_limits(threads: int | None) -> dict[str, str]:
    """Devuelve las variables de entorno que fijan los hilos de cálculo de un proceso; sin `threads`, ninguna.

    Examples
    --------
    >>> thread_limits(2)["TF_NUM_INTRAOP_THREADS"], thread_limits(None)
    ('2', {})
    """
    return dict.fromkeys(_THREADS, str(threads)) if threads else {}


def pinned_threads() -> dict[str, int]:
    """Lo que los hilos fijados añaden a la clave de un entrenamiento: con otro número suman en otro orden.

    Sin fijar, nada: TensorFlow usa todos los núcleos de la máquina.
    """
    threads = os.environ.get(_THREADS[0], "")
    return {"threads": int(threads)} if threads.isdecimal() and int(threads) else {}


def has_bfloat16() -> bool:
    """Dice si el procesador multiplica en bfloat16 (AVX512-BF16 o AMX-BF16), según Linux."""
    try:
        with open(_CPU_INFO, encoding="ascii", errors="ignore") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def resolved_precision(precision: str) -> str:
    """Decide `auto`: bfloat16 donde el procesador gana con él; lo demás queda como está.

    Examples
    --------
    >>> resolved_precision("float32")
    'float32'
    """
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16() else "float32"


def cores() -> int:
    """Cuenta los núcleos del procesador que este proceso puede usar."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
