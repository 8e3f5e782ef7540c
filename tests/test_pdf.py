import shutil
import subprocess

import pytest

from neumo.errors import NeumoError
from neumo.report.pdf import pdf


def test_pdf_says_how_to_get_the_browser(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NeumoError, match="apt install chromium"):
        pdf(tmp_path / "informe.html", tmp_path / "informe.pdf")


def test_pdf_reports_a_browser_that_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    monkeypatch.setattr(subprocess, "run", lambda order, **options: subprocess.CompletedProcess(order, 1))
    with pytest.raises(NeumoError, match="terminó con 1"):
        pdf(tmp_path / "informe.html", tmp_path / "informe.pdf")
