"""Encoded examples to pixels, in parallel, leaving out what cannot be read."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
import tqdm

from patchvae_tf.datasets import storage
from patchvae_tf.datasets.images import ImageSet
from patchvae_tf.datasets.preprocessing import decode_image, resize_and_crop
from patchvae_tf.errors import InputError

NO_LABEL = -1

_GROUP = 64  # images that are decoded by one call: each call costs as much as ten images
MAX_UNREADABLE = 0.01  # Fraction of the examples.
_NUM_NAMED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedExamples:
    """The image files of one split, not yet read; `len()` counts them.

    An item is a scalar string that leads to an image: a path, or a record.

    Attributes:
        count: int.
        key: function index -> name of the example.
        open: function start -> `tf.data.Dataset` of items, from that example to the end.
        read: function (index, item) -> (the bytes of the image's file or whatever else `decode`
            takes, int64 label or `NO_LABEL`), in a graph.
        decode: function of what `read` gives -> uint8 [height, width, channels], in a graph.
        channels: int, of the images.
        pick: function of indices int64 [k] -> items [k], in a graph; None where only `shards` can
            be read.
        shards: tuple of `Shard`s, the record files in order; empty where there is `pick`.
        labelled: bool, whether the source has labels.
        class_names: names by label, or None.
        needs_python: bool, whether reading calls Python, which no other process can.
    """

    count: int
    key: Callable[[int], str]
    open: Callable[[int], tf.data.Dataset]
    read: Callable
    labelled: bool
    class_names: tuple[str, ...] | None
    decode: Callable = decode_image
    channels: int = 3
    pick: Callable | None = None
    shards: tuple = ()
    needs_python: bool = False

    def __len__(self):
        return self.count

    def take(self, indices: np.ndarray) -> "EncodedExamples":
        """The `EncodedExamples` of `indices`, int64 [n]; quick where they follow each other."""
        in_graph = tf.constant(indices, tf.int64)

        def examples(start):
            if self.pick:
                groups = tf.data.Dataset.from_tensor_slices(in_graph[start:]).batch(_GROUP)
                return groups.map(self.pick).unbatch()
            left = indices[start:]
            runs = np.split(left, np.flatnonzero(np.diff(left) != 1) + 1)
            parts = [self.open(int(run[0])).take(len(run)) for run in runs if len(run)]
            return functools.reduce(tf.data.Dataset.concatenate, parts)

        return dataclasses.replace(
            self,
            count=len(indices),
            key=lambda index: self.key(int(indices[index])),
            open=examples,
            read=lambda index, item: self.read(in_graph[index], item),
            pick=functools.partial(_picked, self.pick, in_graph) if self.pick else None,
            shards=(),
        )


def _picked(pick, indices, chosen):
    return pick(tf.gather(indices, chosen))


def decoded_batches(
    examples: EncodedExamples,
    *,
    image_size: int,
    batch_size: int = _GROUP,
    start: int = 0,
    threads: int | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Reads and decodes examples in order, many at once; memory does not grow with their number.

    Args:
        examples: `EncodedExamples`.
        image_size: int, pixels of a side.
        batch_size: int, examples in a batch; fewer come where some cannot be read.
        start: int, the first example.
        threads: int, of the processor, to decode on; None: all.

    Yields:
        (indices, images, labels): int64 [k], uint8 [k, image_size, image_size, channels], int64
        [k]. The indices that are passed over are those of examples that cannot be read.
    """

    decode_one = one_decoded(examples, image_size)

    def decode_batch(indices, items):
        # One after the other: the batches themselves are decoded in parallel.
        return tf.map_fn(
            lambda example: decode_one(*example),
            (indices, items),
            fn_output_signature=(tf.int64, tf.uint8, tf.int64),
            parallel_iterations=1,
        )

    # Traced once, not for each batch: that takes longer than to decode thousands of images.
    @tf.function(autograph=False, reduce_retracing=True)
    def decode_readable(indices, items):
        none = tf.data.Dataset.from_tensors(
            (
                tf.constant(-1, tf.int64),
                tf.zeros([image_size, image_size, examples.channels], tf.uint8),
                tf.constant(NO_LABEL, tf.int64),
            )
        )
        return (
            tf.data.Dataset.from_tensor_slices((indices, items))
            .map(decode_one)
            .ignore_errors(log_warning=False)
            .concatenate(none)  # there has to be one
            .batch(batch_size + 1)
            .get_single_element()
        )

    def singly(start, stop):
        """Examples one by one, in the same batches: each of these held an unreadable one."""
        for indices, items in _items(examples, start, stop, batch_size):
            found = [values[:-1].numpy() for values in decode_readable(indices, items)]
            if len(found[0]):
                yield tuple(found)

    batches = (
        examples.open(start)
        .enumerate(start)
        .batch(batch_size)
        .map(decode_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        # An error costs the whole batch, which is then read again.
        .ignore_errors(log_warning=False)
        .prefetch(tf.data.AUTOTUNE)
    )
    if threads:
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        batches = batches.with_options(options)
    next_index = start
    for indices, images, labels in batches.as_numpy_iterator():
        if indices[0] > next_index:
            yield from singly(next_index, indices[0])
        yield indices, images, labels
        next_index = indices[-1] + 1
    if next_index < len(examples):
        yield from singly(next_index, len(examples))


def _items(examples, start, stop, batch_size):
    """Yields (indices int64 [k], items [k]) of examples that follow each other, in batches."""
    if examples.pick:  # to open a source anywhere may cost as much as it is long
        for first in range(start, stop, batch_size):
            indices = tf.range(first, min(first + batch_size, stop), dtype=tf.int64)
            try:
                items = examples.pick(indices)
            except tf.errors.OpError:  # none of them can be read
                continue
            yield indices, items
    else:
        numbered = examples.open(start).take(stop - start).enumerate(start)
        yield from numbered.ignore_errors(log_warning=False).batch(batch_size)


def one_decoded(examples: EncodedExamples, image_size: int) -> Callable:
    """A function, for a graph, (index, item) -> (index, uint8 [size, size, channels], label)."""

    def decode(index, item):
        encoded, label = examples.read(index, item)
        return index, resize_and_crop(examples.decode(encoded), image_size), label

    return decode


def decode_examples(
    examples: EncodedExamples,
    *,
    image_size: int,
    progress: bool = False,
    most_unreadable: float = MAX_UNREADABLE,
) -> ImageSet:
    """Decodes all examples.

    Args:
        examples: `EncodedExamples`.
        image_size: int, pixels of a side.
        progress: bool, whether to show a progress bar when it takes more than a second.
        most_unreadable: float in [0, 1], the share of them that may be left out: 1 where they are
            a few of many, which say nothing of the whole.

    Returns:
        An `ImageSet`; its labels are None if an example has none.

    Raises:
        InputError: if more than that share of the examples, or all of them, are unreadable, or
            there is no room.
    """
    count = len(examples)
    images = storage.allocate((count, image_size, image_size, examples.channels))
    labels = np.empty(count, np.int64)
    indices = np.empty(count, np.int64)
    filled = 0
    bar = tqdm.tqdm(
        total=count, desc="Decoding images", unit=" images", delay=1, disable=not progress
    )
    with bar:
        for batch in decoded_batches(examples, image_size=image_size):
            rows = slice(filled, filled + len(batch[0]))
            indices[rows], images[rows], labels[rows] = batch
            filled = rows.stop
            bar.update(len(batch[0]))

    unreadable = np.ones(count, bool)
    unreadable[indices[:filled]] = False
    skipped = tuple(examples.key(int(index)) for index in np.flatnonzero(unreadable))
    _report_unreadable(skipped, count, most_unreadable)
    has_labels = examples.labelled and filled > 0 and labels[:filled].min() != NO_LABEL
    return ImageSet(
        images=images[:filled],
        labels=labels[:filled] if has_labels else None,
        class_names=examples.class_names if has_labels else None,
        keys=tuple(examples.key(index) for index in indices[:filled].tolist()),
        skipped=skipped,
    )


def unreadable_message(skipped: Sequence[str], total: int) -> str:
    """E.g. "2 of 90 images cannot be read ('a.jpg', 'b.jpg')"."""
    named = ", ".join(repr(key) for key in skipped[:_NUM_NAMED])
    more = ", ..." if len(skipped) > _NUM_NAMED else ""
    return f"{len(skipped)} of {total} images cannot be read ({named}{more})"


def _report_unreadable(skipped, total, most):
    if not skipped:
        return
    found = unreadable_message(skipped, total)
    if len(skipped) > most * total or len(skipped) == total:
        raise InputError(
            f"{found}, more than 1 %: repair or remove them; JPEG, PNG, GIF, BMP and WEBP are read."
        )
    logging.getLogger("patchvae_tf").warning("%s: skipped.", found)
