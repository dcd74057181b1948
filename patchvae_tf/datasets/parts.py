"""The embedded data set `parts`: generated scenes whose parts are known.

A scene is a textured background with three or four of twelve parts, one in each quadrant. Which
three parts occur together is the class. Colour, size, angle and place are drawn alike for all
parts, and a part of another class may stand in the fourth quadrant, so that a scene is recognised
by its parts and by nothing else. Every example is a function of the seed, split and index.
"""

import numpy as np
import tensorflow as tf
import tqdm

from patchvae_tf import noise
from patchvae_tf.datasets import conversion, storage
from patchvae_tf.datasets.images import ImageSet
from patchvae_tf.datasets.part_shapes import PART_NAMES, draw_part
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import RGB, Pixels

NUM_EXAMPLES = {"train": 20_000, "test": 4_000}
CELL = 8  # Pixels of a side of a cell of the part maps.

# Indices into PART_NAMES. Two classes share at most one part, so the four parts of a scene never
# hold two classes; each part is in two or three classes, so no part alone tells the class.
CLASS_PARTS = (
    (0, 6, 10),
    (0, 7, 11),
    (1, 5, 10),
    (1, 7, 8),
    (2, 4, 10),
    (2, 6, 8),
    (2, 7, 9),
    (3, 4, 11),
    (3, 5, 8),
    (3, 6, 9),
)

_STREAMS = {"train": 0, "test": 1}
_CHUNK = 256
_EMPTY = len(PART_NAMES)  # The "part" of an empty quadrant.
_DIAMETERS = np.linspace(10, 14, 5) / 32  # Fractions of the image's side.
_ANGLES = np.radians([-15, 0, 15])
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # Of red, green and blue.

# Uniform numbers of one example, by use.
_QUADRANT_DRAWS = 4
_DISTRACTOR_DRAWS = 1
_PART_DRAWS = 8  # Size, angle, x and y; hue and luminance of the light and of the dark tone.
_BACKGROUND_DRAWS = 19  # Four tones; direction of the slope; direction, frequency, phase of waves.
_DRAWS = (_QUADRANT_DRAWS, _DISTRACTOR_DRAWS, 4 * _PART_DRAWS, _BACKGROUND_DRAWS)


def load_parts(
    split: str, *, image_size: int, seed: int, progress: bool, pixels: Pixels = RGB
) -> ImageSet:
    """Generates a split of the data set.

    Args:
        split: "train" (20,000 scenes) or "test" (4,000).
        image_size: int, pixels of a side, a multiple of 8 from 32 up.
        seed: int.
        progress: bool, whether to show a progress bar when it takes more than a second.
        pixels: Pixels of 3 channels, or of 1: grey.

    Returns:
        An `ImageSet` with part maps.

    Raises:
        InputError: if there is no such split, or the size does not fit.
    """
    if split not in NUM_EXAMPLES:
        raise InputError(f"'parts' has no split {split!r}: it has {', '.join(NUM_EXAMPLES)}.")
    if image_size < 32 or image_size % CELL:
        raise InputError(
            f"image_size is {image_size}: 'parts' needs a multiple of {CELL}, from 32 up."
        )
    conversion.check_channels(3, pixels, "'parts'")
    total, grid = NUM_EXAMPLES[split], image_size // CELL
    images = storage.allocate((total, image_size, image_size, pixels.channels))
    part_maps = np.zeros((total, grid, grid, len(PART_NAMES)), bool)
    renderer = SceneRenderer(image_size, seed, split)
    starts = range(0, total, _CHUNK)
    for start in tqdm.tqdm(
        starts, "Drawing images", unit=" images", unit_scale=_CHUNK, delay=1, disable=not progress
    ):
        rows = slice(start, min(start + _CHUNK, total))
        scenes, part_maps[rows] = renderer.render(np.arange(rows.start, rows.stop))
        images[rows] = conversion.converted(tf.constant(scenes), Pixels(pixels.channels))
    return ImageSet(
        images=images,
        labels=np.arange(total) % len(CLASS_PARTS),
        class_names=tuple("+".join(PART_NAMES[part] for part in parts) for parts in CLASS_PARTS),
        keys=tuple(f"{split}/{index}" for index in range(total)),
        part_maps=part_maps,
    )


