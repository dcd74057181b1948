"""Discriminators: networks that tell real from generated. They serve training alone.

`image_discriminator` is the supplementary's (section A: "four conv layers, two of which have
batchnorm"), its convolutions those of DCGAN (Radford et al., ICLR 2016). Distance from the paper:
the score is averaged over the grid, so that any image size fits.

`joint_discriminator` is ours, since the supplementary gives none for BiGAN. It has the shape of
ALI's (Dumoulin et al., ICLR 2017, appendix A): one path for the image, one for the code, and dense
layers on both together, without ALI's dropout and maxout.
"""

import keras

from patchvae_tf.backbones.blocks import strided_leaky
from patchvae_tf.layers import Conv2D


def _leaky(x, name):
    return keras.layers.LeakyReLU(0.2, name=f"{name}_relu")(x)


def _image_path(images):
    """[batch, H, W, channels] in [0, 1] -> [batch, H/8, W/8, 256]."""
    x = keras.layers.Rescaling(2.0, offset=-1.0, dtype="float32", name="to_signed")(images)
    x = strided_leaky(x, 64, "conv1", normalized=False)  # [batch, H/2, W/2, 64]
    x = strided_leaky(x, 128, "conv2")  # [batch, H/4, W/4, 128]
    return strided_leaky(x, 256, "conv3")  # [batch, H/8, W/8, 256]


def image_discriminator(channels: int = 3, name: str = "discriminator") -> keras.Model:
    """Images [batch, H, W, channels] in [0, 1], H, W multiples of 8 -> logits of "real", [batch].

    Args:
        channels: int, of the images.
        name: str.
    """
    images = keras.Input((None, None, channels), name="images")
    x = Conv2D(1, 1, use_bias=False, dtype="float32", name="conv4")(
        _image_path(images)
    )  # [batch, H/8, W/8, 1]
    logits = keras.ops.mean(x, axis=[1, 2, 3])  # [batch]
    return keras.Model(images, logits, name=name)


def joint_discriminator(
    image_size: int, latent_dim: int, channels: int = 3, name: str = "discriminator"
) -> keras.Model:
    """Pairs (images, codes) -> logits of "an image and its code", [batch].

    Images [batch, image_size, image_size, channels] in [0, 1], codes [batch, latent_dim].

    Args:
        image_size: int, in pixels, a multiple of 8.
        latent_dim: int.
        channels: int, of the images.
        name: str.
    """
    images = keras.Input((image_size, image_size, channels), name="images")
    codes = keras.Input((latent_dim,), name="codes")
    x = _image_path(images)  # [batch, image_size/8, image_size/8, 256]
    x = keras.layers.Flatten(name="image_flat")(x)
    x = _leaky(keras.layers.Dense(512, name="image_dense")(x), "image_dense")  # [batch, 512]
    z = _leaky(keras.layers.Dense(512, name="code_dense1")(codes), "code_dense1")
    z = _leaky(keras.layers.Dense(512, name="code_dense2")(z), "code_dense2")  # [batch, 512]
    pair = keras.layers.Concatenate(name="pair")([x, z])  # [batch, 1024]
    pair = _leaky(keras.layers.Dense(1024, name="pair_dense")(pair), "pair_dense")
    logits = keras.layers.Dense(1, dtype="float32", name="score")(pair)  # [batch, 1]
    logits = keras.ops.squeeze(logits, axis=-1)  # [batch]
    return keras.Model([images, codes], logits, name=name)
