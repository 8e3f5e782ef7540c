"""Las cabeceras, con archivos de verdad: calidad conocida, formatos mezclados y lo que se dice de ellos."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from neumo.studies import headers
from neumo.words import CLASSES


@pytest.mark.parametrize("quality", [10, 50, 75, 90, 95, 100])
def test_the_quality_is_the_one_it_was_saved_with(tmp_path, quality):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpeg", quality=quality)
    assert headers.jpeg_quality(tmp_path / "a.jpeg") == quality


def test_what_is_no_jpeg_has_no_quality(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.jpeg").write_bytes(b"nada")
    assert np.isnan([headers.jpeg_quality(tmp_path / name) for name in ("a.png", "b.jpeg", "c.jpeg")]).all()


def dataset(folder, saved):
    """Una imagen por fila de `saved` (partición, clase, calidad): sin calidad, PNG."""
    rows = []
    for i, (partition, y, quality) in enumerate(saved):
        path = f"{i}.jpeg" if quality else f"{i}.png"
        noise = np.random.default_rng(i).integers(0, 255, (20, 30), dtype=np.uint8)
        Image.fromarray(noise).save(folder / path, **({"quality": quality} if quality else {}))
        rows.append([path, f"h{i}", (folder / path).stat().st_size, 30, 20, "L", CLASSES[y], y, partition])
    columns = ["path", "sha256", "size", "width", "height", "mode", "label", "y", "partition"]
    return headers.headers(pd.DataFrame(rows, columns=columns), folder, cache=folder / "cache")


def verdict(read):
    return headers.header_verdict(read, headers.header_auc(read))


def test_a_class_saved_in_another_way_is_found_and_its_end_on_the_test_too(tmp_path):
    saved = [("train", y, 75 if y else 95) for y in (0, 1) * 6] + [("test", y, 75) for y in (0, 1) * 4]
    read = dataset(tmp_path, saved)
    measured = headers.header_auc(read).set_index("feature")
    assert measured.loc["quality"].tolist() == [1, 0.5]
    assert "hasta que cambia quien guardó los archivos" in verdict(read)
    table = headers.header_table(read).set_index(["partition", "label"])
    assert table.loc[("entrenamiento", "NORMAL"), "calidad"] == "95 (95–95)"
    assert table.loc[("prueba", "NORMAL"), "calidad"] == "75 (75–75)"


def test_the_same_on_the_test_is_told_apart_and_equal_files_tell_nothing(tmp_path):
    (tmp_path / "both").mkdir()
    read = dataset(tmp_path / "both", [(p, y, 75 if y else 95) for p in ("train", "test") for y in (0, 1) * 5])
    assert "está en las dos partes" in verdict(read)
    (tmp_path / "png").mkdir()
    read = dataset(tmp_path / "png", [(p, y, None) for p in ("train", "test") for y in (0, 1, 1, 0) * 8])
    read["density"] = 1.0  # el azar de doce archivos no es lo que se prueba
    assert "no delata la clase" in verdict(read)
    assert "Son JPEG el 0 %" in verdict(read)
    assert headers.header_table(read)["calidad"].unique().tolist() == ["–"]
