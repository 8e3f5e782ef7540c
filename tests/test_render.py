import base64
import csv
import itertools
import re

import html5lib
import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell, new_output

import report_example as example
from neumo.errors import NeumoError
from neumo.report import display
from neumo.report.render import render


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("informe")
    output = folder / "informe.html"
    return render(
        example.notebooks(folder / "nb"), output, meta={**example.META, "threshold_data": example.threshold_data()}
    )


@pytest.fixture(scope="module")
def page(document):
    return BeautifulSoup(document.read_text(encoding="utf-8"), "html.parser")


def chapter(folder, *cells, name="05_capitulo"):
    return [example.write(folder, name, [new_markdown_cell("# Un capítulo"), *cells])]


def rendered(folder, *cells, **meta):
    output = render(chapter(folder, *cells), folder / "informe.html", meta=meta)
    return BeautifulSoup(output.read_text(encoding="utf-8"), "html.parser")


def test_page_is_valid_html_in_spanish(document):
    tree = html5lib.HTMLParser(strict=True).parse(document.read_text(encoding="utf-8"))
    assert tree.attrib["lang"] == "es"


def test_same_notebooks_give_the_same_bytes(document, tmp_path):
    again = render(
        example.notebooks(tmp_path / "nb"),
        tmp_path / "informe.html",
        meta={**example.META, "threshold_data": example.threshold_data()},
    )
    assert again.read_bytes() == document.read_bytes()


def test_nothing_points_outside_the_file(document, page):
    text = document.read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href|srcset|data|action)="(?!#|data:)', text)
    assert "@import" not in text
    assert "url(" not in text
    assert not page.select("link, iframe, object, embed, base")
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy.startswith("default-src 'none'")
    handlers = [name for tag in page.find_all(True) for name in tag.attrs if name.startswith("on")]
    assert handlers == []


def test_nothing_private_and_nothing_hostile_survives(document, page):
    text = document.read_text(encoding="utf-8")
    assert "alguien" not in text  # ni carpetas de usuario ni metadatos de papermill
    assert "TensorFlow" not in text  # stderr
    assert "<script>alert" not in text
    assert example.HOSTILE in page.select_one("#tab-recuento").get_text()
    assert len(page.find_all("script")) == 2


def test_chapters_in_order_and_headings_nest(page):
    titles = [section.h2.get_text() for section in page.select("main > section")]
    assert titles == [
        "Resumen", "2 Recolección y organización", "11 Evaluación", "Glosario", "Referencias", "Cómo citar"
    ]  # fmt: skip
    levels = [int(title.name[1]) for title in page.find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_identifiers_are_unique_and_internal_links_land(page):
    identifiers = [tag["id"] for tag in page.find_all(id=True)]
    assert len(identifiers) == len(set(identifiers))
    links = page.select('a[href^="#"]')
    assert len(links) > 25
    assert {link["href"][1:] for link in links} <= set(identifiers)
    assert all(link.get_text(strip=True) for link in links)


def test_figures_and_tables_are_numbered_and_referred_to(page):
    labels = [label.get_text() for label in page.select("figcaption .rotulo")]
    assert labels == ["Tabla 1.", "Tabla 2.", "Figura 1.", "Figura 2."]
    summary = page.select_one("#resumen").get_text()
    assert "la figura\u00a02 muestra" in summary
    assert "tabla\u00a01" in summary
    assert "capítulo\u00a011" in summary
    assert "sección\u00a02.1" in page.select_one("#cap-2").get_text()
    assert all(image["alt"].strip() for image in page.find_all("img"))


def test_citations_are_numbered_in_order_and_only_cited_sources_listed(page):
    text = page.select_one("#cap-2").get_text()
    assert "Kermany [1]" in text
    assert "[2, 1]" in text
    sources = page.select("#referencias li")
    assert ["Kermany" in sources[0].get_text(), "MedMNIST v2" in sources[1].get_text()] == [True, True]
    assert len(sources) == 2


def test_footnotes_and_glossary(page):
    note = page.select_one("#cap-2 .notas li")
    assert "CC BY 4.0" in note.get_text()
    assert note.math is not None
    assert page.select_one(f'a[href="#{note["id"]}"]').get_text() == "1"
    assert len(page.select("a.termino[href='#glo-especificidad']")) == 1
    assert "dfn" in [tag.name for tag in page.select_one("#glo-especificidad").find_all(True)]
    assert not page.select("#glo-calibracion")  # no aparece en el texto


def test_effective_parameters_stand_at_the_start_without_the_cells(page):
    rows = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in page.select(".parametros tbody tr")]
    assert rows == [
        ["seed", "1", "semilla de todo azar"],
        ["image_size", "96", "lado, en píxeles"],
        ["data_dir", "datos", ""],
    ]
    assert "# Parameters" not in page.get_text()


