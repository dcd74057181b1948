"""Tables of pictures with labels, the form of every figure that shows images."""

import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from patchvae_tf.visualization.colors import as_rgb

DOTS = 100  # a figure's dots per inch; one of them is a pixel of a page
_GAP = 4  # dots between two tiles
_LINE = 11  # dots, height of a line of text
_SMALL, _NORMAL = 7.5, 8.5  # points


def picture_table(
    rows: list,
    *,
    tile_dots: int = 64,
    row_labels: list[str] | None = None,
    column_labels: list[str] | None = None,
    captions: list | None = None,
    title: str | None = None,
    colour_map: Colormap | None = None,
    colour_label: str | None = None,
) -> Figure:
    """Draws images as a table.

    Args:
        rows: list of lists of images, uint8 [H, W, channels]; None leaves a place empty.
        tile_dots: int, side that every image is brought to, in dots (100 an inch).
        row_labels, column_labels: lists of str, or None.
        captions: list of lists of str, below each image; or None.
        title: str, of the figure.
        colour_map: matplotlib colour map of values in [0, 1] whose bar is shown below; or None.
        colour_label: str, what the bar's values are.

    Returns:
        matplotlib `Figure`.
    """
    lines_of_captions = max(
        (text.count("\n") + 1 for row in captions or () for text in row), default=0
    )
    lines_of_labels = max((text.count("\n") + 1 for text in column_labels or ()), default=0)
    columns = max(len(row) for row in rows)
    left = 14 + max((_width(text) for text in row_labels or ()), default=-6)
    top = 8 + (22 if title else 0) + lines_of_labels * (_LINE + 1)
    bottom = 8 + (42 if colour_map else 0)
    pitch = tile_dots + _GAP + lines_of_captions * _LINE + (3 if lines_of_captions else 0)
    width = max(
        left + columns * (tile_dots + _GAP) + 8, 24 + _width(title or "", _NORMAL + 1, "bold")
    )
    height = top + len(rows) * pitch + bottom
    figure = Figure(figsize=(width / DOTS, height / DOTS), dpi=DOTS, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    if title:
        axes.text(8, 8, title, fontsize=_NORMAL + 1, va="top", weight="bold")
    for column, text in enumerate(column_labels or ()):
        x = left + column * (tile_dots + _GAP) + tile_dots / 2
        axes.text(x, top - 4, text, fontsize=_SMALL, ha="center", va="bottom", linespacing=1.1)
    # One picture for all tiles: drawing many takes seconds.
    canvas = np.full((round(height), round(width), 3), 255, np.uint8)
    for row, images in enumerate(rows):
        y = round(top + row * pitch)
        if row_labels:
            axes.text(
                left - 6,
                y + tile_dots / 2,
                row_labels[row],
                fontsize=_SMALL,
                ha="right",
                va="center",
                linespacing=1.2,
            )
        for column, image in enumerate(images):
            if image is None:
                continue
            x = round(left + column * (tile_dots + _GAP))
            canvas[y : y + tile_dots, x : x + tile_dots] = _resized(image, tile_dots)
            if captions:
                axes.text(
                    x + tile_dots / 2,
                    y + tile_dots + 2,
                    captions[row][column],
                    fontsize=_SMALL - 1,
                    ha="center",
                    va="top",
                    linespacing=1.05,
                )
    axes.imshow(
        canvas,
        extent=(0, canvas.shape[1], canvas.shape[0], 0),
        interpolation="nearest",
        aspect="auto",
    )
    if colour_map:
        _colour_bar(figure, width, height, colour_map, colour_label)
    return figure


def as_uint8(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1], any shape, as uint8; uint8 ones as they are."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.clip(images.astype(np.float32) * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _width(text, size=_SMALL, weight="normal"):
    """Dots that the longest line of a text needs."""
    font = FontProperties(size=size, weight=weight)
    return max(
        TextPath((0, 0), line, prop=font).get_extents().width * DOTS / 72 if line.strip() else 0
        for line in text.split("\n")
    )


def _resized(image, side):
    """The nearest pixel for each of side × side places: pixels stay what they are."""
    rows, columns = (np.arange(side) * length // side for length in image.shape[:2])
    return as_uint8(as_rgb(image))[rows[:, np.newaxis], columns]


def _colour_bar(figure, width, height, colour_map, label):
    length = min(240, width - 40)
    axes = figure.add_axes((16 / width, 26 / height, length / width, 9 / height))
    axes.imshow(
        np.linspace(0, 1, 256)[np.newaxis], cmap=colour_map, extent=(0, 1, 0, 1), aspect="auto"
    )
    axes.set_yticks([])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.tick_params(labelsize=_SMALL, length=2, pad=2)
    if label:
        axes.set_title(label, fontsize=_SMALL, loc="left", pad=3)
