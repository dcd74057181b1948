"""What the backbones are made of: convolutions with symmetric padding, and residual blocks.

TensorFlow's "same" pads a strided convolution of an odd kernel one side more: that would be another
network than the papers', so padding is explicit there.
"""

import typing

import keras

from patchvae_tf.layers.batch_normalization import BatchNormalization
from patchvae_tf.layers.convolution import Conv2D


def signed(images: keras.KerasTensor) -> keras.KerasTensor:
    """[0, 1] -> [-1, 1], in float32: [batch, H, W, channels]."""
    return keras.layers.Rescaling(2.0, offset=-1.0, dtype="float32", name="to_signed")(images)


def conv(filters: int, kernel_size: int, use_bias: bool = False, **kwargs: typing.Any) -> Conv2D:
    """A convolution, by default without bias, before BN: started as in ResNet, by fan-out.

    With a bias there is no BN that would mend the maps' scale: then by fan-in, which keeps it.
    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015.
    """
    fan = "fan_in" if use_bias else "fan_out"
    # An initializer of its own for each layer: one that is shared gives all the same numbers.
    initializer = keras.initializers.VarianceScaling(2.0, fan, "untruncated_normal")
    return Conv2D(filters, kernel_size, use_bias=use_bias, kernel_initializer=initializer, **kwargs)


def padded_conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    padding: int,
    name: str,
    strides: int = 2,
    **kwargs: typing.Any,
) -> keras.KerasTensor:
    """A strided convolution after `padding` pixels of zeros on each side."""
    x = keras.layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
    return conv(filters, kernel_size, strides=strides, name=f"{name}_conv", **kwargs)(x)


def max_pool(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """3×3, stride 2, pad 1: [batch, h, w, c] -> [batch, h/2, w/2, c], of values not below 0."""
    # Padding with zeros equals padding with minus infinity here: no value after ReLU is below 0.
    x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name=name)(x)


def strided_leaky(
    x: keras.KerasTensor, filters: int, name: str, normalized: bool = True
) -> keras.KerasTensor:
    """4×4, stride 2, [BN,] LeakyReLU 0.2: [batch, h, w, c] -> [batch, h/2, w/2, filters].

    h and w are even. Source: DCGAN (Radford et al., ICLR 2016).
    """
    # For an even side "same" pads one pixel on each side.
    x = Conv2D(filters, 4, 2, padding="same", use_bias=False, name=name)(x)
    if normalized:
        x = BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.LeakyReLU(0.2, name=f"{name}_relu")(x)


def _main_conv(x, filters, stride, name):
    """3×3, pad 1, of either stride."""
    if stride == 2:
        return padded_conv(x, filters, 3, padding=1, name=name)
    return conv(filters, 3, padding="same", name=f"{name}_conv")(x)


def _projected(x, filters, stride, name):
    """The shortcut's 1×1 convolution and BN."""
    x = conv(filters, 1, strides=stride, name=f"{name}_shortcut_conv")(x)
    return BatchNormalization(name=f"{name}_shortcut_bn")(x)


def _normalized(x, name):
    x = BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def basic_block(x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
    """conv 3×3 - BN - ReLU - conv 3×3 - BN, plus the shortcut, ReLU (He et al., Figure 5 left).

    [batch, h, w, c] -> [batch, h/stride, w/stride, filters].
    """
    shortcut = x
    x = _main_conv(x, filters, stride, f"{name}a")
    if stride == 2:
        shortcut = _projected(shortcut, filters, stride, name)
    x = _normalized(x, f"{name}a")
    x = conv(filters, 3, padding="same", name=f"{name}b_conv")(x)
    x = BatchNormalization(name=f"{name}b_bn")(x)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def bottleneck_block(
    x: keras.KerasTensor, filters: int, stride: int, name: str
) -> keras.KerasTensor:
    """conv 1×1 - conv 3×3 - conv 1×1 to 4 filters each with BN, plus the shortcut, ReLU.

    He et al., Figure 5 right; the stride is the 3×3's, as in torchvision.
    [batch, h, w, c] -> [batch, h/stride, w/stride, 4 * filters].
    """
    shortcut = x
    if stride == 2 or x.shape[-1] != 4 * filters:
        shortcut = _projected(x, 4 * filters, stride, name)
    x = _normalized(conv(filters, 1, name=f"{name}a_conv")(x), f"{name}a")
    x = _normalized(_main_conv(x, filters, stride, f"{name}b"), f"{name}b")
    x = conv(4 * filters, 1, name=f"{name}c_conv")(x)
    x = BatchNormalization(name=f"{name}c_bn")(x)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_out")(x)
