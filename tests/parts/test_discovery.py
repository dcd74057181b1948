"""Parts are found in images, without training, and none twice."""

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf.datasets import PART_NAMES
from patchvae_tf.datasets.parts import SceneRenderer
from patchvae_tf.errors import InputError
from patchvae_tf.parts import discovery, edges, templates
from patchvae_tf.parts.teacher import PartTeacher

SIZE = (32, 32)


@pytest.fixture(scope="module")
def scenes():
    return SceneRenderer(32, 0, "train").render(np.arange(500))


@pytest.fixture(scope="module")
def teacher(scenes):
    layer = PartTeacher(16, scaled_per_place=8, backbone="resnet9", stride=8)
    layer.build()
    assert layer.discover(scenes[0], (4, 4), seed=0) == len(PART_NAMES)
    return layer


def test_each_of_the_twelve_parts_is_found_once(scenes):
    images, part_maps = scenes
    found = discovery.discover(images, 16, SIZE, seed=1)
    image, row, col = found.windows.T
    true = part_maps[image, row // 8, col // 8]  # [k, 12]
    assert true.sum(axis=1).tolist() == [1] * len(PART_NAMES)
    assert sorted(true.argmax(axis=1)) == list(range(len(PART_NAMES)))
    assert found.templates.shape == (12, templates.SIDE, templates.SIDE, edges.DIRECTIONS)
    assert (found.thresholds > 0.8).all()  # of their own windows nine in ten are more alike
    again = discovery.discover(images, 16, SIZE, seed=1)
    np.testing.assert_array_equal(found.windows, again.windows)
    assert len(discovery.discover(images, 5, SIZE, seed=1).windows) == 5


def test_windows_of_many_images_are_those_of_a_few_at_a_time(scenes, monkeypatch):
    images = scenes[0][:120]
    edge_maps, middles = discovery._centred_windows(images, SIZE)
    assert len(middles) > 120
    monkeypatch.setattr(discovery, "_CHUNK", 7)
    moved, centred = [], discovery._centred

    def counted(strength, middles):
        moved.append(len(strength))
        return centred(strength, middles)

    monkeypatch.setattr(discovery, "_centred", counted)
    by_seven = discovery._centred_windows(images, SIZE)
    np.testing.assert_array_equal(by_seven[1], middles)
    np.testing.assert_allclose(by_seven[0], edge_maps, atol=1e-6)
    assert max(moved) == 7  # what is in memory at once does not grow with the images


def test_images_without_anything_are_refused():
    grey = np.full([20, 32, 32, 3], 128, np.uint8)
    with pytest.raises(InputError, match="no parts can be found: in 20 images of 32 x 32 pixels"):
        discovery.discover(grey, 16, SIZE, seed=0)


def test_places_that_are_all_alike_are_no_parts(scenes, monkeypatch):
    def alike(candidates, windows, progress):
        return np.ones((len(candidates), len(windows)), np.float32)

    images, _ = scenes
    monkeypatch.setattr(discovery, "_likeness", alike)
    with pytest.raises(
        InputError, match="in 30 images the [0-9]+ places of dense edges are all al"
    ):
        discovery.discover(images[:30], 16, SIZE, seed=0)


def test_a_template_that_is_the_best_of_no_place_is_no_part(scenes, monkeypatch):
    def likeness(candidates, windows, progress):
        found = np.zeros((len(candidates), len(windows)), np.float32)
        found[0, ::2], found[1, 1::2], found[2] = 0.9, 0.8, 0.5
        return found

    images, _ = scenes
    monkeypatch.setattr(discovery, "_likeness", likeness)
    monkeypatch.setattr(discovery, "_chosen", lambda likeness, most: np.array([2, 1, 0]))
    found = discovery.discover(images[:30], 16, SIZE, seed=0)
    np.testing.assert_allclose(found.thresholds, [0.8, 0.9])


def test_the_teacher_says_where_the_parts_are(teacher):
    images, part_maps = SceneRenderer(32, 0, "test").render(np.arange(200))
    shares = teacher(tf.constant(images / 255, tf.float32), tf.constant([4, 4])).numpy()
    assert shares.shape == (200, 4, 4, 16)
    assert shares.min() >= 0
    assert shares.sum(axis=-1).max() <= 1 + 1e-6
    assert np.array_equal(teacher.is_taught, [True] * 12 + [False] * 4)
    assert shares[..., 12:].max() == 0
    # Each place with one true part, by the part that covers most of it: one for one.
    single = (part_maps.sum(axis=-1) == 1) & (shares.sum(axis=-1) > 0.5)
    pairs = np.zeros([16, 12], int)
    np.add.at(pairs, (shares[single].argmax(axis=-1), part_maps[single].argmax(axis=-1)), 1)
    assert pairs.max(axis=0).sum() > 0.95 * pairs.sum()
    assert len(set(pairs.argmax(axis=0))) == 12
    empty = ~part_maps.any(axis=-1)
    assert shares.sum(axis=-1)[empty].mean() < 0.6 * shares.sum(axis=-1)[single].mean()


def test_frequencies_are_counted_in_few_images_at_once_where_parts_are_small(
    scenes, teacher, monkeypatch
):
    teacher._count(scenes[0][:20], (4, 4))
    at_once = teacher.frequencies.numpy()
    lengths, as_floats = [], discovery.as_floats

    def counted(images):
        lengths.append(images.shape[0])
        return as_floats(images)

    monkeypatch.setattr(discovery, "as_floats", counted)
    per_image = 16 * 16 * teacher.filters.shape[-1]  # 4 x 4 places of 4 x 4 compared ones
    monkeypatch.setattr("patchvae_tf.parts.teacher._MOST_NUMBERS", 7 * per_image)
    teacher._count(scenes[0][:20], (4, 4))
    assert max(lengths) == 7
    np.testing.assert_allclose(teacher.frequencies, at_once, atol=1e-6)


def test_the_teacher_survives_being_saved(teacher):
    other = PartTeacher.from_config(teacher.get_config())
    other.build()
    assert not other.is_taught.numpy().any()
    images = tf.constant(SceneRenderer(32, 0, "test").render(np.arange(4))[0] / 255, tf.float32)
    grid = tf.constant([4, 4])
    assert not other(images, grid).numpy().any()  # nothing is taught before it is found
    other.set_weights(teacher.get_weights())
    np.testing.assert_array_equal(other(images, grid), teacher(images, grid))


def test_scaling_is_that_of_an_image_library():
    images = np.random.default_rng(0).random((2, 24, 40, 3)).astype(np.float32)
    for size in ((24, 40), (16, 32), (9, 64)):
        expected = tf.image.resize(images, size, antialias=True)
        np.testing.assert_allclose(discovery.scaled(images, size), expected, atol=1e-5)


def test_the_teacher_is_the_same_compiled_by_xla(teacher):
    images = tf.constant(SceneRenderer(32, 0, "test").render(np.arange(4))[0] / 255, tf.float32)
    compiled = tf.function(lambda x: teacher(x, tf.constant([4, 4])), jit_compile=True)
    np.testing.assert_allclose(compiled(images), teacher(images, tf.constant([4, 4])), atol=1e-4)


def test_edges_know_no_colour_and_turn_with_their_picture():
    images = SceneRenderer(32, 0, "test").render(np.arange(8))[0] / np.float32(255)
    found = edges.edge_map(images).numpy()
    assert found.min() >= 0
    assert found.max() < 1
    darker = edges.edge_map(0.5 * images + 0.2).numpy()
    np.testing.assert_allclose(darker, found, atol=0.02)
    quarter = edges.edge_map(np.rot90(images, -1, axes=(1, 2))).numpy()
    by_hand = edges.turned(np.rot90(found, -1, axes=(1, 2)), np.pi / 2)
    np.testing.assert_allclose(quarter, by_hand, atol=1e-5)


def test_a_template_is_like_itself_at_any_size_and_angle_nearby():
    rng = np.random.default_rng(0)
    images = SceneRenderer(32, 0, "test").render(np.arange(2))[0] / np.float32(255)
    window = edges.edge_map(images).numpy()[:, 8:23, 8:23]
    filters = templates.filters_of(window)
    likeness = templates.likeness(tf.constant(window), filters, padding="VALID").numpy()
    assert likeness.shape == (2, 1, 1, 2)
    own, other = likeness[:, 0, 0].diagonal(), likeness[::-1, 0, 0].diagonal()
    assert (own > 0.97).all()
    assert (own <= 1).all()
    assert (other < own - 0.1).all()
    faint = templates.likeness(tf.constant(0.5 * window), filters, padding="VALID").numpy()
    np.testing.assert_allclose(faint, likeness, atol=0.02)
    noise = rng.random(window.shape).astype(np.float32)
    assert (templates.likeness(noise, filters, padding="VALID").numpy() < 0.9).all()
    # About every other pixel it is what it is about every pixel.
    image = tf.constant(edges.edge_map(images))
    dense = templates.likeness(image, filters).numpy()
    sparse = templates.likeness(image, filters, step=templates.STEP).numpy()
    np.testing.assert_allclose(
        sparse[:, 4:-4, 4:-4], dense[:, 1::2, 1::2][:, 4:-4, 4:-4], atol=1e-5
    )
