"""Pictures from a model and images, as matplotlib figures or arrays; knows no trainer."""

from patchvae_tf.visualization.colors import as_rgb, channels_shown
from patchvae_tf.visualization.curves import curves_figure
from patchvae_tf.visualization.first_layer import first_layer_figure
from patchvae_tf.visualization.galleries import gallery_figure
from patchvae_tf.visualization.grids import occurrence_grid, reconstruction_grid, tile
from patchvae_tf.visualization.occurrence_maps import heat_map, maps_figure, occurrence_figure
from patchvae_tf.visualization.outlines import outlined_figure
from patchvae_tf.visualization.part_matching import matching_figure
from patchvae_tf.visualization.part_statistics import (
    cooccurrence_figure,
    frequency_figure,
    pairs_in_words,
)
from patchvae_tf.visualization.part_survey import Finding, Survey, survey
from patchvae_tf.visualization.prior_samples import prior_figure, sample_prior
from patchvae_tf.visualization.projection import project, projection_figure
from patchvae_tf.visualization.receptive_field import receptive_field
from patchvae_tf.visualization.reconstructions import reconstruction_figure
from patchvae_tf.visualization.swaps import move_part, painted_alone, swap_appearance, swap_figure
from patchvae_tf.visualization.tables import picture_table
from patchvae_tf.visualization.weight_masks import weight_mask_figure

__all__ = [
    "Finding",
    "Survey",
    "as_rgb",
    "channels_shown",
    "cooccurrence_figure",
    "curves_figure",
    "first_layer_figure",
    "frequency_figure",
    "gallery_figure",
    "heat_map",
    "maps_figure",
    "matching_figure",
    "move_part",
    "occurrence_figure",
    "occurrence_grid",
    "outlined_figure",
    "painted_alone",
    "pairs_in_words",
    "picture_table",
    "prior_figure",
    "project",
    "projection_figure",
    "receptive_field",
    "reconstruction_figure",
    "reconstruction_grid",
    "sample_prior",
    "survey",
    "swap_appearance",
    "swap_figure",
    "tile",
    "weight_mask_figure",
]
