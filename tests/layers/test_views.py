import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf.errors import InputError
from patchvae_tf.layers import (
    BlockMasking,
    ColorJitter,
    RandomAffine,
    RandomCrop,
    RandomViews,
)
from patchvae_tf.settings import Views
from tests.testing_utils import random_images, run_layer_test

IMAGES = random_images(6, 16)
SEED = tf.constant([3, 4])
CHANGING = [
    (RandomCrop, {"least_side": 0.5}),
    (RandomAffine, {"rotation": 20.0, "scaling": 1.5, "translation": 0.1}),
    (ColorJitter, {"strength": 1.0}),
    (BlockMasking, {"share": 0.5, "block_size": 4}),
]


@pytest.mark.parametrize(("layer_class", "arguments"), CHANGING)
def test_contract_and_what_it_leaves_alone(layer_class, arguments):
    changed = run_layer_test(layer_class, arguments, (IMAGES,), {"seed": SEED})
    layer = layer_class(**arguments)
    assert np.abs(changed - IMAGES).max(axis=(1, 2, 3)).min() > 0.01  # every image
    np.testing.assert_array_equal(layer(IMAGES), IMAGES)
    np.testing.assert_array_equal(layer_class()(IMAGES, seed=SEED), IMAGES)
    np.testing.assert_array_equal(layer(IMAGES, seed=SEED), changed)
    assert np.abs(layer(IMAGES, seed=SEED + 1) - changed).max() > 0.01


SMALLER = (RandomCrop, {"least_side": 0.5, "scale": 0.5})


@pytest.mark.parametrize(("layer_class", "arguments"), [*CHANGING, SMALLER])
def test_two_replicas_change_the_global_batch_as_one(layer_class, arguments, two_replicas):
    layer = layer_class(**arguments)
    whole = layer(IMAGES, seed=SEED)
    halves = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(np.split(IMAGES, 2)[context.replica_id_in_sync_group])
    )
    changed = two_replicas.run(lambda images: layer(images, seed=SEED), args=(halves,))
    together = np.concatenate(two_replicas.experimental_local_results(changed))
    np.testing.assert_allclose(together, whole, rtol=0, atol=1e-6)


