"""The first layer's filters: what φ looks for in pixels."""

import keras
import numpy as np
from matplotlib.figure import Figure

from patchvae_tf.visualization.tables import picture_table

_COLUMNS = 16


def first_layer_figure(model: keras.Model) -> Figure:
    """The kernels of φ's first convolution as colour images.

    Args:
        model: an `UnsupervisedModel`.

    Returns:
        matplotlib `Figure`; each kernel on a scale of its own, mid-grey is 0.
    """
    kernels = np.moveaxis(first_layer_kernels(model), -1, 0)  # [filters, rows, columns, channels]
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    pictures = 0.5 + 0.5 * kernels / np.maximum(largest, 1e-12)
    size = kernels.shape[1]
    return picture_table(
        [list(pictures[start : start + _COLUMNS]) for start in range(0, len(pictures), _COLUMNS)],
        tile_dots=6 * size,
        title=f"The first layer's {len(pictures)} filters, {size} × {size} pixels",
    )


def first_layer_kernels(model: keras.Model) -> np.ndarray:
    """float32 [rows, columns, channels, filters]: the kernels of φ's first convolution."""
    first = next(layer for layer in model.backbone.layers if hasattr(layer, "kernel"))
    return np.asarray(first.kernel)
