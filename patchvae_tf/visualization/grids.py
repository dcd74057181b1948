"""Pictures of what a model does, as arrays: rows of tiles, ready for PNG or TensorBoard."""

import numpy as np

from patchvae_tf.visualization.colors import as_rgb

_GAP = 2  # pixels between two tiles
_BACKGROUND = 255


def tile(rows: list[list[np.ndarray]], scale: int = 1) -> np.ndarray:
    """Lays images out as a table.

    Args:
        rows: list of lists of images, uint8 [H, W, channels], all of one size.
        scale: int, how many times each pixel is repeated in both directions.

    Returns:
        uint8 [height, width, 3].
    """
    lines = [_joined([_enlarged(image, scale) for image in row], axis=1) for row in rows]
    return _joined(lines, axis=0)


def reconstruction_grid(
    images: np.ndarray, reconstructions: np.ndarray, scale: int = 3
) -> np.ndarray:
    """Originals above their reconstructions.

    Args:
        images, reconstructions: [n, H, W, channels] in [0, 1].
        scale: int, enlargement.

    Returns:
        uint8 [height, width, 3].
    """
    return tile([list(_to_uint8(images)), list(_to_uint8(reconstructions))], scale)


def occurrence_grid(images: np.ndarray, occurrence: np.ndarray, scale: int = 2) -> np.ndarray:
    """A row an image: the image, then where each part occurs.

    The image shows through where the part's probability is 1 and is dark where it is 0: one scale
    for all parts and images.

    Args:
        images: [n, H, W, channels] in [0, 1].
        occurrence: [n, h, w, num_parts], probabilities; h divides H, w divides W.
        scale: int, enlargement.

    Returns:
        uint8 [height, width, 3].
    """
    images, occurrence = np.asarray(images), np.asarray(occurrence)
    block = images.shape[1] // occurrence.shape[1]
    masks = occurrence.repeat(block, axis=1).repeat(block, axis=2)  # [n, H, W, num_parts]
    rows = []
    for image, mask in zip(images, masks, strict=True):
        lit = image[None] * np.moveaxis(mask, -1, 0)[..., None]  # [num_parts, H, W, channels]
        rows.append([_to_uint8(image), *_to_uint8(lit)])
    return tile(rows, scale)


def _to_uint8(images):
    images = as_rgb(np.asarray(images, np.float32))
    return np.clip(images * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _enlarged(image, scale):
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def _joined(tiles, axis):
    """Concatenates along `axis` with a gap between."""
    shape = list(tiles[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, _BACKGROUND, np.uint8)
    pieces = [piece for one in tiles for piece in (one, gap)][:-1]
    return np.concatenate(pieces, axis=axis)
