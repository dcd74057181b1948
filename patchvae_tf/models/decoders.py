"""Decoders: from codes to images, the paper's supplementary, Tables 3 and 4.

A pyramid of transposed convolutions, each doubling the map and halving the channels; the tables'
three for a stride of 8, and one more or less for each factor of 2. No convolution has a bias.
Distance from the paper: none known; the tables give the stride of 8 alone.
"""

import keras

from patchvae_tf.layers import (
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    GroupedConv2DTranspose,
    SplitGroups,
)


def _normalized(x, name):
    x = BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.LeakyReLU(0.2, name=f"{name}_relu")(x)


def _widths(stride):
    """Channels before each doubling: [256, 128, 64] for a stride of 8."""
    doublings = stride.bit_length() - 1
    return [64 * 2**level for level in reversed(range(doublings))]


def _to_unit(x):
    """tanh, then [-1, 1] -> [0, 1]; float32."""
    x = keras.layers.Activation("tanh", dtype="float32", name="tanh")(x)
    return keras.layers.Rescaling(0.5, offset=0.5, dtype="float32", name="to_unit")(x)


def _pyramid(x, stride, channels):
    """Tables 3 and 4 from the 1×1 layer on: [batch, h, w, c] -> images of `channels` in [0, 1]."""
    first, *widths = _widths(stride)
    # A transposed 1×1 convolution of stride 1 is a plain one.
    x = Conv2D(first, 1, use_bias=False, name="deconv1")(x)  # [batch, h, w, first]
    for number, width in enumerate(widths, start=2):
        x = _normalized(x, f"deconv{number - 1}")
        # [batch, 2h, 2w, first/2], [batch, 4h, 4w, first/4], ...
        x = Conv2DTranspose(width, 4, strides=2, padding="same", name=f"deconv{number}")(x)
    last = len(widths) + 2
    x = _normalized(x, f"deconv{last - 1}")
    x = Conv2DTranspose(channels, 4, strides=2, padding="same", name=f"deconv{last}")(x)
    return _to_unit(x)  # [batch, stride h, stride w, channels]


def patch_decoder(
    latent_channels: int, stride: int = 8, channels: int = 3, name: str = "decoder"
) -> keras.Model:
    """PatchVAE's decoder, from a latent map [batch, h, w, latent_channels].

    It makes images [batch, stride h, stride w, channels] in [0, 1].

    Args:
        latent_channels: int, num_parts * appearance_dim.
        stride: int, of the backbone.
        channels: int, of the images.
        name: str.
    """
    latent = keras.Input((None, None, latent_channels), name="latent")
    return keras.Model(latent, _pyramid(latent, stride, channels), name=name)


def independent_decoder(
    num_parts: int,
    appearance_dim: int,
    stride: int = 8,
    channels: int = 3,
    name: str = "decoder",
) -> keras.Model:
    """A decoder for each part, by grouped convolutions; what they make is summed before the tanh.

    Together they are as wide as `patch_decoder`, rounded up to the same for each part. Neither the
    value nor the gradient of a part's own map depends on another part.

    Source: the original implementation's option, which groups all its decoder's convolutions.
    Distance from it: the sum, which it does not need to say.

    Args:
        num_parts, appearance_dim, stride: ints.
        channels: int, of the images.
        name: str.

    Returns:
        A model, latent map [batch, h, w, num_parts * appearance_dim] -> images in [0, 1],
        [batch, stride h, stride w, channels]. Its layer "part_maps" gives what each part adds,
        [batch, stride h, stride w, num_parts, channels].
    """

    def grouped(x, each, number, **kwargs):
        name = f"deconv{number}"
        return GroupedConv2DTranspose(num_parts * each, groups=num_parts, name=name, **kwargs)(x)

    first, *widths = [-(-width // num_parts) for width in _widths(stride)]
    latent = keras.Input((None, None, num_parts * appearance_dim), name="latent")
    x = grouped(latent, first, 1, kernel_size=1)  # [batch, h, w, num_parts * first]
    for number, width in enumerate([*widths, channels], start=2):
        x = _normalized(x, f"deconv{number - 1}")
        x = grouped(x, width, number, kernel_size=4, strides=2)
    x = SplitGroups(num_parts, name="part_maps")(x)  # [batch, H, W, num_parts, channels]
    x = keras.ops.sum(x, axis=-2)  # [batch, H, W, channels]
    return keras.Model(latent, _to_unit(x), name=name)


def global_decoder(
    latent_dim: int,
    grid_size: int,
    stride: int = 8,
    channels: int = 3,
    name: str = "decoder",
) -> keras.Model:
    """β-VAE's decoder and BiGAN's generator: codes [batch, latent_dim] -> images in [0, 1].

    Args:
        latent_dim: int, width of the code.
        grid_size: int, image size / stride: the kernel that unfolds the code into a map (4 at
            32 × 32 and a stride of 8, 8 at 64 × 64).
        stride: int, of the backbone.
        channels: int, of the images.
        name: str.
    """
    latent = keras.Input((latent_dim,), name="latent")
    x = keras.layers.Reshape((1, 1, latent_dim), name="to_map")(latent)
    x = Conv2DTranspose(64, grid_size, padding="valid", name="unfold")(x)  # [batch, grid, grid, 64]
    x = _normalized(x, "unfold")
    return keras.Model(latent, _pyramid(x, stride, channels), name=name)
