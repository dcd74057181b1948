"""From masks and points of whole images to a model's grid of places on their central squares."""

import numpy as np

ROUNDING = 1e-5
COVERED = 0.25 - ROUNDING  # the share of a place that a part covers where the place shows it


def covered(
    maps: np.ndarray, source: tuple[int, int], places: int, least: float = COVERED
) -> np.ndarray:
    """Where parts cover more than a share of a place.

    Args:
        maps: bool [n, h, w, P], of whole images.
        source: (height, width) of the images before they were made square.
        places: int, of a side of the grid.
        least: float, the share.

    Returns:
        bool [n, places, places, P].
    """
    rows, columns = (
        _shares(cells, side, min(source), places)
        for cells, side in zip(maps.shape[1:3], source, strict=True)
    )
    shown = np.empty((len(maps), places, places, maps.shape[-1]), bool)
    for index, one in enumerate(maps):  # one by one: masks may be as large as photographs
        shares = np.tensordot(rows, one.astype(np.float32), 1)  # [places, w, P]
        shares = np.tensordot(columns, shares, (1, 1))  # [places (columns), places (rows), P]
        shown[index] = shares.swapaxes(0, 1) > least
    return shown


def _shares(cells, side, shorter, places):
    """How much of each place of the central square lies in each cell, along one axis.

    Args:
        cells: int, of the mask, along the whole image.
        side: int, of the image, in pixels.
        shorter: int, the image's shorter side: that of the square.
        places: int.

    Returns:
        float32 [places, cells]; sums to 1 over the cells.
    """
    edges = (side - shorter) / 2 + shorter * np.arange(places + 1) / places  # [places + 1], pixels
    edges *= cells / side  # in cells
    low, high = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    cell = np.arange(cells)
    shared = np.maximum(np.minimum(high, cell + 1) - np.maximum(low, cell), 0)
    return (shared / (high - low)).astype(np.float32)


def near(points: np.ndarray, source: tuple[int, int], places: int) -> np.ndarray:
    """Where points are within a place's side of its centre: bool [n, places, places, P].

    Args:
        points: float [n, P, 2], x and y in pixels of the images before they were made square.
        source: (height, width) of these.
        places: int, of a side of the grid.
    """
    height, width = source
    corner = (np.array([width, height]) - min(source)) / 2
    points = (points - corner) * places / min(source)  # [n, P, 2], in places
    centres = np.arange(places) + 0.5
    across = np.square(centres[:, np.newaxis] - points[:, np.newaxis, :, 0])  # [n, places, P]
    down = np.square(centres[:, np.newaxis] - points[:, np.newaxis, :, 1])
    return down[:, :, np.newaxis] + across[:, np.newaxis] <= 1.0  # NaN is near nothing
