"""Los enlaces de la documentación llegan a algo."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from neumo.report.render import slug

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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


def test_every_order_the_documents_name_exists():
    orders = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8")))
        assert named <= orders, f"{page.name}: {named - orders}"
