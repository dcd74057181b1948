import itertools

import numpy as np
import pytest

from patchvae_tf import datasets
from patchvae_tf.datasets import CLASS_PARTS, PART_NAMES, parts
from patchvae_tf.errors import InputError


@pytest.fixture(scope="module")
def test_set():
    return datasets.load("parts", "test", image_size=32)


def present(part_maps):
    return part_maps.any((1, 2))  # [n, 12]


def test_no_scene_fits_two_classes_and_no_part_tells_the_class():
    assert (len(CLASS_PARTS), len(PART_NAMES)) == (10, 12)
    for first, second in itertools.combinations(CLASS_PARTS, 2):
        assert len({*first, *second}) >= 5  # Four parts of a scene never hold both.
    uses = np.bincount(np.concatenate(CLASS_PARTS), minlength=12)
    assert set(uses) == {2, 3}


def test_sizes_and_class_balance(test_set):
    assert test_set.images.shape == (4_000, 32, 32, 3)
    assert test_set.part_maps.shape == (4_000, 4, 4, 12)
    assert (test_set.images.dtype, test_set.part_maps.dtype) == (np.uint8, bool)
    np.testing.assert_array_equal(np.bincount(test_set.labels), np.full(10, 400))
    assert test_set.class_names[0] == "striped_disc+star+diamond_target"
    assert parts.NUM_EXAMPLES == {"train": 20_000, "test": 4_000}


def test_parts_of_a_scene_are_those_of_its_class_and_at_most_one_more(test_set):
    found = present(test_set.part_maps)
    counts = found.sum(axis=1)
    assert set(counts) == {3, 4}
    assert 0.45 < (counts == 4).mean() < 0.55
    for row, label in zip(found, test_set.labels, strict=True):
        assert row[list(CLASS_PARTS[label])].all()
        fitting = [k for k, members in enumerate(CLASS_PARTS) if row[list(members)].all()]
        assert fitting == [label]


def test_scene_is_a_function_of_seed_split_and_index(test_set):
    indices = np.array([700, 3, 41])
    images, part_maps = parts.SceneRenderer(32, 0, "test").render(indices)
    np.testing.assert_array_equal(images, test_set.images[indices])
    np.testing.assert_array_equal(part_maps, test_set.part_maps[indices])
    for seed, split in ((1, "test"), (0, "train")):
        other, _ = parts.SceneRenderer(32, seed, split).render(indices)
        assert (other != images).any((1, 2, 3)).all()


@pytest.mark.parametrize("size", [32, 48, 64])
def test_part_maps_agree_with_the_pixels(size, monkeypatch):
    indices = np.arange(40)
    renderer = parts.SceneRenderer(size, 0, "train")
    images, part_maps = renderer.render(indices)
    monkeypatch.setattr(renderer, "_atlas", np.zeros_like(renderer._atlas))
    bare, _ = renderer.render(indices)
    changed = (images != bare).any(-1).reshape(-1, size // 8, 8, size // 8, 8).mean((2, 4))
    marked = part_maps.any(-1)
    # Pixels on the edge of a part are changed but only partly covered: hence not a quarter.
    assert marked[changed >= 0.5].all()
    assert (changed[marked] > 0).mean() > 0.99  # The centre of a ring may be bare.
    assert marked.sum() > 3 * len(indices)


@pytest.mark.parametrize("size", [32, 40])  # With 40, cells lie across quadrants.
def test_one_part_is_marked_where_it_alone_changes_pixels(size, monkeypatch):
    renderer = parts.SceneRenderer(size, 0, "train")
    indices = np.arange(40)
    images, part_maps = renderer.render(indices)
    for part in (0, 3, 11):  # Without holes.
        atlas = renderer._atlas.copy()
        atlas[part] = 0
        other = parts.SceneRenderer(size, 0, "train")
        monkeypatch.setattr(other, "_atlas", atlas)
        changed = (other.render(indices)[0] != images).any(-1)
        share = changed.reshape(-1, size // 8, 8, size // 8, 8).mean((2, 4))
        marked = part_maps[..., part]
        np.testing.assert_array_equal(marked.any((1, 2)), changed.any((1, 2)))
        assert marked[share >= 0.5].all()
        assert (share[marked] > 0.2).all()


def test_parts_stand_out_from_the_background():
    renderer = parts.SceneRenderer(32, 0, "train")
    images, _ = renderer.render(np.arange(200))
    luminance = images @ np.array([0.299, 0.587, 0.114])
    renderer._atlas[:] = 0
    background = renderer.render(np.arange(200))[0] @ np.array([0.299, 0.587, 0.114])
    assert background.min() > 0.19 * 255
    assert background.max() < 0.71 * 255
    assert (luminance.max((1, 2)) > background.max((1, 2))).all()
    assert (luminance.min((1, 2)) < background.min((1, 2))).all()


def test_mean_colour_does_not_tell_the_class(test_set):
    colours, labels = test_set.images[:2500].mean((1, 2)), test_set.labels[:2500]
    means = np.stack([colours[:2000][labels[:2000] == k].mean(0) for k in range(10)])
    distances = np.square(colours[2000:, None] - means).sum(-1)
    assert (distances.argmin(1) == labels[2000:]).mean() < 0.2  # Chance is 0.1.


@pytest.mark.parametrize("part", PART_NAMES)
def test_place_does_not_tell_the_part(test_set, part):
    maps = test_set.part_maps[..., PART_NAMES.index(part)]
    quadrants = maps.reshape(-1, 2, 2, 2, 2).any((2, 4)).mean(0)
    np.testing.assert_allclose(quadrants, quadrants.mean(), atol=0.03)


@pytest.mark.parametrize("image_size", [24, 36])
def test_unfit_image_size_raises(image_size):
    with pytest.raises(InputError, match=f"image_size is {image_size}: .* multiple of 8, from 32"):
        datasets.load("parts", image_size=image_size)


def test_unknown_split_raises():
    with pytest.raises(InputError, match="no split 'validation': it has train, test"):
        datasets.load("parts", "validation", image_size=32)
