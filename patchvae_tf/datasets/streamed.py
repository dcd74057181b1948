"""Images to learn from that are read and decoded as they are needed, in memory that does not grow.

As in `pipeline`, every batch is a function of the seed and the step alone.
"""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from patchvae_tf.datasets import pipeline, record_files
from patchvae_tf.datasets.decoding import (
    MAX_UNREADABLE,
    EncodedExamples,
    decode_examples,
    one_decoded,
    unreadable_message,
)
from patchvae_tf.datasets.images import ImageSet, check_held_out, held_out_rows, sampled_rows
from patchvae_tf.errors import InputError

_NUM_WARNED = 10


def streamed_split(
    examples: EncodedExamples, held_out: int, *, image_size: int, shuffle_window: int, seed: int
) -> tuple["StreamedSet", ImageSet | None]:
    """Holds out a validation part, which is decoded, of a source whose rest is to be streamed.

    Of record files it is a stretch: to read single records all of a file has to be read. (TFDS
    shuffles what it prepares, so that a stretch is as good as any.)

    Args:
        examples: EncodedExamples.
        held_out: int, number of validation examples; 0 for none.
        image_size: int, pixels of a side.
        shuffle_window: int, as of `StreamedSet`.
        seed: int, the user's seed.

    Returns:
        The training `StreamedSet`, and the validation `ImageSet` or None.

    Raises:
        InputError: as `split_validation`, or more than 1 % of the held-out ones are unreadable.
    """
    rows, validation = np.zeros(0, np.int64), None
    if held_out:
        check_held_out(held_out, len(examples))
        if examples.pick:
            rows = held_out_rows(held_out, len(examples), seed)
        else:
            first = held_out_rows(1, len(examples) - held_out + 1, seed)
            rows = first + np.arange(held_out)
        validation = decode_examples(examples.take(rows), image_size=image_size, progress=True)
    training = StreamedSet(examples, image_size, rows, shuffle_window, Unreadable(examples))
    return training, validation


