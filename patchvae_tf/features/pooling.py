"""From the map of an image to its vector: which depth of φ, how it is pooled, over which crops."""

import dataclasses
import typing
from collections.abc import Sequence

from patchvae_tf.errors import InputError
from patchvae_tf.features.sources import Source
from patchvae_tf.settings import Settings, setting

if typing.TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

_SMALLEST_CROP = 0.6  # side of a crop, of the image's


@dataclasses.dataclass(frozen=True)
class Pooling(Settings):
    """What an image's vector, its `features`, is made of."""

    pooling: str = setting(
        "mean",
        "Features",
        "of `features`. mean, max: of each channel over the places; flat: all places; parts: how "
        "probable each part is at its best place, and its look times that",
        choices=("mean", "max", "flat", "parts"),
    )
    stage: str | None = setting(
        None,
        "Features",
        "depth of phi that `features` are of, e.g. conv1_3; not of parts (default: the last)",
    )
    crops: int = setting(
        1,
        "Features",
        "`features` are the mean over so many crops: the whole image, then squares within it, "
        "every other one mirrored; the same of every image",
        minimum=1,
        maximum=100,
    )

    def check(self) -> None:
        """Raises InputError where a stage is named for what has none."""
        if self.pooling == "parts" and self.stage is not None:
            raise InputError(
                f"pooling=parts is made of the parts' codes, not of a stage. Received: "
                f"stage={self.stage}. Leave it out."
            )

    def made_of(self, source: Source) -> tuple[str, ...]:
        """The outputs of a model that the vector is made of.

        Raises:
            InputError: the model is known not to have them.
        """
        names: tuple[str, ...]
        if self.pooling == "parts":
            names = ("occurrence", "appearance")
        elif self.stage_of(source) is None:
            names = ("features",) if self.pooling == "mean" else ("feature_map",)
        else:
            names = (str(self.stage_of(source)),)
        source.check(names)
        return names

    def stage_of(self, source: Source) -> str | None:
        """The stage, as outputs are named; None for the last one."""
        if self.stage is None:
            return None
        stage = self.stage.replace("-", "_")
        if source.stages and stage not in source.stages:
            raise InputError(
                f"{source.title} has no stage {self.stage}: it has {', '.join(source.stages)}."
            )
        return None if source.stages and stage == source.stages[-1] else stage

    def vector(self, outputs: "Sequence[tf.Tensor]") -> "tf.Tensor":
        """float32 [n, d] of the outputs that `made_of` names, in that order."""
        import tensorflow as tf

        if self.pooling == "parts":
            occurrence, appearance = outputs  # [n, h, w, N], [n, N, k]
            probability = tf.reduce_max(occurrence, axis=[1, 2])[..., tf.newaxis]  # [n, N, 1]
            found = tf.concat([probability, appearance * probability], axis=-1)  # [n, N, 1 + k]
            return _flat(found)
        (found,) = outputs
        if found.shape.rank == 2:  # pooled by the model
            return found
        if self.pooling == "flat":
            return _flat(found)
        reduce = tf.reduce_mean if self.pooling == "mean" else tf.reduce_max
        return reduce(found, axis=[1, 2])  # [n, h, w, c] -> [n, c]

    def names(self, count: int) -> list[str]:
        """A name for each of `count` numbers of the vector."""
        stage = f"{self.stage.replace('-', '_')}_" if self.stage else ""
        return [f"{stage}{self.pooling}{index}" for index in range(count)]


def _flat(tensor):
    """[n, ...] -> [n, d], of a known d."""
    import tensorflow as tf

    return tf.reshape(tensor, [tf.shape(tensor)[0], tensor.shape[1:].num_elements()])


def boxes(count: int) -> "np.ndarray":
    """Where the crops after the whole image are: float32 [count - 1, 4].

    A row is (y1, x1, y2, x2) in [0, 1]. The first ones are the same however many there are.
    """
    import numpy as np

    from patchvae_tf import noise

    drawn = noise.indexed_uniforms(0, noise.Purpose.CROP, np.arange(count - 1), 3)
    sides = _SMALLEST_CROP + (1 - _SMALLEST_CROP) * drawn[:, :1]
    corners = drawn[:, 1:] * (1 - sides)  # [count - 1, 2], y and x
    return np.hstack([corners, corners + sides]).astype(np.float32)


def crop(images: "tf.Tensor", box: "np.ndarray", mirrored: bool) -> "tf.Tensor":
    """One square of every image, at the images' size: float32 [n, H, W, channels] in [0, 1]."""
    import tensorflow as tf

    count = tf.shape(images)[0]
    tiled = tf.tile(tf.constant(box)[tf.newaxis], [count, 1])  # [n, 4]
    found = tf.image.crop_and_resize(images, tiled, tf.range(count), images.shape[1:3])
    return tf.reverse(found, axis=[2]) if mirrored else found
