"""Encoded examples to an `ImageSet`, in parallel, leaving out what cannot be read."""

import logging

import numpy as np
import tensorflow as tf
import tqdm

from patchvae_tf.datasets import storage
from patchvae_tf.datasets.images import ImageSet
from patchvae_tf.datasets.preprocessing import decode_image, resize_and_crop
from patchvae_tf.errors import InputError

NO_LABEL = -1

_BATCH = 64
_MAX_UNREADABLE = 0.01  # Fraction of the examples.
_NUM_NAMED = 3


def decode_examples(examples, keys, *, image_size, class_names, progress):
    """Decodes a stream of examples.

    Args:
        examples: `tf.data.Dataset` of (encoded string, int64 label or `NO_LABEL`).
        keys: names of the examples, in order.
        image_size: int, pixels of a side.
        class_names: tuple of strings, or None.
        progress: bool, whether to show a progress bar when it takes more than a second.

    Returns:
        An `ImageSet`; its labels are None if an example has none.

    Raises:
        InputError: if more than 1 % of the examples are unreadable, or there is no room.
    """

    def decode(index, example):
        encoded, label = example
        return index, resize_and_crop(decode_image(encoded), image_size), label

    decoded = (
        examples.enumerate()
        .map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .ignore_errors(log_warning=False)
        .batch(_BATCH)
        .prefetch(tf.data.AUTOTUNE)
    )
    images = storage.allocate((len(keys), image_size, image_size, 3))
    labels = np.empty(len(keys), np.int64)
    indices = np.empty(len(keys), np.int64)
    filled = 0
    bar = tqdm.tqdm(
        total=len(keys), desc="Decoding images", unit=" images", delay=1, disable=not progress
    )
    with bar:
        for batch_indices, batch_images, batch_labels in decoded.as_numpy_iterator():
            rows = slice(filled, filled + len(batch_indices))
            indices[rows], images[rows], labels[rows] = batch_indices, batch_images, batch_labels
            filled = rows.stop
            bar.update(len(batch_indices))

    unreadable = np.ones(len(keys), bool)
    unreadable[indices[:filled]] = False
    skipped = tuple(keys[index] for index in np.flatnonzero(unreadable))
    _report_unreadable(skipped, len(keys))
    has_labels = filled > 0 and labels[:filled].min() != NO_LABEL
    return ImageSet(
        images=images[:filled],
        labels=labels[:filled] if has_labels else None,
        class_names=class_names if has_labels else None,
        keys=tuple(keys[index] for index in indices[:filled]),
        skipped=skipped,
    )


def _report_unreadable(skipped, total):
    if not skipped:
        return
    named = ", ".join(repr(key) for key in skipped[:_NUM_NAMED])
    more = ", ..." if len(skipped) > _NUM_NAMED else ""
    found = f"{len(skipped)} of {total} images cannot be read ({named}{more})"
    if len(skipped) > _MAX_UNREADABLE * total:
        raise InputError(
            f"{found}, more than 1 %: repair or remove them; JPEG, PNG, GIF, BMP and WEBP are read."
        )
    logging.getLogger("patchvae_tf").warning("%s: skipped.", found)
