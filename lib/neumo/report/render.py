"""Los cuadernos ejecutados, reunidos y numerados, en un solo HTML que se lee sin red."""

import base64
import hashlib
import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neumo import references
from neumo.cache import write_atomically
from neumo.errors import NeumoError
from neumo.report.cells import page_cells
from neumo.report.display import markdown
from neumo.report.downloads import data_uri, table_csv
from neumo.run import ARTEFACTS
from neumo.words import cell_text

TITLE = "Clasificación de imágenes médicas con redes neuronales convolucionales"
TEMPLATE = Path(__file__).parent / "template"
KINDS = {"fig": "figura", "tab": "tabla", "sec": "sección", "cap": "capítulo"}
_CODE = "\ue000"  # rodea el número de un código que está fuera del árbol
NO_PROSE = ["a", "code", "pre", "h2", "h3", "h4", "h5", "h6", "figure", "table", "math", "summary", "label", "dl"]  # fmt: skip


def render(notebooks: list[Path], output: Path, *, meta: Mapping[str, Any]) -> Path:
    """Escribe el informe: un archivo HTML sin ninguna dirección externa.

    Parameters
    ----------
    notebooks : list of Path
        Cuadernos ejecutados, `NN_nombre.ipynb`; el número es el del capítulo y `00` es el resumen.
    output : Path
        Archivo que se escribe, de una pieza.
    meta : mapping
        `title`, `run`, `source` (texto de la cubierta), `synthetic` (bool), `unknown_patients` (cuántas imágenes no
        dicen su paciente), `provenance` (etiqueta → valor), `cite` (texto), `threshold_data`
        (`{"y", "p", "threshold"}`), `files` (nombre → bytes de lo que se puede descargar). Todas son optativas.

    Raises
    ------
    NeumoError
        Si una celda falló, una referencia o una cita no llega a nada, o un identificador se repite.
    """
    from bs4.formatter import EntitySubstitution, HTMLFormatter

    paths = sorted(notebooks, key=lambda path: path.name)
    soup, codes = _export([cell for path in paths for cell in page_cells(path)], meta)
    for step in (_headings, _references, _citations, _footnotes, _glossary, _contents, _links, _tables, _frames):
        step(soup)
    html5 = HTMLFormatter(EntitySubstitution.substitute_xml, void_element_close_prefix="")
    page = re.sub(f"{_CODE}(\\d+){_CODE}", lambda mark: codes[int(mark[1])], soup.decode(formatter=html5))
    write_atomically(output, page.encode())
    return output


