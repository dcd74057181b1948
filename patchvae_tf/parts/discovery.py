"""Discovery: which windows of many images are worth being parts. No network takes part in it.

Windows lie centred on things (where edges are dense); of some the others are like. The few that
explain all best become templates: the facility location problem, by greedy choice and then by
exchanges. After "Unsupervised Discovery of Mid-Level Discriminative Patches" (Singh, Gupta, Efros,
ECCV 2012), with a choice of all parts at once in place of its classifiers.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tqdm

from patchvae_tf import noise
from patchvae_tf.errors import InputError
from patchvae_tf.parts import templates
from patchvae_tf.parts.edges import edge_map, edge_strength

MOST_IMAGES = 1000
_CANDIDATES = 192
_WINDOWS = 1500
_SHIFT = 2  # pixels in each direction, by which a window may lie off its middle
_FLOOR = 0.9  # quantile of all likenesses: windows as alike as chance makes them
_DROP = 0.4  # a template that explains less than this share of what those before it did is a double
_COMPARED = 3  # templates before it
_SURE = 0.1  # quantile of the likeness of a template's windows: what is less is not it
_CHUNK = 100


@dataclasses.dataclass(frozen=True)
class Found:
    """Templates of parts.

    Attributes:
        templates: float32 [k, SIDE, SIDE, DIRECTIONS], edges; what explains most comes first.
        thresholds: float32 [k], the likeness from which a place shows the part.
        windows: int [k, 3], image, row and column of each template's middle, in scaled pixels.
    """

    templates: np.ndarray
    thresholds: np.ndarray
    windows: np.ndarray


def discover(
    images: np.ndarray, most_parts: int, size: Sequence[int], seed: int, progress: bool = False
) -> Found:
    """Finds parts in images.

    Args:
        images: uint8, or floats in [0, 1], [n, H, W, channels]; the first `MOST_IMAGES` are looked
            at.
        most_parts: int, parts at most; fewer where further ones would be doubles.
        size: (int, int), the height and width at which a part's window is `templates.SIDE` pixels.
        seed: int.
        progress: bool, whether to show a progress bar.

    Raises:
        InputError: there is nothing in the images that could be a part.
    """
    images = images[:MOST_IMAGES]
    edges, middles = _centred_windows(images, size)
    if len(middles) < 2:
        raise InputError(
            f"no parts can be found: in {len(images):,} images of {images.shape[1]} x "
            f"{images.shape[2]} pixels edges are dense at {len(middles)} places. Give images with "
            "something in them, or a teaching_weight of 0."
        )
    drawn = noise.shuffled(
        tf.range(min(_WINDOWS, len(middles)), dtype=tf.int64),
        noise.fold_in(noise.step_seed(seed, 0), noise.Purpose.DISCOVERY),
        len(middles),
    ).numpy()
    middles = middles[drawn]
    candidates = _cut(edges, middles[:_CANDIDATES], templates.SIDE)
    windows = _cut(edges, middles, templates.SIDE + 2 * _SHIFT)
    likeness = _likeness(candidates, windows, progress)  # [candidates, windows]
    chosen = _chosen(likeness, most_parts)
    if not len(chosen):
        raise InputError(
            f"no parts can be found: in {len(images):,} images the {len(middles)} places of dense "
            "edges are all alike. Give more images, or a teaching_weight of 0."
        )
    # One that is the best for no window has nothing that it could be told by.
    chosen = chosen[np.unique(np.argmax(likeness[chosen], axis=0))]
    best = likeness[chosen]
    theirs = np.argmax(best, axis=0)
    thresholds = [np.quantile(best[part, theirs == part], _SURE) for part in range(len(chosen))]
    return Found(candidates[chosen], np.array(thresholds, np.float32), middles[chosen])


def _centred_windows(images, size):
    """Edge maps, float32 [n, h, w, DIRECTIONS], and windows' middles, int [m, 3]."""
    edges, middles = [], []
    reach = templates.SIDE // 2 | 1
    for start in range(0, len(images), _CHUNK):
        small = scaled(as_floats(images[start : start + _CHUNK]), size)
        strength = edge_strength(small)
        dense = strength
        for _ in range(2):
            dense = tf.nn.avg_pool2d(dense, reach, 1, "SAME")
        is_peak = (dense >= tf.nn.max_pool2d(dense, reach, 1, "SAME")) & (
            dense > tf.reduce_mean(dense, axis=[1, 2], keepdims=True)
        )
        # Of some images at a time: each window takes some 30 kB while it is moved.
        found = _centred(strength.numpy()[..., 0], np.argwhere(is_peak.numpy()[..., 0]))
        middles.append(found + np.array([start, 0, 0]))
        edges.append(edge_map(small).numpy())
    return np.concatenate(edges), np.concatenate(middles)


def as_floats(images: np.ndarray | tf.Tensor) -> tf.Tensor:
    """uint8 images, or floats in [0, 1], as float32 in [0, 1]."""
    return tf.image.convert_image_dtype(tf.convert_to_tensor(images), tf.float32)


