import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neumo.data.split import choose_groups, count_images, image_level_leak, overlap, split
from neumo.errors import NeumoError
from neumo.studies.lots import lot_shift
from neumo.words import CLASSES


def make_table(patients, *, split_name="train", prefix="p"):
    """Una fila por imagen de `patients`: pares (clase, imágenes) de cada paciente."""
    rows = [
        {"path": f"{split_name}/{prefix}{i}_{j}", "y": y, "group": f"{prefix}{i}", "original_split": split_name}
        for i, (y, images) in enumerate(patients)
        for j in range(images)
    ]
    return pd.DataFrame(rows)


many_patients = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6)), min_size=60, max_size=120)


def both_classes(patients):
    return min(sum(y == k for y, _ in patients) for k in (0, 1)) >= 15


@settings(max_examples=40, deadline=None)
@given(patients=many_patients.filter(both_classes), fraction=st.floats(0.15, 0.5), seed=st.integers(0, 2**31 - 1))
def test_partitions_share_no_group_and_keep_class_ratio(patients, fraction, seed):
    table = make_table(patients)
    done = split(table, val_fraction=fraction, test_fraction=0.2, seed=seed)
    assert done.groupby("group")["partition"].nunique().max() == 1
    assert list(done["path"]) == list(table["path"])
    assert set(done["partition"]) == {"train", "val", "test"}
    pool = done[done["partition"] != "test"]
    for y in (0, 1):
        share = (pool.loc[pool["y"] == y, "partition"] == "val").sum()
        assert abs(share - fraction * (pool["y"] == y).sum()) <= 6


@settings(max_examples=30, deadline=None)
@given(
    patients=many_patients.filter(both_classes), seed=st.integers(0, 2**31 - 1), order=st.randoms(use_true_random=False)
)
def test_split_does_not_depend_on_row_order(patients, seed, order):
    table = make_table(patients)
    shuffled = table.iloc[order.sample(range(len(table)), len(table))]
    first = split(table, test_fraction=0.2, seed=seed).set_index("path")["partition"]
    second = split(shuffled, test_fraction=0.2, seed=seed).set_index("path")["partition"]
    assert first.to_dict() == second.to_dict()


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(any), min_size=1, max_size=8),
    target=st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(any),
    seed=st.integers(0, 1000),
)
def test_exact_choice_agrees_with_brute_force(sizes, target, seed):
    sizes, target = np.array(sizes), np.array(target)
    sums = {
        tuple(sizes[list(subset)].sum(axis=0).tolist())
        for n in range(len(sizes) + 1)
        for subset in itertools.combinations(range(len(sizes)), n)
    }
    chosen = choose_groups(sizes, target, rng=np.random.default_rng(seed))
    assert chosen.any() == (tuple(target.tolist()) in sums)
    if chosen.any():
        assert sizes[chosen].sum(axis=0).tolist() == target.tolist()
    near = sizes[choose_groups(sizes, target, rng=np.random.default_rng(seed), exact=False)].sum(axis=0)
    assert np.abs(near - target).sum() == min(np.abs(np.array(s) - target).sum() for s in sums)


def test_the_counts_of_the_original_report_are_met_exactly():
    rng = np.random.default_rng(0)
    patients = [(0, 1)] * 900 + [(0, 2)] * 200 + [(0, 49)] + [(1, int(n)) for n in rng.integers(1, 12, 640)]
    table = make_table(patients)
    done = split(
        pd.concat([table, make_table([(0, 3), (1, 3)], split_name="test", prefix="t")], ignore_index=True),
        val_counts={"NORMAL": 277, "PNEUMONIA": 783},
        seed=3,
    )
    val = done[done["partition"] == "val"]
    assert val["y"].value_counts().to_dict() == {0: 277, 1: 783}
    assert done.groupby("group")["partition"].nunique().max() == 1
    assert (done.loc[done["original_split"] == "test", "partition"] == "test").all()


def test_impossible_counts_say_why():
    table = make_table([(0, 2)] * 10 + [(1, 2)] * 10)
    with pytest.raises(NeumoError, match=r"grupos de pacientes de hasta 2 imágenes.*Lo más cercano es"):
        split(table, val_counts={"NORMAL": 3, "PNEUMONIA": 4}, test_fraction=0.2, seed=0)
    with pytest.raises(NeumoError, match="pide 277 imágenes de NORMAL y hay 16"):
        split(table, val_counts={"NORMAL": 277, "PNEUMONIA": 4}, test_fraction=0.2, seed=0)


