"""A plain pyramid of strided convolutions: the decoder of Tables 3 and 4 turned round.

Each is 4×4 of stride 2 with BN and LeakyReLU 0.2, and doubles the channels, from 64 on. Source: the
encoder of DCGAN's discriminator (Radford et al., ICLR 2016). The paper names this option and gives
no table: the widths are ours.
"""

import keras

from patchvae_tf.backbones import blocks


def pyramid(stride: int = 8, channels: int = 3, name: str = "backbone") -> keras.Model:
    """[batch, H, W, channels] in [0, 1] -> [batch, H/stride, W/stride, 32 * stride]."""
    images = keras.Input((None, None, channels), name="images")  # [batch, H, W, channels]
    x = blocks.signed(images)
    for number in range(1, stride.bit_length()):
        filters = 32 * 2**number
        x = blocks.strided_leaky(x, filters, name=f"conv{number}")  # [batch, H/2^n, W/2^n, filters]
    return keras.Model(images, x, name=name)
