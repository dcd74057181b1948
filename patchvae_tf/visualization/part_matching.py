"""Learned parts beside the true ones, on the generated images `parts`."""

from collections.abc import Sequence

import keras
import numpy as np
from matplotlib.figure import Figure

from patchvae_tf.visualization.inputs import as_float, check_has_parts, outputs_of
from patchvae_tf.visualization.occurrence_maps import COLOUR_MAP, heat_map
from patchvae_tf.visualization.tables import as_uint8, picture_table


def matching_figure(
    model: keras.Model,
    images: np.ndarray,
    part_maps: np.ndarray,
    matches: list,
    part_names: Sequence[str],
    columns: int = 8,
) -> Figure:
    """A row a true part: images that have it, each with the map of its learned part.

    Args:
        model: a `PatchVAE`.
        images: [n, H, W, channels], uint8 or float in [0, 1].
        part_maps: bool [n, h, w, P], where the true parts are.
        matches: list of P pairs (learned part or None, area under the ROC curve).
        part_names: names of the P true parts.
        columns: int, tiles of a row: an image and its map by turns.

    Returns:
        matplotlib `Figure`; the rows with the greatest areas first.

    Raises:
        InputError: the model has no parts.
    """
    check_has_parts(model)
    rows, labels = [], []
    for true in sorted(range(len(matches)), key=lambda true: -matches[true][1]):
        learned, area = matches[true]
        having = np.flatnonzero(part_maps[..., true].any(axis=(1, 2)))[: columns // 2]
        chosen = as_uint8(as_float(images[having]))
        occurrence = outputs_of(model, chosen)["occurrence"]
        row = []
        for image, maps in zip(chosen, occurrence, strict=True):
            row += [image, None if learned is None else heat_map(image, maps[..., learned])]
        rows.append(row)
        name = part_names[true].replace("_", " ")
        found = "no part" if learned is None else f"part {learned}"
        labels.append(f"{name}\n{found}, area {area:.2f}")
    return picture_table(
        rows,
        tile_dots=72,
        row_labels=labels,
        title="True parts, and the learned part matched with each",
        colour_map=COLOUR_MAP,
        colour_label="probability that the learned part occurs",
    )