def test_annotated_parameters_and_pasted_images_are_read(tmp_path):
    pasted = new_markdown_cell('![Una placa <b> y su "marco"](attachment:a-1.png)')
    pasted["attachments"] = {"a-1.png": {"image/png": "iVBORw0KGgo="}}
    declared = "seed: int = 0  # semilla\nlr_finder = {'steps': 40, 'rates': [0.1], 'stops': None}"
    page = rendered(tmp_path, example.code(declared, tags=["parameters"]), pasted)
    written = [cell.get_text() for cell in page.select(".parametros td")]
    assert written == ["0", "semilla", "steps: 40, rates: [0.1], stops: ninguno", ""]
    assert page.select_one("#cap-5 img")["src"] == "data:image/png;base64,iVBORw0KGgo="
    assert page.select_one("#cap-5 img")["alt"] == 'Una placa  y su "marco"'
    html5lib.HTMLParser(strict=True).parse((tmp_path / "informe.html").read_text(encoding="utf-8"))


def test_the_chapter_says_in_one_fold_where_it_comes_from(tmp_path):
    first = "# Uno\n\nLee: `listing`  \nEscribe: `manifest`\n\nAl terminar sabrá: contar **bien**.  \nMinutos: 4"
    second = "# Otro\n\nLee: `manifest`, `params`  \nEscribe: nada\n\nAntes: capítulo 02  \nMinutos: 5"
    summary = "# Resumen\n\nLee: nada\n\nMinutos: 2  \nCamino corto: 00, 03"
    texts = {"00_resumen": summary, "02_uno": first, "03_otro": second}
    paths = [example.write(tmp_path, name, [new_markdown_cell(text)]) for name, text in texts.items()]
    output = render(paths, tmp_path / "informe.html", meta={"files": {"03_otro.ipynb": b"{}", "metrics.json": b"[]"}})
    page = BeautifulSoup(output.read_text(encoding="utf-8"), "html.parser")
    assert "Al terminar sabrá contar bien." in page.select_one("#cap-2").get_text()
    assert "Lee:" not in page.get_text()
    fold = page.select_one("#cap-3 .origen")
    assert [(link.get_text(), link["href"]) for link in fold.select('a[href^="#"]')] == [("manifest", "#cap-2")]
    assert "params" in fold.get_text()
    assert fold.select_one("a[download]")["href"] == "data:application/x-ipynb+json;base64,e30="
    assert page.select_one("#cap-3 .lectura a")["href"] == "#cap-2"
    assert [link["download"] for link in page.select("#descargas a")] == ["metrics.json"]
    paths = page.select_one("#caminos")
    assert "2 capítulos que se entienden solos, 7 minutos" in paths.get_text()
    assert "los 3, por orden, 11 minutos" in paths.get_text()
    assert [link["href"] for link in paths.find_all("a")] == ["#resumen", "#cap-3"]


def test_every_table_is_also_a_csv_inside_the_page(page):
    address = page.select_one("#tab-recuento a.csv")["href"]
    content = base64.b64decode(address.partition("base64,")[2]).decode()
    assert content.splitlines()[1] == "entrenamiento,1072,3100,0.743"
    assert example.HOSTILE in next(csv.reader([content.splitlines()[3]]))


def test_code_is_folded_and_outputs_are_clean(page):
    assert page.select("details.codigo .highlight")
    assert not page.select("details.codigo[open]")
    assert [block.get_text() for block in page.select("pre.salida")] == ["3/3\nlisto\n"]
    assert page.select_one("details.codigo .k, details.codigo .kn")


def test_banners_provenance_and_disclaimer(page):
    cover = page.select_one("header").get_text()
    assert "Datos sintéticos" in cover
    assert "12 imágenes" in cover
    assert "no es un producto sanitario" in cover
    assert example.HOSTILE in page.footer.get_text()


def test_real_data_has_no_banners_nor_slider(tmp_path):
    page = rendered(tmp_path, title="<Otro> título")
    assert not page.select(".banda, #umbral-interactivo, #referencias, #glosario")
    assert page.h1.get_text() == "<Otro> título"


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("véase la [](#fig-perdida)", ["capítulo 05", "#fig-perdida"]),
        ("según [@nadie1999]", ["capítulo 05", "@nadie1999"]),
        ("véase [esto](#nada)", ["capítulo 05", "#nada"]),
        ("![x](lejos.png)", ["lejos.png", "figure"]),
    ],
)
def test_unresolved_references_fail_the_build(tmp_path, markdown, words):
    with pytest.raises(NeumoError) as error:
        rendered(tmp_path, new_markdown_cell(markdown))
    assert all(word in str(error.value) for word in words)
    assert not (tmp_path / "informe.html").exists()


