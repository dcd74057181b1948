"""Resnet-9, the backbone φ: Conv1-5 of the paper's supplementary, Table 5.

The front of ResNet-18: a 7×7 convolution and a max-pooling, then four basic residual blocks.
Total stride 8, 683,072 trainable parameters. Distance from the paper: none known.
"""

import keras

from patchvae_tf.layers.batch_normalization import BatchNormalization

STRIDE = 8
CHANNELS = 128  # of the output

# A stage is a depth at which transfer learning may freeze φ (Table 5 and the paper's tables of
# results). Value: the name of the layer that the stage ends with.
STAGES = {"conv1": "conv1_pool", "conv1-3": "conv3_out", "conv1-5": "conv5_out"}


def _conv(filters, kernel_size, **kwargs):
    """A convolution without bias, started as in ResNet (He et al., 2015, by fan-out)."""
    # An initializer of its own for each layer: one that is shared gives all the same numbers.
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return keras.layers.Conv2D(
        filters, kernel_size, use_bias=False, kernel_initializer=initializer, **kwargs
    )


def _strided_conv(x, filters, kernel_size, padding, name):
    """Stride 2 with the table's symmetric padding; TensorFlow's "same" would pad one side more."""
    x = keras.layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
    return _conv(filters, kernel_size, strides=2, name=f"{name}_conv")(x)


def _basic_block(x, filters, stride, name):
    """conv 3×3 - BN - ReLU - conv 3×3 - BN, plus the shortcut, ReLU."""
    shortcut = x
    if stride == 2:
        x = _strided_conv(x, filters, 3, padding=1, name=f"{name}a")
        shortcut = _conv(filters, 1, strides=2, name=f"{name}_shortcut_conv")(shortcut)
        shortcut = BatchNormalization(name=f"{name}_shortcut_bn")(shortcut)
    else:
        x = _conv(filters, 3, padding="same", name=f"{name}a_conv")(x)
    x = BatchNormalization(name=f"{name}a_bn")(x)
    x = keras.layers.ReLU(name=f"{name}a_relu")(x)
    x = _conv(filters, 3, padding="same", name=f"{name}b_conv")(x)
    x = BatchNormalization(name=f"{name}b_bn")(x)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def resnet9(name="backbone"):
    """Builds φ as a functional `keras.Model`.

    Input: float32 [batch, H, W, 3] in [0, 1], H and W multiples of 8.
    Output: features, [batch, H/8, W/8, 128]. `STAGES` names the layers at other depths.
    """
    images = keras.Input((None, None, 3), name="images")  # [batch, H, W, 3]
    x = keras.layers.Rescaling(2.0, offset=-1.0, dtype="float32", name="to_signed")(images)
    x = _strided_conv(x, 64, 7, padding=3, name="conv1")  # [batch, H/2, W/2, 64]
    x = BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.ReLU(name="conv1_relu")(x)
    # Padding with zeros equals padding with minus infinity here: no value after ReLU is below 0.
    x = keras.layers.ZeroPadding2D(1, name="conv1_pool_pad")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="conv1_pool")(x)  # [batch, H/4, W/4, 64]
    x = _basic_block(x, 64, stride=1, name="conv2")
    x = _basic_block(x, 64, stride=1, name="conv3")
    x = _basic_block(x, 128, stride=2, name="conv4")  # [batch, H/8, W/8, 128]
    x = _basic_block(x, 128, stride=1, name="conv5")
    return keras.Model(images, x, name=name)
