"""What windows of images are compared by: which way their edges point, nothing of their colours.

Histograms of oriented gradients (Dalal and Triggs, CVPR 2005), one for each pixel: of brightness
alone, each gradient by its share of what lies around it, sorted into directions and spread over a
pixel or two, so that two windows are alike whose edges lie nearly in the same places.
"""

import math

import numpy as np
import tensorflow as tf

from patchvae_tf.brightness import brightness

DIRECTIONS = 8  # of gradients, from dark to bright: opposite ones differ
_NEIGHBOURHOOD = 13  # pixels of a side, over which a gradient's share is taken
_FAINT = 0.5  # of the neighbourhood's root mean square: gradients below count little
_SPREADS = 3  # means of 3 x 3 pixels, together about a Gaussian of sigma 1.4 pixels


def edge_map(images: tf.Tensor) -> tf.Tensor:
    """How much of an edge of each direction there is at each pixel.

    Args:
        images: float32 [n, H, W, channels] in [0, 1].

    Returns:
        float32 [n, H, W, DIRECTIONS], at least 0 and below 1.
    """
    gradients = _gradients(images)  # [n, H, W, 2], down and right
    strength = tf.norm(gradients, axis=-1, keepdims=True)
    energy = tf.square(strength)
    around = _mean(energy, _NEIGHBOURHOOD)
    # Where all is calm, noise is to stay noise: the image's own mean is the least divisor.
    least = tf.reduce_mean(energy, axis=[1, 2], keepdims=True)
    divisor = strength + _FAINT * tf.sqrt(tf.maximum(around, least) + 1e-6)
    angle = tf.atan2(gradients[..., :1], gradients[..., 1:])
    step = 2.0 * math.pi / DIRECTIONS
    directions = tf.cos(angle - step * tf.range(DIRECTIONS, dtype=tf.float32))
    # 1 in a gradient's own direction, 0 in the next: between two it belongs to both.
    shares = tf.nn.relu(directions - math.cos(step)) / (1.0 - math.cos(step))
    edges = strength / divisor * shares
    for _ in range(_SPREADS):
        edges = _mean(edges, 3)
    return edges


def turned(edges: np.ndarray, angle: float) -> np.ndarray:
    """Edges whose picture is turned: what pointed one way points another.

    Args:
        edges: array [..., DIRECTIONS].
        angle: radians, from right to down.
    """
    steps = angle * DIRECTIONS / (2.0 * math.pi)
    whole = math.floor(steps)
    rest = steps - whole
    return (1.0 - rest) * np.roll(edges, whole, -1) + rest * np.roll(edges, whole + 1, -1)


def edge_strength(images: tf.Tensor) -> tf.Tensor:
    """Length of the gradient of the brightness: float32 [n, H, W, 1]."""
    return tf.norm(_gradients(images), axis=-1, keepdims=True)


def _gradients(images):
    """[n, H, W, channels] -> [n, H, W, 2], the brightness's central differences, down and right."""
    bright = brightness(tf.cast(images, tf.float32))[..., 0]  # [n, H, W]
    padded = tf.pad(bright, [[0, 0], [1, 1], [1, 1]], "SYMMETRIC")
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    return 0.5 * tf.stack([down, right], axis=-1)


def _mean(maps, side):
    """The mean of a square around each pixel, of the pixels of it that there are."""
    return tf.nn.avg_pool2d(maps, side, 1, "SAME")
