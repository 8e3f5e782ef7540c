"""Avisos de progreso: del cuaderno que se ejecuta a la terminal, sin pasar por las salidas del informe."""

import os
from pathlib import Path

VARIABLE = "NEUMO_PROGRESS"


def announce(text: str) -> None:
    """Añade una línea al archivo que nombra la variable de entorno `NEUMO_PROGRESS`; sin ella no hace nada."""
    if path := os.environ.get(VARIABLE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text.replace("\n", " ") + "\n")
