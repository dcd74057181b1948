"""Views of an image to learn from: from elsewhere, its colours changed, blocks of it hidden.

Every layer takes images and a seed; without a seed it returns the images as they are. What is drawn
is drawn for each image, from the seed and the image's place in the global batch alone.

Sources: hidden blocks as in masked autoencoders (He et al., CVPR 2022, for transformers; Pathak et
al., "Context Encoders", CVPR 2016, for convolutions); crops and colours as in SimCLR (Chen et al.,
ICML 2020).
"""

import keras
import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.brightness import brightness
from patchvae_tf.errors import InputError
from patchvae_tf.layers.geometric_views import RandomAffine, RandomCrop, View
from patchvae_tf.settings import Views

_GREY = 0.5  # of a hidden block: 0 on the [-1, 1] scale of the backbone's input


@keras.saving.register_keras_serializable(package="patchvae_tf")
class ColorJitter(View):
    """Brightness, contrast and the channels' gains changed; one image in five made grey: all
    channels alike.

    At strength 1 brightness and contrast (about the image's mean) are multiplied by 0.6 to 1.4, and
    each channel by 0.8 to 1.2. Values may leave [0, 1].

    Args:
        strength: float in [0, 1]; 0 for none.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        images: [batch, H, W, channels] in [0, 1].
        seed: int32 [2], or None for none.

    Output shape: that of `images`; float32.
    """

    def __init__(self, strength=0.0, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= strength <= 1.0:
            raise InputError(f"`strength` must be in [0, 1]. Received: strength={strength}")
        self.strength = strength

    @property
    def changes(self) -> bool:
        return self.strength > 0.0

    def _changed(self, images, seed):
        channels = images.shape[-1]
        drawn = noise.uniform([tf.shape(images)[0], channels + 3], seed)
        spread = [0.4, 0.4, *channels * [0.2], 0.0]
        factors = 1.0 + self.strength * (2.0 * drawn - 1.0) * spread
        factors = factors[:, tf.newaxis, tf.newaxis]  # [batch, 1, 1, channels + 3]
        gain, contrast, gains = factors[..., :1], factors[..., 1:2], factors[..., 2:-1]
        x = images * gains * gain
        mean = tf.reduce_mean(x, axis=[1, 2, 3], keepdims=True)  # [batch, 1, 1, 1]
        x = mean + (x - mean) * contrast
        grey = brightness(x)  # [batch, H, W, 1]
        made_grey = drawn[:, -1] < 0.2 * self.strength  # [batch]
        return x + tf.cast(made_grey, tf.float32)[:, tf.newaxis, tf.newaxis, tf.newaxis] * (
            grey - x
        )

    def get_config(self):
        return {**super().get_config(), "strength": self.strength}


@keras.saving.register_keras_serializable(package="patchvae_tf")
class BlockMasking(View):
    """Hides square blocks of each image behind grey.

    Args:
        share: float in [0, 1), the probability of each block to be hidden.
        block_size: int, side of a block in pixels.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        images: [batch, H, W, channels]; H and W multiples of `block_size`.
        seed: int32 [2], or None to hide nothing.

    Output shape: that of `images`; float32.
    """

    def __init__(self, share=0.0, block_size=4, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= share < 1.0:
            raise InputError(f"`share` must be at least 0 and below 1. Received: share={share}")
        if block_size < 1:
            raise InputError(f"`block_size` must be at least 1. Received: block_size={block_size}")
        self.share = share
        self.block_size = block_size

    @property
    def changes(self) -> bool:
        return self.share > 0.0

    def _changed(self, images, seed):
        size = self.block_size
        batch, height, width, channels = tf.unstack(tf.shape(images))
        rows, cols = height // size, width // size
        hidden = tf.cast(noise.uniform([batch, rows, cols], seed) < self.share, tf.float32)
        hidden = hidden[:, :, tf.newaxis, :, tf.newaxis, tf.newaxis]
        blocks = tf.reshape(images, [batch, rows, size, cols, size, channels])
        return tf.reshape(blocks + hidden * (_GREY - blocks), tf.shape(images))

    def get_config(self):
        return {**super().get_config(), "share": self.share, "block_size": self.block_size}


class RandomViews:
    """The views of images that training takes, drawn from a seed.

    Args:
        views: settings.Views.
        scale: float in (0, 1], the views' sides in pixels, as a share of the images'.
    """

    def __init__(self, views: Views, scale: float = 1.0):
        self._crop = RandomCrop(views.crop_side, scale)
        self._affine = RandomAffine(views.rotation, views.scaling, views.translation)
        self._colors = ColorJitter(views.color_jitter)
        self._mask = BlockMasking(views.mask_share, views.mask_size)

    def first(self, images: tf.Tensor, seed: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """What training sees of images, and what it is to rebuild.

        Args:
            images: float32 [batch, H, W, channels] in [0, 1].
            seed: int32 [2], or None for the images themselves, twice.

        Returns:
            (seen, target): each float32 [batch, view's H, view's W, channels]. The target is the
            image moved, in [0, 1]; what is seen of it has other colours, and blocks of it are
            hidden.
        """
        if seed is None:
            return images, images
        target = self.moved(images, seed)
        seen = self._colors(target, seed=noise.fold_in(seed, noise.Purpose.COLORS))
        return self._mask(seen, seed=noise.fold_in(seed, noise.Purpose.MASK)), target

    def moved(self, maps: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """Images' maps as `first` takes the images, by the same seed: cropped, turned and so on.

        Args:
            maps: float32 [batch, h, w, channels], of whole images.
            seed: int32 [2], or None for the maps themselves.

        Returns:
            float32 [batch, h, w, channels].
        """
        if seed is None:
            return maps
        maps = self._crop(maps, seed=noise.fold_in(seed, noise.Purpose.CROP))
        return self._affine(maps, seed=noise.fold_in(seed, noise.Purpose.AFFINE))

    def within(self, maps: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """Which places of `moved` maps show the image, and not what is mirrored beyond its edges.

        Args:
            maps, seed: as of `moved`.

        Returns:
            bool [batch, h, w, 1].
        """
        if seed is None or not self._affine.changes:
            return tf.ones_like(maps[..., :1], tf.bool)
        return self._affine.within(maps, noise.fold_in(seed, noise.Purpose.AFFINE))

    def second(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Another view, whole: from elsewhere and in other colours, nothing hidden.

        Args:
            images: float32 [batch, H, W, channels] in [0, 1].
            seed: int32 [2].

        Returns:
            float32 [batch, H, W, channels].
        """
        seed = noise.fold_in(seed, noise.Purpose.OTHER_VIEW)
        return self._colors(
            self.moved(images, seed), seed=noise.fold_in(seed, noise.Purpose.COLORS)
        )
