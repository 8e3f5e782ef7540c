"""Lo que un cuaderno muestra: figuras, tablas, prosa y avisos, iguales en JupyterLab y en el informe.

Cada función devuelve un objeto que Jupyter sabe mostrar: se escribe como última expresión de la celda.
Todo valor que venga de los datos se escapa; el texto del autor es Markdown con matemáticas entre `$`.
"""

import base64
import html
import io
import math
import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from neumo.errors import NeumoError
from neumo.words import cell_text

SMALL_SVG = 150_000
NOTE_TITLES = {"nota": "Nota", "aviso": "Aviso", "peligro": "Atención", "bien": "En orden"}
NUMERIC = re.compile(r"[∞\s\d.,%±×·⁻⁰¹²³⁴⁵⁶⁷⁸⁹+\-−–\[\]()/]*")


@dataclass(frozen=True)
class Fragment:
    """Trozo de HTML con su lectura en texto llano."""

    html: str
    text: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def markdown(text: str, *, escape: bool = False, inline: bool = False, attachments: Any = None) -> str:
    """Convierte Markdown en HTML, con las matemáticas en MathML y las notas al pie de `[^clave]`.

    Parameters
    ----------
    text : str
        Markdown de Jupyter: tablas, `$…$` y `$$…$$` incluidos.
    escape : bool
        Escapar el HTML que el texto traiga, en lugar de dejarlo pasar.
    inline : bool
        Quitar el párrafo que envuelve el resultado.
    attachments : dict, optional
        Imágenes pegadas en la celda (`attachment:nombre`), como las guarda Jupyter: van dentro de la página.

    Examples
    --------
    >>> markdown("<b> y la **exactitud**", escape=True, inline=True)
    '&lt;b&gt; y la <strong>exactitud</strong>'
    """
    from latex2mathml.converter import convert
    from mistune import import_plugin
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def inline_math(self, body: str, display: str = "inline") -> str:
            return re.sub(' xmlns="[^"]*"', "", convert(body.strip(), display=display))

        def block_math(self, body: str) -> str:
            return self.inline_math(body, "block")

    plugins = [import_plugin(name) for name in (*MarkdownWithMath.DEFAULT_PLUGINS, "footnotes")]
    renderer = Renderer(escape=escape, exclude_anchor_links=True, attachments=attachments)
    result = MarkdownWithMath(renderer, plugins=plugins).render(text).strip()
    return re.sub(r"\A<p>(.*)</p>\Z", r"\1", result, flags=re.DOTALL) if inline else result


class _Escaper(string.Formatter):
    """`str.format` que deja una marca por valor y guarda el valor, ya formateado, para después."""

    def __init__(self) -> None:
        self.values: list[str] = []

    def format_field(self, value: Any, format_spec: str) -> str:
        number = not isinstance(value, float | np.floating) or math.isfinite(value)
        text = super().format_field(value, format_spec) if number else cell_text(value)
        if format_spec:  # los números se escriben como en español: «75.2 %», «4 054»
            text = text.replace("%", "\N{NO-BREAK SPACE}%").replace(",", "\N{NARROW NO-BREAK SPACE}")
        self.values.append(text)
        return chr(0xE000 + len(self.values) - 1)

    def fill(self, text: str, escape: Callable[[str], str] = html.escape) -> str:
        return re.sub("[\ue000-\uf8ff]", lambda mark: escape(self.values[ord(mark[0]) - 0xE000]), text)


def prose(text: str, **values: Any) -> Fragment:
    """Muestra Markdown con valores formateados como en `str.format`.

    Parameters
    ----------
    text : str
        Markdown del autor; sin `values`, las llaves quedan tal cual (útil para LaTeX).
    **values
        Lo que rellena las llaves; se escapa: un nombre de archivo no puede volverse marcado.

    Examples
    --------
    >>> prose("exactitud **{acc:.3f}** en `{name}`", acc=0.91, name="a<b>*.jpeg").html
    '<div class="prosa"><p>exactitud <strong>0.910</strong> en <code>a&lt;b&gt;*.jpeg</code></p></div>'
    >>> prose("pérdida {a:.3g}, AUC {b:.3f}", a=math.inf, b=math.nan).text
    'pérdida ∞, AUC –'
    """
    escaper = _Escaper()
    marked = escaper.vformat(text, (), values) if values else text
    body = escaper.fill(markdown(marked))
    return Fragment(f'<div class="prosa">{body}</div>', escaper.fill(marked, escape=str))


