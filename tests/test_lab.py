"""JupyterLab de verdad, como lo abre `make lab`: un capítulo se ejecuta entero en el navegador."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from neumo.data.phantom import make_phantom

ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/lab\S*\?token=\w+")
CHAPTER = "03_verificacion.ipynb"
pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path):
    """Copia de lo que abre quien explora, con sus propias imágenes; lo que JupyterLab escriba se queda en ella."""
    for name in ("notebooks", "params", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    make_phantom(tmp_path / "placas", images=90, size=64)
    chapter = tmp_path / "notebooks" / CHAPTER
    notebook = nbformat.read(chapter, as_version=4)
    notebook.cells[1].source += '\nsource = "folder"\ndata_dir = "placas"'
    nbformat.write(notebook, chapter)
    return tmp_path


@pytest.fixture
def address(project):
    log = project / "jupyter.log"
    order = [sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0", "--allow-root"]
    environment = os.environ | {"JUPYTER_CONFIG_PATH": "docs/jupyter"}
    with log.open("w") as output, subprocess.Popen(order, cwd=project, stderr=output, env=environment) as server:
        try:
            for _ in range(300):
                if found := ADDRESS.search(log.read_text()):
                    break
                time.sleep(0.2)
            assert found, log.read_text()
            yield found[0].replace("/lab?", "/lab/tree/docs/inicio.ipynb?")
        finally:
            server.terminate()


def test_from_the_first_page_to_a_chapter_run_to_its_end(project, address, browser):
    page = browser.new_page()
    page.goto(address)
    page.get_by_role("link", name="Verificación y limpieza de datos").click(timeout=60_000)
    page.get_by_role("tab", name=CHAPTER).wait_for(timeout=60_000)
    _opening_changes_nothing(page, project / "notebooks" / CHAPTER)
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).click()
    saved = project / "notebooks" / CHAPTER
    for _ in range(300):
        page.keyboard.press("Control+s")
        cells = [cell for cell in nbformat.read(saved, as_version=4).cells if cell.cell_type == "code"]
        outputs = [output for cell in cells for output in cell["outputs"]]
        if any(o["output_type"] == "error" for o in outputs) or all(c["execution_count"] for c in cells):
            break
        time.sleep(1)
    page.close()
    assert [o["evalue"] for o in outputs if o["output_type"] == "error"] == []
    assert all(cell["execution_count"] for cell in cells)
    assert sum("image/svg+xml" in str(o) or "<img" in str(o) for o in outputs) >= 2
    interactive = project / "build" / "interactivo"
    assert (interactive / "exclusions.csv").is_file()
    assert json.loads((interactive / "source.json").read_text())["folder_name"] == "placas"


def _opening_changes_nothing(page, notebook):
    """Con el núcleo ya conectado, que es cuando JupyterLab escribe en él: ni la marca de cambiado ni un byte al guardar."""
    committed = notebook.read_bytes()
    page.get_by_text("| Idle").wait_for(timeout=90_000)
    page.wait_for_timeout(2000)
    assert page.locator(".lm-TabBar-tab.jp-mod-dirty").count() == 0
    page.keyboard.press("Control+s")
    page.wait_for_timeout(3000)
    assert notebook.read_bytes() == committed
    source = page.locator(".jp-CodeCell .cm-content").first  # y la marca sale cuando algo cambia de verdad
    source.click()
    page.keyboard.press("End")
    page.keyboard.type(" ")
    page.locator(".lm-TabBar-tab.jp-mod-dirty").wait_for(timeout=10_000)
    page.keyboard.press("Backspace")
