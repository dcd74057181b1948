"""Transposed convolutions in groups: what one group holds never reaches another."""

import math

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="patchvae_tf")
class GroupedConv2DTranspose(keras.layers.Layer):
    """A transposed convolution, without bias, for each group of channels by itself.

    Channel g * (channels / groups) + k belongs to group g, of the inputs as of the outputs. It is
    computed as one convolution whose kernel is 0 between groups: TensorFlow has no grouped
    transposed convolution, and its grouped convolution has no gradient on processors.

    Args:
        filters: int, channels of the output, of all groups; a multiple of `groups`.
        kernel_size: int.
        strides: int.
        groups: int.
        **kwargs: as of `keras.layers.Layer`.

    Input shape: [batch, h, w, channels], channels a multiple of `groups`.
    Output shape: [batch, h * strides, w * strides, filters].

    Raises:
        ValueError: `filters` or the channels are no multiple of `groups`.
    """

    def __init__(self, filters, kernel_size, strides=1, groups=1, **kwargs):
        super().__init__(**kwargs)
        if filters % groups:
            raise ValueError(
                f"`filters` must be a multiple of `groups`. Received: filters={filters}, "
                f"groups={groups}"
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.groups = groups

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.groups:
            raise ValueError(
                f"The input's channels must be a multiple of `groups`. Received: {channels} "
                f"channels, groups={self.groups}"
            )
        size, inputs, outputs = (
            self.kernel_size,
            channels // self.groups,
            self.filters // self.groups,
        )
        # As Glorot and Bengio (2010) for one group's kernel.
        limit = math.sqrt(6.0 / (size * size * (inputs + outputs)))
        self.kernel = self.add_weight(
            shape=(self.groups, size, size, outputs, inputs),
            initializer=keras.initializers.RandomUniform(-limit, limit),
            name="kernel",
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)  # [groups, size, size, outputs, inputs]
        between = tf.eye(self.groups, dtype=kernel.dtype)
        # g group of the output, f group of the input; y, x rows and columns; o, i channels
        kernel = tf.einsum("gyxoi,gf->yxgofi", kernel, between)
        size, channels = self.kernel_size, inputs.shape[-1]
        kernel = tf.reshape(kernel, [size, size, self.filters, channels])
        batch, rows, cols, _ = tf.unstack(tf.shape(inputs))
        shape = [batch, rows * self.strides, cols * self.strides, self.filters]
        outputs = tf.nn.conv2d_transpose(inputs, kernel, shape, self.strides, padding="SAME")
        return tf.ensure_shape(outputs, [*self._output_sides(inputs.shape), self.filters])

    def _output_sides(self, input_shape):
        batch, *sides = input_shape[:3]
        return (batch, *(side and side * self.strides for side in sides))

    def compute_output_shape(self, input_shape):
        return (*self._output_sides(input_shape), self.filters)

    def get_config(self):
        names = ("filters", "kernel_size", "strides", "groups")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="patchvae_tf")
class SplitGroups(keras.layers.Layer):
    """Gives each group of channels an axis: [batch, h, w, groups * k] -> [batch, h, w, groups, k].

    Args:
        groups: int.
        **kwargs: as of `keras.layers.Layer`.
    """

    def __init__(self, groups, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        each = inputs.shape[-1] // self.groups
        return tf.reshape(inputs, tf.concat([tf.shape(inputs)[:-1], [self.groups, each]], axis=0))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.groups, input_shape[-1] // self.groups)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
