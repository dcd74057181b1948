"""Part galleries: the patches where a part occurs with the highest probability."""

import dataclasses
import textwrap
from collections.abc import Sequence

import keras
import numpy as np
from matplotlib.figure import Figure

from patchvae_tf.visualization.inputs import check_has_parts
from patchvae_tf.visualization.part_survey import Finding, Survey
from patchvae_tf.visualization.receptive_field import receptive_field
from patchvae_tf.visualization.swaps import painted_alone
from patchvae_tf.visualization.tables import as_uint8, picture_table

_HEAD_KERNEL = 3  # of the convolution from φ's features to the occurrence logits


def gallery_figure(
    model: keras.Model,
    survey: Survey,
    parts: Sequence[int] | None = None,
    patch_size: int | None = None,
    names: dict[int, str] | None = None,
    columns: int | None = None,
) -> Figure:
    """A row a part: what it paints alone, then its best patches, with probability and class.

    What it paints is drawn with its look and its places in the image of its best patch.

    Args:
        model: the `PatchVAE` that was surveyed.
        survey: `Survey`.
        parts: list of int, which and in which order; None: all, by number.
        patch_size: int, pixels of a side, around the middle of the location; None: twice the
            stride. The title says it, beside the receptive field.
        names: dict part -> name; None: numbers alone, and what is known of the patches' classes.
        columns: int, patches of a row at most; None: all that were kept.

    Returns:
        matplotlib `Figure`.

    Raises:
        InputError: the model has no parts.
    """
    check_has_parts(model)
    parts = range(model.num_parts) if parts is None else parts
    size = patch_size or 2 * model.stride
    findings = {part: survey.findings[part][:columns] for part in parts}
    rows = [
        [_alone(model, part, found, size), *(patch(one, model.stride, size) for one in found)]
        for part, found in findings.items()
    ]
    seen = receptive_field(model.backbone) + (_HEAD_KERNEL - 1) * model.stride
    return picture_table(
        rows,
        tile_dots=80,
        row_labels=[
            f"{(names or {}).get(part, f'part {part}')}\nin {survey.present[part]:.1%}\nof images"
            for part in parts
        ],
        captions=[
            ["alone", *(_caption(one, None if names else survey.class_names) for one in found)]
            for found in findings.values()
        ],
        title=f"Where each part is most probable: {size} × {size} pixels (a location sees {seen})",
    )


def _alone(model, part, found, size):
    """What a part paints with the look and at the place of its best patch, or None."""
    if not found:
        return None
    best = found[0]
    painted = painted_alone(model, best.image, part)
    return patch(dataclasses.replace(best, image=as_uint8(painted)), model.stride, size)


def patch(finding: Finding, stride: int, size: int) -> np.ndarray:
    """Cuts the square around the middle of a finding's location.

    Args:
        finding: `Finding`.
        stride: int, pixels of a location's side.
        size: int, pixels of the patch's side.

    Returns:
        uint8 [size, size, channels]; mid-grey beyond the image's border.
    """
    margin = size  # enough on every side
    pixels = np.pad(
        finding.image, [(margin, margin), (margin, margin), (0, 0)], constant_values=128
    )
    top, left = (
        round((place + 0.5) * stride - size / 2) + margin for place in (finding.row, finding.column)
    )
    return pixels[top : top + size, left : left + size]


def class_name(label: int, class_names: Sequence[str] | None) -> str | None:
    """A label as people read it, or None."""
    if label < 0:
        return None
    return f"class {label}" if class_names is None else str(class_names[label]).replace("_", " ")


def _caption(finding, class_names):
    name = class_name(finding.label, class_names)
    if name is None:
        return f"{finding.probability:.2f}"
    lines = textwrap.wrap(name.replace("+", " + "), 14, max_lines=3, placeholder=" …")
    return "\n".join([f"{finding.probability:.2f}", *lines])
