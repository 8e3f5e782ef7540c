from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neumo.learning.batches import DRAWS, affine_matrices, augment, draw_uniform, image_generator, train_generator, warp
from neumo.params import Augmentation

SIZE = 24
OFF = Augmentation(
    rotation_range=0, width_shift_range=0, height_shift_range=0, shear_range=0, zoom_range=0, horizontal_flip=False
)


def still(**drawn):
    """Sorteo sin cambios (.5, y sin volteo) salvo lo que se nombre."""
    row = {name: 0.0 if name == "flip" else 0.5 for name in DRAWS} | drawn
    return np.array([[row[name] for name in DRAWS]], np.float32)


@pytest.fixture(scope="module")
def image_set():
    rng = np.random.default_rng(0)
    return SimpleNamespace(
        images=rng.integers(0, 256, (12, SIZE, SIZE), dtype=np.uint8),
        rows=np.array([3, 4, 5, 6, 7, 8, 9, 10, 11, 0]),
        labels=np.array([0, 1, 1, 0, 1, 0, 1, 1, 0, 1]),
    )


def smooth_image():
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    return (120 + 60 * np.sin(5 * rows) + 60 * np.cos(7 * columns)).astype(np.float32)[None, ..., None]


def shifted(name, **ranges):
    drawn = {name: 1.0}
    image = np.zeros((1, SIZE, SIZE, 1), np.float32)
    image[0, 12, 12] = 255
    result = augment(image, still(**drawn), OFF.model_copy(update=ranges)).numpy()[0, ..., 0]
    return np.unravel_index(result.argmax(), result.shape)


def test_width_moves_columns_and_height_moves_rows():
    assert shifted("width_shift", width_shift_range=0.25) == (12, 6)
    assert shifted("height_shift", height_shift_range=0.25) == (6, 12)


def test_quarter_turn_and_mirror_are_exact():
    image = smooth_image()
    turned = augment(image, still(rotation=1.0), OFF.model_copy(update={"rotation_range": 90}))
    np.testing.assert_allclose(turned[0], np.rot90(image[0], -1), atol=1e-2)
    mirrored = augment(image, still(flip=0.5), OFF.model_copy(update={"horizontal_flip": True}))
    np.testing.assert_allclose(mirrored[0], image[0, :, ::-1], atol=1e-2)


def test_zoom_scales_each_axis_around_the_centre():
    matrix = affine_matrices(still(zoom_y=1.0), OFF.model_copy(update={"zoom_range": 0.5}), SIZE)[0]
    centre = (SIZE - 1) / 2
    np.testing.assert_allclose(matrix @ [centre, centre, 1], [centre, centre, 1])
    np.testing.assert_allclose(matrix @ [0, 0, 1], [0, centre - 1.5 * centre, 1])


