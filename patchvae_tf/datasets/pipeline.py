"""Batches whose order and augmentation are functions of the seed and the step alone.

So a run that resumes at a step gets the batches it would have got, and nothing of the pipeline has
to be saved. Batches are uint8 [batch, size, size, channels]: the model converts them on its
device. With labels given they are pairs, (images, labels int64 [batch]). Feature maps, float32,
may take the place of images.
"""

import typing

import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.datasets import storage
from patchvae_tf.errors import InputError

if typing.TYPE_CHECKING:
    import numpy as np

_ALIGNMENT = 64  # Bytes that TensorFlow's kernels rely on.


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Number of full batches in an epoch.

    Raises:
        InputError: if there is not one.
    """
    if not 1 <= batch_size <= num_examples:
        raise InputError(
            f"batch_size is {batch_size}: expected 1 to {num_examples}, the number of images."
        )
    return num_examples // batch_size


def training_batches(
    images: "np.ndarray",
    *,
    batch_size: int,
    seed: int,
    flip: bool,
    total_steps: int,
    start_step: int = 0,
    labels: "np.ndarray | None" = None,
    mirrored: "np.ndarray | None" = None,
    rows: range | None = None,
) -> tf.data.Dataset:
    """Shuffled batches for the steps `start_step` to `total_steps` - 1.

    Every epoch has its own order, and leaves out its own last n % batch_size examples.

    Args:
        images: uint8 [n, size, size, channels]; not copied if it comes from `storage.allocate`.
        batch_size: int, examples in the global batch.
        seed: int, the user's seed.
        flip: bool, whether to mirror every other image, at random.
        total_steps: int, the step at which training ends.
        start_step: int, number of steps already done.
        labels: int64 [n], to get pairs; or None.
        mirrored: what a flip puts in place of each image, as `images`; None: its mirror image.
        rows: range, the rows of each global batch that are wanted here; None: all.

    Returns:
        `tf.data.Dataset` of uint8 [rows, size, size, channels], or of pairs.

    Raises:
        InputError: if the batch is larger than the data set.
    """
    num_examples = len(images)
    epoch_steps = steps_per_epoch(num_examples, batch_size)
    pixels = _shared_tensor(images)
    rows = range(batch_size) if rows is None else rows
    other_pixels = None if mirrored is None else _shared_tensor(mirrored)

    def make_batch(step):  # int64 scalar
        indices = shuffled_indices(step, rows, batch_size, epoch_steps, seed, num_examples)
        batch = tf.gather(pixels, indices)
        if flip:
            other = None if other_pixels is None else tf.gather(other_pixels, indices)
            batch = flipped(batch, step, rows, batch_size, seed, other)
        return batch if labels is None else (batch, tf.gather(labels, indices))

    return _batches(tf.data.Dataset.range(start_step, total_steps), make_batch)


def shuffled_indices(
    step: tf.Tensor, rows: range, batch_size: int, epoch_steps: int, seed: int, num_examples: int
) -> tf.Tensor:
    """The examples of some rows of a step's global batch: int64 [rows].

    Args:
        step: int64 scalar.
        rows: range.
        batch_size, epoch_steps, seed, num_examples: ints.
    """
    epoch, step_in_epoch = step // epoch_steps, step % epoch_steps
    order_seed = noise.fold_in(noise.step_seed(seed, epoch), noise.Purpose.ORDER)
    positions = step_in_epoch * batch_size + tf.range(rows.start, rows.stop, dtype=tf.int64)
    return noise.shuffled(positions, order_seed, num_examples)


def flipped(
    batch: tf.Tensor,
    step: tf.Tensor,
    rows: range,
    batch_size: int,
    seed: int,
    mirrored: tf.Tensor | None = None,
) -> tf.Tensor:
    """Mirrors every other image of some rows of a step's global batch, at random.

    Args:
        batch: [rows, height, width, channels].
        step, rows, batch_size, seed: as of `shuffled_indices`.
        mirrored: as `batch`, what takes a row's place; None: its mirror image.
    """
    flip_seed = noise.fold_in(noise.step_seed(seed, step), noise.Purpose.FLIP)
    chosen = noise.coin_flips(batch_size, flip_seed)[rows.start : rows.stop]
    # Picking rows out of both takes half the time of tf.where, which broadcasts slowly.
    both = tf.concat([batch, tf.reverse(batch, [2]) if mirrored is None else mirrored], axis=0)
    return tf.gather(both, tf.range(len(rows)) + len(rows) * tf.cast(chosen, tf.int32))


def evaluation_batches(
    images: "np.ndarray", *, batch_size: int, labels: "np.ndarray | None" = None
) -> tf.data.Dataset:
    """All images in order; the last batch may be short.

    Args:
        images: uint8 [n, size, size, channels]; not copied if it comes from `storage.allocate`.
        batch_size: int, positive.
        labels: int64 [n], to get pairs; or None.

    Returns:
        `tf.data.Dataset` of uint8 [at most batch_size, size, size, channels], or of pairs.
    """
    arrays = _shared_tensor(images)
    if labels is not None:
        arrays = (arrays, tf.constant(labels))
    starts = tf.data.Dataset.range(0, len(images), batch_size)

    def make_batch(start):
        return tf.nest.map_structure(lambda array: array[start : start + batch_size], arrays)

    return _batches(starts, make_batch)


def _batches(steps, make_batch):
    options = tf.data.Options()
    # To rewrite the graph, TensorFlow copies all tensors that it refers to: every image, here.
    options.experimental_optimization.apply_default_optimizations = False
    make_batch = tf.autograph.experimental.do_not_convert(
        make_batch
    )  # no Python depends on tensors
    return (
        steps.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def _shared_tensor(images):
    """Returns a tensor on the memory of `images`: tf.constant would copy it."""
    if images.ctypes.data % _ALIGNMENT or not images.flags.carray:
        aligned = storage.allocate(images.shape)
        aligned[:] = images
        images = aligned
    # As DLPack and not by the buffer protocol, which TensorFlow has no reader for.
    return tf.experimental.dlpack.from_dlpack(images.__dlpack__())
