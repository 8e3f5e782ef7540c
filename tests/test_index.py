import json

import html5lib
from bs4 import BeautifulSoup

from neumo.report.index import render_index


def test_index_lists_runs_and_compares_two(tmp_path):
    for name, accuracy in (("demo", 0.8), ("<otra>", 0.9)):
        records = [
            {"model": "original", "seed": seed, "partition": partition, "accuracy": accuracy + seed / 100, "auc": 0.95}
            for seed in (1, 3)
            for partition in ("val", "test")
        ]
        folder = tmp_path / name
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps({"experiments": records}))
        (folder / "source.json").write_text(json.dumps({"description": "300 <imágenes>."}))
        (folder / "params.json").write_text(
            json.dumps({"seed": 0, "decision": {"threshold": accuracy}, "data_dir": "/a/b"})
        )
    rows = "model,metric,value,low,high\noriginal,accuracy,0.82,0.7,0.9\n"
    (tmp_path / "demo" / "intervals.csv").write_text(rows)
    (tmp_path / "demo" / "informe.html").touch()
    text = render_index(tmp_path).read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)
    page = BeautifulSoup(text, "html.parser")
    assert [link["href"] for link in page.find_all("a")] == ["demo/informe.html", "demo/informe.html"]
    assert "300 <imágenes>." in page.get_text()
    differing, first = page.select("#comparacion tbody")[:2]
    assert [cell.get_text() for cell in differing.find_all(["th", "td"])] == ["decision.threshold", "0.900", "0.800"]
    assert [cell.get_text() for cell in first.find_all(["th", "td"])] == ["original", "0.920", "0.820 [0.700, 0.900]"]


def test_index_of_one_run_compares_nothing(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "metrics.json").write_text("{}")
    assert "comparacion" not in render_index(tmp_path).read_text(encoding="utf-8")
