import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from neumo.data.duplicates import alike, look, summary
from neumo.data.manifest import scan
from neumo.data.phantom import make_phantom
from neumo.data.split import crossings, split
from neumo.data.verify import inspect


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fantoma")
    make_phantom(folder, images=60, size=64, difficulty=0.2, defects=False, seed=3)
    return [Image.open(path).convert("L") for path in sorted(folder.rglob("*.jpeg"))]


def jpeg(image, quality):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


CHANGES = {
    "recodificada": lambda image: jpeg(image, 50),
    "en color": lambda image: image.convert("RGB").convert("L"),
    "reducida": lambda image: image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS),
    "ampliada": lambda image: image.resize((image.width * 3, image.height * 3), Image.Resampling.BICUBIC),
    "deformada": lambda image: image.resize((200, 150)),
    "en espejo": ImageOps.mirror,
    "más clara": lambda image: image.point([min(255, round(1.1 * v + 4)) for v in range(256)]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_picture_in_other_bytes_is_found(radiographs, change):
    some = radiographs[::6]
    found = alike([look(image) for image in [*some, *map(CHANGES[change], some)]])
    assert found.tolist() == [*range(len(some))] * 2


def test_two_radiographs_are_never_taken_for_the_same(radiographs):
    """Sesenta cuerpos del mismo programa, más parecidos entre sí que los de dos personas."""
    assert alike([look(image) for image in radiographs]).tolist() == [*range(len(radiographs))]


def test_images_without_any_detail_join_nobody():
    black, white = (look(Image.new("L", (40, 30), value)) for value in (0, 255))
    assert black == white == ""
    assert alike([black, white, black]).tolist() == [0, 1, 2]
    assert alike([]).tolist() == []


def test_many_images_are_compared_by_blocks():
    rng = np.random.default_rng(0)
    looks = [rng.bytes(32).hex() for _ in range(2500)]
    flipped = bytearray.fromhex(looks[7])
    flipped[5] ^= 0xFF
    looks[2400], looks[1300] = looks[7], flipped.hex()
    found = alike(looks)
    assert found[2400] == found[1300] == 7
    assert len(set(found)) == 2498


def test_eight_encodings_with_eight_names_are_one_patient_in_one_partition(radiographs, tmp_path):
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / label).mkdir()
    for n, image in enumerate(radiographs[:24]):
        image.save(tmp_path / ("NORMAL", "PNEUMONIA")[n % 2] / f"placa {n}.png")
    for name, change in CHANGES.items():
        change(radiographs[0]).save(tmp_path / "NORMAL" / f"{name}.png")
    radiographs[1].save(tmp_path / "NORMAL" / "la misma, con la otra clase.jpg", quality=60)
    Image.new("L", (64, 64)).save(tmp_path / "NORMAL" / "negra.png")
    Image.new("L", (64, 64), 3).save(tmp_path / "PNEUMONIA" / "casi negra.png")
    table = inspect(scan(tmp_path), tmp_path)
    assert summary(table) == {"near": 8, "sets": 2, "patients": 2, "classes": 1}
    assert table.loc[table["near_empty"], "group"].nunique() == 2
    assert table["group"].nunique() == 26
    for seed in range(5):
        divided = split(table, val_fraction=0.3, test_fraction=0.3, seed=seed)
        assert crossings(divided) == 0
        assert divided.loc[divided["path"].isin([f"NORMAL/{name}.png" for name in CHANGES]), "partition"].nunique() == 1


def test_what_is_nearly_in_the_official_test_is_not_trained_on(radiographs, tmp_path):
    for n, image in enumerate(radiographs[:8]):
        folder = tmp_path / ("test" if n < 4 else "train") / ("NORMAL", "PNEUMONIA")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"placa {n}.png")
    ImageOps.mirror(radiographs[0]).save(tmp_path / "train" / "NORMAL" / "espejo.jpg", quality=70)
    table = inspect(scan(tmp_path), tmp_path)
    excluded = table[table["excluded"]]
    assert excluded[["path", "reason"]].to_numpy().tolist() == [
        ["train/NORMAL/espejo.jpg", "casi igual a una imagen de la prueba oficial"]
    ]
