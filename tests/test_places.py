"""El mismo informe, hecho dos veces o en otro sitio: los mismos bytes."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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


@pytest.mark.slow
def test_elsewhere_it_is_the_same_report(project, monkeypatch):  # noqa: F811
    """Otra ruta, sin HOME, `build` en otro disco, imágenes de solo lectura; y después, el reloj atrasado."""
    assert _report(project).returncode == 0
    expected = _made(project / "build" / "demo")
    shutil.rmtree(project / "build")
    where = project.rename(project.with_name("año #1, «mío» & 'tuyo' %20"))
    monkeypatch.delenv("HOME")
    for path in (where / "placas").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as other:
        (where / "build").symlink_to(other, target_is_directory=True)
        done = _report(where)
        assert done.returncode == 0, done.stderr
        assert _made(where / "build" / "demo") == expected
        for moment in (4e9, 4e7):  # lo hecho queda en el futuro, o en 1971
            for path in [*where.joinpath("notebooks").iterdir(), *where.joinpath("build").rglob("*")]:
                os.utime(path, (moment, moment))
            again = _report(where)
            assert again.returncode == 0, again.stderr
            assert "empieza" not in again.stdout
            assert _made(where / "build" / "demo") == expected


@pytest.mark.slow
def test_two_different_runs_at_once_share_the_cache(project):  # noqa: F811
    order = [sys.executable, "-m", "neumo", "report", "--run"]
    both = [
        subprocess.Popen([*order, name], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name in ("una", "otra")
    ]
    for process in both:
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 0, said
    assert _made(project / "build" / "una") == _made(project / "build" / "otra")
