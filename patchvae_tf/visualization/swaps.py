"""What a part's code does: its look taken from another image, or its place changed."""

import keras
import numpy as np
from matplotlib.figure import Figure

from patchvae_tf.visualization.inputs import as_float, check_part, outputs_of
from patchvae_tf.visualization.tables import picture_table


def swap_appearance(
    model: keras.Model, image: np.ndarray, donor: np.ndarray, part: int
) -> np.ndarray:
    """Rebuilds an image with the look that a part has in another.

    Args:
        model: a `PatchVAE`.
        image, donor: [H, W, channels], uint8 or float in [0, 1].
        part: int.

    Returns:
        float32 [H, W, 3] in [0, 1].

    Raises:
        InputError: the model has no such part.
    """
    check_part(model, part)
    codes, of_donor = (
        outputs_of(model, one[np.newaxis]) for one in map(np.asarray, (image, donor))
    )
    appearance = codes["appearance_mean"].copy()  # [1, num_parts, appearance_dim]
    appearance[:, part] = of_donor["appearance_mean"][:, part]
    return _decoded(model, codes["occurrence"], appearance)


def move_part(
    model: keras.Model, image: np.ndarray, part: int, rows: int, columns: int
) -> np.ndarray:
    """Rebuilds an image with a part moved on the grid of locations.

    Args:
        model: a `PatchVAE`.
        image: [H, W, channels], uint8 or float in [0, 1].
        part: int.
        rows, columns: int, how far down and to the right, in locations (8 pixels each). What leaves
            the grid is lost; where nothing comes in the part does not occur.

    Returns:
        float32 [H, W, 3] in [0, 1].

    Raises:
        InputError: the model has no such part.
    """
    check_part(model, part)
    codes = outputs_of(model, np.asarray(image)[np.newaxis])
    occurrence = codes["occurrence"].copy()  # [1, h, w, num_parts]
    occurrence[0, ..., part] = shifted(occurrence[0, ..., part], rows, columns)
    return _decoded(model, occurrence, codes["appearance_mean"])


def painted_alone(model: keras.Model, image: np.ndarray, part: int) -> np.ndarray:
    """What the decoder paints for one part of an image, and for nothing else.

    Args:
        model: a `PatchVAE`.
        image: [H, W, channels], uint8 or float in [0, 1], of which the part has its look and
            places.
        part: int.

    Returns:
        float32 [H, W, 3] in [0, 1].

    Raises:
        InputError: the model has no such part.
    """
    check_part(model, part)
    codes = outputs_of(model, np.asarray(image)[np.newaxis])
    occurrence = np.zeros_like(codes["occurrence"])  # [1, h, w, num_parts]
    occurrence[..., part] = codes["occurrence"][..., part]
    return _decoded(model, occurrence, codes["appearance_mean"])


def _decoded(model, occurrence, appearance):
    """The image of one code: float32 [H, W, 3] in [0, 1]."""
    return model.decoder(model.latent_map(occurrence, appearance)).numpy()[0]


def shifted(grid: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A grid [h, w] moved down and to the right, filled up with 0."""
    height, width = grid.shape
    moved = np.zeros_like(grid)
    top, left = min(max(rows, 0), height), min(max(columns, 0), width)
    kept = grid[max(-rows, 0) : height - top, max(-columns, 0) : width - left]
    moved[top : top + kept.shape[0], left : left + kept.shape[1]] = kept
    return moved


def swap_figure(model: keras.Model, findings: dict[int, list]) -> Figure:
    """A row a part: an image, another one, the first with the other's look, and with it moved.

    Args:
        model: a `PatchVAE`.
        findings: dict part -> list of two `Finding`s or more; the first is image A, image B the
            one of the others whose part looks least like A's. The part moves by half the grid,
            away from where it was found.

    Returns:
        matplotlib `Figure`. Differences are against the rebuilt image, on the images' own scale
        times 3.
    """
    rows = []
    for part, several in findings.items():
        outputs = outputs_of(model, np.stack([one.image for one in several]))
        looks = outputs["appearance_mean"][:, part]  # [n, appearance_dim]
        farthest = np.argmax(np.linalg.norm(looks - looks[0], axis=-1))
        found, donor = several[0], several[farthest]
        rebuilt = outputs["reconstruction"][0]
        swapped = swap_appearance(model, found.image, donor.image, part)
        moved = move_part(model, found.image, part, *_away(found, model))
        originals = [as_float(one.image).numpy() for one in (found, donor)]
        changes = [np.clip(3 * np.abs(one - rebuilt), 0, 1) for one in (swapped, moved)]
        rows.append([*originals, rebuilt, swapped, changes[0], moved, changes[1]])
    return picture_table(
        rows,
        tile_dots=80,
        row_labels=[f"part {part}" for part in findings],
        column_labels=[
            "image A", "image B", "A rebuilt", "A, the part\nas in B", "change × 3",
            "A, the part\nmoved", "change × 3",
        ],
        title="The code of one part, changed",
    )  # fmt: skip


def _away(found, model):
    """(rows, columns) by half the grid, towards the farther side."""
    size = found.image.shape[0] // model.stride
    half = max(size // 2, 1)
    return tuple(half if place < half else -half for place in (found.row, found.column))
