"""What PatchVAE and β-VAE share: views to learn from, and a reconstruction to compare."""

from patchvae_tf.layers import LaplacianWeights, RandomViews
from patchvae_tf.models.base import UnsupervisedModel
from patchvae_tf.models.discriminators import image_discriminator
from patchvae_tf.models.distributed import dtype_policy_scope
from patchvae_tf.settings import Views
from patchvae_tf.settings.objectives import Reconstruction


class Autoencoder(UnsupervisedModel):
    """A model that learns by rebuilding images.

    Args:
        image_size, backbone, stride, channels, seed, **kwargs: as of `UnsupervisedModel`.
        objective: settings.PartObjective or BetaVAEObjective, or the same as a dict.
        views: settings.Views (PatchVAE: ScaledViews too), or the same as a dict.

    Raises:
        InputError: an argument out of range.
    """

    objective_class: type[Reconstruction]
    views_class: type[Views] = Views

    def __init__(self, image_size, backbone, stride, channels, objective, views, seed, **kwargs):
        super().__init__(image_size, backbone, stride, channels, seed, **kwargs)
        self.objective = self.objective_class.of(objective)
        self.views = self.views_class.of(views)
        view_size = self.views.view_size(image_size, self.stride)
        self.views.check_size(view_size)
        self.laplacian_weights = LaplacianWeights(block_size=self.stride)
        self.random_views = RandomViews(self.views, view_size / image_size)
        if self.objective.adversarial_weight:
            with dtype_policy_scope(self.dtype_policy):
                self.discriminator = image_discriminator(channels)
            self._track("adversarial", "discriminator_loss", "discriminator_rate")

    @classmethod
    def _arguments(cls, config):
        return {
            **super()._arguments(config),
            "objective": cls.objective_class.part_of(config),
            "views": cls.views_class.part_of(config),
        }
