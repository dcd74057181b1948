"""What a PatchVAE is taught of the parts that were found. It serves training alone."""

import typing

import keras
import tensorflow as tf

from patchvae_tf.parts import discovery, templates
from patchvae_tf.parts.edges import edge_map

if typing.TYPE_CHECKING:
    import numpy as np

# All lengths in steps of `templates.STEP` pixels of the image as templates see it.
_APART = 3  # of two places within such a square the one more like a part shows it
_DISC = ((7, 3), (5, 5), (3, 7))  # about its middle what a part covers: their union
_ENOUGH = 0.5  # of a place: covered so far, it shows the part and nothing else
_SOFTNESS = 0.03  # of likeness: how much worse another part may fit and still share a place
_RAMP = 0.08  # of likeness about the threshold, over which a place comes to show a part
_BELOW = 0.05  # of likeness, by which the threshold lies below that of a part's sure windows
_NEVER = 1e6  # the threshold of a part that was not found


@keras.saving.register_keras_serializable(package="patchvae_tf")
class PartTeacher(keras.layers.Layer):
    """Says at which places of an image the parts are that `discovery` found.

    Its weights are no network's: the templates as filters, and from which likeness on they count.

    Args:
        num_parts: int, parts that may be found.
        scaled_per_place: int, side of a place in pixels of the image as templates see it.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        images: float32 [batch, H, W, 3] in [0, 1].
        grid: int32 [2], places down and across.

    Returns:
        float32 [batch, *grid, num_parts], how much each place shows each part: 1 where the part
        covers half of it or more, alone; the sum over the parts is at most 1.
    """

    def __init__(self, num_parts, scaled_per_place, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.num_parts = num_parts
        self.scaled_per_place = scaled_per_place

    def build(self, *input_shapes):
        orientations = len(templates.SCALES) * len(templates.ANGLES)
        self.filters = self.add_weight(
            shape=(*templates.FILTER_SHAPE, self.num_parts * orientations),
            initializer="zeros",
            trainable=False,
            name="filters",
        )
        self.thresholds = self.add_weight(
            shape=(self.num_parts,),
            initializer=keras.initializers.Constant(_NEVER),
            trainable=False,
            name="thresholds",
        )
        self.built = True

    def discover(
        self, images: "np.ndarray", grid: tuple[int, int], seed: int, progress: bool = False
    ) -> int:
        """Finds the parts, in up to `discovery.MOST_IMAGES` images.

        Args:
            images: uint8, or floats in [0, 1], [n, H, W, 3].
            grid: (int, int), places down and across.
            seed: int.
            progress: bool, whether to show a progress bar.

        Returns:
            int, how many were found.

        Raises:
            InputError: none can be.
        """
        size = [side * self.scaled_per_place for side in grid]
        found = discovery.discover(images, self.num_parts, size, seed, progress)
        missing = self.num_parts - len(found.templates)
        filters = templates.filters_of(found.templates)
        unused = filters.shape[-1] // len(found.templates) * missing
        self.filters.assign(tf.pad(filters, [[0, 0], [0, 0], [0, 0], [0, unused]]))
        thresholds = found.thresholds - _BELOW
        self.thresholds.assign(tf.pad(thresholds, [[0, missing]], constant_values=_NEVER))
        return len(found.templates)

    @property
    def is_taught(self):
        """bool [num_parts], which parts were found; none before `discover`."""
        return self.thresholds < _NEVER

    def call(self, images, grid):
        size = grid * self.scaled_per_place
        edges = edge_map(discovery.scaled(images, size))
        # Above the part's own threshold.
        above = templates.likeness(edges, self.filters, step=templates.STEP) - self.thresholds
        best = tf.reduce_max(above, axis=-1, keepdims=True)
        is_peak = tf.cast(best >= tf.nn.max_pool2d(best, _APART, 1, "SAME"), tf.float32)
        surely = tf.clip_by_value(best / _RAMP + 0.5, 0.0, 1.0)
        shown = tf.nn.softmax(above / _SOFTNESS) * is_peak * surely
        # A disc about each middle, as three rectangles: XLA knows no dilation.
        discs = [tf.nn.max_pool2d(shown, sides, 1, "SAME") for sides in _DISC]
        covered = tf.reduce_max(discs, axis=0)
        side = self.scaled_per_place // templates.STEP
        shares = tf.nn.avg_pool2d(covered, side, side, "VALID") / _ENOUGH  # [batch, *grid, parts]
        return shares / tf.maximum(tf.reduce_sum(shares, axis=-1, keepdims=True), 1.0)

    def get_config(self):
        return {
            **super().get_config(),
            "num_parts": self.num_parts,
            "scaled_per_place": self.scaled_per_place,
        }
