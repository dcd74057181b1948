import numpy as np
import pytest

from patchvae_tf import datasets
from patchvae_tf.errors import InputError


def numbered_set(count):
    index = np.arange(count)
    return datasets.ImageSet(
        images=np.broadcast_to(index[:, None, None, None], (count, 8, 8, 3)).astype(np.uint8),
        labels=index * 2,
        class_names=("a", "b"),
        keys=tuple(f"train/{i}" for i in index),
        part_maps=np.broadcast_to(index[:, None, None, None] % 2 == 0, (count, 1, 1, 12)),
    )


def test_validation_part_is_held_out_of_training():
    training, validation = datasets.split_validation(numbered_set(50), 10, seed=3)
    assert (len(training), len(validation)) == (40, 10)
    held_out = validation.images[:, 0, 0, 0]
    assert sorted([*training.images[:, 0, 0, 0], *held_out]) == list(range(50))
    assert list(held_out) == sorted(held_out)
    assert held_out.max() - held_out.min() > 10  # Drawn, not the first or last ten.


def test_everything_about_an_example_stays_together():
    for part in datasets.split_validation(numbered_set(50), 10, seed=3):
        index = part.images[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(part.labels, index * 2)
        np.testing.assert_array_equal(part.part_maps[:, 0, 0, 0], index % 2 == 0)
        assert part.keys == tuple(f"train/{i}" for i in index)
        assert part.class_names == ("a", "b")


def test_holdout_depends_on_the_seed_alone():
    keys = [datasets.split_validation(numbered_set(50), 10, seed=s)[1].keys for s in (3, 3, 4)]
    assert keys[0] == keys[1] != keys[2]


def test_one_training_image_is_enough():
    training, validation = datasets.split_validation(numbered_set(5), 4, seed=0)
    assert (len(training), len(validation)) == (1, 4)


@pytest.mark.parametrize("count", [0, 5, 6])
def test_holdout_that_leaves_a_part_empty_raises(count):
    with pytest.raises(InputError, match=f"validation part of {count} .* 5 images.*1 and 4"):
        datasets.split_validation(numbered_set(5), count, seed=0)


def test_of_many_images_some_of_every_class_are_drawn():
    labels = np.arange(1000) % 2  # not every tenth: labels often come in turn
    pixels = np.random.default_rng(0).integers(0, 60, (1000, 16, 16, 3))
    training = datasets.ImageSet(
        images=(pixels + 120 * labels[:, None, None, None]).astype("uint8"),
        labels=labels,
        class_names=("dark", "bright"),
        keys=tuple(map(str, range(1000))),
    )
    part = training.sample(100, seed=0)
    assert (len(part.images), len(part.labels)) == (100, 100)
    assert 30 < part.labels.sum() < 70
    bright = part.images.mean(axis=(1, 2, 3)) > 90
    np.testing.assert_array_equal(bright, part.labels)  # each with its own label
    np.testing.assert_array_equal(training.sample(100, seed=0).images, part.images)
    assert (training.sample(100, seed=1).images != part.images).any()
    assert len(np.unique(part.images.reshape(100, -1), axis=0)) == 100
    assert training.sample(1000, seed=0).images is training.images
