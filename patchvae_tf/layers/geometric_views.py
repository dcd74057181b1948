"""Views of an image from elsewhere: a part of it, or all of it turned, nearer, farther, shifted.

Sources: crops as in SimCLR (Chen et al., ICML 2020); affine maps as in Spatial Transformer Networks
(Jaderberg et al., NeurIPS 2015), drawn at random in place of learned.
"""

import math

import keras
import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.errors import InputError


class View(keras.layers.Layer):
    """What the layers share: float32, and images as they are where there is no seed."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, images, seed=None):
        return images if seed is None or not self.changes else self._changed(images, seed)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="patchvae_tf")
class RandomCrop(View):
    """A rectangle of each image, brought to one size by bilinear interpolation.

    Height and width are drawn each for itself, so that the aspect changes too.

    Args:
        least_side: float in (0, 1], the least height and width, as a share of the image's; 1 for
            whole images.
        scale: float in (0, 1], the views' height and width in pixels, as a share of the image's;
            what shrinks is averaged (a triangle filter), so that nothing is skipped.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        images: [batch, H, W, channels].
        seed: int32 [2], or None for the images themselves.

    Output shape: [batch, scale * H, scale * W, channels], rounded; float32.
    """

    def __init__(self, least_side=1.0, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 < least_side <= 1.0:
            raise InputError(
                f"`least_side` must be above 0 and at most 1. Received: least_side={least_side}"
            )
        if not 0.0 < scale <= 1.0:
            raise InputError(f"`scale` must be above 0 and at most 1. Received: scale={scale}")
        self.least_side = least_side
        self.scale = scale

    @property
    def changes(self) -> bool:
        return self.least_side < 1.0 or self.scale < 1.0

    def _changed(self, images, seed):
        batch, height, width, _ = tf.unstack(tf.shape(images))
        drawn = noise.uniform([batch, 4], seed)
        rows = self._interpolation(drawn[:, 0], drawn[:, 1], height)  # [batch, view's H, H]
        cols = self._interpolation(drawn[:, 2], drawn[:, 3], width)  # [batch, view's W, W]
        # b batch, y and x of the view, i and j of the image, c channel
        return tf.einsum("byi,bijc,bxj->byxc", rows, images, cols)

    def _interpolation(self, side, place, size):
        """How much of each of `size` pixels is in each of the view's: [batch, of the view, size].

        Args:
            side, place: [batch] in (0, 1): which of the allowed sides, and of the places for it.
            size: scalar int.
        """
        length = tf.cast(size, tf.float32)
        side = self.least_side + (1.0 - self.least_side) * side  # [batch]
        start = place * (1.0 - side) * length
        view = tf.round(self.scale * length)  # pixels
        step = side * (
            length / view
        )  # [batch], pixels of the image from one of the view to another
        centres = tf.range(view) + 0.5
        at = start[:, tf.newaxis] + step[:, tf.newaxis] * centres - 0.5  # [batch, of the view]
        at = tf.clip_by_value(at, 0.0, length - 1.0)
        distance = tf.abs(at[:, :, tf.newaxis] - tf.range(length))  # [batch, of the view, size]
        if self.scale == 1.0:  # no view is smaller than what it shows
            return tf.maximum(1.0 - distance, 0.0)
        shares = tf.maximum(1.0 - distance / tf.maximum(step, 1.0)[:, tf.newaxis, tf.newaxis], 0.0)
        return shares / tf.reduce_sum(shares, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(side and round(self.scale * side) for side in sides), channels)

    def get_config(self):
        return {**super().get_config(), "least_side": self.least_side, "scale": self.scale}


@keras.saving.register_keras_serializable(package="patchvae_tf")
class RandomAffine(View):
    """Each image turned about its middle, made larger or smaller and shifted; bilinear.

    Beyond its edges an image is mirrored. Angle and shifts are uniform, the scale's logarithm is.
    Maps of places are changed as their images are, by the same seed.

    Args:
        rotation: float in [0, 180], the greatest angle in degrees, either way.
        scaling: float, at least 1: the greatest factor, and its inverse the least.
        translation: float in [0, 1], the greatest shift down and across, either way, as a share of
            the side.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        images: [batch, H, W, channels].
        seed: int32 [2], or None for the images themselves.

    Output shape: that of `images`; float32.
    """

    def __init__(self, rotation=0.0, scaling=1.0, translation=0.0, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= rotation <= 180.0:
            raise InputError(f"`rotation` must be in [0, 180]. Received: rotation={rotation}")
        if scaling < 1.0:
            raise InputError(f"`scaling` must be at least 1. Received: scaling={scaling}")
        if not 0.0 <= translation <= 1.0:
            raise InputError(
                f"`translation` must be in [0, 1]. Received: translation={translation}"
            )
        self.rotation = rotation
        self.scaling = scaling
        self.translation = translation

    @property
    def changes(self) -> bool:
        return self.rotation > 0.0 or self.scaling > 1.0 or self.translation > 0.0

    def within(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Which places of the changed images lie within the images, not beyond their edges.

        Args:
            images, seed: as of a call.

        Returns:
            bool [batch, H, W, 1].
        """
        height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
        rows, cols = self._sources(images, seed)
        is_within = (tf.abs(rows + 0.5 - height / 2) <= height / 2) & (
            tf.abs(cols + 0.5 - width / 2) <= width / 2
        )
        return is_within[..., tf.newaxis]

    def _changed(self, images, seed):
        batch, height, width, channels = tf.unstack(tf.shape(images))
        pixels = tf.reshape(images, [batch, height * width, channels])
        rows, cols = self._sources(images, seed)
        height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
        top, left = tf.floor(rows), tf.floor(cols)
        changed = tf.zeros_like(images)
        for row, by_row in ((top, top + 1.0 - rows), (top + 1.0, rows - top)):
            for col, by_col in ((left, left + 1.0 - cols), (left + 1.0, cols - left)):
                # Floats to the last: a GPU's integers are computed by its host.
                index = _mirrored(row, height) * width + _mirrored(col, width)  # [batch, H, W]
                index = tf.cast(tf.reshape(index, [batch, -1]), tf.int32)
                found = tf.gather(pixels, index, batch_dims=1)
                share = (by_row * by_col)[..., tf.newaxis]
                changed += share * tf.reshape(found, tf.shape(images))
        return changed

    def _sources(self, images, seed):
        """Rows and columns of the image that are seen at each pixel: two of [batch, H, W]."""
        batch, height, width, _ = tf.unstack(tf.shape(images))
        drawn = 2.0 * noise.uniform([batch, 4], seed) - 1.0  # in (-1, 1)
        angle, scale, down, across = tf.unstack(drawn[:, tf.newaxis, tf.newaxis], axis=-1)
        angle = angle * math.radians(self.rotation)  # [batch, 1, 1]
        scale = tf.exp(scale * math.log(self.scaling))
        rows, cols = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
        y = (tf.range(rows) + 0.5 - rows / 2)[tf.newaxis, :, tf.newaxis] - (
            down * self.translation * rows
        )  # [batch, H, 1], from the middle
        x = (tf.range(cols) + 0.5 - cols / 2)[tf.newaxis, tf.newaxis] - (
            across * self.translation * cols
        )  # [batch, 1, W]
        cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
        return (
            cos * y - sin * x + rows / 2 - 0.5,
            sin * y + cos * x + cols / 2 - 0.5,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "rotation": self.rotation,
            "scaling": self.scaling,
            "translation": self.translation,
        }


def _mirrored(place, size):
    """Whole places on an endless row of mirrored images, as those in [0, size); float32."""
    place = tf.math.floormod(place, 2.0 * size)
    return tf.minimum(place, 2.0 * size - 1.0 - place)
