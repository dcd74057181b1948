"""How a part looks in an image: z_app of the paper, section 3. One code per part and image."""

import math

import keras
import tensorflow as tf

from patchvae_tf import noise

# exp(s) is kept between these; the bounds of the method.
_MIN_VARIANCE = 1e-7
_MIN_LOG_VARIANCE = math.log(_MIN_VARIANCE)
_MAX_LOG_VARIANCE = math.log(1e7)


def variance_from_log(log_variance: tf.Tensor) -> tf.Tensor:
    """exp(s), kept in [1e-7, 1e7]. Any shape; no gradient where the bound holds."""
    return tf.exp(tf.clip_by_value(log_variance, _MIN_LOG_VARIANCE, _MAX_LOG_VARIANCE))


@keras.saving.register_keras_serializable(package="patchvae_tf")
class AppearancePooling(keras.layers.Layer):
    """Q^A's pooling: the mean of the appearance maps, weighted by where the part occurs.

    Formula: μ[i] = Σ_l q[l,i] m[l,i] / Σ_l q[l,i], and σ²[i] likewise of exp(s). No gradient flows
    through the weight q.

    Args:
        epsilon: float, added to the divisor, so that a part that occurs nowhere gives a mean of 0,
            not NaN. The paper has none: ours, and far below the weight of a part that occurs.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        mean_map, log_variance_map: [batch, h, w, num_parts * appearance_dim]; channel
            i * appearance_dim + k belongs to part i.
        occurrence: [batch, h, w, num_parts], probabilities q.

    Output: (mean, variance), each float32 [batch, num_parts, appearance_dim].
    """

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.epsilon = epsilon

    def call(
        self, mean_map: tf.Tensor, log_variance_map: tf.Tensor, occurrence: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        num_parts = occurrence.shape[-1]
        appearance_dim = mean_map.shape[-1] // num_parts
        weight = tf.stop_gradient(occurrence)  # [batch, h, w, num_parts]
        weight /= tf.reduce_sum(weight, axis=[1, 2], keepdims=True) + self.epsilon
        batch, height, width, _ = tf.unstack(tf.shape(occurrence))
        weight = tf.reshape(weight, [batch, height * width, num_parts, 1])

        def pooled(channels):  # [batch, h, w, num_parts * appearance_dim]
            channels = tf.reshape(channels, [batch, height * width, num_parts, appearance_dim])
            return tf.reduce_sum(weight * channels, axis=1)  # [batch, num_parts, appearance_dim]

        variance = pooled(variance_from_log(log_variance_map))
        # A part that occurs nowhere has no weight to pool with: its KL must still be finite.
        return pooled(mean_map), tf.maximum(variance, _MIN_VARIANCE)

    def compute_output_shape(self, mean_map_shape, log_variance_map_shape, occurrence_shape):
        num_parts = occurrence_shape[-1]
        shape = (occurrence_shape[0], num_parts, mean_map_shape[-1] // num_parts)
        return shape, shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="patchvae_tf")
class GaussianSampling(keras.layers.Layer):
    """Samples μ + σ ε, ε ~ N(0, I) (Kingma and Welling, ICLR 2014).

    Args:
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        mean, variance: [batch, ...].
        seed: int32 [2], or None for the mean: then nothing is random.

    Output shape: that of `mean`; float32.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(
        self, mean: tf.Tensor, variance: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        if seed is None:
            return mean
        return mean + tf.sqrt(variance) * noise.normal(tf.shape(mean), seed)

    def compute_output_shape(self, mean_shape, variance_shape):
        return mean_shape