def _export(cells: list, meta: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Una exportación de nbconvert con la plantilla del informe: el árbol que se puede numerar y, aparte, los códigos.

    El código coloreado son dos tercios de las etiquetas: en el árbol deja una marca con su número.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from nbconvert.filters import Highlight2HTML
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    codes: list[str] = []
    colour = Highlight2HTML(pygments_lexer="python")

    def highlight(source: str, **options: Any) -> str:
        codes.append(colour(source, **options).replace("<pre>", '<pre tabindex="0">'))
        return f"{_CODE}{len(codes) - 1}{_CODE}"

    bases = [str(TEMPLATE.parent)]
    exporter = HTMLExporter(template_name=TEMPLATE.name, extra_template_basedirs=bases, language_code="es")
    exporter.filters = {"markdown_report": markdown, "highlight_code": highlight}
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    script = (TEMPLATE / "guion.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    provenance = {name: cell_text(value) for name, value in meta.get("provenance", {}).items()}
    neumo = {"title": TITLE, "run": "", **meta, "provenance": provenance, "script": script, "digest": digest}
    neumo["files"] = {name: data_uri(name, content) for name, content in meta.get("files", {}).items()}
    neumo["chapters"] = {f"{said['number']:02d}": said for cell in cells if (said := cell.metadata.get("neumo"))}
    opening = neumo["chapters"].get("00", {"short": ()})
    neumo["short"] = [neumo["chapters"][number] for number in opening["short"] if number in neumo["chapters"]]
    neumo["writers"] = {name: writer for name, (_, writer) in ARTEFACTS.items() if writer in neumo["chapters"]}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    return _html(exporter.from_notebook_node(notebook, resources={"neumo": neumo})[0]), codes


def _html(code: str) -> Any:
    from bs4 import BeautifulSoup

    return BeautifulSoup(code, "html.parser")


def slug(text: str) -> str:
    """Reduce un título a minúsculas ASCII unidas por guiones.

    >>> slug("¿Qué es la Época 2?")
    'que-es-la-epoca-2'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain))


def _headings(soup: Any) -> None:
    """Baja los títulos un nivel, numera capítulos y secciones y da a cada uno un ancla única."""
    used: set[str] = set()
    for chapter in soup.select("section.capitulo"):
        number, section = int(chapter["data-capitulo"]), 0
        for title in chapter.find_all(re.compile("^h[1-5]$")):
            title.name = f"h{int(title.name[1]) + 1}"
            anchor = "titulo" if title.name == "h2" else f"sec-{slug(title.get_text())}"
            title["id"] = anchor if anchor not in used else f"{anchor}-{number}-{len(used)}"
            used.add(title["id"])
            section += title.name == "h3"
            if number and title.name in ("h2", "h3"):
                label = str(number) if title.name == "h2" else f"{number}.{section}"
                title.insert(0, _html(f'<span class="numero">{label}</span> '))
        chapter["id"] = f"cap-{number}" if number else "resumen"
        chapter["aria-labelledby"] = chapter.h2["id"]


def _references(soup: Any) -> None:
    """Numera figuras y tablas y convierte las referencias vacías `[](#fig-x)` en «figura 3»."""
    names: dict[str, str] = {}
    for selector, word in (("figure.figura", "Figura"), ("figure.tabla", "Tabla")):
        for count, block in enumerate(soup.select(selector), start=1):
            if block["id"] in names:
                raise NeumoError(f"Dos figuras o tablas se llaman «{block['id']}»: dé a cada una su identificador.")
            names[block["id"]] = str(count)
            block.figcaption.insert(0, _html(f'<span class="rotulo">{word} {count}.</span> '))
    for title in soup.select(".capitulo :is(h2, h3, h4, h5, h6)[id]"):
        number = title.select_one(".numero")
        target = title.find_parent("section")["id"] if title.name == "h2" else title["id"]
        names[target] = number.get_text() if number else f"«{title.get_text()}»"
    for link in soup.select('a[href^="#"]'):
        if not link.get_text(strip=True):
            target = re.sub(r"^cap-0*(?=\d)", "cap-", link["href"][1:])
            target = "resumen" if target == "cap-0" else target
            if target not in names:
                raise _lost(link, f"remite a «{link['href']}», que no existe en el informe: corrija la referencia")
            kind = KINDS.get(target[:3])
            link["href"], link.string = f"#{target}", f"{kind}\u00a0{names[target]}" if kind else "resumen"


def _lost(tag: Any, problem: str) -> NeumoError:
    chapter = tag.find_parent("section", class_="capitulo")
    return NeumoError(f"El capítulo {int(chapter['data-capitulo']) if chapter else 0:02d} {problem}.")


def _rewrite(soup: Any, pattern: str, replace: Callable[[re.Match, Any], str], outside: list[str]) -> None:
    """Sustituye en el texto de los capítulos lo que cumple `pattern` por el HTML que devuelve `replace`."""
    from bs4 import NavigableString

    finder = re.compile(pattern)
    for node in soup.main.find_all(string=finder):
        if type(node) is NavigableString and not node.find_parent(outside):

            def swap(match: re.Match, node: Any = node) -> str:
                return replace(match, node)

            node.replace_with(_html(finder.sub(swap, html.escape(node, quote=False))))


def _citations(soup: Any) -> None:
    """Numera las citas `[@clave; @otra]` por orden y escribe al final las fuentes citadas, y solo esas."""
    library = references.bibliography()
    cited: dict[str, int] = {}

    def cite(match: re.Match, node: Any) -> str:
        links = []
        for key in re.findall(r"@([\w-]+)", match[0]):
            if key not in library:
                raise _lost(node, f"cita «@{key}», que no está en lib/neumo/references.yaml: añada la fuente")
            number = cited.setdefault(key, len(cited) + 1)
            links.append(f'<a class="cita" href="#ref-{number}">{number}</a>')
        return f"[{', '.join(links)}]"

    _rewrite(soup, r"\[@[\w-]+(?:[;,]\s*@[\w-]+)*\]", cite, ["code", "pre"])
    _close(soup, "referencias", {f"ref-{number}": _source(library[key]) for key, number in cited.items()})


def _source(source: Mapping[str, str]) -> str:
    doi = f' <span class="direccion">doi:{html.escape(source["doi"])}</span>' if source.get("doi") else ""
    return html.escape(source["text"]) + doi


def _close(soup: Any, id: str, items: Mapping[str, str]) -> None:
    """Llena con ancla → HTML la lista de una sección del cierre, o quita la sección si no hay nada que poner."""
    section = soup.find(id=id)
    section.find(["ol", "ul"]).append(_html("".join(f'<li id="{key}">{text}</li>' for key, text in items.items())))
    if not items:
        section.decompose()


def _footnotes(soup: Any) -> None:
    """Reúne las notas al pie de cada capítulo al final de él, con numeración única."""
    count = 0
    for chapter in soup.select("section.capitulo"):
        notes = soup.new_tag("ol", attrs={"class": "notas", "start": count + 1, "aria-label": "Notas"})
        for block in chapter.select("section.footnotes"):
            for item in block.ol.find_all("li", recursive=False):
                count += 1
                for call in block.parent.select(f'.footnote-ref a[href="#{item["id"]}"]'):
                    call["href"], call.string, call.parent["id"] = (f"#nota-{count}", str(count), f"llamada-{count}")
                item["id"], back = f"nota-{count}", item.select_one("a.footnote")
                back["href"], back["aria-label"] = f"#llamada-{count}", "Volver al texto"
                notes.append(item.extract())
            block.decompose()
        if notes.contents:
            chapter.append(notes)


def _glossary(soup: Any) -> None:
    """Enlaza cada término con su definición la primera vez que aparece, y cierra con los que aparecen."""
    terms = {term.lower(): (term, text) for term, text in references.glossary().items()}
    seen: set[str] = set()

    def link(match: re.Match, node: Any) -> str:
        key = match[0].lower()
        if key in seen:
            return match[0]
        seen.add(key)
        return f'<a class="termino" href="#glo-{slug(key)}">{match[0]}</a>'

    longest = "|".join(sorted(map(re.escape, terms), key=len, reverse=True))
    _rewrite(soup, rf"(?i)\b(?:{longest})\b", link, NO_PROSE)
    entries = {key: f"<dfn>{terms[key][0]}</dfn>: {markdown(terms[key][1], inline=True)}" for key in seen}
    _close(soup, "glosario", {f"glo-{slug(key)}": entries[key] for key in sorted(seen, key=slug)})


def _contents(soup: Any) -> None:
    """Escribe el índice: capítulos y, dentro, sus secciones."""

    def link(title: Any, anchor: str) -> str:
        return f'<a href="#{anchor}">{re.sub("</?(?:a|sup)[^>]*>", "", title.decode_contents())}</a>'

    items = ""
    for section in soup.select("main > section:has(h2)"):
        inner = "".join(f"<li>{link(title, title['id'])}</li>" for title in section.find_all("h3"))
        items += f"<li>{link(section.h2, section['id'])}{inner and f'<ol>{inner}</ol>'}</li>"
    soup.select_one("#indice ol").append(_html(items))


def _links(soup: Any) -> None:
    """Comprueba los enlaces internos y deja las direcciones externas escritas: el archivo no sale de sí."""
    anchors = {tag["id"] for tag in soup.find_all(id=True)}
    for link in soup.find_all("a", href=True):
        address, text = link["href"], link.get_text()
        if not address.startswith(("#", "data:")):
            bare = re.sub(r"^(https?://|mailto:)", "", address)
            link.replace_with(text if bare in text or bare == address else f"{text} ({bare})")
        elif address.startswith("#") and address[1:] not in anchors:
            raise _lost(link, f"enlaza con «{address}», que no existe en el informe: corrija el enlace")
    for tag in soup.find_all(src=re.compile("^(?!data:)")):
        raise _lost(tag, f"muestra «{Path(tag['src']).name}», ajeno al informe: use `neumo.report.display.figure`")


def _frames(soup: Any) -> None:
    """Deja recorrer con el teclado lo que puede no caber a lo ancho, y pone en su sitio estilos, umbral y caminos."""
    for table in soup.main.find_all("table"):
        table.attrs.pop("border", None)
        for corner in table.find_all(lambda tag: tag.name == "th" and not tag.get_text(strip=True)):
            corner.name = "td"  # una cabecera vacía no encabeza nada
            corner.attrs.pop("scope", None)
        if not table.find_parent(class_="marco"):
            table.wrap(soup.new_tag("div", attrs={"class": "marco"}))
    for count, frame in enumerate(soup.select(".marco"), start=1):
        label = frame.parent.select_one("figcaption > .rotulo")
        name = label.get_text().rstrip(".") if label else f"Cuadro {count}"
        frame.attrs.update({"tabindex": "0", "role": "region", "aria-label": name})
    for formula in soup.select("math[display=block]"):
        formula.wrap(soup.new_tag("span", attrs={"class": "formula"}))
    for block in soup.select("pre, .formula"):
        block["tabindex"] = "0"
    for style in soup.main.find_all("style"):
        soup.head.append(style.extract())
    if (slider := soup.find(id="umbral-interactivo")) and (home := soup.find(id="cap-11")):
        home.append(slider.extract())
    if (paths := soup.find(id="caminos")) and (second := soup.select_one("#resumen > .texto:has(h3)")):
        second.insert_before(paths.extract())


def _tables(soup: Any) -> None:
    """Da a cada tabla numerada su CSV, que va dentro de la página."""
    for block in soup.select("figure.tabla"):
        name = f"{block['id']}.csv"
        label = f"Descargar la {block.select_one('.rotulo').get_text().lower().rstrip('.')} en CSV"
        address = data_uri(name, table_csv(block.table))
        code = f' <a class="csv" download="{name}" href="{address}" aria-label="{label}">CSV</a>'
        block.figcaption.append(_html(code))
