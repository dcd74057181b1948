"""Decoders: from codes to images, the paper's supplementary, Tables 3 and 4.

A pyramid of transposed convolutions, each doubling the map and halving the channels.
No convolution has a bias. Distance from the paper: none known.
"""

import functools

import keras

from patchvae_tf.layers.batch_normalization import BatchNormalization

_deconv = functools.partial(keras.layers.Conv2DTranspose, use_bias=False)


def _normalized(x, name):
    x = BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.LeakyReLU(0.2, name=f"{name}_relu")(x)


def _pyramid(x):
    """Tables 3 and 4 from the 1×1 layer on: [batch, h, w, channels] -> [batch, 8h, 8w, 3]."""
    # A transposed 1×1 convolution of stride 1 is a plain one.
    x = keras.layers.Conv2D(256, 1, use_bias=False, name="deconv1")(x)  # [batch, h, w, 256]
    x = _normalized(x, "deconv1")
    x = _deconv(128, 4, strides=2, padding="same", name="deconv2")(x)  # [batch, 2h, 2w, 128]
    x = _normalized(x, "deconv2")
    x = _deconv(64, 4, strides=2, padding="same", name="deconv3")(x)  # [batch, 4h, 4w, 64]
    x = _normalized(x, "deconv3")
    x = _deconv(3, 4, strides=2, padding="same", name="deconv4")(x)  # [batch, 8h, 8w, 3]
    x = keras.layers.Activation("tanh", dtype="float32", name="tanh")(x)
    return keras.layers.Rescaling(0.5, offset=0.5, dtype="float32", name="to_unit")(x)


def patch_decoder(channels, name="decoder"):
    """PatchVAE's decoder: latent map [batch, h, w, channels] -> [batch, 8h, 8w, 3] in [0, 1].

    Args:
        channels: int, num_parts * appearance_dim.
        name: str.
    """
    latent = keras.Input((None, None, channels), name="latent")
    return keras.Model(latent, _pyramid(latent), name=name)


def global_decoder(latent_dim, grid_size, name="decoder"):
    """β-VAE's decoder and BiGAN's generator: codes [batch, latent_dim] -> images in [0, 1].

    Args:
        latent_dim: int, width of the code.
        grid_size: int, image size / 8: the kernel that unfolds the code into a map (4 at 32 × 32,
            8 at 64 × 64).
        name: str.
    """
    latent = keras.Input((latent_dim,), name="latent")
    x = keras.layers.Reshape((1, 1, latent_dim), name="to_map")(latent)
    x = _deconv(64, grid_size, padding="valid", name="unfold")(x)  # [batch, grid, grid, 64]
    x = _normalized(x, "unfold")
    return keras.Model(latent, _pyramid(x), name=name)
