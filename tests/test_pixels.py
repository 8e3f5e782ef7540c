import io
import struct
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, RLELossless

from dicom_example import dicom, picture
from neumo.data.dicom import patient
from neumo.data.pixels import content_of, is_image, read
from neumo.errors import NeumoError

GREY = picture()


def grey(content):
    return np.asarray(read(content).grey).astype(int)


def encoded(image, kind="PNG", **options):
    image.save(target := io.BytesIO(), kind, **options)
    return target.getvalue()


def deep_png(values):
    """PNG de 16 bits por canal (1 gris, 2 con transparencia, 3 color), que Pillow no sabe escribir."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def at_depth(depth):
    return np.rint(GREY * ((2**depth - 1) / 255)).astype(np.uint16)


@pytest.mark.parametrize("bright", [False, True], ids=["", "un píxel roto"])
@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
def test_the_same_radiograph_is_the_same_grey_at_every_depth(depth, bright):
    values = at_depth(depth)
    if bright:
        values[5, 5] = 65535
    color = np.repeat(values[..., None], 3, axis=-1)
    opaque = np.stack([values, np.full_like(values, 65535)], axis=-1)
    kinds = {
        "PNG": encoded(Image.fromarray(values)),
        "TIFF": encoded(Image.fromarray(values), "TIFF"),
        "RGB": deep_png(color),
        "con transparencia": deep_png(opaque),
        "RGBA": deep_png(np.concatenate([color, opaque[..., 1:]], axis=-1)),
        "DICOM": dicom(values, bits=16),
    }
    for kind, content in kinds.items():
        difference = np.abs(grey(content) - GREY)
        difference[5, 5] = 0
        assert difference.max() <= 1, kind


def test_an_empty_image_of_many_bits_stays_empty():
    noise = np.random.default_rng(0).normal(2000, 5, GREY.shape).astype(np.uint16)
    assert grey(encoded(Image.fromarray(noise))).std() < 1


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP", "PNG"])
def test_every_format_of_eight_bits_gives_its_own_pixels(kind):
    assert np.array_equal(
        grey(encoded(Image.fromarray(GREY), kind, **({"lossless": True} if kind == "WEBP" else {}))), GREY
    )


def test_a_tiff_whose_zero_is_white_is_turned_over():
    content = encoded(Image.fromarray(65535 - at_depth(16)), "TIFF", tiffinfo={262: 0})
    assert np.abs(grey(content) - GREY).max() <= 1


# --- DICOM -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "values", "header"),
    [
        (8, GREY, {}),
        (12, at_depth(12), {}),
        (12, at_depth(12), {"WindowCenter": 2048, "WindowWidth": 4096}),
        (12, at_depth(12), {"WindowCenter": [2047.5, 9], "WindowWidth": [4095, 9], "VOILUTFunction": "LINEAR_EXACT"}),
        (16, at_depth(16), {"WindowCenter": 100, "WindowWidth": 0}),  # imposible: como si no la hubiera
        (12, 4095 - at_depth(12), {"PhotometricInterpretation": "MONOCHROME1"}),
        (
            12,
            at_depth(12) // 2,
            {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 1048, "WindowWidth": 4096},
        ),
        (8, np.stack([GREY, 255 - GREY]), {"NumberOfFrames": 2}),
    ],
)
def test_a_dicom_is_seen_as_its_window_says(bits, values, header):
    assert np.abs(grey(dicom(values, bits=bits, **header)) - GREY).max() <= 1


def test_a_narrow_window_clips_and_a_table_is_applied():
    narrow = grey(dicom(at_depth(12), bits=12, WindowCenter=1000, WindowWidth=400))
    assert set(narrow[at_depth(12) < 790]) == {0}
    assert set(narrow[at_depth(12) > 1210]) == {255}
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 8], list(range(255, -1, -1)) * 16
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    table.LUTData = [255 - i // 16 for i in range(4096)]
    seen = grey(dicom(at_depth(12), bits=12, VOILUTSequence=[table]))
    assert np.abs(seen - (255 - GREY)).max() <= 1


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=["RLE", "JPEG 2000"])
def test_compressed_dicom_without_loss(syntax):
    if syntax == JPEG2000Lossless:
        pytest.importorskip("openjpeg")
    assert np.abs(grey(dicom(at_depth(12), bits=12, syntax=syntax)) - GREY).max() <= 1


def test_compressed_dicom_with_jpeg_inside():
    dataset = pydicom.dcmread(io.BytesIO(dicom(GREY, bits=8)))
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = pydicom.encaps.encapsulate([encoded(Image.fromarray(GREY), "JPEG", quality=95)])
    dataset.save_as(target := io.BytesIO())
    assert np.abs(grey(target.getvalue()) - GREY).mean() < 2


def test_without_the_plugin_it_says_what_to_install(monkeypatch):
    from pydicom.pixels import get_decoder

    dataset = pydicom.dcmread(io.BytesIO(dicom(GREY, bits=8)))
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    dataset.save_as(target := io.BytesIO())
    monkeypatch.setattr(get_decoder(JPEGLosslessSV1), "_available", {})
    with pytest.raises(NeumoError, match="instale pylibjpeg"):
        read(target.getvalue())


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"Modality": "CT"}, "otra técnica"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"Rows": 60000, "Columns": 60000}, "demasiado grande"),
        ({"Rows": 4000}, "dañados"),
    ],
)
def test_a_dicom_that_is_no_radiograph_is_refused_with_its_reason(header, said):
    with pytest.raises(NeumoError, match=said):
        read(dicom(GREY, bits=8, **header))


def test_the_patient_is_a_pseudonym_and_says_nothing_else():
    one, same, other = (patient(dicom(GREY, bits=8, PatientID=told)) for told in ("77001234", " 77001234", "9"))
    assert one == same != other
    assert "77001234" not in one
    assert patient(dicom(GREY, bits=8, PatientID="ANONYMOUS")) == patient(b"no es un DICOM") == ""


# --- Archivos --------------------------------------------------------------------------------------------


def test_what_counts_as_an_image(tmp_path):
    for name in ("IM000001", "1.2.840.1234", "DICOMDIR"):
        (tmp_path / name).write_bytes(dicom(GREY, bits=8))
    for name in ("LEEME", "notas.txt", "v1.2"):
        (tmp_path / name).write_text("texto")
    taken = {name for name in (path.name for path in tmp_path.iterdir()) if is_image(tmp_path / name)}
    assert taken == {"IM000001", "1.2.840.1234"}
    assert all(is_image(f"a{suffix}") for suffix in (".JFIF", ".tif", ".bmp", ".webp", ".dcm", ".JPEG"))


def test_each_way_of_not_being_readable_has_its_reason(tmp_path):
    (tmp_path / "roto.png").symlink_to(tmp_path / "nada.png")
    (tmp_path / "carpeta.png").mkdir()
    (tmp_path / "vacio.png").write_bytes(b"")
    reasons = {}
    for name in ("roto.png", "carpeta.png", "vacio.png", "falta.png"):
        with pytest.raises(NeumoError) as error:
            read(content_of(tmp_path / name))
        reasons[name] = str(error.value)
    assert len(set(reasons.values())) == 4
    assert not any(str(tmp_path) in reason for reason in reasons.values())


@pytest.mark.parametrize("kept", [128 + 4, None], ids=["con su cabecera", "solo los datos"])
def test_a_dicom_without_its_preamble_is_read_the_same(tmp_path, kept):
    content = dicom(GREY, bits=8)
    dataset = pydicom.dcmread(io.BytesIO(content))
    bare = content[kept:] if kept else written(dataset)
    path = tmp_path / "IM000001"
    path.write_bytes(bare)
    assert bare[128:132] != b"DICM"
    assert is_image(path)
    assert np.array_equal(grey(bare), grey(content))
    assert patient(bare) == patient(content) != ""


def written(dataset):
    """Los datos de un DICOM en el orden implícito, sin preámbulo ni metadatos, como los guardaban los equipos antiguos."""
    bare = Dataset()
    bare.update(dataset)
    bare.save_as(target := io.BytesIO(), implicit_vr=True, little_endian=True, enforce_file_format=False)
    return target.getvalue()


@pytest.mark.parametrize("content", [b"", b"texto corriente", b"\x08\0", b"\x08\0\x05\0" + b"\xff" * 200, b"\0" * 200])
def test_what_only_begins_a_little_like_a_dicom_is_not_taken_for_one(tmp_path, content):
    (tmp_path / "LEEME").write_bytes(content)
    assert not is_image(tmp_path / "LEEME")
    with pytest.raises(NeumoError):
        read(content)
