"""Convolutions, plain and transposed, with a gradient by the weights that suits small maps.

That gradient is a convolution, too: over the batch, of the larger maps, with the smaller ones as
its kernel. (n images, y x places of the smaller maps, s stride, p padding before, i j places of the
kernel, c k channels of the larger and the smaller maps)

    dL/dW[i, j, c, k] = Σ_nyx larger[n, s y + i - p, s x + j - p, c] smaller[n, y, x, k]

On processors oneDNN's kernel for it is hardly faster in bfloat16 than in float32. On maps of a few
places its forward convolution, where batch and channels change places, takes 0.4 to 1.0 of the
time: BUILD.md, "Measure".
"""

import keras
import tensorflow as tf

_KERNELS_A_SIDE = 2  # at most, along the smaller maps: beyond it the common way is as fast


@keras.saving.register_keras_serializable(package="patchvae_tf")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` of maps with the channels last; the same but for its gradient's way."""

    def convolution_op(self, inputs, kernel):
        convolve = super().convolution_op
        outputs_shape = self.compute_output_shape(inputs.shape)
        if self.groups > 1 or not _suits(self, inputs, outputs_shape):
            return convolve(inputs, kernel)

        @tf.custom_gradient
        def convolved(inputs, kernel):
            def gradients(upstream):
                by_inputs = tf.nn.conv2d_transpose(
                    upstream, kernel, tf.shape(inputs), self.strides, self.padding.upper()
                )
                return by_inputs, _by_kernel(self, inputs, upstream)

            return convolve(inputs, kernel), gradients

        return convolved(inputs, tf.convert_to_tensor(kernel))


@keras.saving.register_keras_serializable(package="patchvae_tf")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` without bias, channels last; the same but for its gradient.

    Args:
        filters, kernel_size: ints.
        **kwargs: as of `keras.layers.Conv2DTranspose`, but for `use_bias`.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(filters, kernel_size, **{**kwargs, "use_bias": False})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if not _suits(self, inputs, inputs.shape):
            return super().call(inputs)
        shape = [tf.shape(inputs)[0], *self.compute_output_shape(inputs.shape)[1:]]

        @tf.custom_gradient
        def convolved(inputs, kernel):
            outputs = tf.nn.conv2d_transpose(
                inputs, kernel, shape, self.strides, self.padding.upper()
            )

            def gradients(upstream):
                by_inputs = tf.nn.conv2d(upstream, kernel, self.strides, self.padding.upper())
                return by_inputs, _by_kernel(self, upstream, inputs)

            return outputs, gradients

        return convolved(inputs, tf.convert_to_tensor(self.kernel))


def _suits(layer, inputs, smaller_shape):
    """Whether the gradient by the weights is to be taken as a convolution over the batch."""
    sides = smaller_shape[1:3]
    return (
        inputs.dtype == tf.bfloat16
        and layer.dilation_rate == (1, 1)
        and None not in sides
        and max(sides) <= _KERNELS_A_SIDE * min(layer.kernel_size)
        and not tf.config.list_physical_devices("GPU")
    )


def _by_kernel(layer, larger, smaller):
    """dL/dW.

    Args:
        layer: of its kernel's size, strides and padding.
        larger: [batch, H, W, c], the inputs, or a transposed convolution's upstream gradient.
        smaller: [batch, h, w, k], the upstream gradient, or a transposed convolution's inputs.

    Returns:
        [rows, cols, c, k].
    """
    padding = [[0, 0]]
    for axis, (size, stride) in enumerate(zip(layer.kernel_size, layer.strides, strict=True), 1):
        # What the kernel covers beyond the maps; below 0 where it leaves out their last places.
        beyond = (smaller.shape[axis] - 1) * stride + size - larger.shape[axis]
        before = max(beyond, 0) // 2 if layer.padding == "same" else 0
        padding.append([before, max(beyond - before, 0)])
    larger = tf.transpose(larger, [3, 1, 2, 0])  # [c, H, W, batch]
    smaller = tf.transpose(smaller, [1, 2, 0, 3])  # [h, w, batch, k]
    by_kernel = tf.nn.conv2d(larger, smaller, 1, [*padding, [0, 0]], dilations=layer.strides)
    rows, cols = layer.kernel_size
    return tf.transpose(by_kernel[:, :rows, :cols], [1, 2, 0, 3])
