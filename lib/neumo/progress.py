"""Lo que una construcción dice a sus cuadernos, y estos a la terminal, sin pasar por las salidas del informe."""

import os
from pathlib import Path

VARIABLE = "NEUMO_PROGRESS"
"""Variable de entorno con el archivo de avisos; que exista dice que el cuaderno es parte de una construcción."""
USES = "NEUMO_USES"
"""Variable de entorno con los parámetros que usa el capítulo, además de los de su celda."""


def announce(text: str) -> None:
    """Añade una línea al archivo que nombra la variable de entorno `NEUMO_PROGRESS`; sin ella no hace nada."""
    if path := os.environ.get(VARIABLE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text.replace("\n", " ") + "\n")
