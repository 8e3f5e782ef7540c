"""Lo que comparten las pruebas: un Chromium de verdad para lo que ve una persona, y figuras sin pantalla."""

import os
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from playwright.sync_api import sync_playwright

mpl.use("Agg")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NEAR = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="session")
def browser():
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("hace falta Chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe():
    """Función que da los fallos de accesibilidad de una página (abierta con `bypass_csp`)."""
    library = Path(os.environ.get("NEUMO_AXE", NEAR))
    if not library.is_file():
        pytest.skip("hace falta axe-core: npm install --no-save axe-core, o NEUMO_AXE")

    def violations(page):
        page.add_script_tag(content=library.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")["violations"]
        return [(item["id"], item["nodes"][0]["html"]) for item in found]

    return violations


@pytest.fixture
def close_figures():
    """Cierra al acabar las figuras que la prueba haya dejado abiertas."""
    yield
    plt.close("all")