class Unreadable:
    """Images that could not be read so far; too many of them are an error.

    Attributes:
        keys: list of str, in the order of the source.
        error: InputError once they are more than 1 % of all, else None.
    """

    def __init__(self, examples):
        self._examples = examples
        self._indices = set()
        self.error = None

    @property
    def keys(self) -> list[str]:
        return [self._examples.key(index) for index in sorted(self._indices)]

    def add(self, indices: np.ndarray) -> None:
        """Notes the examples of `indices` (int64, those below 0 are none); raises `error`."""
        new = set(indices[indices >= 0].tolist()) - self._indices
        for index in sorted(new):
            self._indices.add(index)
            if len(self._indices) <= _NUM_WARNED:
                logging.getLogger("patchvae_tf").warning(
                    "%r cannot be read: another image of its batch takes its place.",
                    self._examples.key(index),
                )
        if len(self._indices) > MAX_UNREADABLE * len(self._examples):
            found = unreadable_message(self.keys, len(self._examples))
            self.error = InputError(
                f"{found}, more than 1 %: repair or remove them; the same command goes on from the "
                "last checkpoint."
            )
            raise self.error


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedSet:
    """The training images of a source; `len()` counts them.

    Attributes:
        examples: EncodedExamples.
        image_size: int, pixels of a side.
        held_out: int64 [k], ascending, the examples that do not take part; next to each other
            where the source has shards.
        shuffle_window: int, records that are shuffled with each other where the source has
            shards. Otherwise all examples are.
        unreadable: Unreadable, filled while batches are made.
    """

    examples: EncodedExamples
    image_size: int
    held_out: np.ndarray
    shuffle_window: int
    unreadable: Unreadable

    def __len__(self):
        return len(self.examples) - len(self.held_out)

    def batches(
        self,
        *,
        batch_size: int,
        seed: int,
        flip: bool,
        total_steps: int,
        start_step: int = 0,
        rows: range | None = None,
        services: Sequence[str] = (),
    ) -> tf.data.Dataset:
        """As `pipeline.training_batches`, without labels.

        An image that cannot be read is replaced by another of its batch, and noted.

        Args:
            batch_size, seed, flip, total_steps, start_step, rows: as there.
            services: addresses "host:port" of `tf.data` services, each with one worker, that read
                and decode in turn; empty: this process does.

        Returns:
            `tf.data.Dataset` of uint8 [rows, size, size, channels].
        """
        epoch_steps = pipeline.steps_per_epoch(len(self), batch_size)
        rows = range(batch_size) if rows is None else rows
        ordering = {
            "batch_size": batch_size,
            "seed": seed,
            "epoch_steps": epoch_steps,
            "start_step": start_step,
            "rows": rows,
        }
        order = self._picked if self.examples.pick else self._from_shards
        count = max(total_steps - start_step, 0)
        steps = tf.data.Dataset.range(start_step, start_step + count)
        decode = self._decoding(len(rows))

        def batch_of(step, indices, items):
            images, unreadable = decode(indices, items)
            if flip:
                images = pipeline.flipped(images, step, rows, batch_size, seed)
            return step, images, unreadable

        def decoded(part):
            batches = tf.data.Dataset.zip(steps, order(**ordering)).shard(
                max(len(services), 1), part
            )
            return batches.map(
                lambda step, rows: batch_of(step, *rows), tf.data.AUTOTUNE, deterministic=True
            )

        batches = _from_services(decoded, services, start_step, count) if services else decoded(0)
        return batches.map(self._noted).prefetch(tf.data.AUTOTUNE)

    def sample(self, most: int, seed: int) -> ImageSet:
        """An `ImageSet` of up to `most` of them, drawn by the seed; the first, of record files.

        What cannot be read of them is left out.

        Raises:
            InputError: none of them can be read.
        """
        count = min(most, len(self))
        rows = sampled_rows(count, len(self), seed) if self.examples.pick else np.arange(count)
        drawn = self.examples.take(self._indices(rows).numpy())
        return decode_examples(drawn, image_size=self.image_size, most_unreadable=1.0)

    def _indices(self, positions):
        """The examples at positions among those that are not held out: int64 [n]."""
        before = tf.constant(self.held_out - np.arange(len(self.held_out)), tf.int64)
        return positions + tf.searchsorted(before, positions, side="right", out_type=tf.int64)

    def _picked(self, *, batch_size, seed, epoch_steps, start_step, rows):
        """`Dataset` of (indices, items), in the order of `pipeline.training_batches`."""

        def picked(step):
            indices = self._indices(
                pipeline.shuffled_indices(step, rows, batch_size, epoch_steps, seed, len(self))
            )
            return indices, self.examples.pick(indices)

        return tf.data.Dataset.counter(start_step).map(
            picked, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def _from_shards(self, *, batch_size, seed, epoch_steps, start_step, rows):
        """`Dataset` of (indices, items); only the lanes that hold some of the rows are read."""
        shards = self.examples.shards
        lanes = record_files.lane_count(shards, batch_size)
        per_lane = batch_size // lanes
        first, last = rows.start // per_lane, (rows.stop - 1) // per_lane
        first_held = int(self.held_out[0]) if len(self.held_out) else 0
        kept = [range(first_held), range(first_held + len(self.held_out), len(self.examples))]
        window = max(self.shuffle_window // batch_size, 1) * per_lane
        own = tuple(
            record_files.lane(
                shards,
                kept,
                number=number,
                lanes=lanes,
                rows=per_lane,
                seed=seed,
                window=window,
                epoch_steps=epoch_steps,
                start_step=start_step,
            )
            for number in range(first, last + 1)
        )
        inside = slice(rows.start - first * per_lane, rows.stop - first * per_lane)

        def joined(*parts):
            indices, items = zip(*parts, strict=True)
            return tf.concat(indices, 0)[inside], tf.concat(items, 0)[inside]

        return tf.data.Dataset.zip(own).map(joined)

    def _decoding(self, count):
        """Returns a function (indices [count], items [count]) -> (images, unreadable).

        Images are uint8 [count, size, size, channels]; unreadable int64 [count], the indices of
        those that were replaced, -1 for others.
        """
        decode_one = one_decoded(self.examples, self.image_size)
        size, channels = self.image_size, self.examples.channels

        def decode(indices, items):
            places = tf.data.Dataset.range(count)
            encoded = tf.data.Dataset.from_tensor_slices((indices, items))
            readable = (
                tf.data.Dataset.zip(places, encoded)
                .map(lambda place, example: (place, decode_one(*example)[1]))
                .ignore_errors(log_warning=False)
            )
            none = tf.data.Dataset.from_tensors(
                (tf.constant(-1, tf.int64), tf.zeros([size, size, channels], tf.uint8))
            )
            # The places of those that can be read, ascending, and a black image behind them.
            places, images = readable.concatenate(none).batch(count + 1).get_single_element()
            found = tf.shape(places)[0] - 1
            wanted = tf.range(count, dtype=tf.int64)
            row = tf.searchsorted(places[:-1], wanted)
            is_readable = tf.gather(places, row) == wanted
            other = tf.range(count) % tf.maximum(found, 1)
            images = tf.gather(images, tf.where(is_readable, row, other))
            unreadable = tf.where(is_readable, tf.constant(-1, tf.int64), indices)
            return tf.ensure_shape(images, [count, size, size, channels]), unreadable

        return decode

    def _noted(self, step, images, unreadable):
        """The images, once those of them that could not be read are noted."""
        del step

        def note():
            return tf.numpy_function(self._note, [unreadable], tf.int64)

        noted = tf.cond(tf.reduce_any(unreadable >= 0), note, lambda: tf.constant(0, tf.int64))
        with tf.control_dependencies([noted]):
            return tf.identity(images)

    def _note(self, indices):
        self.unreadable.add(indices)
        return np.int64(0)


def _from_services(decoded, services, start_step, count):
    """The batches of `decoded(0)`, `decoded(1)`, ... in turn, each made by a service."""
    parts = [
        decoded(part).apply(
            tf.data.experimental.service.distribute(
                processing_mode=tf.data.experimental.service.ShardingPolicy.OFF,
                service=f"grpc://{address}",
            )
        )
        for part, address in enumerate(services)
    ]
    turns = tf.data.Dataset.range(len(services)).repeat().take(count)
    together = tf.data.Dataset.choose_from_datasets(parts, turns, stop_on_empty_dataset=False)

    def checked(expected, batch):
        step, images, unreadable = batch
        same = tf.debugging.assert_equal(step, expected, "the data services mixed up the batches")
        with tf.control_dependencies([same]):
            return expected, tf.identity(images), unreadable

    return tf.data.Dataset.zip(tf.data.Dataset.range(start_step, start_step + count), together).map(
        checked
    )
