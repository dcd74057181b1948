"""Agreement between the codes of two views of an image. It serves training alone."""

import keras
import tensorflow as tf

from patchvae_tf.layers.batch_normalization import BatchNormalization

_WIDTH = 512
_OFF_DIAGONAL = 0.005  # weight of redundancy, as in Barlow Twins
_EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="patchvae_tf")
class PartAgreement(keras.layers.Layer):
    """How far the parts' codes of two views are from telling the same of an image, and all of it.

    The codes of each view go through an expander; over the batch, each number of the one view is
    to correlate with the same number of the other, and with none else. An image's parts then have
    to be found, and to look alike, under another crop and other colours; that the correlation, not
    the distance, is asked for keeps the codes from collapsing to a constant.

    Formula: (Σ_i (1 − c_ii)² + 0.005 Σ_{i≠j} c_ij²) / D, c the D × D cross-correlation of the two
    views' expanded codes over the global batch. Source: Zbontar et al., "Barlow Twins", ICML 2021;
    codes of parts in place of pooled features are ours.

    Args:
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        first, second: float32 [batch, d], the codes of two views of the same images.
        training: bool, whether batch normalisation uses the batch's moments.

    Output: float32 scalar, the same on every replica.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # As 1×1 convolutions of 1×1 maps: batch normalisation takes maps.
        self.expander = [
            keras.layers.Conv2D(_WIDTH, 1, use_bias=False, dtype=self.dtype_policy),
            BatchNormalization(dtype=self.dtype_policy),
            keras.layers.ReLU(dtype=self.dtype_policy),
            keras.layers.Conv2D(_WIDTH, 1, use_bias=False, dtype=self.dtype_policy),
        ]

    def build(self, first_shape, second_shape=None):
        shape = (None, 1, 1, first_shape[-1])
        for layer in self.expander:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, first, second, training=False):
        batch = tf.shape(first)[0]
        x = tf.concat([first, second], axis=0)[:, tf.newaxis, tf.newaxis]  # [2 batch, 1, 1, d]
        for layer in self.expander:
            x = layer(x, training=training) if "normal" in layer.name else layer(x)
        x = tf.cast(x[:, 0, 0], tf.float32)  # [2 batch, width]
        correlation = cross_correlation(x[:batch], x[batch:])  # [width, width]
        diagonal = tf.linalg.diag_part(correlation)  # [width]
        same = tf.reduce_sum(tf.square(1.0 - diagonal))
        other = tf.reduce_sum(tf.square(correlation)) - tf.reduce_sum(tf.square(diagonal))
        return (same + _OFF_DIAGONAL * other) / _WIDTH

    def compute_output_shape(self, first_shape, second_shape=None):
        return ()


def cross_correlation(first, second):
    """Correlation over the global batch of each number of one with each of the other.

    Args:
        first, second: float32 [local batch, width].

    Returns:
        float32 [width, width] in [-1, 1]; 0 for a number that does not vary.
    """
    count = tf.cast(tf.shape(first)[0], tf.float32)
    sums = [count, *(tf.reduce_sum(x, 0) for x in (first, second, first**2, second**2))]
    sums.append(tf.matmul(first, second, transpose_a=True))
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, sums)
    count, *moments = sums
    mean_1, mean_2, square_1, square_2, product = (moment / count for moment in moments)
    scale_1 = tf.math.rsqrt(tf.maximum(square_1 - mean_1**2, 0.0) + _EPSILON)  # [width]
    scale_2 = tf.math.rsqrt(tf.maximum(square_2 - mean_2**2, 0.0) + _EPSILON)
    covariance = product - mean_1[:, tf.newaxis] * mean_2  # [width, width]
    return covariance * scale_1[:, tf.newaxis] * scale_2