def test_repeated_identifier_fails_the_build(tmp_path):
    table = display.table(pd.DataFrame({"a": [1]}), "tab-a", caption="Una.")
    with pytest.raises(NeumoError, match="tab-a"):
        rendered(tmp_path, example.code("x", example.shown(table)), example.code("y", example.shown(table)))


@pytest.mark.parametrize(
    "cell",
    [
        example.code("x", status="failed"),
        example.code("x", status="pending"),
        example.code("x", new_output("error", ename="E", evalue="v", traceback=[])),
    ],
)
def test_a_failed_chapter_is_never_rendered(tmp_path, cell):
    with pytest.raises(NeumoError, match="05_capitulo"):
        rendered(tmp_path, cell)


def test_widgets_leave_their_static_figure(tmp_path):
    widget = new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox()"})
    page = rendered(tmp_path, example.code("x", widget, example.shown(display.prose("Figura fija."))))
    assert "VBox" not in page.get_text()
    assert "Figura fija." in page.get_text()


def test_neighbouring_code_without_output_shares_one_fold(tmp_path):
    shown = example.code("c = a + b", example.shown(display.prose("Tres.")))
    page = rendered(tmp_path, example.code("a = 1"), example.code("b = 2"), shown, example.code("d = 4"))
    folds = [fold.select_one(".highlight").get_text().split("\n") for fold in page.select("details.codigo")]
    assert [[line for line in fold if line] for fold in folds] == [["a = 1", "b = 2", "c = a + b"], ["d = 4"]]


def test_explorer_cells_are_left_out_but_must_have_run(tmp_path):
    cell = example.code("explorers.threshold(y, prob)", tags=["explorador"])
    page = rendered(tmp_path, example.code("y, prob = 0, 1"), cell)
    assert "explorers" not in page.get_text()
    assert "prob" in page.get_text()
    with pytest.raises(NeumoError, match="05_capitulo"):
        rendered(tmp_path, example.code("x", tags=["explorador"], status="failed"))


def test_folded_answers_keep_their_references_and_valid_html(tmp_path):
    figure = example.shown(display.figure(example.curve(), "fig-a", caption="Una.", alt="Otra."))
    answers = "\n\n".join(
        f"{n}. ¿Por qué?\n\n<details><summary>Respuesta</summary>\n\nPor la [](#fig-a).\n\n</details>" for n in (1, 2)
    )
    page = rendered(tmp_path, example.code("x", figure), new_markdown_cell(f"## Preguntas\n\n{answers}"))
    html5lib.HTMLParser(strict=True).parse((tmp_path / "informe.html").read_text(encoding="utf-8"))
    folded = page.select("details:not(.codigo):has(> summary):has(p)")
    assert [part.p.get_text() for part in folded] == ["Por la figura\u00a01."] * 2
    assert [question.get("start", "1") for question in page.select("#cap-5 ol")] == ["1", "2"]


def test_bare_tables_comments_and_unnumbered_sections(tmp_path):
    frame = pd.DataFrame({"exactitud": [1]})
    bare = new_output("display_data", data={"text/html": frame._repr_html_()})
    markdown = "#### Un detalle\n\n<!-- exactitud -->\n\nvéase la [](#sec-un-detalle)"
    page = rendered(tmp_path, new_markdown_cell(markdown), example.code("x", bare))
    assert "véase la sección\u00a0«Un detalle»" in page.get_text()
    assert page.table.parent["class"] == ["marco"]
    assert not page.main.find("style")
    assert not page.select("a.termino")


def test_mathematics_is_native_and_code_is_left_alone(tmp_path):
    page = rendered(
        tmp_path, new_markdown_cell("Si $a_1 < b$:\n\n$$\\frac{a}{b}$$\n\nno en `$x$` ni `[@x]` ni `[](#y)`")
    )
    assert len(page.find_all("math")) == 2
    assert page.find("math", attrs={"display": "block"}).mfrac
    assert "$x$" in page.get_text()
    assert "[@x]" in page.get_text()


def test_notebooks_are_not_touched(tmp_path):
    paths = example.notebooks(tmp_path)
    before = [path.read_bytes() for path in paths]
    render(paths, tmp_path / "informe.html", meta={})
    assert before == [path.read_bytes() for path in paths]
    assert all(nbformat.read(path, as_version=4).cells for path in paths)
