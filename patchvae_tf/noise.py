"""Every random number of the package is drawn here, and nowhere else; the first weights too.

All draws are stateless: a value depends on its seed (and its place in the global batch) alone. So a
run gives the same numbers jitted or not, on one replica or on many, and before or after a resume,
and nothing random has to be saved in a checkpoint.

Seeds are int32 tensors of shape [2]. `step_seed` makes one from the user's integer seed and the
training step; `fold_in` derives one for each purpose, so that no two purposes share noise.
"""

import enum
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

# The same bits with and without XLA, on processors and GPUs.
_ALGORITHM = "philox"


class Purpose(enum.IntEnum):
    """What noise is for: the register of what is folded into a seed."""

    OCCURRENCE = 1
    APPEARANCE = 2
    CROP = 11
    COLORS = 12
    MASK = 13
    AFFINE = 14
    OTHER_VIEW = 21
    ORDER = 101
    FLIP = 102
    HOLDOUT = 103
    SUBSET = 104
    SAMPLE = 105
    SHARDS = 106
    WINDOW = 107
    DEALING = 108
    DISCOVERY = 109


def set_first_weights(seed: int) -> None:
    """Makes the first weights of the layers that are built next a function of `seed`.

    Keras draws them from its global state, in the order in which layers are built.
    """
    keras.utils.set_random_seed(seed)


def step_seed(seed: int, step: int | tf.Tensor) -> tf.Tensor:
    """Returns the int32 [2] seed of one training step.

    Args:
        seed: Python integer, the user's seed.
        step: integer or scalar integer tensor, the number of finished training steps.
    """
    return fold_in(tf.constant([seed, 0], tf.int32), step)


def fold_in(seed: tf.Tensor, data: int | tf.Tensor) -> tf.Tensor:
    """Derives a new int32 [2] seed from `seed` and an integer (or scalar integer tensor)."""
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(data, tf.int32), alg=_ALGORITHM)


def _replica_rows(draw, shape):
    """Draws for the global batch and returns this replica's rows of it.

    `shape[0]` is the local batch. Every replica draws the whole batch from the same seed, then
    takes its own rows: two replicas get different noise, and together what one would get.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return draw(shape)
    local_batch = shape[0]
    rows = draw(tf.concat([[local_batch * context.num_replicas_in_sync], shape[1:]], axis=0))
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    return tf.reshape(rows[replica * local_batch : (replica + 1) * local_batch], shape)


def _uniform(shape, seed):
    """Float32 in (0, 1), from the middle of 2^23 equal steps, so that 0 and 1 never come."""
    # From the generator's bits and not from its floats: XLA makes other floats of the same bits.
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg=_ALGORITHM
    )
    return (tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32) + 0.5) / (
        2.0**23
    )


def _normal(shape, seed):
    """Standard normal float32 by Box and Muller's transform."""
    radius = tf.sqrt(-2.0 * tf.math.log(_uniform(shape, fold_in(seed, 0))))
    return radius * tf.cos(2.0 * math.pi * _uniform(shape, fold_in(seed, 1)))


def uniform(shape: Sequence[int] | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Uniform float32 noise in the open interval (0, 1), of the local `shape`, batch first."""
    return _replica_rows(lambda whole: _uniform(whole, seed), tf.convert_to_tensor(shape, tf.int32))


def normal(shape: Sequence[int] | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal float32 noise of the local `shape`, batch first."""
    return _replica_rows(lambda whole: _normal(whole, seed), tf.convert_to_tensor(shape, tf.int32))


def shuffled(positions: tf.Tensor, seed: tf.Tensor, size: int) -> tf.Tensor:
    """Maps positions of an epoch to example indices: a permutation of `range(size)`.

    Takes O(1) memory and time for each position, so that an epoch can start anywhere.

    Args:
        positions: int64 [n], each in [0, size).
        seed: int32 [2]; one seed, one permutation.
        size: int, number of examples.
    """
    return tf.random.experimental.index_shuffle(positions, seed, max_index=size - 1)


def coin_flips(count: int, seed: tf.Tensor) -> tf.Tensor:
    """Fair coins: bool [count]."""
    return _uniform([count], seed) < 0.5


def indexed_uniforms(seed: int, stream: int, indices: np.ndarray, count: int) -> np.ndarray:
    """Uniform numbers that belong to an example: a function of (seed, stream, index) alone.

    Args:
        seed: int, the user's seed.
        stream: int, which series (a split of a data set, say).
        indices: integers [n], the examples.
        count: int, numbers per example.

    Returns:
        float64 array [n, count] in [0, 1).
    """
    rows = [
        np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, 0, index])).random(
            count
        )
        for index in np.asarray(indices).tolist()
    ]
    return np.stack(rows) if rows else np.zeros((0, count))
