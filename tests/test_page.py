"""El informe en un Chromium de verdad: lo que ve quien lo abre."""

import shutil

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

import report_example as example
from neumo.report.index import render_index
from neumo.report.pdf import pdf
from neumo.report.render import render

pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="hace falta Chromium: apt install chromium")


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("informe")
    meta = {**example.META, "threshold_data": example.threshold_data()}
    return render(example.notebooks(folder / "nb"), folder / "informe.html", meta=meta)


@pytest.fixture
def visit(browser, document):
    """Abre el informe con las opciones dadas; al acabar, ni errores ni peticiones fuera del archivo."""
    contexts, troubles = [], []

    def open_page(path=document, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url) if _leaves(request.url, path) else None)
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def _leaves(url, path):
    return not url.startswith("data:") and url.split("#")[0] != path.as_uri()


def _colour(page, selector="body", name="background-color"):
    text = page.locator(selector).first.evaluate(f"(e) => getComputedStyle(e)['{name}']")
    return np.mean([float(part) for part in text.strip("rgba()").split(",")[:3]])


def test_every_internal_link_lands(visit):
    page = visit()
    lost = page.evaluate(
        "[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))"
        ".filter(h => h.startsWith('#') ? !document.getElementById(h.slice(1)) : !h.startsWith('data:'))"
    )
    assert lost == []
    page.get_by_role("link", name="figura 2").click()
    assert page.url.endswith("#fig-curva")
    assert page.locator("#fig-curva").is_visible()


def test_every_image_is_drawn(visit):
    sizes = visit().evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth])")
    assert len(sizes) == 2
    assert all(complete and natural and shown for complete, natural, shown in sizes)


@pytest.mark.parametrize(
    ("width", "scheme"), [(360, "light"), (360, "dark"), (1119, "light"), (1120, "light"), (1600, "dark")]
)
def test_no_sideways_scroll(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.locator("#codigo").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    hidden = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth"
        " && getComputedStyle(e).overflowX === 'hidden').map(e => e.outerHTML.slice(0, 80))"
    )
    assert hidden == []
    outside = page.evaluate(
        "[...document.querySelectorAll('main *, header *, footer *')].filter(e => e.getBoundingClientRect().right >"
        " innerWidth + 1 && !e.closest('.marco, pre, .formula, .lamina')).map(e => e.outerHTML.slice(0, 80))"
    )
    assert outside == []


def test_slider_gives_the_figures_of_scikit_learn(visit):
    page = visit()
    data = example.threshold_data()
    y, p = np.array(data["y"]), np.array(data["p"])

    def shown(*names):
        return [page.locator(f"#{name}").text_content() for name in names]

    def check(threshold):
        predicted = (p >= threshold).astype(int)
        assert list(map(int, shown("vn", "fp", "fn", "vp"))) == confusion_matrix(y, predicted).ravel().tolist()
        expected = [
            recall_score(y, predicted),
            recall_score(y, predicted, pos_label=0),
            precision_score(y, predicted, zero_division=np.nan),
            precision_score(y, predicted, pos_label=0, zero_division=np.nan),
        ]
        texts = shown("sensibilidad", "especificidad", "vpp", "vpn")
        assert texts == ["–" if np.isnan(value) else f"{value:.3f}" for value in expected]

    check(data["threshold"])
    for threshold in (0.0, 0.05, 0.271, 0.5, 0.9, 1.0):
        page.locator("#umbral").fill(str(threshold))
        check(threshold)
        assert page.locator("#umbral-valor").text_content() == f"{threshold:.3f}"
    page.locator("#umbral").press("ArrowLeft")
    check(0.999)
    page.locator("#umbral-elegido").click()
    check(data["threshold"])


def test_predictive_values_follow_the_prevalence_the_reader_sets(visit):
    page = visit()
    rates = {name: float(page.locator(f"#{name}").text_content()) for name in ("sensibilidad", "especificidad")}
    before = page.locator("#vpp").text_content()
    page.locator("#prevalencia").fill("10")
    caught, alarms = 0.1 * rates["sensibilidad"], 0.9 * (1 - rates["especificidad"])
    assert float(page.locator("#vpp").text_content()) == pytest.approx(caught / (caught + alarms), abs=2e-3)
    assert page.locator("#roc-punto").get_attribute("cy") == page.evaluate(
        "String(200 - 200 * vp.textContent / (+vp.textContent + +fn.textContent))"
    )
    page.get_by_role("button", name="La de la prueba").click()
    assert page.locator("#vpp").text_content() == before


def test_a_reference_shows_what_it_points_to_with_the_keyboard(visit):
    page = visit()
    view = page.locator("#vista")
    page.locator("a.termino").first.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert view.text_content() == page.locator(page.locator("a.termino").first.get_attribute("href")).text_content()
    page.keyboard.press("Escape")
    assert not view.is_visible()


def test_an_anchor_inside_a_fold_opens_it(visit):
    page = visit()
    fold = page.locator("details", has_text="Porque dos imágenes")
    assert not fold.get_attribute("open")
    fold.locator("p").evaluate("e => { e.id = 'dentro'; location.hash = 'dentro'; }")
    fold.locator("p").wait_for(state="visible")


