"""L_w as in the paper's supplementary, Figure 1: what the reconstruction loss looks at."""

import numpy as np
from matplotlib.figure import Figure

from patchvae_tf.layers.laplacian_weights import LaplacianWeights, absolute_laplacian
from patchvae_tf.visualization.inputs import as_float
from patchvae_tf.visualization.tables import picture_table


def weight_mask_figure(images: np.ndarray, block_size: int = 8) -> Figure:
    """Image, absolute Laplacian, weight mask and product of image and mask, one row each.

    Args:
        images: [n, H, W, channels], uint8 or float in [0, 1]; H and W multiples of `block_size`.
        block_size: int, side of a block in pixels; the model's stride.

    Returns:
        matplotlib `Figure`. Laplacian and mask are the means over the channels, each divided by
        its greatest value in the image; the product is divided by its own.
    """
    originals = as_float(images)
    edges = np.mean(absolute_laplacian(originals), axis=-1)  # [n, H, W]
    weights = LaplacianWeights(block_size)(originals).numpy()  # [n, H, W, channels]
    product = originals.numpy() * weights
    return picture_table(
        [
            list(originals.numpy()),
            [_grey(image) for image in edges],
            [_grey(image) for image in weights.mean(axis=-1)],
            [image / max(image.max(), 1e-6) for image in product],
        ],
        tile_dots=80,
        row_labels=["image", "Laplacian", "weight mask", "image × mask"],
        title=f"The weights of L_w, a block of {block_size} × {block_size} pixels each",
    )


def _grey(values):
    """[H, W] as a grey image whose white is the greatest value."""
    return np.repeat((values / max(values.max(), 1e-6))[..., np.newaxis], 3, axis=-1)
