import hashlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from neumo.data.patients import read_paths
from neumo.data.phantom import Patient, lesion_mask, make_phantom, render

SIZE = (128, 128)


def digests(folder):
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files(folder)}


def files(folder, pattern="*"):
    return sorted(path for path in folder.rglob(pattern) if path.is_file())


def readable(path):
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return False
    return True


def header(path):
    with Image.open(path) as image:
        return image.mode, *image.size


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    make_phantom(folder, images=120, size=64, seed=3)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    make_phantom(folder, images=120, size=64, defects=False, seed=3)
    return folder


def patient(subtype="", lot=0, number=1):
    return Patient("p", "PNEUMONIA" if subtype else "NORMAL", subtype, lot, (0, number))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(phantom, tmp_path):
    make_phantom(tmp_path / "again", images=120, size=64, seed=3)
    make_phantom(tmp_path / "other", images=120, size=64, seed=4)
    assert digests(tmp_path / "again") == digests(phantom)
    assert not set(digests(tmp_path / "other").values()) & set(digests(phantom).values())


def test_layout_and_proportions_are_those_of_kaggle(clean):
    counts = Counter(path.parts[-3:-1] for path in files(clean, "*.jpeg"))
    assert set(counts) == {(s, c) for s in ("train", "val", "test") for c in ("NORMAL", "PNEUMONIA")}
    assert sum(counts.values()) == 120
    assert counts["val", "NORMAL"] == counts["val", "PNEUMONIA"]
    assert 2 < counts["train", "PNEUMONIA"] / counts["train", "NORMAL"] < 4


def test_names_say_patient_aetiology_and_lot_and_no_patient_is_in_two_parts(clean):
    names = [(path.parts[-3], path.parts[-2], read_paths([path.name])[0]) for path in files(clean, "*.jpeg")]
    assert all(name.patient for _, _, name in names)
    assert {name.subtype for _, label, name in names if label == "PNEUMONIA"} == {"bacteria", "virus"}
    assert {name.lot for _, label, name in names if label == "NORMAL"} == {"IM", "NORMAL2"}
    assert max(Counter(name.patient for *_, name in names).values()) > 1
    places = {(name.patient, part) for part, _, name in names}
    assert len(places) == len({patient for patient, _ in places})


def test_modes_and_sizes_are_mixed(clean):
    headers = [header(path) for path in files(clean, "*.jpeg")]
    assert {mode for mode, *_ in headers} == {"L", "RGB"}
    assert len({tuple(sides) for _, *sides in headers}) > 20
    assert abs(np.median([sides for _, *sides in headers]) - 64) < 10


def test_planted_defects_are_in_train_and_nowhere_without_them(phantom, clean):
    broken = [path for path in files(phantom, "*.jpeg") if not readable(path)]
    assert [path.parts[-3] for path in broken] == ["train"]
    repeated = [n for n in Counter(digests(phantom / "train").values()).values() if n > 1]
    assert repeated == [2]
    sizes = [header(path)[1:] for path in files(phantom, "*.jpeg") if path not in broken]
    assert max(width / height for width, height in sizes) > 3
    assert all(readable(path) for path in files(clean, "*.jpeg"))
    assert len(set(digests(clean / "train").values())) == len(files(clean / "train"))


def test_lesions_are_known_for_pneumonia_alone(clean):
    for path in files(clean, "*.jpeg"):
        mask = lesion_mask(clean, path.relative_to(clean).as_posix())
        if path.parts[-2] == "NORMAL":
            assert mask is None
        elif mask is not None:
            _, width, height = header(path)
            assert mask.dtype == bool
            assert mask.any()
            assert len(mask) == height
            assert 0 <= mask.shape[1] - width < 8
    assert lesion_mask(clean, "train/NORMAL/no_existe.jpeg") is None


def test_a_chest_has_black_air_dark_lungs_and_a_white_mediastinum_with_the_heart_on_the_right():
    mean = np.mean([render(patient(number=n), 0, size=SIZE)[0] for n in range(12)], axis=0)
    left_lung, spine, right_lung = (mean[40:70, 24:44].mean(), mean[30:100, 61:67].mean(), mean[40:70, 88:104].mean())
    assert mean[:10, :8].mean() < left_lung < spine - 60
    assert right_lung < spine - 60
    assert mean[115:, 40:88].mean() > left_lung + 60
    assert mean[85:95, 80:90].mean() > mean[85:95, 38:48].mean() + 20


def test_a_normal_plate_has_no_lesion_and_views_share_anatomy_but_not_pixels():
    one, mask = render(patient(), 0, size=SIZE)
    other, _ = render(patient(), 1, size=SIZE)
    assert one.dtype == np.uint8
    assert not mask.any()
    assert np.array_equal(one, render(patient(), 0, size=SIZE)[0])
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("subtype", ["bacteria", "virus"])
def test_the_lesion_whitens_its_mask_and_difficulty_fades_it(subtype):
    def contrast(difficulty):
        gains = []
        for number in range(10):
            sick, mask = render(patient(subtype, number=number), 0, size=SIZE, difficulty=difficulty)
            if mask.any():
                well, _ = render(patient(number=number), 0, size=SIZE)
                gains.append(sick[mask].mean() - float(well[mask].mean()))
        return np.mean(gains)

    assert contrast(0.0) > contrast(1.0) > 0


def test_consolidation_is_in_one_lung_and_the_interstitial_pattern_in_both():
    def sides(subtype):
        masks = [render(patient(subtype, number=n), 0, size=SIZE, difficulty=0)[1] for n in range(10)]
        shares = [mask[:, :64].sum() / mask.sum() for mask in masks if mask.any()]
        return np.abs(np.array(shares) - 0.5)

    assert np.median(sides("bacteria")) > 0.45
    assert np.median(sides("virus")) < 0.25


def test_the_planted_unit_changes_its_plates_alone_and_goes_with_the_class_in_train_only(clean, tmp_path):
    make_phantom(tmp_path, images=120, size=64, defects=False, shortcut=True, seed=3)
    before, after = digests(clean), digests(tmp_path)
    assert before.keys() == after.keys()
    changed = [path for path in before if before[path] != after[path]]
    every = Counter(path.rpartition("/")[0] for path in before if path.endswith("jpeg"))
    share = {folder: n / every[folder] for folder, n in Counter(p.rpartition("/")[0] for p in changed).items()}
    assert share["train/PNEUMONIA"] > 0.4 > 0.2 > share.get("train/NORMAL", 0)
    assert abs(share["test/PNEUMONIA"] - share["test/NORMAL"]) < 0.35
    with Image.open(tmp_path / changed[0]) as image:
        assert np.asarray(image.convert("L"))[:2].mean() < 10  # la colimación
