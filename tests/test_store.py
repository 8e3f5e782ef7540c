import io

import numpy as np
import pytest
from PIL import Image

from neumo.data import blocks, store
from neumo.data.manifest import scan
from neumo.data.store import decode_grey, load
from neumo.errors import NeumoError


def smooth(height=300, width=400):
    rows, columns = np.mgrid[0:height, 0:width]
    return (40 + 150 * rows / height + 50 * columns / width).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    image.save(target := io.BytesIO(), kind, **options)
    return target.getvalue()


def as_mode(mode):
    grey = smooth()
    image = Image.fromarray(grey)
    if mode == "16 bits":
        return encoded(Image.fromarray(grey.astype(np.uint16) * 257))
    if mode == "12 bits":
        return encoded(Image.fromarray((grey * (4095 / 255)).round().astype(np.uint16)))
    if mode == "CMYK":
        return encoded(image.convert("RGB").convert("CMYK"), "JPEG", quality=95)
    if mode == "JPEG RGB":
        return encoded(image.convert("RGB"), "JPEG", quality=95)
    return encoded(image.convert(mode))


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "RGBA", "16 bits", "12 bits", "CMYK", "JPEG RGB"])
def test_every_mode_gives_the_same_grey(mode):
    expected = np.asarray(Image.fromarray(smooth()).resize((64, 64), Image.Resampling.BILINEAR), dtype=float)
    found = decode_grey(as_mode(mode), 64)
    assert found.dtype == np.uint8
    assert found.shape == (64, 64)
    assert np.abs(found - expected).max() <= 3


def test_transparency_goes_on_black():
    image = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    assert decode_grey(encoded(image), 10).max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(smooth()), "JPEG", exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    expected = np.asarray(upright.resize((48, 48), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(decode_grey(content, 48) - expected).max() <= 3


def test_scaled_decoding_is_close_to_full_decoding():
    grey = np.random.default_rng(0).normal(0, 1, (60, 80))
    picture = Image.fromarray((128 + 30 * grey).clip(0, 255).astype(np.uint8)).resize((1280, 960))
    full = np.asarray(picture.resize((96, 96), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(decode_grey(encoded(picture, "JPEG", quality=95), 96) - full).mean() < 2


@pytest.fixture
def folder(tmp_path):
    for y, label in enumerate(("NORMAL", "PNEUMONIA")):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(5):
            image = Image.fromarray(np.roll(smooth(60, 80), 5 * (5 * y + i), axis=0))
            image.save(tmp_path / "images" / label / f"{i}.png")
    (tmp_path / "images/NORMAL/copia.png").write_bytes((tmp_path / "images/NORMAL/0.png").read_bytes())
    return tmp_path


def test_load_keeps_the_order_of_the_table_and_stores_copies_once(folder):
    table = scan(folder / "images").sample(frac=1, random_state=0)
    images = load(table, folder / "images", image_size=32, cache=folder / "cache")
    assert list(images.table["path"]) == list(table["path"])
    assert images.images.shape == (10, 32, 32)
    assert isinstance(images.images, np.memmap)
    for path, pixels in zip(images.table["path"], images.pixels(), strict=True):
        assert np.array_equal(pixels, decode_grey(folder / "images" / path, 32))
    subset = images.where(images.labels == 1)
    assert len(subset) == 5
    assert subset.digest != images.digest
    assert np.array_equal(subset.pixels(), images.pixels()[images.labels == 1])


def test_a_second_load_does_not_decode_and_a_new_size_does(folder, monkeypatch):
    table = scan(folder / "images")
    first = load(table, folder / "images", image_size=32, cache=folder / "cache")
    calls = []
    monkeypatch.setattr(store, "decode_grey", lambda *a: calls.append(a) or np.zeros((16, 16), np.uint8))
    again = load(table, folder / "images", image_size=32, cache=folder / "cache")
    assert not calls
    assert again.digest == first.digest
    load(table, folder / "images", image_size=16, cache=folder / "cache")
    assert len(calls) == 10


def test_interrupted_decoding_goes_on_where_it_stopped(folder, monkeypatch):
    table = scan(folder / "images")
    expected = load(table, folder / "images", image_size=32, cache=folder / "other").pixels()
    monkeypatch.setattr(blocks, "BLOCK", 4)
    calls = []

    def interrupted(content, size):
        calls.append(content)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return decode_grey(content, size)

    monkeypatch.setattr(store, "decode_grey", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(table, folder / "images", image_size=32, cache=folder / "cache")
    calls[:] = [None] * 10
    resumed = load(table, folder / "images", image_size=32, cache=folder / "cache")
    assert len(calls) == 10 + 6
    assert np.array_equal(resumed.pixels(), expected)


def test_unreadable_changed_and_missing_files_are_named(folder):
    table = scan(folder / "images")
    (folder / "images/NORMAL/3.png").write_bytes(b"otra cosa")
    with pytest.raises(NeumoError, match=r"«3\.png» cambió"):
        load(table, folder / "images", image_size=32, cache=folder / "cache")
    with pytest.raises(NeumoError, match=r"No se puede leer «3\.png»"):
        load(scan(folder / "images"), folder / "images", image_size=32, cache=folder / "cache")
    (folder / "images/NORMAL/3.png").unlink()
    with pytest.raises(NeumoError, match=r"No se puede abrir «3\.png»"):
        load(table, folder / "images", image_size=32, cache=folder / "cache")
    with pytest.raises(NeumoError, match="ninguna imagen legible"):
        load(table.iloc[:0], folder / "images", image_size=32, cache=folder / "cache")
