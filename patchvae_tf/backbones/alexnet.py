"""AlexNet's convolutions, as in torchvision.

Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014,
arXiv 1404.5997. No batch normalisation; every convolution has a bias. Distance from torchvision:
the first convolution pads 4 pixels and the poolings 1, where torchvision's pad 2 and 0, so that the
grid has exactly H / stride rows. The weights' shapes are the same.
"""

import keras

from patchvae_tf.backbones import blocks


def alexnet(stride: int = 32, channels: int = 3, name: str = "backbone") -> keras.Model:
    """[batch, H, W, channels] in [0, 1] -> [batch, H/32, W/32, 256]."""
    images = keras.Input((None, None, channels), name="images")  # [batch, H, W, channels]
    x = blocks.signed(images)
    x = blocks.padded_conv(x, 64, 11, padding=4, name="conv1", strides=4, use_bias=True)
    x = keras.layers.ReLU(name="conv1_relu")(x)  # [batch, H/4, W/4, 64]
    if stride >= 8:
        x = blocks.max_pool(x, name="conv1_pool")
        x = _conv(x, 192, 5, name="conv2")  # [batch, H/8, W/8, 192]
    if stride >= 16:
        x = blocks.max_pool(x, name="conv2_pool")
        x = _conv(x, 384, 3, name="conv3")
        x = _conv(x, 256, 3, name="conv4")
        x = _conv(x, 256, 3, name="conv5")  # [batch, H/16, W/16, 256]
    if stride >= 32:
        x = blocks.max_pool(x, name="conv5_pool")  # [batch, H/32, W/32, 256]
    return keras.Model(images, x, name=name)


def _conv(x, filters, kernel_size, name):
    x = blocks.conv(filters, kernel_size, use_bias=True, padding="same", name=f"{name}_conv")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
