"""El mismo informe, hecho dos veces, con una caché para cada una: los mismos bytes."""

import re

import pytest

from test_graph import _report, project  # noqa: F401

MADE = ("manifest.csv", "exclusions.csv", "listing.csv")


def _made(run):
    return {name: (run / name).read_bytes() for name in MADE}


def _page(run):
    """La página, sin lo que dura cada cosa ni la fecha."""
    return re.sub(
        r"\d+(\.\d+)? (s|min)\b|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", "…", (run / "informe.html").read_text()
    )


@pytest.mark.slow
def test_two_builds_with_their_own_cache_are_the_same_bytes(project):  # noqa: F811
    build, before = project / "build", project / "antes"
    assert _report(project).returncode == 0
    build.rename(before)
    assert _report(project).returncode == 0
    assert _made(build / "demo") == _made(before / "demo")
    assert _page(build / "demo") == _page(before / "demo")