def test_figures_enlarge_and_tables_sort(visit):
    page = visit()
    page.get_by_role("button", name="Ampliar la figura 2").click()
    assert page.locator("#lupa img").bounding_box()["width"] > page.locator("#fig-curva img").bounding_box()["width"]
    page.keyboard.press("Escape")
    assert not page.locator("#lupa").is_visible()
    column, found = page.locator("#tab-recuento tbody td:last-child"), []
    for _ in range(3):
        page.locator("#tab-recuento").get_by_role("button", name="proporción").click()
        found.append([column.all_text_contents(), page.locator("#tab-recuento [aria-sort]").count()])
    shown = ["0.743", "0.739", "9.80×10⁻⁵"]
    assert found == [[shown[::-1], 1], [shown, 1], [shown, 0]]


def test_what_is_downloaded_is_whole(visit):
    page = visit(accept_downloads=True)
    with page.expect_download() as download:
        page.locator("#tab-recuento a.csv").click()
    assert download.value.suggested_filename == "tab-recuento.csv"
    assert download.value.path().read_text().startswith("partición,NORMAL,PNEUMONIA,proporción\n")


def test_without_javascript_the_static_report_remains(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#fig-curva img").is_visible()
    assert page.locator("#umbral-interactivo, #tema, #codigo").filter(visible=True).count() == 0
    assert page.locator("#indice a").first.is_visible()


def test_theme_follows_the_system_and_the_button_overrides_it(visit):
    page = visit(color_scheme="dark")
    assert _colour(page) < 60
    assert _colour(page, "p", "color") > 180
    assert _colour(page, ".lamina") == 255
    page.get_by_role("button", name="Tema claro").click()
    assert _colour(page) > 240
    page.reload()
    assert _colour(page) > 240
    assert _colour(visit(color_scheme="light")) > 240


def test_code_switch_opens_and_closes_every_cell(visit):
    page = visit()
    cells = page.locator("details.codigo")
    assert page.locator("details.codigo[open]").count() == 0
    page.get_by_role("button", name="Mostrar el código").click()
    assert page.locator("details.codigo[open]").count() == cells.count() > 5
    page.get_by_role("button", name="Ocultar el código").click()
    assert page.locator("details.codigo[open]").count() == 0


def test_contents_follow_the_reader(visit):
    page = visit(viewport={"width": 1400, "height": 800}, reduced_motion="reduce")
    page.locator("#sec-la-curva").evaluate("title => title.scrollIntoView()")
    page.wait_for_selector("#indice a[aria-current][href='#sec-la-curva']")
    assert page.locator("#indice a[aria-current]").count() == 1
    assert page.locator("#indice").bounding_box()["y"] == 0


def test_contents_fold_on_a_narrow_screen(visit):
    page = visit(viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    first = page.locator("#indice a").nth(1)
    assert not first.is_visible()
    page.locator("#indice summary").click()
    first.click()
    assert not first.is_visible()
    assert page.url.endswith("#cap-2")
    assert 0 <= page.locator("#cap-2").bounding_box()["y"] < 200


def test_what_scrolls_can_be_reached_with_the_keyboard(visit):
    page = visit(viewport={"width": 360, "height": 740})
    stuck = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1 &&"
        " ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.tabIndex < 0).map(e => e.className)"
    )
    assert stuck == []


def test_the_policy_stops_any_other_script(browser, document, tmp_path):
    text = document.read_text(encoding="utf-8")
    intruder = tmp_path / "informe.html"
    intruder.write_text(
        text.replace("</main>", '<script>window.intruder = 1</script><img src="https://example.org/a.png"></main>'),
        encoding="utf-8",
    )
    context = browser.new_context()
    page = context.new_page()
    requests, refused = [], []
    page.on("requestfinished", lambda request: requests.append(request.url))
    page.on("console", lambda message: refused.append(message.text))
    page.goto(intruder.as_uri())
    assert page.evaluate("window.intruder") is None
    assert not any("example.org" in url for url in requests)
    assert len(refused) == 2
    context.close()


def test_pdf_is_made_in_a4(document, tmp_path):
    output = pdf(document, tmp_path / "informe.pdf")
    content = output.read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594.95" in content or b"/MediaBox [0 0 595" in content
    assert content.count(b"/Type /Page\n") >= 5


def test_printed_page_has_no_code_and_no_cut_figures(visit):
    page = visit(viewport={"width": 660, "height": 980})
    page.emulate_media(media="print")
    assert page.locator("details.codigo, .mandos, #umbral-interactivo").filter(visible=True).count() == 0
    assert page.locator("figure.figura").first.evaluate("e => getComputedStyle(e).breakInside") == "avoid"
    assert page.locator("details:not(.codigo) p").filter(visible=True).count() > 0
    assert _colour(page) in (0, 255)  # sin fondo (transparente) o blanco


def test_index_of_runs_opens_clean(visit, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "metrics.json").write_text(
        '[{"model": "original", "partition": "test", "accuracy": 0.9, "auc": 0.95}]'
    )
    page = visit(render_index(tmp_path), viewport={"width": 360, "height": 740})
    assert page.locator("tbody tr").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_axe_finds_nothing_serious(visit, axe, scheme, width):
    page = visit(bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.locator("#codigo").click()
    assert axe(page) == []
