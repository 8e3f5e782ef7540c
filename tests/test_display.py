import base64
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st

import report_example as example
from neumo.errors import NeumoError
from neumo.figures.style import hover
from neumo.report import display


def test_figure_is_deterministic_closed_and_small():
    first, second = (display.figure(example.curve(), "fig-a", caption="Una.", alt="Otra.") for _ in range(2))
    assert first == second
    assert "data:image/svg+xml" in first.html
    big = display.figure(example.radiographs(), "fig-b", caption="Una.", alt='Con "comillas" & <signos>.')
    assert BeautifulSoup(big.html, "html.parser").img["alt"] == 'Con "comillas" & <signos>.'
    assert plt.get_fignums() == []


def test_a_value_lies_over_what_it_tells():
    """La zona cae donde está dibujado lo mismo, y lo que dice se escapa."""
    axes = plt.figure(figsize=(5, 3)).subplots()
    axes.set(xscale="log", xlim=(0.01, 10), ylim=(0, 4), ylabel="Una cosa")
    axes.add_artist(plt.Rectangle((0.1, 1), 0.9, 2, color="#123456"))
    hover(axes, (0.1, 1, 0.9, 2), "de <0.1> a 1")
    soup = BeautifulSoup(display.figure(axes, "fig-zona", caption="Una.", alt="Otra.").html, "html.parser")
    zone, drawn = soup.find("rect"), base64.b64decode(soup.img["src"].partition(",")[2]).decode()
    corners = re.search(r'd="M ([^"]+)" [^>]*style="fill: #123456', drawn)[1]
    points = np.array(re.findall(r"[\d.]+", corners), float).reshape(-1, 2) * 96 / 72
    sides = [float(zone[name]) for name in ("x", "y", "width", "height")]
    assert np.allclose(sides, [*points.min(axis=0), *np.ptp(points, axis=0)], atol=3)
    assert zone.title.text == "de <0.1> a 1"
    assert soup.svg["viewbox"] == f"0 0 {soup.img['width']} {soup.img['height']}"


def test_dense_scatter_becomes_a_png():
    axes = plt.figure().subplots()
    axes.scatter(*np.random.default_rng(1).random((2, 20_000)), s=1)
    assert "data:image/png" in display.figure(axes, "fig-nube", caption="Nube.", alt="Nube.").html


@pytest.mark.parametrize(("id", "caption", "alt"), [("curva", "a", "b"), ("fig-Ñ", "a", "b"), ("fig-a", "a", " ")])
def test_figure_refuses_bad_identifiers_and_missing_texts(id, caption, alt):
    with pytest.raises(NeumoError):
        display.figure(None, id, caption=caption, alt=alt)


def test_table_keeps_the_authors_colours_and_escapes_everything():
    frame = pd.DataFrame({"tasa": [0.5, 1e-5], "</th><b>": ["</td><script>", "b & c"]}, index=["<i>", "x"])
    styler = frame.style.highlight_max(subset=["tasa"])
    soup = BeautifulSoup(display.table(styler, "tab-a", caption="<b>").html, "html.parser")
    assert [cell.get_text() for cell in soup.select("tbody td")] == [
        "0.500", "</td><script>", "1.00×10⁻⁵", "b & c"
    ]  # fmt: skip
    assert soup.select_one("tbody th").get_text() == "<i>"
    assert soup.select("thead th")[-1].get_text() == "</th><b>"
    assert "background-color" in soup.style.get_text()
    assert not soup.find(["script", "b", "i"])


def test_what_is_missing_is_a_dash():
    missing = {"a": pd.array([1, None], dtype="Int64"), "b": [pd.NaT, None], "c": [np.nan, 1]}
    soup = BeautifulSoup(display.table(pd.DataFrame(missing), "tab-a", caption="Una.").html, "html.parser")
    assert [cell.get_text() for cell in soup.select("tbody td")] == ["1", "–", "–", "–", "–", "1.000"]


def test_table_aligns_figures_and_names_the_index():
    frame = pd.DataFrame(
        {"n": [1], "ic": ["0.91 [0.88, 0.93]"], "clase": ["NORMAL"]}, index=pd.Index([3], name="época")
    )
    soup = BeautifulSoup(display.table(frame, "tab-a", caption="Una.").html, "html.parser")
    assert [(head.get_text(), "num" in head.get("class", [])) for head in soup.select("thead th")] == [
        ("época", False), ("n", True), ("ic", True), ("clase", False)
    ]  # fmt: skip
    crossed = pd.crosstab(pd.Series(["a"], name="modo"), pd.Series(["b"], name="clase"))
    heads = BeautifulSoup(display.table(crossed, "tab-b", caption="Una.").html, "html.parser").select("thead th")
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


@settings(deadline=None, max_examples=25)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Co", "Cc"]), max_size=40))
@case("<img src=x onerror=alert(1)>")
@case("\u202egpj.</code><script>alert(1)</script>")
@case('" onmouseover="alert(1)')
def test_no_name_becomes_markup(name):
    """Lo que se lee es el nombre, letra por letra, y en la página no hay más etiquetas que las del autor."""
    page = BeautifulSoup(display.prose("ver `{name}`", name=name).html, "html.parser")
    assert page.code.get_text() == name
    assert [(tag.name, *tag.attrs) for tag in page.find_all(True)] == [("div", "class"), ("p",), ("code",)]
    cells = BeautifulSoup(display.table(pd.DataFrame({name: [name]}), "tab-x", caption="Una.").html, "html.parser")
    assert not cells.find_all(["img", "script", "a", "b"])
    assert not [tag for tag in cells.find_all(True) if any(key.startswith("on") for key in tag.attrs)]


def test_notes_and_findings():
    finding = type("Finding", (), {"code": "argmax", "message": "Siempre <0>.", "evidence": {"n": 1060, "p": 0.26134}})
    assert "Siempre &lt;0&gt;." in display.findings([finding]).html
    assert "n = 1060; p = 0.261" in display.findings([finding]).html
    assert "ninguno" in display.findings([]).html
    with pytest.raises(NeumoError, match="aviso"):
        display.note("x", kind="otro")
