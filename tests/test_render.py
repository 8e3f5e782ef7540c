import itertools
import json
import re
import shutil
import subprocess

import html5lib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell, new_output

import report_example as example
from neumo.errors import NeumoError
from neumo.report import display
from neumo.report.index import render_index
from neumo.report.pdf import pdf
from neumo.report.render import render


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("informe")
    output = folder / "informe.html"
    return render(
        example.notebooks(folder / "nb"),
        output,
        meta={**example.META, "threshold_data": example.threshold_data()},
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
    rows = [
        [cell.get_text() for cell in row.find_all(["th", "td"])]
        for row in page.select(".parametros tbody tr")
    ]
    assert rows == [
        ["seed", "1", "semilla de todo azar"],
        ["image_size", "96", "lado, en píxeles"],
        ["data_dir", "datos", ""],
    ]
    assert "# Parameters" not in page.get_text()


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
    widget = new_output(
        "display_data", data={"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox()"}
    )
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
        f"{n}. ¿Por qué?\n\n<details><summary>Respuesta</summary>\n\nPor la [](#fig-a).\n\n</details>"
        for n in (1, 2)
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


def test_figure_is_deterministic_closed_and_small():
    first, second = (display.figure(example.curve(), "fig-a", caption="Una.", alt="Otra.") for _ in range(2))
    assert first == second
    assert "data:image/svg+xml" in first.html
    big = display.figure(example.radiographs(), "fig-b", caption="Una.", alt='Con "comillas" & <signos>.')
    assert BeautifulSoup(big.html, "html.parser").img["alt"] == 'Con "comillas" & <signos>.'
    assert plt.get_fignums() == []


def test_dense_scatter_becomes_a_png():
    axes = plt.figure().subplots()
    axes.scatter(*np.random.default_rng(1).random((2, 20_000)), s=1)
    assert "data:image/png" in display.figure(axes, "fig-nube", caption="Nube.", alt="Nube.").html


@pytest.mark.parametrize(
    ("id", "caption", "alt"), [("curva", "a", "b"), ("fig-Ñ", "a", "b"), ("fig-a", "a", " ")]
)
def test_figure_refuses_bad_identifiers_and_missing_texts(id, caption, alt):
    with pytest.raises(NeumoError):
        display.figure(None, id, caption=caption, alt=alt)


def test_table_keeps_the_authors_formats_and_escapes_everything():
    frame = pd.DataFrame({"tasa": [0.5, 1e-5], "nombre": ["</td><script>", "b & c"]}, index=["<i>", "x"])
    styler = frame.style.format({"nombre": lambda name: f"«{name}»"}).highlight_max(subset=["tasa"])
    soup = BeautifulSoup(display.table(styler, "tab-a", caption="<b>").html, "html.parser")
    cells = [cell.get_text() for cell in soup.select("tbody td")]
    assert cells == ["0.500", "«</td><script>»", "1.00×10⁻⁵", "«b & c»"]
    assert soup.select_one("tbody th").get_text() == "<i>"
    assert "background-color" in soup.style.get_text()
    assert not soup.find(["script", "b"])


def test_table_aligns_figures_and_names_the_index():
    frame = pd.DataFrame(
        {"n": [1], "ic": ["0.91 [0.88, 0.93]"], "clase": ["NORMAL"]}, index=pd.Index([3], name="época")
    )
    soup = BeautifulSoup(display.table(frame, "tab-a", caption="Una.").html, "html.parser")
    assert [(head.get_text(), "num" in head.get("class", [])) for head in soup.select("thead th")] == [
        ("época", False), ("n", True), ("ic", True), ("clase", False)
    ]  # fmt: skip
    crossed = pd.crosstab(pd.Series(["a"], name="modo"), pd.Series(["b"], name="clase"))
    heads = BeautifulSoup(display.table(crossed, "tab-b", caption="Una.").html, "html.parser").select(
        "thead th"
    )
    assert [head.get_text() for head in heads] == ["modo", "b"]
    hidden = display.table(frame, "tab-a", caption="Una.", index=False)
    assert "época" not in hidden.html


def test_prose_without_values_keeps_braces_and_values_cannot_be_markup():
    assert "<mfrac>" in display.prose(r"$\frac{1}{2}$").html
    fragment = display.prose("de {name} y $n = {n}$", name="*a* [b](http://c) <i>", n=3)
    soup = BeautifulSoup(fragment.html, "html.parser")
    assert "*a* [b](http://c) <i>" in soup.get_text()
    assert not soup.find(["em", "a", "i"])
    assert soup.mn.get_text() == "3" if soup.mn else "3" in soup.math.get_text()
    assert fragment.text == "de *a* [b](http://c) <i> y $n = 3$"


def test_notes_and_findings():
    finding = type(
        "Finding", (), {"code": "argmax", "message": "Siempre <0>.", "evidence": {"n": 1060, "p": 0.26134}}
    )
    assert "Siempre &lt;0&gt;." in display.findings([finding]).html
    assert "n = 1060; p = 0.261" in display.findings([finding]).html
    assert "ninguno" in display.findings([]).html
    with pytest.raises(NeumoError, match="aviso"):
        display.note("x", kind="otro")


def test_pdf_says_how_to_get_the_browser(document, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NeumoError, match="apt install chromium"):
        pdf(document, tmp_path / "informe.pdf")


def test_pdf_reports_a_browser_that_fails(document, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    monkeypatch.setattr(subprocess, "run", lambda order, **options: subprocess.CompletedProcess(order, 1))
    with pytest.raises(NeumoError, match="terminó con 1"):
        pdf(document, tmp_path / "informe.pdf")


def test_index_lists_runs_and_compares_two(tmp_path):
    for name, accuracy in (("demo", 0.8), ("<otra>", 0.9)):
        records = [
            {
                "model": "original",
                "seed": seed,
                "partition": partition,
                "accuracy": accuracy + seed / 100,
                "auc": 0.95,
            }
            for seed in (1, 3)
            for partition in ("val", "test")
        ]
        folder = tmp_path / name
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps({"experiments": records}))
        (folder / "source.json").write_text(json.dumps({"description": "300 <imágenes>."}))
    (tmp_path / "demo" / "informe.html").touch()
    text = render_index(tmp_path).read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)
    page = BeautifulSoup(text, "html.parser")
    assert [link["href"] for link in page.find_all("a")] == ["demo/informe.html"]
    assert "300 <imágenes>." in page.get_text()
    first = page.select_one("#comparacion tbody tr")
    assert [cell.get_text() for cell in first.find_all(["th", "td"])] == ["original", "0.920", "0.820"]


def test_index_of_one_run_compares_nothing(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "metrics.json").write_text("{}")
    assert "comparacion" not in render_index(tmp_path).read_text(encoding="utf-8")


def test_notebooks_are_not_touched(tmp_path):
    paths = example.notebooks(tmp_path)
    before = [path.read_bytes() for path in paths]
    render(paths, tmp_path / "informe.html", meta={})
    assert before == [path.read_bytes() for path in paths]
    assert all(nbformat.read(path, as_version=4).cells for path in paths)
