"""Images, what a model rebuilds of them, and what it misses."""

import keras
import numpy as np
from matplotlib.figure import Figure

from patchvae_tf.visualization.inputs import as_float, outputs_of
from patchvae_tf.visualization.tables import picture_table


def reconstruction_figure(model: keras.Model, images: np.ndarray) -> Figure:
    """Originals, reconstructions and their absolute difference, one row each.

    Args:
        model: an `UnsupervisedModel`.
        images: [n, H, W, channels], uint8 or float in [0, 1].

    Returns:
        matplotlib `Figure`. The difference is on the images' own scale: black is none.
    """
    originals = as_float(images).numpy()
    rebuilt = outputs_of(model, images)["reconstruction"]
    difference = np.abs(originals - rebuilt)
    return picture_table(
        [list(originals), list(rebuilt), list(difference)],
        tile_dots=80,
        row_labels=["image", "rebuilt", "|difference|"],
        title="Images and their reconstructions",
    )