def scaled(images: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Images at the size at which templates are compared with them."""
    # By products of matrices, which XLA compiles; `tf.image.resize` with its antialiasing is not.
    height, width = tf.unstack(tf.shape(images)[1:3])
    rows, cols = _resampling(height, size[0]), _resampling(width, size[1])
    # n images, y and x of the scaled, i and j of the image, c channel
    return tf.einsum("yi,nijc,xj->nyxc", rows, tf.cast(images, tf.float32), cols)


def _resampling(length, target):
    """How much of each of `length` pixels is in each of `target`: float32 [target, length]."""
    length, target = tf.cast(length, tf.float32), tf.cast(target, tf.float32)
    ratio = length / target
    middles = (tf.range(target) + 0.5) * ratio - 0.5
    distance = tf.abs(middles[:, tf.newaxis] - tf.range(length)) / tf.maximum(ratio, 1.0)
    weights = tf.nn.relu(1.0 - distance)
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)


def _centred(strength, middles, rounds=6):
    """Moves windows to the middle of the edges in them (mean shift, a Gaussian kernel).

    Args:
        strength: float [n, h, w].
        middles: int [m, 3], image, row, column.
    """
    reach, sigma = templates.SIDE, templates.SIDE / 4
    offsets = np.arange(-reach, reach + 1)
    padded = np.pad(strength, ((0, 0), (reach, reach), (reach, reach)))
    image = middles[:, 0]
    at = middles[:, 1:].astype(np.float64)
    last = np.array(strength.shape[1:]) - 1
    for _ in range(rounds):
        whole = np.rint(at).astype(int)
        rows = whole[:, :1] + reach + offsets  # [m, window]
        cols = whole[:, 1:] + reach + offsets
        window = padded[image[:, None, None], rows[:, :, None], cols[:, None, :]]
        off = offsets - (at - whole)[..., np.newaxis]  # [m, 2, window]
        kernel = np.exp(-(off**2) / (2 * sigma**2))
        weights = window * kernel[:, 0, :, None] * kernel[:, 1, None, :]
        total = weights.sum(axis=(1, 2)) + 1e-9
        down = (weights.sum(axis=2) * offsets).sum(axis=1) / total
        right = (weights.sum(axis=1) * offsets).sum(axis=1) / total
        at = np.clip(whole + np.stack([down, right], axis=1), 0, last)
    return np.unique(np.column_stack([image, np.rint(at).astype(int)]), axis=0)


def _cut(maps, middles, side):
    """Squares of `side` pixels about their middles, 0 outside the images: [m, side, side, ...]."""
    half = side // 2
    padded = np.pad(maps, ((0, 0), (half, half), (half, half), (0, 0)))
    rows = middles[:, 1:2] + np.arange(side)
    cols = middles[:, 2:3] + np.arange(side)
    return padded[middles[:, :1, None], rows[:, :, None], cols[:, None, :]]


def _likeness(candidates, windows, progress):
    """How like each candidate each window is, at its best place: float32 [candidates, windows]."""
    filters = tf.constant(templates.filters_of(candidates))
    compare = tf.function(
        lambda some: tf.reduce_max(templates.likeness(some, filters, padding="VALID"), axis=[1, 2]),
        input_signature=[tf.TensorSpec([None, *windows.shape[1:]])],
        autograph=False,
    )
    found = np.zeros((len(windows), len(candidates)), np.float32)
    starts = range(0, len(windows), _CHUNK)
    for start in tqdm.tqdm(
        starts, "Finding parts", unit=" windows", unit_scale=_CHUNK, disable=not progress
    ):
        some = slice(start, start + _CHUNK)
        found[some] = compare(tf.constant(windows[some])).numpy()
    likeness = found.T.copy()
    # A candidate explains its own window no better than it does the next best one.
    own = np.arange(len(candidates))
    likeness[own, own] = 0
    likeness[own, own] = likeness.max(axis=1)
    return likeness


def _chosen(likeness, most):
    """The candidates that explain most windows, int [k], k at most `most`."""
    gains = np.maximum(likeness - np.quantile(likeness, _FLOOR), 0)
    chosen, explained, history = [], np.zeros(gains.shape[1], np.float32), []
    while len(chosen) < min(most, len(gains)):
        with_each = np.maximum(gains, explained).sum(axis=1)
        best = int(np.argmax(with_each))
        gain = float(with_each[best] - explained.sum())
        before = history[-_COMPARED:]
        if gain <= 0 or (len(before) == _COMPARED and gain < _DROP * np.mean(before)):
            break
        history.append(gain)
        chosen.append(best)
        explained = np.maximum(explained, gains[best])
    return np.array(_exchanged(gains, chosen), int)


def _exchanged(gains, chosen, rounds=3):
    """Puts another candidate in the place of a chosen one wherever all then explain more."""
    for _ in range(rounds):
        before = list(chosen)
        for place in range(len(chosen)):
            others = [one for number, one in enumerate(chosen) if number != place]
            rest = gains[others].max(axis=0, initial=0)
            chosen[place] = int(np.argmax(np.maximum(gains, rest).sum(axis=1)))
        if chosen == before:
            break
    return chosen