def test_a_view_of_fewer_pixels_is_the_mean_of_what_it_shows():
    # A whole image at half its size: a triangle of two pixels to either side of each middle.
    images = random_images(2, 8)
    halves = RandomCrop(1.0, scale=0.5)(images, seed=SEED)
    assert halves.shape == (2, 4, 4, 3)
    weights = np.zeros((4, 8), "float32")
    for row in range(4):
        weights[row] = np.maximum(1 - np.abs(2 * row + 0.5 - np.arange(8)) / 2, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.einsum("yi,bijc,xj->byxc", weights, images, weights)
    np.testing.assert_allclose(halves, expected, atol=1e-6)
    assert RandomCrop(1.0, scale=0.5).compute_output_shape((None, 8, 8, 3)) == (None, 4, 4, 3)


def test_a_crop_of_fewer_pixels_shows_the_same_rectangle():
    ramp = np.tile(np.arange(64, dtype="float32"), (100, 64, 1))[..., np.newaxis]
    full, less = (RandomCrop(0.3, scale=scale)(ramp, seed=SEED)[:, 0, :, 0] for scale in (1, 0.625))
    assert full.shape == (100, 64)
    assert less.shape == (100, 40)
    middles = [
        (view[:, size // 2 - 1] + view[:, size // 2]) / 2 for view, size in ((full, 64), (less, 40))
    ]
    np.testing.assert_allclose(*middles, atol=0.25)  # pixels; the filter's weights are sampled
    slopes = [np.mean(np.diff(view[:, 5:-5], axis=1), axis=1) for view in (full, less)]
    np.testing.assert_allclose(slopes[1], slopes[0] * 64 / 40, rtol=0.02)


def test_a_crop_shows_a_rectangle_of_the_image():
    # Of a ramp a crop is a ramp, and its ends and slope say what was cut out.
    ramp = np.tile(np.arange(16, dtype="float32"), (500, 16, 1))[..., np.newaxis]
    crops = RandomCrop(0.5)(ramp, seed=SEED).numpy()[..., 0]  # [500, 16, 16]
    np.testing.assert_allclose(crops, crops[:, :1].repeat(16, axis=1), atol=1e-4)
    rows = crops[:, 0]
    inner = np.diff(rows[:, 2:-2], axis=1)  # away from the clamped border
    np.testing.assert_allclose(inner, inner[:, :1].repeat(inner.shape[1], 1), atol=1e-3)
    sides = inner[:, 0]
    assert 0.5 <= sides.min() < 0.52
    assert 0.98 < sides.max() <= 1.0
    assert sides.mean() == pytest.approx(0.75, abs=0.03)
    assert rows.min() >= 0.0
    assert rows.max() <= 15.0
    # The other axis has sides and places of its own.
    other = RandomCrop(0.5)(ramp.transpose(0, 2, 1, 3), seed=SEED).numpy()[..., 0]
    assert np.abs(np.diff(other[:, 4:6, 0], axis=1)[:, 0] - sides).max() > 0.1


AFFINE = {"rotation": 30.0, "scaling": 1.5, "translation": 0.1}


def _sources(layer, count, height, width):
    """What each pixel of the views shows, by images whose values are their pixels' places.

    Returns rows and columns as they come, [count, height, width, 2], and as the affine map says
    that fits the middle of each view, beyond the edges too.
    """
    places = np.stack(np.indices((height, width)), axis=-1).astype("float32")
    views = layer(np.tile(places, (count, 1, 1, 1)), seed=SEED).numpy()
    near = np.s_[height // 2 - 2 : height // 2 + 2, width // 2 - 2 : width // 2 + 2]
    known = np.concatenate([places[near].reshape(16, 2), np.ones([16, 1])], axis=1)
    fits = [np.linalg.lstsq(known, view[near].reshape(16, 2), rcond=None)[0] for view in views]
    everywhere = np.concatenate([places, np.ones([height, width, 1])], axis=-1)
    return views, np.einsum("hwi,nio->nhwo", everywhere, fits), np.stack(fits)


def test_an_affine_view_is_turned_scaled_and_shifted_within_its_bounds():
    _, _, fits = _sources(RandomAffine(**AFFINE), 500, 24, 32)
    turn = fits[:, :2]  # [500, 2, 2]
    scales = np.linalg.det(turn) ** -0.5
    angles = np.degrees(np.arctan2(turn[:, 0, 1], turn[:, 0, 0]))
    similar = turn * scales[:, np.newaxis, np.newaxis]
    np.testing.assert_allclose(similar @ similar.transpose(0, 2, 1), [np.eye(2)] * 500, atol=1e-3)
    assert 1 / 1.5 - 1e-3 < scales.min() < 0.68
    assert 1.47 < scales.max() < 1.5 + 1e-3
    assert np.log(scales).mean() == pytest.approx(0.0, abs=0.03)
    assert np.abs(angles).max() < 30.05
    assert angles.min() < -29
    assert angles.max() > 29
    # What lies in the middle of the image is so far from the middle of the view.
    middle = np.array([11.5, 15.5])
    shift = (
        np.linalg.solve(turn.transpose(0, 2, 1), (middle - fits[:, 2])[..., np.newaxis])[..., 0]
        - middle
    )
    assert np.abs(shift).max(axis=0) == pytest.approx([2.4, 3.2], abs=0.05)


def test_beyond_its_edges_an_image_is_mirrored_and_is_not_within():
    layer = RandomAffine(**AFFINE)
    views, sources, _ = _sources(layer, 20, 16, 16)
    # Places -1 and 0 show the same pixel, and so do 15 and 16.
    mirrored = np.clip(np.abs(np.mod(sources - 15.5, 32) - 16) - 0.5, 0, 15)
    np.testing.assert_allclose(views, mirrored, atol=5e-3)
    within = layer.within(views, SEED).numpy()
    inside = np.all((sources > -0.5) & (sources < 15.5), axis=-1, keepdims=True)
    assert (within == inside).mean() > 0.999  # but for roundings at the edge
    assert 0.6 < within.mean() < 0.95


def test_one_amount_changes_nothing_else():
    _, _, turned = _sources(RandomAffine(rotation=30.0), 50, 16, 16)
    np.testing.assert_allclose(np.linalg.det(turned[:, :2]), 1.0, atol=1e-3)
    _, _, scaled = _sources(RandomAffine(scaling=1.5), 50, 16, 16)
    np.testing.assert_allclose(scaled[:, 0, 1], 0.0, atol=1e-4)
    np.testing.assert_allclose(7.5 * scaled[:, 0, 0] + scaled[:, 2, 0], 7.5, atol=1e-3)
    _, _, shifted = _sources(RandomAffine(translation=0.2), 50, 16, 16)
    np.testing.assert_allclose(shifted[:, :2], [np.eye(2)] * 50, atol=1e-4)


def test_colours_change_within_their_bounds():
    grey = np.full((2000, 2, 2, 3), 0.5, "float32")
    changed = ColorJitter(1.0)(grey, seed=SEED).numpy()
    colours = changed[:, 0, 0]  # [2000, 3]
    mean = colours.mean(axis=1)  # which contrast leaves alone
    assert 0.5 * 0.6 * 0.8 <= mean.min() < 0.5 * 0.7
    assert 0.5 * 1.3 < mean.max() <= 0.5 * 1.4 * 1.2
    assert mean.mean() == pytest.approx(0.5, abs=0.01)
    without_colour = np.ptp(colours, axis=1) < 1e-6
    assert without_colour.mean() == pytest.approx(0.2, abs=0.03)
    weak = ColorJitter(0.5)(grey, seed=SEED).numpy().mean(axis=-1)
    assert np.abs(weak - 0.5).max() <= 0.5 * (1.2 * 1.1 - 1.0) + 1e-6


def test_contrast_changes_about_the_image_s_mean():
    image = np.zeros((1000, 2, 2, 3), "float32")
    image[:, 0] = 1.0
    changed = ColorJitter(1.0)(image, seed=SEED).numpy()
    coloured = changed[np.ptp(changed[:, 0, 0], axis=1) > 1e-6]  # grey has another mean
    mean = coloured.mean(axis=(1, 2, 3))
    depth = coloured[:, 0].mean(axis=(1, 2)) - coloured[:, 1].mean(axis=(1, 2))
    contrast = depth / (2 * mean)
    assert 0.6 - 1e-5 <= contrast.min() < 0.62
    assert 1.38 < contrast.max() <= 1.4 + 1e-5


def test_blocks_are_hidden_whole_and_at_their_share():
    images = np.ones((400, 16, 16, 3), "float32")
    hidden = BlockMasking(0.3, 4)(images, seed=SEED).numpy()
    assert set(np.unique(hidden)) == {0.5, 1.0}
    blocks = hidden.reshape(400, 4, 4, 4, 4, 3)
    assert np.ptp(blocks, axis=(2, 4, 5)).max() == 0.0
    assert (blocks[:, :, 0, :, 0, 0] == 0.5).mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("layer_class", "arguments", "message"),
    [
        (RandomCrop, {"least_side": 0.0}, "`least_side` must be above 0"),
        (RandomAffine, {"rotation": 181.0}, "`rotation` must be in"),
        (RandomAffine, {"scaling": 0.9}, "`scaling` must be at least 1"),
        (RandomAffine, {"translation": -0.1}, "`translation` must be in"),
        (ColorJitter, {"strength": 1.5}, "`strength` must be in"),
        (BlockMasking, {"share": 1.0}, "`share` must be at least 0 and below 1"),
        (BlockMasking, {"block_size": 0}, "`block_size` must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(layer_class, arguments, message):
    with pytest.raises(InputError, match=message):
        layer_class(**arguments)


@pytest.mark.parametrize("how", [{"crop_side": 0.5}, AFFINE])
def test_maps_are_moved_as_the_images_were(how):
    # A ramp of 16 pixels, and its map of 8 places: the views' means over places are the map's view.
    ramp = np.tile(np.arange(16, dtype="float32"), (50, 16, 1))[..., np.newaxis]
    views = RandomViews(Views(**how))
    _, target = views.first(tf.constant(ramp), SEED)
    places = tf.constant(ramp.reshape(50, 8, 2, 8, 2, 1).mean(axis=(2, 4)))
    moved = views.moved(places, SEED).numpy()
    expected = target.numpy().reshape(50, 8, 2, 8, 2, 1).mean(axis=(2, 4))
    inner = (expected > 1.5) & (expected < 13.5) & views.within(places, SEED).numpy()
    assert inner[..., 0].any(axis=(1, 2)).all()
    np.testing.assert_allclose(moved[inner], expected[inner], atol=2e-3)
    np.testing.assert_array_equal(views.moved(places, None), places)
    assert views.within(places, None).numpy().all()


def test_the_other_view_is_another_one():
    images = tf.constant(IMAGES)
    views = RandomViews(Views(**AFFINE))
    assert np.abs(views.second(images, SEED) - views.first(images, SEED)[0]).max() > 0.1
