"""Templates: how like a part a window is, at whatever size, angle and place nearby it fits best.

A template is a window's edges. It is compared with a place of an image at all sizes and angles of
`SCALES` and `ANGLES`, which are filters of a convolution; their answers are normalised (weighted
cosines), so that faint and strong edges count alike.
"""

import itertools

import numpy as np
import tensorflow as tf

from patchvae_tf.parts.edges import DIRECTIONS, turned

SIDE = 15  # pixels of a template
STEP = 2  # between two pixels of a template that are compared: edges are spread wider than that
SCALES = (0.75, 0.87, 1.0, 1.15, 1.33)
ANGLES = (-24.0, -12.0, 0.0, 12.0, 24.0)  # degrees
_WEIGHT_SIDE = 0.37  # sigma of the weights about a template's middle, as a share of its side
_LEAST_ENERGY = 1e-2  # of a window: a nearly empty one is like nothing

FILTER_SHAPE = (-(-SIDE // STEP), -(-SIDE // STEP), DIRECTIONS)


def filters_of(templates: np.ndarray) -> np.ndarray:
    """Templates as a convolution's filters, at all sizes and angles.

    Args:
        templates: float array [k, SIDE, SIDE, DIRECTIONS].

    Returns:
        float32 [*FILTER_SHAPE, k * len(SCALES) * len(ANGLES)], angles the fastest.
    """
    warped = [
        _weighted(_warped(templates, scale, np.radians(angle)), scale)
        for scale, angle in itertools.product(SCALES, ANGLES)
    ]
    # [k, sizes and angles, rows, cols, DIRECTIONS]
    filters = np.stack(warped, axis=1)[:, :, ::STEP, ::STEP]
    return filters.reshape(-1, *FILTER_SHAPE).transpose(1, 2, 3, 0).astype(np.float32)


def likeness(
    edges: tf.Tensor, filters: tf.Tensor, step: int = 1, padding: str = "SAME"
) -> tf.Tensor:
    """How like each template each place is: the weighted cosine at the best size and angle.

    Args:
        edges: float32 [n, H, W, DIRECTIONS].
        filters: as `filters_of` returns them.
        step: 1: windows about every pixel; `STEP`: about every other one, which is cheaper.
        padding: "SAME": windows about all pixels; "VALID": those that lie within.

    Returns:
        float32 [n, h, w, k] in [0, 1].
    """
    dilation = STEP // step
    edges = edges[:, ::step, ::step]
    products = tf.nn.conv2d(edges, filters, 1, padding, dilations=dilation)
    weights = np.stack([_weights(scale)[::STEP, ::STEP] for scale in SCALES], axis=-1)
    weights = tf.constant(weights[:, :, np.newaxis], tf.float32)  # [rows, cols, 1, sizes]
    energy = tf.reduce_sum(tf.square(edges), axis=-1, keepdims=True)
    energy = tf.nn.conv2d(energy, weights, 1, padding, dilations=dilation)  # [n, h, w, sizes]
    shape = tf.concat([tf.shape(products)[:3], [-1, len(SCALES), len(ANGLES)]], axis=0)
    best = tf.reduce_max(tf.reshape(products, shape), axis=5)  # [n, h, w, k, sizes]
    return tf.reduce_max(best * tf.math.rsqrt(energy + _LEAST_ENERGY)[:, :, :, tf.newaxis], axis=4)


def _weights(scale):
    """What a pixel of a template of this size counts: float64 [SIDE, SIDE]."""
    offsets = np.arange(SIDE) - SIDE // 2
    squares = offsets[:, np.newaxis] ** 2 + offsets**2
    return np.exp(-squares / (2.0 * (_WEIGHT_SIDE * SIDE * scale) ** 2))


def _weighted(templates, scale):
    """Times the weights, and over the weighted length."""
    weights = _weights(scale)[..., np.newaxis]
    compared = (templates**2 * weights)[:, ::STEP, ::STEP]
    length = np.sqrt(np.sum(compared, axis=(1, 2, 3), keepdims=True))
    return templates * weights / (length + 1e-6)


def _warped(templates, scale, angle):
    """Templates larger by `scale` and turned by `angle`, by bilinear interpolation."""
    offsets = np.arange(SIDE) - SIDE // 2
    down, right = offsets[:, np.newaxis], offsets
    rows = (down * np.cos(angle) - right * np.sin(angle)) / scale + SIDE // 2  # [SIDE, SIDE]
    cols = (right * np.cos(angle) + down * np.sin(angle)) / scale + SIDE // 2
    top, left = np.floor(rows).astype(int), np.floor(cols).astype(int)
    lower, farther = (rows - top)[..., np.newaxis], (cols - left)[..., np.newaxis]
    padded = np.pad(templates, ((0, 0), (SIDE, SIDE), (SIDE, SIDE), (0, 0)))

    def at(row, col):
        return padded[:, row + SIDE, col + SIDE]

    upper_rows = (1 - farther) * at(top, left) + farther * at(top, left + 1)
    lower_rows = (1 - farther) * at(top + 1, left) + farther * at(top + 1, left + 1)
    return turned((1 - lower) * upper_rows + lower * lower_rows, angle)
