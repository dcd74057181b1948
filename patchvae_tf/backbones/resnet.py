"""Residual networks (He et al., "Deep Residual Learning", CVPR 2016, Table 1), as in torchvision.

Resnet-9, the paper's φ, is Conv1-5 of the supplementary's Table 5: the front of ResNet-18, with a
total stride of 8 and 683,072 trainable parameters. Distance from the paper: none known. ResNet-18
and ResNet-50 are whole but for the last pooling and the classifier.
"""

import keras

from patchvae_tf.backbones import blocks
from patchvae_tf.layers.batch_normalization import BatchNormalization


def _resnet(block, counts, stride, channels, name):
    """φ as a functional model; its blocks are conv2, conv3, ..., as the paper counts them.

    Args:
        block: function of `blocks`.
        counts: blocks at the strides 4, 8, 16, 32.
        stride: int, where the network ends.
        channels: int, of the images.
        name: str.
    """
    images = keras.Input((None, None, channels), name="images")  # [batch, H, W, channels]
    x = blocks.signed(images)
    x = blocks.padded_conv(x, 64, 7, padding=3, name="conv1")  # [batch, H/2, W/2, 64]
    x = BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.ReLU(name="conv1_relu")(x)
    x = blocks.max_pool(x, name="conv1_pool")  # [batch, H/4, W/4, 64]
    number, filters, reached = 2, 64, 4
    for count in counts:
        if reached > stride:
            break
        for index in range(count):
            first_stride = 2 if index == 0 and reached > 4 else 1
            x = block(x, filters, first_stride, name=f"conv{number}")
            number += 1
        filters, reached = 2 * filters, 2 * reached
    return keras.Model(images, x, name=name)


def resnet9(stride: int = 8, channels: int = 3, name: str = "backbone") -> keras.Model:
    """The paper's φ: [batch, H, W, channels] in [0, 1] -> [batch, H/8, W/8, 128]."""
    return _resnet(blocks.basic_block, (2, 2), stride, channels, name)


def resnet18(stride: int = 32, channels: int = 3, name: str = "backbone") -> keras.Model:
    """[batch, H, W, channels] in [0, 1] -> [batch, H/32, W/32, 512]."""
    return _resnet(blocks.basic_block, (2, 2, 2, 2), stride, channels, name)


def resnet50(stride: int = 32, channels: int = 3, name: str = "backbone") -> keras.Model:
    """[batch, H, W, channels] in [0, 1] -> [batch, H/32, W/32, 2048]."""
    return _resnet(blocks.bottleneck_block, (3, 4, 6, 3), stride, channels, name)
