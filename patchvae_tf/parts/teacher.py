"""What a PatchVAE is taught of the parts that were found. It serves training alone."""

import math
import typing

import keras
import tensorflow as tf

from patchvae_tf import backbones, losses
from patchvae_tf.layers import Conv2D
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
_COUNTED = 500  # images in which it is counted how frequent parts are
_CHUNK = 100
_MOST_NUMBERS = 100_000_000  # likenesses in memory at once: of small parts a large image has many
_TEMPERATURE = 0.7  # of the model's own maps: below 1, so that they become surer
_DECAY = 0.97  # of the slow copy, a step
_CONCENTRATION = 0.5  # power of a share beside the greatest of the part in the image
_LEAST_SHARE = 1e-4  # that is told from less
_RATE = 0.1  # of the offsets, a step
_RAREST = 1e-6


@keras.saving.register_keras_serializable(package="patchvae_tf")
class PartTeacher(keras.layers.Layer):
    """Says at which places of an image the parts are that `discovery` found.

    First by templates (a call); later by a slow copy of what has been learned from them
    (`own_maps`), which is a better judge: it knows what stands around. A step's shares are made
    sharper, over the parts at a place and over the places of a part in an image, since what is
    everywhere is no part. And each part is drawn towards being as frequent as templates found it,
    so that none takes the others' places. Sources: Tarvainen and Valpola, "Mean teachers are better
    role models" (NeurIPS 2017) for the copy; Caron et al., "Unsupervised Learning of Visual
    Features by Contrasting Cluster Assignments" (NeurIPS 2020) for the balance; counted frequencies
    in place of equal ones, that they draw and do not force, and places in place of images, are
    ours.

    Args:
        num_parts: int, parts that may be found.
        scaled_per_place: int, side of a place in pixels of the image as templates see it.
        backbone: str, one of `backbones.NAMES`.
        stride: int, the backbone's.
        channels: int, of the images.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        images: float32 [batch, H, W, channels] in [0, 1].
        grid: int32 [2], places down and across.

    Returns:
        float32 [batch, *grid, num_parts], how much each place shows each part: 1 where the part
        covers half of it or more, alone; the sum over the parts is at most 1.
    """

    def __init__(self, num_parts, scaled_per_place, backbone, stride, channels=3, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.num_parts = num_parts
        self.scaled_per_place = scaled_per_place
        self.backbone_name = backbone
        self.stride = stride
        self.channels = channels
        self.backbone = backbones.build(backbone, stride, channels)
        self.occurrence_head = Conv2D(num_parts, 3, padding="same")
        self.backbone.trainable = self.occurrence_head.trainable = False

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
        # Of places, by part, and last of those that show none.
        self.frequencies = self.add_weight(
            shape=(self.num_parts + 1,), initializer="zeros", trainable=False, name="frequencies"
        )
        self.offsets = self.add_weight(
            shape=(self.num_parts + 1,), initializer="zeros", trainable=False, name="offsets"
        )
        self.occurrence_head.build(self.backbone.output_shape)
        self.built = True

    def discover(
        self, images: "np.ndarray", grid: tuple[int, int], seed: int, progress: bool = False
    ) -> int:
        """Finds the parts, in up to `discovery.MOST_IMAGES` images.

        Args:
            images: uint8, or floats in [0, 1], [n, H, W, channels].
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
        self._count(images[:_COUNTED], grid)
        self.offsets.assign(tf.zeros_like(self.offsets))  # those of other parts, where weights came
        return len(found.templates)

    def _count(self, images, grid):
        shares = tf.function(
            lambda some: self(discovery.as_floats(some), tf.constant(grid)), autograph=False
        )
        places = math.prod(side * self.scaled_per_place // templates.STEP for side in grid)
        most = max(1, min(_CHUNK, _MOST_NUMBERS // (places * self.filters.shape[-1])))
        chunks = [images[start : start + most] for start in range(0, len(images), most)]
        counted = tf.concat([shares(tf.convert_to_tensor(some)) for some in chunks], axis=0)
        self.frequencies.assign(tf.reduce_mean(_with_none(counted), axis=[0, 1, 2]))

    @property
    def is_taught(self) -> tf.Tensor:
        """bool [num_parts], which parts were found; none before `discover`."""
        return self.thresholds < _NEVER

    def call(self, images: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
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

    def follow(
        self, backbone: keras.Model, occurrence_head: keras.layers.Layer, is_own: tf.Tensor
    ) -> None:
        """Moves the slow copy a step towards what is learned; until it teaches it is that.

        Args:
            backbone, occurrence_head: the model's.
            is_own: scalar bool, whether the copy teaches.
        """
        decay = tf.where(is_own, _DECAY, 0.0)
        slow = [*self.backbone.variables, *self.occurrence_head.variables]
        fast = [*backbone.variables, *occurrence_head.variables]
        for one, other in zip(slow, fast, strict=True):
            one.assign(decay * one + (1.0 - decay) * other)

    def own_maps(self, images: tf.Tensor) -> tf.Tensor:
        """How much each place shows each part, by the slow copy.

        Args:
            images: float32 [batch, H, W, channels] in [0, 1].

        Returns:
            float32 [batch, h, w, num_parts], as of a call.
        """
        features = self.backbone(images, training=False)
        logits = tf.cast(self.occurrence_head(features), tf.float32)  # [batch, h, w, num_parts]
        nothing = tf.zeros_like(logits[..., :1])
        free = tf.concat([tf.where(self.is_taught, -_NEVER, logits), nothing], axis=-1)
        rest = losses.log_sum_exp(free)  # a free part, or nothing
        taught = tf.where(self.is_taught, logits, -_NEVER)
        sharper = tf.concat([taught, rest], axis=-1) / _TEMPERATURE + self.offsets
        shares = tf.nn.softmax(sharper)[..., :-1] + _LEAST_SHARE
        beside = tf.math.log(shares / tf.reduce_max(shares, axis=[1, 2], keepdims=True))
        concentrated = sharper + _CONCENTRATION * tf.pad(beside, [*3 * [[0, 0]], [0, 1]])
        return tf.nn.softmax(concentrated)[..., :-1]

    def balance(self, shares: tf.Tensor, is_own: tf.Tensor) -> None:
        """Moves the offsets, which draw parts towards being as frequent as they were found to be.

        They are a moving average of how much rarer, in nats, parts are than that.

        Args:
            shares: float32 [local batch, h, w, num_parts], what a step teaches.
            is_own: scalar bool, whether by the slow copy.
        """
        shares = _with_none(shares)
        total = tf.reduce_sum(shares, axis=[0, 1, 2])  # [num_parts + 1]
        count = tf.cast(tf.reduce_prod(tf.shape(shares)[:3]), tf.float32)
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            total, count = context.all_reduce(tf.distribute.ReduceOp.SUM, [total, count])
        excess = tf.math.log((total / count + _RAREST) / (self.frequencies + _RAREST))
        change = tf.where(is_own, -excess - self.offsets, 0.0)
        self.offsets.assign(self.offsets + _RATE * change)

    def get_config(self):
        return {
            **super().get_config(),
            "num_parts": self.num_parts,
            "scaled_per_place": self.scaled_per_place,
            "backbone": self.backbone_name,
            "stride": self.stride,
            "channels": self.channels,
        }


def _with_none(shares):
    """[..., num_parts] -> [..., num_parts + 1]: last how much no part is shown."""
    return tf.concat([shares, 1.0 - tf.reduce_sum(shares, axis=-1, keepdims=True)], axis=-1)
