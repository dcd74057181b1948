import numpy as np
import pytest

from patchvae_tf.datasets import ImageSet, balanced_subset
from patchvae_tf.errors import InputError


def _image_set(labels):
    labels = np.array(labels)
    images = np.arange(len(labels), dtype="uint8")[:, None, None, None].repeat(3, axis=3)
    keys = tuple(str(index) for index in range(len(labels)))
    return ImageSet(images=images, labels=labels, class_names=("a", "b", "c"), keys=keys)


LABELS = [0, 1, 2, 0, 0, 1, 2, 2, 1, 0, 1, 2] * 5  # 20 of each


def _indices(subset):
    return [int(key) for key in subset.keys]


def test_every_class_has_as_many_in_the_order_of_the_source():
    subset = balanced_subset(_image_set(LABELS), 6, 3, seed=0)
    assert np.bincount(subset.labels).tolist() == [6, 6, 6]
    indices = _indices(subset)
    assert indices == sorted(set(indices))
    np.testing.assert_array_equal(subset.images[:, 0, 0, 0], indices)
    np.testing.assert_array_equal(subset.labels, np.array(LABELS)[indices])


def test_the_seed_draws_and_a_smaller_subset_is_part_of_a_larger_one():
    image_set = _image_set(LABELS)
    drawn = {
        (count, seed): _indices(balanced_subset(image_set, count, 3, seed))
        for count, seed in ((3, 0), (3, 1), (8, 0))
    }
    assert drawn[3, 0] == _indices(balanced_subset(image_set, 3, 3, 0))
    assert drawn[3, 0] != drawn[3, 1]
    assert set(drawn[3, 0]) < set(drawn[8, 0])
    assert len(balanced_subset(image_set, 20, 3, 0)) == 60


def test_more_than_there_is_is_refused():
    with pytest.raises(InputError, match=r"class 1 \(b\) has 2 .* Choose at most 2\."):
        balanced_subset(_image_set([0, 0, 0, 1, 1, 2, 2, 2]), 3, 3, 0)
    with pytest.raises(InputError, match="class 3 has 0 .* or give images of every class"):
        balanced_subset(_image_set([0, 1, 2]), 1, 4, 0)
