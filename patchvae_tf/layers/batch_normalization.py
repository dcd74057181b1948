"""Batch normalisation by TensorFlow's fused kernel, synchronised over replicas."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="patchvae_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis of a 4-D input, made fast and exact.

    On one replica it runs the fused kernel (a pass over the data where Keras' own layer takes
    several, and no cast to float32 in between). On several replicas the moments are those of the
    global batch, so that two replicas compute what one would.

    The moving variance is the unbiased one, as in PyTorch and in the fused kernel.

    Args:
        momentum: float, of the moving statistics. Source: the method's default, 0.9.
        epsilon: float, added to the variance. Source: the method's default, 1e-5.
        **kwargs: as of `keras.layers.Layer`.

    Input shape: [batch, rows, cols, channels]. Output shape: the same.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not (training and self.trainable):
            outputs, _, _ = self._fused(
                inputs, mean=self.moving_mean, variance=self.moving_variance, is_training=False
            )
            return outputs
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            outputs, mean, variance = self._fused(inputs, is_training=True)
        else:
            outputs, mean, variance = self._synchronized(inputs, context)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs

    def _fused(self, inputs, **kwargs):
        return tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.convert_to_tensor(self.gamma),
            tf.convert_to_tensor(self.beta),
            epsilon=self.epsilon,
            **{
                key: tf.convert_to_tensor(value) if key in ("mean", "variance") else value
                for key, value in kwargs.items()
            },
        )

    def _synchronized(self, inputs, context):
        x = tf.cast(inputs, tf.float32)
        axes = [0, 1, 2]
        sums = context.all_reduce(
            tf.distribute.ReduceOp.SUM,
            [
                tf.cast(tf.size(x) / tf.shape(x)[-1], tf.float32),  # []
                tf.reduce_sum(x, axes),  # [channels]
                tf.reduce_sum(tf.square(x), axes),  # [channels]
            ],
        )
        count = sums[0]
        mean = sums[1] / count  # [channels]
        variance = tf.maximum(sums[2] / count - tf.square(mean), 0.0)  # [channels]
        outputs = tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, self.epsilon)
        unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
        return tf.cast(outputs, inputs.dtype), mean, unbiased

    def get_config(self):
        config = keras.layers.Layer.get_config(self)
        return {**config, "momentum": self.momentum, "epsilon": self.epsilon}
