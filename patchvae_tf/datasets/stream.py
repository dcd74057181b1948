"""A data set in batches from beginning to end, or from anywhere: memory does not grow with it."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from patchvae_tf.datasets import arrays
from patchvae_tf.datasets.decoding import (
    NO_LABEL,
    EncodedExamples,
    decode_examples,
    decoded_batches,
)
from patchvae_tf.datasets.image_files import files_decoding
from patchvae_tf.datasets.images import ImageSet
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import RGB, Pixels


@dataclasses.dataclass(frozen=True, eq=False)
class ImageStream:
    """The images of one split, read as they are asked for; `len()` counts them.

    Attributes:
        count: int, readable or not.
        key: function index -> name of the example.
        labelled: bool, whether the source has labels.
        class_names: names by label, or None.
        batches: function (batch_size, start) -> iterator of (indices int64 [k], images uint8
            [k, size, size, channels], labels int64 [k]) in order, from example `start` on;
            unreadable ones are passed over. A label is -1 where there is none.
        take: function of indices int64 [n] -> their images uint8 [n, size, size, channels]; raises
            InputError where more than 1 % cannot be read.
    """

    count: int
    key: Callable[[int], str]
    labelled: bool
    class_names: tuple[str, ...] | None
    batches: Callable[[int, int], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]
    take: Callable[[np.ndarray], np.ndarray]

    def __len__(self):
        return self.count


def stream_files(
    paths: Sequence[str | os.PathLike], image_size: int, pixels: Pixels = RGB
) -> ImageStream:
    """Returns an `ImageStream` over image files, in the order given; keys are their paths.

    Raises:
        InputError: there is none, or one is not there.
    """
    names = [os.path.expanduser(os.fspath(path)) for path in paths]
    if not names:
        raise InputError("there are no images: the list of paths is empty. Give at least one.")
    for name in names:
        if not os.path.isfile(name):
            raise InputError(f"{name} is not a file: give the paths of image files.")
    items = tf.constant([os.fsencode(name) for name in names])  # bytes: they need not be UTF-8
    files = EncodedExamples(
        count=len(names),
        key=names.__getitem__,
        open=lambda start: tf.data.Dataset.from_tensor_slices(items[start:]),
        read=lambda index, name: (tf.io.read_file(name), tf.constant(NO_LABEL, tf.int64)),
        **files_decoding(names, pixels),
        pick=lambda indices: tf.gather(items, indices),
        labelled=False,
        class_names=None,
    )
    return stream_of(files, image_size)


def stream_arrays(values: np.ndarray, image_size: int, pixels: Pixels = RGB) -> ImageStream:
    """Returns an `ImageStream` over an array of images; keys are their positions.

    Args:
        values: as of `arrays.checked_images`.
        image_size: int, of a side; images of another size are resized and cropped.
        pixels: Pixels that are wanted.

    Raises:
        InputError: another shape, range or type.
    """
    values = arrays.checked_images(values, "the array of images", pixels)
    images = ImageSet(
        images=arrays.to_uint8_squares(values, image_size, pixels),
        labels=None,
        class_names=None,
        keys=tuple(map(str, range(len(values)))),
    )
    return stream_of(images, image_size)


def stream_of(source: EncodedExamples | ImageSet, image_size: int) -> ImageStream:
    """Returns an `ImageStream` over an `EncodedExamples` or an `ImageSet` of this size."""
    if isinstance(source, EncodedExamples):
        return _of_encoded(source, image_size)
    return _of_arrays(source)


def _of_encoded(examples, image_size):
    def batches(batch_size, start):
        return decoded_batches(
            examples,
            image_size=image_size,
            batch_size=batch_size,
            start=start,
            threads=max(1, os.cpu_count() // 2),  # the others are left to whoever asked
        )

    return ImageStream(
        count=len(examples),
        key=examples.key,
        labelled=examples.labelled,
        class_names=examples.class_names,
        batches=batches,
        take=lambda indices: decode_examples(examples.take(indices), image_size=image_size).images,
    )


def _of_arrays(image_set):
    def batches(batch_size, start):
        for first in range(start, len(image_set), batch_size):
            rows = slice(first, min(first + batch_size, len(image_set)))
            indices = np.arange(rows.start, rows.stop)
            labels = image_set.labels
            yield (
                indices,
                image_set.images[rows],
                np.full(len(indices), NO_LABEL) if labels is None else labels[rows],
            )

    return ImageStream(
        count=len(image_set),
        key=image_set.keys.__getitem__,
        labelled=image_set.labels is not None,
        class_names=image_set.class_names,
        batches=batches,
        take=image_set.images.__getitem__,
    )
