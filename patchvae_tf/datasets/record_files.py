"""TFRecord files: in order, or shuffled by files and windows in memory that does not grow.

A record file can be read from its beginning only, so that an epoch cannot be shuffled as a whole.
The order is a function of the seed and the step alone all the same, as in `pipeline`: to go on in
the middle of an epoch, a window at most is read again.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from patchvae_tf import noise

_BUFFER = 1 << 20  # bytes that are read at once
_MOST_LANES = 16  # each reads a file of its own, and holds a part of the window


@dataclasses.dataclass(frozen=True)
class Shard:
    """A stretch of a record file.

    Attributes:
        path: str.
        skip: int, records before it.
        count: int, records in it.
    """

    path: str
    skip: int
    count: int


def records(shards: Sequence[Shard], start: int = 0) -> tf.data.Dataset:
    """The records in order, from one on: `tf.data.Dataset` of scalar strings.

    Always as many as the shards say: where a file is damaged or gone, the rest of it is empty
    strings.
    """
    stretches = _stretches(shards, range(start, sum(shard.count for shard in shards)))
    return _read(*_tensors(stretches)).map(lambda index, record: record)


def lane_count(shards: Sequence[Shard], batch_size: int) -> int:
    """Into how many lanes a global batch is cut: of a power of two, with a file each, evenly."""
    count = 1
    while count < _MOST_LANES and 2 * count <= len(shards) and batch_size % (2 * count) == 0:
        count *= 2
    return count


def lane(
    shards: tuple[Shard, ...],
    kept: list[range],
    *,
    number: int,
    lanes: int,
    rows: int,
    seed: int,
    window: int,
    epoch_steps: int,
    start_step: int,
) -> tf.data.Dataset:
    """One lane's records for each step, shuffled: every epoch the lane's own, in another order.

    The lane has an even share of the kept rows, next to each other. In each epoch its files
    come in an order drawn by the seed, and each window of records after that is shuffled.

    Args:
        shards: tuple of `Shard`s.
        kept: list of ranges of rows, those that take part.
        number, lanes: ints, which lane of how many.
        rows: int, records a step.
        seed: int, the user's seed.
        window: int, records that are shuffled with each other; a multiple of `rows`.
        epoch_steps: int.
        start_step: int, the first.

    Returns:
        endless `tf.data.Dataset` of (indices int64 [rows], records string [rows]), a step each.
    """
    total = sum(map(len, kept))
    own = _slice(kept, total * number // lanes, total * (number + 1) // lanes)
    paths, begins, skips, counts = _tensors(
        [stretch for rows_of_it in own for stretch in _stretches(shards, rows_of_it)]
    )

    def epoch_of(epoch):  # int64 scalar
        epoch_seed = noise.fold_in(noise.step_seed(seed, epoch), noise.Purpose.SHARDS)
        epoch_seed = noise.fold_in(epoch_seed, number)
        places = tf.range(len(counts), dtype=tf.int64)
        order = noise.shuffled(places, epoch_seed, len(counts))
        first_step = tf.where(epoch == start_step // epoch_steps, start_step % epoch_steps, 0)
        first_window = tf.cast(first_step * rows // window, tf.int64)
        shuffled = (tf.gather(values, order) for values in (paths, begins, skips, counts))
        windows = _read(*shuffled, start=first_window * window).batch(window)

        def steps_of(number_of_window, window_records):
            indices, items = window_records
            window_seed = noise.fold_in(
                noise.fold_in(epoch_seed, noise.Purpose.WINDOW), number_of_window
            )
            size = tf.shape(indices, tf.int64)[0]
            order = noise.shuffled(tf.range(size), window_seed, size)[: size // rows * rows]
            steps = tf.reshape(order, [-1, rows])
            return tf.data.Dataset.from_tensor_slices(
                (tf.gather(indices, steps), tf.gather(items, steps))
            )

        # The next window is read while one is used.
        steps = windows.enumerate(first_window).prefetch(1).flat_map(steps_of)
        begun = tf.cast(first_step, tf.int64) - first_window * window // rows
        return steps.skip(begun).take(epoch_steps - tf.cast(first_step, tf.int64))

    return tf.data.Dataset.counter(start_step // epoch_steps).flat_map(epoch_of)


def _read(paths, begins, skips, counts, start=0):
    """`Dataset` of (index int64, record string) of stretches of files, from the `start`th on.

    Args:
        paths: string [n], the files.
        begins, skips, counts: int64 [n], the index of each stretch's first record, the records of
            the file before it, and those in it.
        start: scalar int64.
    """
    before = tf.cumsum(counts, exclusive=True)
    done = tf.clip_by_value(tf.cast(start, tf.int64) - before, 0, counts)  # of each stretch

    def stretch(path, begin, skip, count, done):
        # A missing file is looked for first: a reader would ask for it again forever. What a
        # damaged one has no records for is filled up, so that the places of others stay.
        pattern = tf.strings.regex_replace(path, r"([\[*?])", r"[\1]")
        records = tf.data.TFRecordDataset(tf.io.matching_files(pattern), buffer_size=_BUFFER)
        whole = records.ignore_errors().concatenate(tf.data.Dataset.from_tensors("").repeat())
        return whole.skip(skip + done).take(count - done).enumerate(begin + done)

    return (
        tf.data.Dataset.from_tensor_slices((paths, begins, skips, counts, done))
        .filter(lambda path, begin, skip, count, done: done < count)
        .flat_map(stretch)
    )


def _stretches(shards, rows):
    """The stretches of files that hold a range of rows: list of (path, first row, skip, count)."""
    found, first = [], 0
    for shard in shards:
        begin, end = max(first, rows.start), min(first + shard.count, rows.stop)
        if begin < end:
            found.append((shard.path, begin, shard.skip + begin - first, end - begin))
        first += shard.count
    return found


def _tensors(stretches):
    paths, *numbers = zip(*stretches, strict=True) if stretches else ((), (), (), ())
    return tf.constant(paths, tf.string), *(tf.constant(np.array(n), tf.int64) for n in numbers)


def _slice(ranges, start, stop):
    """The rows of some ranges, taken for one sequence, from `start` to before `stop`."""
    found, first = [], 0
    for one in ranges:
        begin, end = max(first, start), min(first + len(one), stop)
        if begin < end:
            found.append(one[begin - first : end - first])
        first += len(one)
    return found
