"""Lo que la máquina sabe hacer y cambia un número: si su procesador multiplica en bfloat16."""

_CPU_INFO = "/proc/cpuinfo"


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
