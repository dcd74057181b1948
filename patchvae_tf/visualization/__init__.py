"""Pictures from a model and images; knows no trainer."""

from patchvae_tf.visualization.grids import occurrence_grid, reconstruction_grid, tile

__all__ = ["occurrence_grid", "reconstruction_grid", "tile"]
