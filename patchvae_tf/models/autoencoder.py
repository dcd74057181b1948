"""What PatchVAE and β-VAE share: how far a reconstruction is from its image."""

from patchvae_tf import backbones, losses
from patchvae_tf.errors import InputError
from patchvae_tf.layers import LaplacianWeights
from patchvae_tf.models.base import UnsupervisedModel, dtype_policy_scope
from patchvae_tf.models.discriminators import image_discriminator


class Autoencoder(UnsupervisedModel):
    """A model that learns by rebuilding images.

    Args:
        image_size: int, side of the square images in pixels; a multiple of 8.
        weighted_reconstruction: bool, L_w instead of the plain squared error.
        adversarial_weight: float, factor of the GAN loss on reconstructions (the supplementary,
            section A); 0 for none, and no discriminator.
        seed: int, of all noise in training.
        **kwargs: as of `keras.Model`.

    Raises:
        InputError: an argument out of range.
    """

    def __init__(self, image_size, weighted_reconstruction, adversarial_weight, seed, **kwargs):
        super().__init__(image_size, backbones.STRIDE, seed, **kwargs)
        if not adversarial_weight >= 0.0:
            raise InputError(
                f"`adversarial_weight` must be at least 0. Received: {adversarial_weight}"
            )
        self.weighted_reconstruction = weighted_reconstruction
        self.adversarial_weight = adversarial_weight
        self.laplacian_weights = LaplacianWeights(block_size=self.stride)
        if adversarial_weight:
            with dtype_policy_scope(self.dtype_policy):
                self.discriminator = image_discriminator()
            self._track("adversarial", "discriminator_loss", "discriminator_rate")

    def reconstruction_terms(self, images, reconstructions, training):
        """The terms that compare images with their reconstructions, and their weighted sum.

        Args:
            images, reconstructions: float32 [batch, H, W, 3] in [0, 1].
            training: bool, whether batch normalisation uses the batch's moments.

        Returns:
            dict: name -> float32 [batch]: `loss`, `reconstruction`; with a discriminator
            `adversarial`, before its weight, `discriminator_loss`, `discriminator_rate`.
        """
        weights = self.laplacian_weights(images) if self.weighted_reconstruction else None
        error = losses.squared_error(images, reconstructions, weights)
        terms = {"loss": error, "reconstruction": error}
        if self.discriminator is None:
            return terms
        # Two calls: each batch is normalised by its own moments.
        real = self.discriminator(images, training=training)  # [batch]
        rebuilt = self.discriminator(reconstructions, training=training)  # [batch]
        adversarial = losses.deceiving_loss(rebuilt)
        return {
            "loss": error + self.adversarial_weight * adversarial,
            "reconstruction": error,
            "adversarial": adversarial,
            "discriminator_loss": losses.discriminator_loss(real, rebuilt),
            "discriminator_rate": losses.discriminator_rate(real, rebuilt),
        }

    def get_config(self):
        names = ("image_size", "weighted_reconstruction", "adversarial_weight", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
