"""La documentación nombra lo que hay: enlaces, módulos, archivos y órdenes."""

import importlib
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from neumo.__main__ import _parser
from neumo.report.render import slug

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted((ROOT / "lib").rglob("*.py"))
NOTEBOOKS = [path for folder in ("docs", "docs/ejercicios", "notebooks") for path in (ROOT / folder).glob("*.ipynb")]
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)")


def _links(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [unquote(link) for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def _anchors(page):
    return {slug(title) for title in re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_land(page):
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name} enlaza con {link}"
        assert target.resolve().is_relative_to(ROOT), link
        if anchor:
            assert slug(anchor) in _anchors(target), f"{page.name} enlaza con {link}"


def test_the_pages_do_link():
    assert sum(len(_links(page)) for page in PAGES) >= 6


def _exists(dotted):
    """Dice si `neumo.a.b` es un módulo, o algo que un módulo tiene."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name, None)
        return found is not None
    return False


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS, *SOURCES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_and_file_it_names_exists(page):
    # En CHANGELOG.md, la primera columna son los nombres de antes.
    text = re.sub(r"(?m)^\| `neumo.*?\|", "", page.read_text(encoding="utf-8"))
    named = set(re.findall(r"(?<![\w/.])neumo(?:\.\w+)+", text))
    assert not {name for name in named if not _exists(name)}
    files = set(re.findall(r"`((?:lib|tests|params|docs|benchmarks)/[\w/.-]+)`", text))
    assert not {name for name in files if not (ROOT / name).exists()}


def test_the_drawing_of_the_house_has_every_module():
    text = (ROOT / "docs" / "arquitectura.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"\w+", text.split("```")[1]))
    assert not {p.stem for p in SOURCES if p.stem != "__init__"} - drawn


def test_every_order_the_documents_name_exists():
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    commands = set(_parser()._subparsers._group_actions[0].choices)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.M)) <= targets, page.name
        assert set(re.findall(r"-m neumo ([a-z]+)", text)) <= commands, page.name
