import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import datasets
from patchvae_tf.datasets import storage
from patchvae_tf.errors import InputError


def numbered_images(count):
    """Images [count, 8, 8, 3] that say their index: left column 1, otherwise index / 100, % 100."""
    images = storage.allocate((count, 8, 8, 3))
    images[..., 0] = np.arange(count)[:, None, None] // 100
    images[..., 1] = np.arange(count)[:, None, None] % 100
    images[:, :, 0, 2] = 1
    return images


def indices_of(batches):
    batches = np.asarray(batches).astype(int)
    return batches[..., 4, 4, 0] * 100 + batches[..., 4, 4, 1]


def batches_of(images, **options):
    arguments = {"batch_size": 8, "seed": 5, "flip": False, "total_steps": 6, **options}
    return np.stack(list(datasets.training_batches(images, **arguments).as_numpy_iterator()))


def test_an_epoch_has_all_but_the_remainder_once():
    drawn = indices_of(batches_of(numbered_images(20), total_steps=4)).reshape(2, 16)
    for epoch in drawn:
        assert len(set(epoch)) == 16
        assert set(epoch) <= set(range(20))
    assert set(drawn[0]) != set(drawn[1])  # Each epoch leaves out others.


def test_every_epoch_has_its_own_order():
    drawn = indices_of(batches_of(numbered_images(16))).reshape(3, 16)
    assert [sorted(epoch) for epoch in drawn] == [list(range(16))] * 3
    assert len({tuple(epoch) for epoch in drawn}) == 3


def test_order_depends_on_the_seed():
    images = numbered_images(16)
    assert (indices_of(batches_of(images)) != indices_of(batches_of(images, seed=6))).any()


def test_two_builds_give_the_same_batches():
    images = numbered_images(20)
    np.testing.assert_array_equal(batches_of(images, flip=True), batches_of(images, flip=True))


@pytest.mark.parametrize("start_step", [1, 2, 5])
def test_starting_later_gives_the_tail(start_step):
    images = numbered_images(20)
    whole = batches_of(images, flip=True)
    tail = batches_of(images, flip=True, start_step=start_step)
    np.testing.assert_array_equal(tail, whole[start_step:])


def test_about_half_of_each_batch_is_mirrored():
    images = numbered_images(512)
    batches = batches_of(images, batch_size=256, flip=True, total_steps=4)
    mirrored = batches[:, :, 0, -1, 2] == 1
    assert ((mirrored.sum(axis=1) > 96) & (mirrored.sum(axis=1) < 160)).all()  # Four sigma.
    assert len({tuple(row) for row in mirrored}) == 4
    expected = images[indices_of(batches)]
    expected[mirrored] = expected[mirrored][:, :, ::-1]
    np.testing.assert_array_equal(batches, expected)


def test_without_flip_the_images_are_as_stored():
    images = numbered_images(20)
    batches = batches_of(images)
    np.testing.assert_array_equal(batches, images[indices_of(batches)])


def test_batches_are_uint8_of_a_static_shape():
    batches = datasets.training_batches(
        numbered_images(20), batch_size=8, seed=0, flip=True, total_steps=3
    )
    assert batches.element_spec == tf.TensorSpec([8, 8, 8, 3], tf.uint8)
    assert batches.cardinality() == 3


@pytest.mark.parametrize("offset", [0, 1], ids=["shared", "unaligned"])
def test_images_are_shared_if_aligned_and_right_in_any_case(offset):
    numbered = numbered_images(16)
    memory = storage.allocate((numbered.size + 64,))
    images = memory[offset : offset + numbered.size].reshape(numbered.shape)
    images[:] = numbered
    batches = datasets.evaluation_batches(images, batch_size=16)
    np.testing.assert_array_equal(next(iter(batches)), numbered)
    images[3] = 77
    seen = next(iter(batches))[3].numpy()
    np.testing.assert_array_equal(seen, numbered[3] if offset else np.full((8, 8, 3), 77))


def test_building_and_starting_does_not_copy_the_images():
    images = storage.allocate((40_000, 64, 64, 3))  # 490 MB, of which no page is touched yet.
    before = peak_memory()
    batches = datasets.training_batches(images, batch_size=4, seed=0, flip=True, total_steps=3)
    assert len(list(batches)) == 3
    assert peak_memory() - before < images.nbytes / 4


def peak_memory():
    with open("/proc/self/status") as file:
        fields = dict(line.split(":") for line in file)
    return int(fields["VmHWM"].split()[0]) * 1024


def test_evaluation_goes_in_order_and_ends_short():
    images = numbered_images(20)
    batches = list(datasets.evaluation_batches(images, batch_size=8))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    np.testing.assert_array_equal(np.concatenate(batches), images)


def test_steps_per_epoch_counts_full_batches():
    assert datasets.steps_per_epoch(20, 8) == 2
    assert datasets.steps_per_epoch(8, 8) == 1


@pytest.mark.parametrize("batch_size", [0, 21])
def test_batch_size_out_of_range_raises(batch_size):
    with pytest.raises(InputError, match=f"batch_size is {batch_size}: expected 1 to 20"):
        batches_of(numbered_images(20), batch_size=batch_size)


def test_labels_come_with_their_images():
    images = numbered_images(20)
    labels = np.arange(20) * 7
    options = {"batch_size": 8, "seed": 5, "flip": True, "total_steps": 4}
    batches = list(datasets.training_batches(images, labels=labels, **options))
    for (pixels, of_pixels), alone in zip(batches, batches_of(images, **options), strict=True):
        np.testing.assert_array_equal(pixels, alone)
        np.testing.assert_array_equal(of_pixels, indices_of(pixels) * 7)
    whole = list(datasets.evaluation_batches(images, batch_size=8, labels=labels))
    assert [len(pixels) for pixels, _ in whole] == [8, 8, 4]
    np.testing.assert_array_equal(np.concatenate([part for _, part in whole]), labels)


def test_features_of_the_mirror_images_take_their_place():
    # Of features that are the images themselves the batches are those of the images.
    images = numbered_images(16)
    features = storage.allocate(images.shape, np.float32)
    mirrored = storage.allocate(images.shape, np.float32)
    features[:], mirrored[:] = images, images[:, :, ::-1]
    options = {"flip": True, "seed": 5}
    one, other = batches_of(images, **options), batches_of(features, mirrored=mirrored, **options)
    assert other.dtype == np.float32
    np.testing.assert_array_equal(one, other)
    assert 0 < one[:, :, 0, 0, 2].mean() < 1  # some are mirrored
