"""The vocabulary of the data set `parts`: twelve shapes, each with a texture of two tones."""

import numpy as np


def _triangle_wave(x):
    return 2 * np.abs(2 * (x % 1) - 1) - 1  # Period 1, range [-1, 1].


def _any_disc(u, v, centres, radius):
    return np.any([np.hypot(u - x, v - y) < radius for x, y in centres], axis=0)


# Name to function of (u, v, r, a), arrays of coordinates within the part: right, down, distance
# from the centre and angle. It returns where the part is, and where it has the lighter tone.
# Every part lies in the unit disc, to which it is cut.
_SHAPES = {
    "striped_disc": lambda u, v, r, a: (r < 1, np.floor(2.5 * (u + 1)) % 2 == 0),
    "ring": lambda u, v, r, a: (r > 0.5, r > 0.78),
    "cross": lambda u, v, r, a: (np.minimum(abs(u), abs(v)) < 0.36, abs(u) < 0.36),
    "checkered_square": lambda u, v, r, a: (
        np.maximum(abs(u), abs(v)) < 0.8,
        (np.floor((u + 0.8) / 0.534) + np.floor((v + 0.8) / 0.534)) % 2 == 0,
    ),
    "eye": lambda u, v, r, a: (u**2 + (v / 0.72) ** 2 < 1, r > 0.45),
    "dotted_triangle": lambda u, v, r, a: (
        (v < 0.6) & (abs(u) * 1.8 < v + 1),
        _any_disc(u, v, [(0, -0.3), (-0.42, 0.3), (0.42, 0.3)], 0.24),
    ),
    "star": lambda u, v, r, a: (
        r < 0.66 + 0.34 * _triangle_wave((a + np.pi / 2) / (2 * np.pi) * 5),
        r > 0.34,
    ),
    "spiral": lambda u, v, r, a: (r < 1, (a / (2 * np.pi) + 1.6 * r) % 1 < 0.5),
    "half_moon": lambda u, v, r, a: (np.hypot(u - 0.5, v) > 0.72, v < 0),
    "zigzag_bar": lambda u, v, r, a: (
        abs(v) < 0.6,
        abs(v - 0.3 * _triangle_wave(1.25 * u)) < 0.24,
    ),
    "diamond_target": lambda u, v, r, a: (
        abs(u) + abs(v) < 1,
        np.floor(3 * (abs(u) + abs(v))) % 2 == 0,
    ),
    "window_grid": lambda u, v, r, a: (
        np.maximum(abs(u), abs(v)) < 0.8,
        (np.minimum(abs(u), abs(v)) > 0.16) & (np.maximum(abs(u), abs(v)) < 0.62),
    ),
}

PART_NAMES = tuple(_SHAPES)


def draw_part(
    name: str, size: int, diameter: float, angle: float, supersampling: int = 4
) -> np.ndarray:
    """Draws a part in the middle of a square.

    Args:
        name: one of `PART_NAMES`.
        size: int, pixels of the square's side.
        diameter: pixels.
        angle: radians, clockwise.
        supersampling: int, samples of a pixel along each axis.

    Returns:
        float64 [2, size, size]: the fraction of each pixel that the part covers, and the fraction
        that it covers with its lighter tone.
    """
    samples = (np.arange(size * supersampling) + 0.5) / supersampling - size / 2  # Pixels.
    x, y = np.meshgrid(samples * 2 / diameter, samples * 2 / diameter)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    distance = np.hypot(u, v)
    inside, light = _SHAPES[name](u, v, distance, np.arctan2(v, u))
    inside = inside & (distance < 1)
    masks = np.stack([inside, inside & light])
    return masks.reshape(2, size, supersampling, size, supersampling).mean((2, 4))
