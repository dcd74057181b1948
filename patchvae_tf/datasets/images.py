"""The one form in which every image source is handed on."""

import dataclasses
import zlib

import numpy as np
import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.datasets import storage
from patchvae_tf.errors import InputError

_COPY_ROWS = 1024
_LARGEST_VALIDATION = 1000  # images, unless the settings say otherwise


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Decoded images of one split, all of one size.

    Attributes:
        images: uint8 [num_examples, size, size, channels], RGB if 3; in memory, or mapped from a
            file.
        labels: int64 [num_examples], or None where the source has none.
        class_names: names by label, or None where the source has none.
        keys: one name an example: a file name within its folder, or split and position.
        part_maps: bool [num_examples, size / 8, size / 8, 12], true where a part of
            `parts.PART_NAMES` is; None for all sources but `parts`.
        skipped: keys of the examples that could not be read and are left out.
    """

    images: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...] | None
    keys: tuple[str, ...]
    part_maps: np.ndarray | None = None
    skipped: tuple[str, ...] = ()

    def __len__(self):
        return len(self.images)

    def sample(self, most: int, seed: int) -> "ImageSet":
        """Up to `most` examples, drawn by the seed: an `ImageSet`.

        Not every tenth, say: labels often come in turn.
        """
        if len(self) <= most:
            return self
        return self.take(sampled_rows(most, len(self), seed))

    def take(self, indices: np.ndarray) -> "ImageSet":
        """Returns a new `ImageSet` of the examples at `indices` (integers [n]), copied."""
        images = storage.allocate((len(indices), *self.images.shape[1:]))
        for start in range(0, len(indices), _COPY_ROWS):  # Bounds the temporary copy.
            rows = indices[start : start + _COPY_ROWS]
            images[start : start + len(rows)] = self.images[rows]
        return ImageSet(
            images=images,
            labels=None if self.labels is None else self.labels[indices],
            class_names=self.class_names,
            keys=tuple(self.keys[index] for index in indices),
            part_maps=None if self.part_maps is None else self.part_maps[indices],
        )


def split_validation(image_set: ImageSet, count: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """Holds out `count` examples, drawn by `seed`; both parts keep the order of the source.

    Args:
        image_set: `ImageSet` of n examples.
        count: int in [1, n - 1], number of validation examples.
        seed: int, the user's seed.

    Returns:
        The training and the validation `ImageSet`.

    Raises:
        InputError: if `count` leaves no training or no validation example.
    """
    total = len(image_set)
    check_held_out(count, total)
    held_out = np.zeros(total, bool)
    held_out[held_out_rows(count, total, seed)] = True
    return image_set.take(np.flatnonzero(~held_out)), image_set.take(np.flatnonzero(held_out))


def check_held_out(count: int, total: int) -> None:
    """Raises InputError unless `count` of `total` images can be held out."""
    if not 1 <= count < total:
        raise InputError(
            f"A validation part of {count} cannot be held out of {total} images: choose between "
            f"1 and {total - 1}, so that at least 1 image is left to train on."
        )


def held_out_rows(count: int, total: int, seed: int) -> np.ndarray:
    """`count` of the rows below `total`, drawn by the seed: int64 [count], ascending."""
    return _drawn_rows(count, total, seed, noise.Purpose.HOLDOUT)


def sampled_rows(count: int, total: int, seed: int) -> np.ndarray:
    """As `held_out_rows`, others."""
    return _drawn_rows(count, total, seed, noise.Purpose.SAMPLE)


def _drawn_rows(count, total, seed, salt):
    salted = noise.fold_in(noise.step_seed(seed, 0), salt)
    return np.sort(noise.shuffled(tf.range(count, dtype=tf.int64), salted, total).numpy())


def validation_count(asked_for: int | None, total: int) -> int:
    """How many of `total` images are held out: as many as asked for, or by default (None)."""
    return min(_LARGEST_VALIDATION, total // 20) if asked_for is None else asked_for


def checksum(images: np.ndarray) -> int:
    """A number that changes when the images do: the CRC-32 of up to 1000 of them, spread out."""
    step = -(-len(images) // 1000)
    return zlib.crc32(np.ascontiguousarray(images[::step]).data)