class SceneRenderer:
    """Draws scenes of one size, seed and split, any of them at any time.

    All parts are drawn once, for all sizes and angles, and then copied to their places.
    """

    def __init__(self, image_size, seed, split):
        self._size, self._seed, self._stream = image_size, seed, _STREAMS[split]
        self._half = image_size // 2
        diameters = _DIAMETERS * image_size
        # How far a part of each diameter may move from the middle of its quadrant, in pixels.
        self._reach = ((self._half - diameters) / 2).astype(int)
        # Averages over cells, as a matrix [size / 8, size].
        self._pool = np.kron(np.eye(image_size // CELL), np.full(CELL, 1 / CELL)).astype(np.float32)
        side = self._half + 2 * self._reach.max()
        # Part, diameter, angle, then (coverage, coverage by the lighter tone), rows, columns.
        self._atlas = np.zeros(
            (len(PART_NAMES) + 1, len(_DIAMETERS), len(_ANGLES), 2, side, side), np.float32
        )
        for part, name in enumerate(PART_NAMES):
            for row, diameter in enumerate(diameters):
                for column, angle in enumerate(_ANGLES):
                    self._atlas[part, row, column] = draw_part(name, side, diameter, angle)

    def render(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draws the scenes at `indices` (integers [n]).

        Returns:
            uint8 images [n, size, size, 3] and bool part maps [n, size / 8, size / 8, 12], true
            where a part covers at least a quarter of a cell, or has its centre in it.
        """
        draws = noise.indexed_uniforms(self._seed, self._stream, indices, sum(_DRAWS))
        order, distractor, parts, background = np.split(draws, np.cumsum(_DRAWS)[:-1], axis=1)
        contents = _choose_parts(indices % len(CLASS_PARTS), order, distractor[:, 0])  # [n, 4]
        planes = _draw_background(background, self._size)  # [n, 3, size, size]
        grid = self._size // CELL
        part_maps = np.zeros((len(indices), grid, grid, len(PART_NAMES) + 1), bool)
        for quadrant in range(4):
            top, left = np.array(divmod(quadrant, 2)) * self._half
            drawn = parts[:, quadrant * _PART_DRAWS : (quadrant + 1) * _PART_DRAWS]
            masks, centres = self._place(contents[:, quadrant], drawn[:, :4])
            below, beside = slice(top, top + self._half), slice(left, left + self._half)
            view = planes[:, :, below, beside]
            coverage, light_coverage = masks[:, :1], masks[:, 1:]  # [n, 1, half, half]
            light, dark = _tones(drawn[:, 4:])  # [n, 3, 1, 1]
            view *= 1 - coverage
            view += light * light_coverage + dark * (coverage - light_coverage)

            covered = self._pool[:, below] @ masks[:, 0] @ self._pool[:, beside].T
            cells = covered >= 0.25  # [n, size / 8, size / 8]
            rows, columns = ((centres + np.array([top, left])) // CELL).T
            cells[np.arange(len(indices)), rows, columns] = True
            part_maps[np.arange(len(indices)), :, :, contents[:, quadrant]] = cells
        images = np.rint(planes * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        return images, part_maps[..., :_EMPTY]

    def _place(self, contents, draws):
        """Returns each part's masks [n, 2, half, half] and its centre [n, 2], row and column."""
        diameter = (draws[:, 0] * len(_DIAMETERS)).astype(int)
        angle = (draws[:, 1] * len(_ANGLES)).astype(int)
        reach = self._reach[diameter, np.newaxis]
        shift = (draws[:, 2:] * (2 * reach + 1)).astype(int) - reach  # [n, 2]
        # A part that moves right is seen through a window of the atlas that moves left.
        window = self._reach.max() - shift[:, :, np.newaxis] + np.arange(self._half)  # [n, 2, half]
        sprites = np.array([contents, diameter, angle])[:, :, np.newaxis, np.newaxis]
        rows, columns = window[:, 0, :, np.newaxis], window[:, 1, np.newaxis, :]
        masks = [self._atlas[*sprites, tone, rows, columns] for tone in range(2)]
        return np.stack(masks, axis=1), self._half // 2 + shift


def _choose_parts(labels, order_draws, distractor_draws):
    """Returns the part of each quadrant, [n, 4]: those of the class, and one more or `_EMPTY`."""
    class_parts = np.array(CLASS_PARTS)
    others = np.array(
        [[part for part in range(_EMPTY) if part not in parts] for parts in CLASS_PARTS]
    )
    # Half of the scenes have a distractor.
    choice = (2 * distractor_draws * others.shape[1]).astype(int)
    candidates = np.concatenate([others, np.full_like(others, _EMPTY)], axis=1)[labels]
    fourth = np.take_along_axis(candidates, choice[:, np.newaxis], axis=1)
    contents = np.concatenate([class_parts[labels], fourth], axis=1)
    return np.take_along_axis(contents, order_draws.argsort(axis=1), axis=1)


def _tones(draws):
    """Returns the light and dark colour of a part, [n, 3, 1, 1] each, in [0, 1].

    Hues are free; luminance is above that of every background for one, and below for the other.
    """
    light, dark = _hue(draws[:, 0]), _hue(draws[:, 1])
    light_luminance, dark_luminance = light @ _LUMINANCE, dark @ _LUMINANCE
    white = np.clip((0.75 + 0.2 * draws[:, 2] - light_luminance) / (1 - light_luminance), 0, 1)
    light += (1 - light) * white[:, np.newaxis]
    dark *= np.minimum((0.03 + 0.12 * draws[:, 3]) / dark_luminance, 1)[:, np.newaxis]
    return (tone.astype(np.float32)[:, :, np.newaxis, np.newaxis] for tone in (light, dark))


def _hue(draws):
    """Fully saturated colours, float [n, 3]."""
    return np.clip(np.abs((6 * draws[:, np.newaxis] - [0, 2, 4]) % 6 - 3) - 1, 0, 1)


def _draw_background(draws, size):
    """Returns muted, textured backgrounds: float32 [n, 3, size, size], luminance 0.19 to 0.71.

    Two waves over a slope, each in a tone of its own. All are sums of products of a function of y
    and one of x, which makes the drawing one product of matrices.
    """
    tones = (draws[:, :12].reshape(-1, 3, 4) - 0.5) * [0.2, 0.15, 0.1, 0.1]
    slope, *waves = 2 * np.pi * draws[:, 12:, np.newaxis].swapaxes(0, 1)  # [n, 1] each
    axis = (np.arange(size) + 0.5) / size - 0.5
    ones = np.ones((len(draws), size))
    rows, columns = [ones, ones, np.sin(slope) * axis], [ones, np.cos(slope) * axis, ones]
    for direction, frequency, phase in (waves[:3], waves[3:]):
        pace = 2 * np.pi + 5 * frequency  # One to six cycles in an image.
        y, x = pace * np.sin(direction) * axis, pace * np.cos(direction) * axis + phase
        rows += [np.sin(y), np.cos(y)]  # sin(y + x) = sin(y) cos(x) + cos(y) sin(x)
        columns += [np.cos(x), np.sin(x)]
    rows, columns = (np.stack(factor, axis=1, dtype=np.float32) for factor in (rows, columns))
    amplitudes = np.repeat(tones.astype(np.float32), [1, 2, 2, 2], axis=2)  # [n, 3, 7]
    rows = (amplitudes[..., np.newaxis] * rows[:, np.newaxis]).swapaxes(2, 3)  # [n, 3, size, 7]
    return 0.45 + rows @ columns[:, np.newaxis]
