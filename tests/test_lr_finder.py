import inspect
import math
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neumo.errors import NeumoError
from neumo.learning import lr_finder, lr_rules
from neumo.learning.lr_finder import LearningRateFinder, record
from neumo.learning.lr_rules import RULES, divergence_point, minimum, steep, valley


def curve(losses, *, low=1e-7, high=10.0):
    rates = np.geomspace(low, high, len(losses))
    return {"learning_rate": rates, "loss": np.asarray(losses, float), "smoothed": np.asarray(losses, float)}


def plausible(seed=0, points=100):
    """Una curva con la forma de siempre: meseta, descenso, fondo y divergencia, con algo de ruido."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-7, 1, points)
    loss = 0.7 - 0.5 / (1 + np.exp(-2.5 * (x + 3.5))) + np.exp(3 * (x + 0.7)).clip(max=3)
    return curve(loss + rng.normal(0, 0.004, points))


def by_definition(table, rule):
    """Las reglas de fastai dichas otra vez, con bucles, sobre la curva recortada."""
    n = len(table["smoothed"])
    rates, losses = (list(table[k])[n // 10 : n - 5] for k in ("learning_rate", "smoothed"))
    n = len(losses)
    if rule == "minimum":
        return rates[losses.index(min(losses))] / 10
    if rule == "steep":
        slope = [(losses[i + 1] - losses[i]) / (math.log(rates[i + 1]) - math.log(rates[i])) for i in range(n - 1)]
        return rates[slope.index(min(slope))]
    if rule == "slide":
        gradient = np.gradient(np.array(losses))
        right, answer = n - 1, rates[n - 16]
        while right - 15 >= 0 and abs(gradient[right] - gradient[right - 15]) > 0.005:
            answer = rates[right - 15]
            right -= 1
        return answer
    longest = [1] * n
    for i in range(n):
        longest[i] = 1 + max((longest[j] for j in range(i) if losses[j] > losses[i]), default=0)
    length = max(longest)
    end = longest.index(length)
    return rates[end - length + length // 3 + length // 6]


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 10_000), points=st.integers(40, 140))
def test_rules_agree_with_their_definition(rule, seed, points):
    table = plausible(seed, points)
    suggestion = RULES[rule](table)
    assert suggestion.rule == rule
    assert suggestion.learning_rate == pytest.approx(by_definition(table, rule))
    factor = 0.1 if rule == "minimum" else 1
    assert suggestion.learning_rate == pytest.approx(table["learning_rate"][suggestion.index] * factor)


def test_suggestions_on_a_curve_worked_by_hand():
    # 26 points; the rules see rows 2..20: a fall of 12 rows from 1.2 to 0.1, then up. The steepest step is 5 -> 6.
    losses = [2.0, 2.0, 1.2, 1.1, 1.0, 0.9, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.1] + [
        0.1 + 0.1 * i for i in range(1, 13)
    ]
    table = curve(losses)
    rates = table["learning_rate"]
    assert (steep(table).index, steep(table).learning_rate) == (5, rates[5])
    assert minimum(table).index == 13
    assert minimum(table).learning_rate == pytest.approx(rates[13] / 10)
    assert minimum(table).learning_rate < rates[13]
    # the longest fall is 12 rows ending at row 13; fastai counts its start one row early: 1 + 12//3 + 12//6
    assert valley(table).index == 1 + 4 + 2


def test_point_to_draw_lies_on_the_curve():
    table = plausible(3)
    for rule in RULES.values():
        point = rule(table)
        expected = np.interp(np.log(point.learning_rate), np.log(table["learning_rate"]), table["smoothed"])
        assert point.loss == pytest.approx(expected)


def test_first_tenth_counts_planned_steps_and_a_nan_ends_the_curve():
    table = plausible(1)
    stopped = {name: values[:70] for name, values in table.items()}
    assert minimum(stopped, steps=100).index >= 10
    spoiled = {**table, "smoothed": np.where(np.arange(100) >= 80, np.nan, table["smoothed"])}
    whole = {name: values[:85] for name, values in table.items()}
    assert valley(spoiled, steps=100) == valley(whole, steps=100)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([], "corta"),
        ([0.7, 0.6, 0.5], "corta"),
        ([math.nan] * 60, "corta"),
        ([0.7] * 60, "plana"),
        (np.linspace(0.5, 3.0, 60), "plana"),
        (0.7 - 1e-4 * np.arange(60) % 2, "plana"),
    ],
)
def test_short_and_flat_curves_are_refused(rule, losses, message):
    with pytest.raises(NeumoError, match=message):
        rule(curve(losses))


def test_smoothing_is_debiased_and_the_test_stops_at_divergence():
    given_losses = [1.0, 0.5, 0.25, 8.0, 9.0]
    rows = record(lambda rate, batch: batch, np.geomspace(1e-3, 1, 5), given_losses, smoothing=0.5)
    weights = [[0.5**k for k in range(i, -1, -1)] for i in range(5)]
    expected = [np.average(given_losses[: i + 1], weights=weights[i]) for i in range(4)]
    assert [row["smoothed"] for row in rows] == pytest.approx(expected)
    assert len(rows) == 4  # 4.3 > 4 × 0.39, and 9.0 is never asked for
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_test_stops_at_a_loss_that_is_not_a_number(bad):
    rows = record(lambda rate, batch: batch, [1e-3] * 5, [1.0, 0.9, bad, 0.8, 0.7])
    assert len(rows) == 3
    assert divergence_point({k: [row[k] for row in rows] for k in ("loss", "smoothed")}) == 2


def test_rules_need_neither_tensorflow_nor_pandas():
    code = (
        "import sys, numpy as np; from neumo.learning.lr_rules import *; r = np.geomspace(1e-7, 10, 100);"
        "t = {'learning_rate': r, 'smoothed': 1 + (np.log10(r) + 2) ** 2}; [f(t) for f in (valley, steep, minimum, slide)];"
        "assert not {'tensorflow', 'keras', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_suggest_keeps_the_reason_of_a_rule_that_refuses():
    import pandas as pd

    curves = pd.concat(
        [pd.DataFrame(plausible(s)).assign(seed=s) for s in (0, 1)] + [pd.DataFrame(curve([1.0] * 60)).assign(seed=2)]
    )
    table = lr_rules.suggest(curves, steps=100)
    assert list(table["seed"]) == [0] * 4 + [1] * 4 + [2] * 4
    assert table.query("seed == 2")["reason"].str.contains("plana").all()
    summary = lr_rules.agreement(table).set_index("rule")
    assert (summary["answers"] == 2).all()
    assert (summary["ratio"] >= 1).all()
    two = table.query("rule == 'valley' and seed < 2")["learning_rate"]
    assert summary.loc["valley", "middle"] == pytest.approx(math.sqrt(two.prod()))


# With a real network ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 16, 4)).astype("float32")
    return [(a, (a.sum(axis=1, keepdims=True) > 0).astype("float32")) for a in x]


@pytest.fixture
def build(keras):
    def factory():
        layers = [
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
        ]
        model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1, activation="sigmoid")])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        return model

    return factory


def test_loss_is_the_batch_loss_not_the_running_mean(keras, build, batches):
    rates = np.geomspace(1e-3, 1e-1, 8)
    table = LearningRateFinder(build, min_lr=1e-3, max_lr=1e-1, steps=8).run(batches, seed=5)
    with lr_finder.preserved_random_state(5):
        expected, model = [], build()
        for rate, (x, y) in zip(rates, batches, strict=False):
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(keras.losses.binary_crossentropy(y, model(x, training=True)))
            model.optimizer.learning_rate = rate
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            expected.append(float(loss))
    assert table["loss"].to_numpy() == pytest.approx(expected, rel=1e-4)
    assert table["learning_rate"].to_numpy() == pytest.approx(rates)
    running_mean = np.cumsum(expected) / np.arange(1, 9)
    assert np.abs(running_mean - expected).max() > 0.01


def test_the_range_is_covered_by_going_round_the_batches_again(build, batches):
    table = LearningRateFinder(build, min_lr=1e-6, max_lr=1e-3, steps=30).run(batches)
    assert list(table["step"]) == list(range(1, 31))
    assert np.diff(np.log(table["learning_rate"])) == pytest.approx(math.log(1e3) / 29)


def draw(keras):
    import tensorflow as tf

    return [
        random.random(),
        np.random.rand(),  # noqa: NPY002
        float(keras.random.uniform(())),
        float(tf.random.uniform(())),
        float(tf.random.uniform((), seed=4)),
        keras.initializers.GlorotUniform()((2, 2)).numpy().tolist(),
    ]


def test_model_random_state_and_iterator_of_the_caller_are_untouched(keras, build, batches):
    import tensorflow as tf

    dataset = tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature=(tf.TensorSpec((16, 4)), tf.TensorSpec((16, 1)))
    )
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    model = build()
    for x, y in batches:
        model.train_on_batch(x, y)
    before = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]

    def session(interrupt):
        keras.utils.set_random_seed(3)
        iterator = iter(dataset)
        seen = [draw(keras), next(iterator)[0].numpy().tolist()]
        interrupt()
        return [*seen, draw(keras), next(iterator)[0].numpy().tolist()]

    finder = LearningRateFinder(build, min_lr=1e-5, max_lr=1e-2, steps=14)
    assert session(lambda: finder.run(dataset, seed=11)) == session(lambda: None)
    after = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_same_seed_same_curve_other_seed_other_curve(build, batches):
    finder = LearningRateFinder(build, min_lr=1e-5, max_lr=1e-1, steps=12)
    random.seed(1)
    first = finder.run(batches, seed=1)
    random.seed(2)
    assert finder.run(batches, seed=1).equals(first)
    assert not finder.run(batches, seed=2)["loss"].equals(first["loss"])


def test_mistakes_are_explained(keras, build, batches):
    finder = LearningRateFinder(build)
    with pytest.raises(NeumoError, match="iterador"):
        finder.run(iter(batches))
    with pytest.raises(NeumoError, match="sin lotes"):
        finder.run([])
    with pytest.raises(NeumoError, match="sin compilar"):
        LearningRateFinder(lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])).run(batches)
    model = build()
    LearningRateFinder(lambda: model, steps=2).run(batches)
    with pytest.raises(NeumoError, match="ya entrenado"):
        LearningRateFinder(lambda: model).run(batches)
    with pytest.raises(NeumoError, match="min_lr < max_lr"):
        LearningRateFinder(build, min_lr=1.0, max_lr=0.1)


def test_defaults_are_those_of_the_parameters():
    from neumo.params import LrFinder

    signature = inspect.signature(LearningRateFinder).parameters
    defaults = {name: p.default for name, p in signature.items() if name != "build"}
    assert defaults == LrFinder().model_dump(exclude={"repeats"})


def test_find_learning_rate_is_repeatable_and_cached_seed_by_seed(tmp_path, monkeypatch):
    import pandas as pd

    from neumo.data.store import ImageSet
    from neumo.params import LrFinder, Params

    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    pixels = (rng.integers(0, 90, (24, 24, 24)) + 100 * labels[:, None, None]).astype("uint8")
    table = pd.DataFrame(
        {"path": [f"{i}.png" for i in range(24)], "y": labels, "sha256": [f"{i:064x}" for i in range(24)]}
    )
    images = ImageSet(table, pixels, np.arange(24))
    changes = {"image_size": 24, "channels": 1, "batch_size": 8, "class_weight": True}
    experiment = Params().experiment("intento_4").model_copy(update=changes)
    settings = LrFinder(min_lr=1e-6, max_lr=1e-1, steps=20)

    def find(folder, seeds):
        return lr_finder.find_learning_rate(experiment, images, settings=settings, seeds=seeds, cache=tmp_path / folder)

    curves = find("a", [3, 4])
    assert list(curves.columns) == ["seed", "step", "learning_rate", "loss", "smoothed"]
    assert curves.groupby("seed").size().to_dict() == {3: 20, 4: 20}
    assert np.isfinite(curves["loss"]).all()
    monkeypatch.setattr(lr_finder, "_measure", lambda *a, **k: pytest.fail("se midió otra vez"))
    other_rate = experiment.model_copy(update={"learning_rate": 0.1, "epochs": 9, "name": "otro"})
    pd.testing.assert_frame_equal(find("a", [4]), curves[curves["seed"] == 4].reset_index(drop=True))
    experiment = other_rate
    pd.testing.assert_frame_equal(find("a", [3, 4]), curves)
    monkeypatch.undo()
    pd.testing.assert_frame_equal(find("b", [4]), curves[curves["seed"] == 4].reset_index(drop=True))
