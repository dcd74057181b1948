"""Batches whose order and augmentation are functions of the seed and the step alone.

So a run that resumes at a step gets the batches it would have got, and nothing of the pipeline has
to be saved. Batches are uint8 [batch, size, size, 3]: the model converts them on its device.
"""

import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.datasets import storage
from patchvae_tf.errors import InputError

_ORDER_SALT = 101
_FLIP_SALT = 102
_ALIGNMENT = 64  # Bytes that TensorFlow's kernels rely on.


def steps_per_epoch(num_examples, batch_size):
    """Number of full batches in an epoch.

    Raises:
        InputError: if there is not one.
    """
    if not 1 <= batch_size <= num_examples:
        raise InputError(
            f"batch_size is {batch_size}: expected 1 to {num_examples}, the number of images."
        )
    return num_examples // batch_size


def training_batches(images, *, batch_size, seed, flip, total_steps, start_step=0):
    """Shuffled batches for the steps `start_step` to `total_steps` - 1.

    Every epoch has its own order, and leaves out its own last n % batch_size examples.

    Args:
        images: uint8 [n, size, size, 3]; not copied if it comes from `storage.allocate`.
        batch_size: int, examples in the global batch.
        seed: int, the user's seed.
        flip: bool, whether to mirror every other image, at random.
        total_steps: int, the step at which training ends.
        start_step: int, number of steps already done.

    Returns:
        `tf.data.Dataset` of uint8 [batch_size, size, size, 3].

    Raises:
        InputError: if the batch is larger than the data set.
    """
    num_examples = len(images)
    epoch_steps = steps_per_epoch(num_examples, batch_size)
    pixels = _shared_tensor(images)

    def make_batch(step):  # int64 scalar
        epoch, step_in_epoch = step // epoch_steps, step % epoch_steps
        order_seed = noise.fold_in(noise.step_seed(seed, epoch), _ORDER_SALT)
        positions = step_in_epoch * batch_size + tf.range(batch_size, dtype=tf.int64)
        batch = tf.gather(pixels, noise.shuffled(positions, order_seed, num_examples))
        if flip:
            flip_seed = noise.fold_in(noise.step_seed(seed, step), _FLIP_SALT)
            flipped = noise.coin_flips(batch_size, flip_seed)
            # Picking rows out of both takes half the time of tf.where, which broadcasts slowly.
            both = tf.concat([batch, tf.reverse(batch, axis=[2])], axis=0)
            batch = tf.gather(both, tf.range(batch_size) + batch_size * tf.cast(flipped, tf.int32))
        return batch

    return _batches(tf.data.Dataset.range(start_step, total_steps), make_batch)


def evaluation_batches(images, *, batch_size):
    """All images in order; the last batch may be short.

    Args:
        images: uint8 [n, size, size, 3]; not copied if it comes from `storage.allocate`.
        batch_size: int, positive.

    Returns:
        `tf.data.Dataset` of uint8 [at most batch_size, size, size, 3].
    """
    pixels = _shared_tensor(images)
    starts = tf.data.Dataset.range(0, len(images), batch_size)
    return _batches(starts, lambda start: pixels[start : start + batch_size])


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
