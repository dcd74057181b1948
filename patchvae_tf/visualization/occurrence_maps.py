"""Where each part occurs: heat maps over the images."""

import keras
import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from patchvae_tf.visualization.colors import as_rgb
from patchvae_tf.visualization.inputs import as_float, check_has_parts, outputs_of
from patchvae_tf.visualization.tables import as_uint8, picture_table

# From dark blue to yellow, even in lightness: legible to the colour-blind, and in grey.
_COLOURS = matplotlib.colormaps["cividis"]
_OPACITY = 0.6  # of the colours over the image
_GREYS = (0.25, 0.65)  # what black and white of the image become: colours tell the probability
MOST_PARTS = 32  # rows of a figure

# Of the bar beside the maps: the colours over mid-grey, as they are seen.
COLOUR_MAP = ListedColormap(
    _OPACITY * _COLOURS(np.linspace(0, 1, 256))[:, :3] + (1 - _OPACITY) * np.mean(_GREYS)
)


def occurrence_figure(
    model: keras.Model, images: np.ndarray, parts: list[int] | None = None
) -> Figure:
    """Occurrence maps over images: a row a part, a column an image, one colour scale for all.

    Args:
        model: a `PatchVAE`.
        images: [n, H, W, channels], uint8 or float in [0, 1].
        parts: list of int, which and in which order; None: the 32 that are most probable in these
            images, by number.

    Returns:
        matplotlib `Figure`. A row's label has the part's number and the mean of its probability
        over these images.

    Raises:
        InputError: the model has no parts.
    """
    check_has_parts(model)
    occurrence = outputs_of(model, images)["occurrence"]  # [n, h, w, num_parts]
    if parts is None:
        peaks = occurrence.max(axis=(0, 1, 2))
        parts = sorted(np.argsort(-peaks, kind="stable")[:MOST_PARTS].tolist())
    originals = as_uint8(as_float(images))
    rows = [list(originals)]
    for part in parts:
        rows.append(
            [heat_map(*pair) for pair in zip(originals, occurrence[..., part], strict=True)]
        )
    labels = [f"part {part}\nmean {occurrence[..., part].mean():.0%}" for part in parts]
    shown = "" if len(parts) == model.num_parts else f" ({len(parts)} of {model.num_parts} parts)"
    return picture_table(
        rows,
        tile_dots=72,
        row_labels=["image", *labels],
        title=f"Where each part occurs{shown}",
        colour_map=COLOUR_MAP,
        colour_label="probability that the part occurs",
    )


def heat_map(image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Lays a map of probabilities over the image, itself in grey.

    Args:
        image: [H, W, channels], uint8 or float in [0, 1].
        probabilities: [h, w] in [0, 1]; h divides H, w divides W.

    Returns:
        uint8 [H, W, 3].
    """
    image = as_uint8(as_rgb(image))
    grey = image.astype(np.float32).mean(axis=-1, keepdims=True) / 255.0  # [H, W, 1]
    grey = _GREYS[0] + (_GREYS[1] - _GREYS[0]) * grey
    blocks = np.kron(probabilities, np.ones(np.array(image.shape[:2]) // probabilities.shape))
    colours = _COLOURS(blocks)[..., :3]  # [H, W, 3]
    return as_uint8((1 - _OPACITY) * grey + _OPACITY * colours)


def maps_figure(
    image: np.ndarray, occurrence: np.ndarray, parts: list[int] | None = None, columns: int = 8
) -> Figure:
    """The occurrence maps of one image, side by side.

    Args:
        image: [H, W, channels], uint8 or float in [0, 1].
        occurrence: [h, w, num_parts] in [0, 1]; h divides H, w divides W.
        parts: list of int, which and in which order; None: all.
        columns: int, maps in a row.

    Returns:
        matplotlib `Figure`. Below each map stand the part's number and its highest probability.
    """
    parts = list(range(occurrence.shape[-1])) if parts is None else parts
    tiles = [heat_map(image, occurrence[..., part]) for part in parts]
    captions = [f"part {part}: {occurrence[..., part].max():.2f}" for part in parts]
    starts = range(0, len(parts), columns)
    return picture_table(
        [tiles[start : start + columns] for start in starts],
        tile_dots=80,
        captions=[captions[start : start + columns] for start in starts],
        colour_map=COLOUR_MAP,
        colour_label="probability that the part occurs",
    )