def note(text: str, *, kind: str = "nota", **values: Any) -> Fragment:
    """Muestra un recuadro: `nota` (contexto), `aviso` (cautela), `peligro` (no siga sin leerlo) o `bien`.

    Raises
    ------
    NeumoError
        Si no existe un recuadro `kind`.
    """
    if kind not in NOTE_TITLES:
        raise NeumoError(f"El recuadro «{kind}» no existe: use uno de {', '.join(NOTE_TITLES)}.")
    body = prose(text, **values)
    return _box(kind, NOTE_TITLES[kind], body.html, body.text)


def _box(kind: str, title: str, body: str, text: str) -> Fragment:
    code = f'<div class="recuadro {kind}" role="note"><p class="rotulo">{title}</p>{body}</div>'
    return Fragment(code, f"{title}: {text}")


def findings(found: Iterable[Any]) -> Fragment:
    """Muestra los hallazgos de `neumo.evaluation.diagnosis.diagnose`, o dice que no hay ninguno.

    Parameters
    ----------
    found : iterable of Finding
        Objetos con `code`, `message` y `evidence` (cifras por su nombre).
    """
    found = list(found)
    if not found:
        return note("El diagnóstico no encuentra ninguno de los fallos que conoce.", kind="bien")
    items = ""
    for one in found:
        evidence = "; ".join(f"{key} = {cell_text(value)}" for key, value in one.evidence.items())
        items += f"<li><code>{html.escape(one.code)}</code> {html.escape(one.message)} "
        items += f'<span class="prueba">{html.escape(evidence)}</span></li>'
    text = "\n".join(f"{one.code}: {one.message}" for one in found)
    return _box("peligro", "Diagnóstico", f"<ul>{items}</ul>", text)


def figure(drawing: Any, id: str, *, caption: str, alt: str) -> Fragment:
    """Muestra una figura que el informe numera, y la cierra: SVG, o PNG al doble de tamaño si así ocupa menos.

    Parameters
    ----------
    drawing : Figure, Axes, array of Axes, or anything with `figure` or `figure_`
        Lo que devuelven las funciones de `neumo.figures`, seaborn o los Display de scikit-learn.
    id : str
        Ancla de las referencias cruzadas, `fig-…`, única en todo el informe.
    caption : str
        Pie en Markdown: qué se ve y qué significa.
    alt : str
        Lo mismo para quien no la ve; texto llano.

    Raises
    ------
    NeumoError
        Si el identificador no empieza por `fig-`, o falta el pie o el texto alternativo.
    """
    import matplotlib.pyplot as plt

    _check(id, "fig", caption, alt)
    canvas = drawing.flat[0] if isinstance(drawing, np.ndarray) else drawing
    for name in ("figure_", "figure"):
        canvas = getattr(canvas, name, None) or canvas
    kind, data, (width, height) = _encode(canvas)
    values = _values(canvas, width, height)
    plt.close(canvas)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    image = f'<img src="{source}" alt="{html.escape(alt)}" width="{width}" height="{height}">'
    if values:  # con su estilo, para que JupyterLab también lo coloque
        image = f'<div style="position:relative;width:fit-content;max-width:100%;margin:auto">{image}{values}</div>'
    body = f'<div class="lamina">{image}</div><figcaption>{markdown(caption, escape=True, inline=True)}</figcaption>'
    return Fragment(f'<figure id="{id}" class="figura">{body}</figure>', f"[{id}] {caption}")


def _values(canvas: Any, width: int, height: int) -> str:
    """Capa transparente sobre la figura: el valor de cada zona (`neumo.figures.style.hover`), en su `<title>`."""
    import matplotlib as mpl

    found = canvas.findobj(lambda artist: artist.get_gid() and not artist.get_visible())
    if not found:
        return ""
    inches = canvas.get_tightbbox(canvas.canvas.get_renderer()).padded(mpl.rcParams["savefig.pad_inches"])
    zones = ""
    for zone in found:
        box = zone.get_window_extent().transformed(canvas.dpi_scale_trans.inverted())
        place = zip(
            ("x", "y", "width", "height"), (box.x0 - inches.x0, inches.y1 - box.y1, box.width, box.height), strict=True
        )
        sides = " ".join(f'{name}="{96 * value:.0f}"' for name, value in place)
        zones += f"<rect {sides}><title>{html.escape(zone.get_gid())}</title></rect>"
    style = "position:absolute;inset:0;width:100%;height:100%;fill:transparent"
    return f'<svg viewBox="0 0 {width} {height}" style="{style}" aria-hidden="true">{zones}</svg>'