def test_shear_is_in_degrees():
    matrix = affine_matrices(still(shear=1.0), OFF.model_copy(update={"shear_range": 30}), SIZE)[0]
    np.testing.assert_allclose(matrix[:2, :2], [[np.cos(np.pi / 6), 0], [-0.5, 1]], atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_one_warp_equals_the_keras_composition_done_by_scipy(seed):
    from scipy.ndimage import affine_transform

    uniform = draw_uniform(1, seed=seed, epoch=0)
    augmentation = Augmentation(shear_range=15)
    drawn = dict(zip(DRAWS, 2 * uniform[0].astype(float) - 1, strict=True))
    theta, shear = np.deg2rad(20 * drawn["rotation"]), np.deg2rad(15 * drawn["shear"])
    shift = 0.2 * SIZE * np.array([drawn["height_shift"], drawn["width_shift"]])
    # Las matrices de `apply_affine_transform` de Keras, en (fila, columna).
    rotate = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    slant = np.array([[1, -np.sin(shear)], [0, np.cos(shear)]])
    scale = np.diag([1 + 0.2 * drawn["zoom_y"], 1 + 0.2 * drawn["zoom_x"]])
    linear = rotate @ slant @ scale
    centre = np.full(2, (SIZE - 1) / 2)
    image = smooth_image()
    offset = centre + rotate @ shift - linear @ centre
    expected = affine_transform(image[0, ..., 0], linear, offset, order=1, mode="nearest")
    if uniform[0, DRAWS.index("flip")] >= 0.5:
        expected = expected[:, ::-1]
    found = augment(image, uniform, augmentation).numpy()[0, ..., 0]
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_identity_keeps_every_pixel(image_set):
    images = image_set.images[..., None]
    same = warp(images, np.tile(np.eye(3), (12, 1, 1)))
    np.testing.assert_array_equal(same, images)


@pytest.mark.parametrize(
    "extra",
    [
        {"brightness_range": 0.2},
        {"contrast_range": 0.5},
        {"gamma_range": 1.0},
        {"blur_range": 1.0},
        {"noise_stddev": 0.1},
        {"cutout_fraction": 0.4},
        {"spectrum_range": 1.0},
    ],
)
def test_extras_change_pixels_within_range(extra, image_set):
    images = image_set.images[..., None]
    uniform = draw_uniform(12, seed=1, epoch=0)
    changed = augment(images, uniform, OFF.model_copy(update=extra)).numpy()
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert np.abs(changed - images).mean() > 0.5
    np.testing.assert_array_equal(changed, augment(images, uniform, OFF.model_copy(update=extra)))


def test_full_spectrum_mix_takes_the_partners_mean_and_keeps_the_shapes():
    first, second = smooth_image() * 0.4 + 60, smooth_image()[:, ::-1] * 0.3 + 20
    uniform = np.concatenate([still(spectrum=1.0, partner=0.9), still(spectrum=0.2, partner=0.1)])
    mixed = augment(np.concatenate([first, second]), uniform, OFF.model_copy(update={"spectrum_range": 1.0}))
    assert mixed[0].numpy().mean() == pytest.approx(second.mean(), abs=0.5)
    assert np.corrcoef(mixed[0].numpy().ravel(), first.ravel())[0, 1] > 0.9
    np.testing.assert_allclose(mixed[1], second[0], atol=1e-2)


def epochs_of(image_set, **options):
    batches = list(
        train_generator(image_set, batch_size=4, seed=7, augmentation=Augmentation(noise_stddev=0.1), **options)
    )
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def test_resuming_at_an_epoch_equals_passing_through_the_earlier_ones(image_set):
    images, labels = epochs_of(image_set, epochs=3)
    late_images, late_labels = epochs_of(image_set, first_epoch=2, epochs=1)
    np.testing.assert_array_equal(images[20:], late_images)
    np.testing.assert_array_equal(labels[20:], late_labels)
    assert not np.array_equal(images[:10], images[10:20])


def test_each_epoch_shows_every_image_once(image_set):
    images, labels = next(iter(image_generator(image_set, batch_size=10, seed=3, shuffle=True)))
    order = [np.flatnonzero((image_set.images == image[..., 0]).all((1, 2))).item() for image in images.numpy()]
    assert sorted(order) == sorted(image_set.rows)
    assert order != image_set.rows.tolist()
    by_row = dict(zip(image_set.rows.tolist(), image_set.labels.tolist(), strict=True))
    assert labels.numpy().ravel().tolist() == [by_row[row] for row in order]


def test_no_thread_tunes_what_is_fixed(image_set):
    """El que lo haría puede dormir varios segundos cuando el entrenamiento ya ha acabado."""
    assert image_generator(image_set, batch_size=4).options().autotune.enabled is False


def test_shapes_range_order_and_cardinality(image_set):
    batches = image_generator(image_set, batch_size=4, channels=3, rescale=1 / 255, epochs=2)
    assert batches.cardinality().numpy() == 6
    images, labels = zip(*batches, strict=True)
    assert [x.shape[0] for x in images] == [4, 4, 2, 4, 4, 2]
    assert images[0].shape == (4, SIZE, SIZE, 3)
    assert images[0].dtype == labels[0].dtype == np.float32
    expected = np.repeat(image_set.images[image_set.rows[:4], ..., None], 3, axis=-1) / 255
    np.testing.assert_allclose(images[0], expected, rtol=1e-6)
    assert labels[0].numpy().tolist() == [[0], [1], [1], [0]]


@given(area=st.floats(0, 1), ratio=st.floats(0, 1), y=st.floats(0, 1), x=st.floats(0, 1), least=st.floats(0.05, 1))
def test_crop_is_torchvisions_resized_crop_of_its_rectangle(area, ratio, y, x, least):
    crop = OFF.model_copy(update={"crop_area": least})
    drawn = still(crop_area=area, crop_ratio=ratio, crop_y=y, crop_x=x)
    matrix = affine_matrices(drawn, crop, SIZE, source_size=2 * SIZE)[0]
    # A mano: RandomResizedCrop da (i, j, h, w) en la imagen de origen, y resized_crop la lleva a SIZE × SIZE.
    area, ratio, y, x = (float(np.float32(value)) for value in (area, ratio, y, x))
    wanted, shape = least + (1 - least) * area, (4 / 3) ** (2 * ratio - 1)
    width, height = (min(np.sqrt(wanted * r), 1) * 2 * SIZE for r in (shape, 1 / shape))
    i, j = y * (2 * SIZE - height), x * (2 * SIZE - width)
    for column, row in ((0, 0), (SIZE - 1, 0), (5, SIZE - 1)):
        expected = (j + (column + 0.5) * width / SIZE - 0.5, i + (row + 0.5) * height / SIZE - 0.5)
        np.testing.assert_allclose((matrix @ (column, row, 1))[:2], expected, atol=1e-4)
    assert -1e-4 <= i <= i + height <= 2 * SIZE + 1e-4  # nunca sale de la imagen
    assert -1e-4 <= j <= j + width <= 2 * SIZE + 1e-4


def test_images_of_twice_the_side_are_reduced_in_the_same_warp(image_set):
    batches = image_generator(image_set, batch_size=10, augmentation=OFF, image_size=SIZE // 2)
    images, _ = next(iter(batches))
    pairs = image_set.images[image_set.rows].astype(np.float32).reshape(10, SIZE // 2, 2, SIZE // 2, 2)
    np.testing.assert_allclose(images[..., 0], pairs.mean(axis=(2, 4)), atol=1e-2)


def test_the_crop_draws_leave_the_others_where_they_were():
    old = np.random.default_rng([7, 3, 2]).random((5, DRAWS.index("crop_area")), dtype=np.float32)
    np.testing.assert_array_equal(draw_uniform(5, seed=7, epoch=3)[:, : DRAWS.index("crop_area")], old)