def test_official_test_is_untouched_and_its_patients_leave_the_pool():
    pool = make_table([(0, 2)] * 10 + [(1, 2)] * 10)
    test = make_table([(0, 2), (1, 2)], split_name="test", prefix="t")
    test.loc[0, "group"] = "p0"
    done = split(pd.concat([pool, test], ignore_index=True), seed=1)
    assert (done.loc[done["original_split"] == "test", "partition"] == "test").all()
    assert set(done.loc[(done["original_split"] == "train") & (done["group"] == "p0"), "partition"]) == {""}


def test_excluded_rows_have_no_partition():
    table = make_table([(0, 1)] * 20 + [(1, 1)] * 20).assign(excluded=False)
    table.loc[[3, 30], "excluded"] = True
    done = split(table, test_fraction=0.2)
    assert list(done.index[done["partition"] == ""]) == [3, 30]


def test_too_few_patients_or_no_usable_image_is_an_error():
    with pytest.raises(NeumoError, match="las 5 son del mismo paciente .«p0»"):
        split(make_table([(0, 5), (1, 5)]), test_fraction=0.2)
    with pytest.raises(NeumoError, match="Ninguna imagen es utilizable"):
        split(make_table([(0, 5), (1, 5)]).assign(excluded=True), test_fraction=0.2)
    with pytest.raises(NeumoError, match="falta test_fraction"):
        split(make_table([(0, 1)] * 9 + [(1, 1)] * 9))


@pytest.fixture
def lots():
    parts = [
        make_table([(0, 1)] * 30, prefix="a").assign(lot="IM"),
        make_table([(0, 2)] * 25, prefix="b").assign(lot="NORMAL2"),
        make_table([(1, 3)] * 40, prefix="c").assign(lot=""),
        make_table([(0, 1), (1, 1)], prefix="d").assign(lot=["IM", ""], partition="test"),
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(partition=table["partition"].fillna("train"))


@pytest.mark.parametrize(("direction", "other"), [("IM", "NORMAL2"), ("NORMAL2", "IM")])
def test_lot_shift_trains_on_one_lot_and_measures_on_the_other(lots, direction, other):
    done = lot_shift(lots, direction=direction, seed=3)
    normal = done[done["y"] == 0]
    assert set(normal.loc[normal["partition"] == "train", "lot"]) == {direction}
    assert set(normal.loc[normal["partition"] == "val", "lot"]) == {other}
    assert normal["partition"].value_counts()[["train", "val"]].tolist() == [30, 30]
    assert (done[done["y"] == 1]["partition"] == "val").sum() == 24
    assert done[done["partition"] != ""].groupby("group")["partition"].nunique().max() == 1
    assert (done.loc[lots["partition"] == "test", "partition"] == "").all()


def test_lot_shift_needs_both_lots(lots):
    with pytest.raises(NeumoError, match="IM y NORMAL2"):
        lot_shift(lots[lots["lot"] != "IM"], direction="IM")


def test_image_level_leak_goes_from_none_to_all():
    single = make_table([(0, 1)] * 20 + [(1, 1)] * 20).assign(label=lambda t: t["y"].map(dict(enumerate(CLASSES))))
    one_patient_each = single.assign(group=single["label"])
    assert image_level_leak(single, fraction=0.2, seed=0).to_numpy().max() == 0
    assert image_level_leak(one_patient_each, fraction=0.2, seed=0).to_numpy().min() == 1


def test_leak_of_pairs_is_the_chance_that_the_partner_falls_outside():
    pairs = make_table([(0, 2)] * 300 + [(1, 1)] * 300).assign(label=lambda t: t["y"].map(dict(enumerate(CLASSES))))
    leak = image_level_leak(pairs, fraction=0.2, seed=0)
    assert leak.loc["NORMAL", "mean"] == pytest.approx(0.8, abs=0.02)
    assert leak.loc["PNEUMONIA", "mean"] == 0


def test_tables_of_partitions_agree_with_the_rows():
    table = make_table([(0, 2)] * 30 + [(1, 3)] * 30).assign(label=lambda t: t["y"].map(dict(enumerate(CLASSES))))
    done = split(table, val_fraction=0.2, test_fraction=0.2, seed=5)
    assert count_images(done).loc["total"].to_dict() == {"NORMAL": 60, "PNEUMONIA": 90, "total": 150}
    shared = overlap(done, by="group").to_numpy()
    assert shared.trace() == shared.sum() == 60
