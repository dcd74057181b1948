"""Images with their parts outlined: which part is where, at one look."""

import keras
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from patchvae_tf.visualization.colors import as_rgb
from patchvae_tf.visualization.inputs import as_float, check_has_parts, outputs_of
from patchvae_tf.visualization.tables import DOTS, as_uint8

_LEAST = 0.4  # the probability from which on a place is outlined


def outlined_figure(
    model: keras.Model,
    images: np.ndarray,
    names: dict[int, str] | None = None,
    columns: int = 4,
    tile_dots: int = 180,
) -> Figure:
    """Images, around each part that occurs a line of the part's colour with its name.

    Args:
        model: a `PatchVAE`.
        images: [n, H, W, channels], uint8 or float in [0, 1].
        names: dict part -> name, of those to be outlined; None: all, by their numbers.
        columns: int, images a row.
        tile_dots: int, side of an image in dots (100 an inch).

    Returns:
        matplotlib `Figure`.

    Raises:
        InputError: the model has no parts.
    """
    check_has_parts(model)
    if names is None:
        names = {part: f"part {part}" for part in range(model.num_parts)}
    colours = {
        part: colormaps["tab20" if len(names) > 10 else "tab10"](number % 20)
        for number, part in enumerate(names)
    }
    occurrence = outputs_of(model, as_uint8(as_float(images)))["occurrence"]  # [n, h, w, num_parts]
    rows = -(-len(images) // columns)
    figure = Figure((columns * tile_dots / DOTS, rows * tile_dots / DOTS), dpi=DOTS)
    for number, (image, maps) in enumerate(zip(images, occurrence, strict=True)):
        row, column = divmod(number, columns)
        axes = figure.add_axes(
            (column / columns, 1 - (row + 1) / rows, 0.99 / columns, 0.99 / rows)
        )
        axes.imshow(as_uint8(as_rgb(image)), extent=(0, 1, 1, 0), interpolation="nearest")
        axes.axis("off")
        for part, name in names.items():
            if maps[..., part].max() >= _LEAST:
                _outline(axes, maps[..., part], name, colours[part])
    return figure


def _outline(axes, occurrence, name, colour):
    """A line where a map is half of its greatest value, in an image from 0 to 1 on each side."""
    height, width = occurrence.shape
    # A border of 0, so that lines close at the image's edge.
    padded = np.pad(occurrence, 1)
    x = (np.arange(width + 2) - 0.5) / width
    y = (np.arange(height + 2) - 0.5) / height
    level = max(_LEAST, occurrence.max()) / 2
    axes.contour(x, y, padded, levels=[level], colors=[colour], linewidths=2.0)
    axes.set(xlim=(0, 1), ylim=(1, 0))
    row, column = np.unravel_index(occurrence.argmax(), occurrence.shape)
    axes.text(
        np.clip((column + 0.5) / width, 0.22, 0.78),  # that the name is within the image
        (row + 0.5) / height,
        name,
        fontsize=7,
        ha="center",
        va="center",
        color="white",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
    )