def _encode(canvas: Any) -> tuple[str, bytes, tuple[int, int]]:
    """Formato, bytes y tamaño en píxeles de CSS; los mismos bytes para el mismo dibujo."""
    import matplotlib as mpl

    def save(kind: str, **options: Any) -> bytes:
        canvas.savefig(target := io.BytesIO(), format=kind, bbox_inches="tight", **options)
        return target.getvalue()

    with mpl.rc_context({"svg.hashsalt": "neumo"}):
        svg = save("svg", metadata={"Date": None})
    ((width, height),) = re.findall(rb'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"', svg[:2000])
    size = round(float(width) * 96 / 72), round(float(height) * 96 / 72)
    if len(svg) <= SMALL_SVG:
        return "svg+xml", svg, size
    png = save("png", dpi=2 * 96, metadata={"Software": None})
    # Una rejilla de imágenes pequeñas ocupa menos en SVG, que las guarda a su tamaño.
    return ("png", png, size) if len(png) < len(svg) else ("svg+xml", svg, size)


def table(data: Any, id: str, *, caption: str, digits: int = 3, index: bool = True) -> Fragment:
    """Muestra una tabla que el informe numera, con las cifras alineadas.

    Parameters
    ----------
    data : DataFrame or Styler
        Un Styler conserva sus colores; las cifras las escribe el informe: la que pida otra forma se da como texto.
    id : str
        Ancla de las referencias cruzadas, `tab-…`, única en todo el informe.
    caption : str
        Título en Markdown: qué contiene, con qué unidades.
    digits : int
        Decimales de los números reales; lo que así parecería cero va en notación científica.
    index : bool
        Mostrar el índice como cabecera de fila.

    Raises
    ------
    NeumoError
        Si el identificador no empieza por `tab-` o falta el título.
    """
    _check(id, "tab", caption)
    styler = data.style if hasattr(data, "style") else data

    def write(value: Any) -> str:
        return html.escape(cell_text(value, digits))

    styler.format(write).format_index(write, axis=0).format_index(write, axis=1)
    body = _tidy((styler if index else styler.hide(axis="index")).to_html(table_uuid=id))
    title = f"<figcaption>{markdown(caption, escape=True, inline=True)}</figcaption>"
    code = f'<figure id="{id}" class="tabla">{title}<div class="marco">{body}</div></figure>'
    return Fragment(code, f"[{id}] {caption}")


def _tidy(code: str) -> str:
    """Deja en la tabla de pandas lo que sirve: alcance de las cabeceras, columnas de cifras y estilos si los hay."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(code, "html.parser")
    first, *_, last = soup.select("thead tr") * 2
    if first is not last and not last.select(".col_heading"):
        names = last.select(".index_name")
        for corner, name in zip(first.select(".blank, .index_name"), names, strict=False):
            corner.replace_with(name.extract())
        last.decompose()
    for blank in soup.select("th.blank"):
        blank.name = "td"
    for head in soup.find_all("th"):
        head["scope"] = "row" if "row_heading" in head["class"] else "col"
    for head in soup.select("tr:last-child > th.col_heading, tr:first-child > th.col_heading"):
        column = soup.select(f"td.{head['class'][2]}.data")
        if all(NUMERIC.fullmatch(cell.get_text(strip=True)) for cell in column):
            for cell in [head, *column]:
                cell["class"].append("num")
    if soup.style.get_text(strip=True):
        soup.table["class"] = "estilada"
        return str(soup)
    for tag in [soup.table, *soup.table.find_all(True)]:
        figures = {"class": "num"} if "num" in tag.get("class", []) else {}
        tag.attrs = {key: value for key, value in tag.attrs.items() if key not in ("id", "class")} | figures
    return str(soup.table)


def _check(id: str, prefix: str, caption: str, alt: str = "-") -> None:
    if not re.fullmatch(rf"{prefix}-[a-z0-9-]+", id):
        raise NeumoError(f"El identificador «{id}» ha de ser «{prefix}-» y minúsculas, cifras o guiones.")
    if not caption.strip() or not alt.strip():
        raise NeumoError(f"A «{id}» le falta el pie o el texto alternativo: escríbalo, con frases enteras.")
