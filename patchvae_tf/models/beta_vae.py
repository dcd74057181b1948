"""β-VAE (Higgins et al., ICLR 2017), the paper's baseline: one code for the whole image.

Architecture: the supplementary, Tables 1-4. Distance from the paper: none known.
"""

import keras
import tensorflow as tf

from patchvae_tf import backbones, losses
from patchvae_tf.layers import BatchNormalization, Conv2D, GaussianSampling
from patchvae_tf.layers.appearance import variance_from_log
from patchvae_tf.models.autoencoder import Autoencoder
from patchvae_tf.models.decoders import global_decoder
from patchvae_tf.models.distributed import dtype_policy_scope
from patchvae_tf.objectives.reconstruction import reconstruction_terms
from patchvae_tf.settings import BetaVAEObjective, GlobalCode


@keras.saving.register_keras_serializable(package="patchvae_tf")
class BetaVAE(Autoencoder):
    """A variational autoencoder with one global Gaussian code.

    Args:
        image_size: int, side of the square images in pixels; a multiple of the stride. Unlike
            PatchVAE's, the parameters depend on it.
        latent_dim: int, width of the code.
        objective: settings.BetaVAEObjective; None for the paper's.
        backbone, stride, channels, views, seed, **kwargs: as of `Autoencoder`.

    Call arguments:
        images: float32 [batch, image_size, image_size, channels] in [0, 1].
        training: bool, whether batch normalisation uses the batch's moments.
        seed: int32 [2] to draw samples; None (default) uses the mean.

    Returns, from a call, a dict of float32 tensors:
        reconstruction: [batch, image_size, image_size, channels] in [0, 1].
        latent_mean, latent_variance: [batch, latent_dim], μ and σ².
        latent: [batch, latent_dim].

    Raises:
        InputError: an argument out of range.
    """

    term_names = ("loss", "reconstruction", "kl")

    settings_name = "beta_vae"
    objective_class = BetaVAEObjective

    def __init__(
        self,
        image_size=32,
        latent_dim=96,
        backbone="resnet9",
        stride=None,
        channels=3,
        objective=None,
        views=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(image_size, backbone, stride, channels, objective, views, seed, **kwargs)
        GlobalCode(latent_dim)
        self.latent_dim = latent_dim

        grid_size = image_size // self.stride
        with dtype_policy_scope(self.dtype_policy):
            self.backbone = backbones.build(self.backbone_name, self.stride, channels)
            self.trunk = keras.Sequential(
                [
                    keras.Input(self.backbone.output_shape[1:]),
                    Conv2D(64, 1, use_bias=False, name="squeeze"),
                    BatchNormalization(name="squeeze_bn"),
                    keras.layers.ReLU(name="squeeze_relu"),
                ],
                name="trunk",
            )
            self.mean_head = Conv2D(latent_dim, grid_size)
            self.log_variance_head = Conv2D(latent_dim, grid_size)
            self.decoder = global_decoder(latent_dim, grid_size, self.stride, channels)
        self.sampling = GaussianSampling()
        self.build((None, image_size, image_size, channels))

    def build(self, input_shape):
        for head in self.heads:
            head.build(self.trunk.output_shape)
        self.built = True

    @property
    def heads(self) -> tuple[keras.layers.Layer, ...]:
        """The two convolutions, as large as the grid, that give the code."""
        return (self.mean_head, self.log_variance_head)

    def encode(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the code's (mean, variance), each float32 [batch, latent_dim]."""
        features = self.backbone(images, training=training)  # [batch, h, w, channels]
        x = self.trunk(features, training=training)  # [batch, h, w, 64]
        mean, log_variance = (
            tf.cast(tf.squeeze(head(x), axis=[1, 2]), tf.float32) for head in self.heads
        )
        return mean, variance_from_log(log_variance)

    def call(
        self, images: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        return self._outputs(images, training, seed)

    def _outputs(self, images, training, seed):
        mean, variance = self.encode(images, training=training)
        latent = self.sampling(mean, variance, seed=seed)
        reconstruction = self.decoder(latent, training=training)
        return {
            "reconstruction": reconstruction,
            "latent_mean": mean,
            "latent_variance": variance,
            "latent": latent,
        }

    def loss_terms(
        self,
        images: tf.Tensor,
        step: tf.Tensor,
        seed: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        seen, target = self.random_views.first(images, seed)
        outputs = self._outputs(seen, training, seed)
        terms = reconstruction_terms(self, target, outputs["reconstruction"], training)
        kl = losses.gaussian_kl(outputs["latent_mean"], outputs["latent_variance"])
        return {
            **terms,
            "loss": terms["loss"] + self.objective.kl_weight * kl,
            "kl": kl,  # nats per image, before its weight
        }
