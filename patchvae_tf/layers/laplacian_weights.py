"""The weight mask of L_w: the paper's section 3.4, the supplementary's section B and Figure 1."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="patchvae_tf")
class LaplacianWeights(keras.layers.Layer):
    """Weighs each block of pixels by how much edge there is in it.

    The absolute Laplacian (3×3, centre -4, edges replicated, each channel for itself) is summed
    over each block, spread back over the block, and scaled so that each image and channel has
    mean weight 1. A channel without any edge has weight 1 everywhere. No gradient flows through.

    Args:
        block_size: int, side of a block in pixels; the backbone's stride in the paper.
        **kwargs: as of `keras.layers.Layer`.

    Input shape: [batch, H, W, channels], H and W multiples of `block_size`. Any affine scale.
    Output shape: the same; float32.

    Raises:
        ValueError: `block_size` is below 1.
    """

    def __init__(self, block_size=8, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        if block_size < 1:
            raise ValueError(f"`block_size` must be at least 1. Received: block_size={block_size}")
        self.block_size = block_size

    def call(self, images: tf.Tensor) -> tf.Tensor:
        edges = absolute_laplacian(images)  # [batch, H, W, channels]
        shape = tf.shape(images)
        size = self.block_size
        rows, cols = shape[1] // size, shape[2] // size
        blocks = tf.reshape(edges, [shape[0], rows, size, cols, size, images.shape[-1]])
        sums = tf.reduce_sum(blocks, axis=[2, 4])  # [batch, rows, cols, channels]
        mean = tf.reduce_mean(sums, axis=[1, 2], keepdims=True)  # [batch, 1, 1, channels]
        weights = tf.where(mean > 0, tf.math.divide_no_nan(sums, mean), 1.0)
        weights = tf.repeat(tf.repeat(weights, size, axis=1), size, axis=2)
        return tf.stop_gradient(weights)  # [batch, H, W, channels]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "block_size": self.block_size}


def absolute_laplacian(images: tf.Tensor) -> tf.Tensor:
    """|4 x - the four neighbours|, each channel for itself, edges replicated. Shape kept."""
    x = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")
    vertical = x[:, :-2, 1:-1] + x[:, 2:, 1:-1]
    horizontal = x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    return tf.abs(vertical + horizontal - 4.0 * images)
