"""Lo que un cuaderno dice de sí mismo se lee, o se rechaza por su nombre y su celda antes de arrancar ningún núcleo."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from neumo.errors import NeumoError
from neumo.report.chapters import read_chapter, read_chapters

TITLE = "# Uno\n\nLee: `listing`.\n\nEscribe: `exclusions`."
PIXEL = {"image/png": "iVBORw0KGgo="}


def write(folder, *, title=TITLE, parameters="seed = 1", code="1 + 1", prose="", attachments=None, name="03_uno"):
    """Escribe un cuaderno de tres celdas, como los que guarda JupyterLab; sin kernelspec."""
    text = new_markdown_cell(prose, id="prosa")
    if attachments:
        text["attachments"] = attachments
    cells = [
        new_markdown_cell(title, id="titulo"),
        new_code_cell(parameters, id="parametros", metadata={"tags": ["parameters"]}),
        text,
        new_code_cell(code, id="cuerpo"),
    ]
    nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def test_a_chapter_says_what_it_reads_writes_and_uses(tmp_path):
    code = "from neumo.data import split\nseed + run.params.val_fraction"
    chapter = read_chapter(write(tmp_path, parameters="seed: int = 1  # s\nother = [1, -2.5]", code=code))
    assert (chapter.number, chapter.reads, chapter.writes) == ("03", ("listing",), ("exclusions",))
    assert (chapter.parameters, chapter.uses) == (("seed",), ("seed", "val_fraction"))
    assert "data/split" in chapter.modules


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(
            ({"parameters": f"seed = 1\n{line}"}, f"celda «parametros» de 03_uno.ipynb, «{line}»")
            for line in ("import os", "a, b = 1, 2", "a = b = 1", "b = int(3)", "size: int", "seed += 1", "%pwd")
        ),
        ({"title": "Uno\n\nLee: nada."}, "03_uno.ipynb («titulo»)"),
        ({"prose": "![una placa](attachment:a.png)"}, "«prosa» de 03_uno.ipynb no está"),
        ({"prose": "![image.png](attachment:a.png)", "attachments": {"a.png": PIXEL}}, "no dice qué se ve"),
        ({"code": "x = 1\nopen_run?"}, "celda «cuerpo» de 03_uno.ipynb, línea «open_run?»"),
        ({"title": "# Uno\n\nEscribe: `exclusiones`"}, "03_uno.ipynb nombra en su primera celda artefactos que no"),
        ({"title": "# Uno\n\nEscribe: `manifest`"}, "`manifest`, del 02"),
    ],
)
def test_what_could_not_be_composed_is_refused_by_file_and_cell(tmp_path, change, said):
    with pytest.raises(NeumoError) as error:
        read_chapter(write(tmp_path, **change))
    assert said in str(error.value)


@pytest.mark.parametrize("content", ["", "{}", '{"cells": []}', '{"cells": [{"source": 3}]}', "[]"])
def test_what_is_no_notebook_is_refused_by_file(tmp_path, content):
    (tmp_path / "03_uno.ipynb").write_text(content)
    with pytest.raises(NeumoError, match=r"03_uno\.ipynb"):
        read_chapter(tmp_path / "03_uno.ipynb")


def test_prose_code_and_pasted_images_count_and_outputs_do_not(tmp_path):
    def digest(**change):
        return read_chapter(write(tmp_path, **change)).cells

    described = "![una placa](attachment:a.png)"
    image = {"prose": described, "attachments": {"a.png": PIXEL}}
    assert len({digest(), digest(prose="x"), digest(code="2"), digest(**image)}) == 4
    assert digest(**image) != digest(prose=described, attachments={"a.png": {"image/png": "AAAA"}})
    before, path = digest(), write(tmp_path)
    notebook = json.loads(path.read_text())
    notebook["cells"][3] |= {"outputs": [{"output_type": "stream", "text": "x"}], "execution_count": 3}
    path.write_text(json.dumps(notebook))
    assert read_chapter(path).cells == before


def test_a_chapter_that_reads_what_nobody_writes_is_refused(tmp_path):
    write(tmp_path, title="# Dos\n\nLee: `manifest`.")
    with pytest.raises(NeumoError, match="lee `manifest` y ningún capítulo lo escribe: debería hacerlo el 02"):
        read_chapters(tmp_path)
