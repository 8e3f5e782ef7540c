"""Un Chromium de verdad para todas las pruebas que miran lo que ve una persona."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

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
