"""El informe en PDF, impreso con Chromium."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from neumo.cache import write_atomically
from neumo.errors import NeumoError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = "--headless --disable-gpu --no-first-run --disable-background-networking --no-pdf-header-footer"


def pdf(document: Path, output: Path) -> Path:
    """Imprime el informe en PDF con Chromium.

    Raises
    ------
    NeumoError
        Si no hay Chromium o no termina bien: el HTML queda igual y se puede imprimir desde cualquier navegador.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    remedy = "Instálelo (en Debian o Ubuntu, `apt install chromium`) o imprima el HTML desde su navegador."
    if browser is None:
        raise NeumoError(f"Para escribir «{output.name}» hace falta Chromium y no está en el PATH. {remedy}")
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        partial = Path(folder, "informe.pdf")
        places = [f"--user-data-dir={folder}", f"--print-to-pdf={partial}", document.resolve().as_uri()]
        order = [browser, *root, *OPTIONS.split(), "--generate-pdf-document-outline", *places]
        try:
            done = subprocess.run(order, capture_output=True, timeout=300, check=False)
        except subprocess.TimeoutExpired:
            raise NeumoError(f"Chromium no terminó «{output.name}» en 300 s. {remedy}") from None
        if done.returncode or not partial.is_file():
            code = done.returncode
            raise NeumoError(f"Chromium no pudo escribir «{output.name}» (terminó con {code}). {remedy}")
        write_atomically(output, partial.read_bytes())
    return output
