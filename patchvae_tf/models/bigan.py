"""BiGAN (Donahue, Krähenbühl, Darrell, "Adversarial Feature Learning", ICLR 2017), a baseline.

An encoder and a generator learn against one discriminator of pairs: (image, its code) or (what is
generated from a code, the code). Architecture: the supplementary, Tables 1-4; the discriminator is
ours (`discriminators.joint_discriminator`). Distance from the paper: none known beyond that.
"""

import keras
import tensorflow as tf

from patchvae_tf import backbones, losses, noise
from patchvae_tf.layers import BatchNormalization, Conv2D
from patchvae_tf.models.base import UnsupervisedModel
from patchvae_tf.models.decoders import global_decoder
from patchvae_tf.models.discriminators import joint_discriminator
from patchvae_tf.models.distributed import dtype_policy_scope
from patchvae_tf.settings import GlobalCode


@keras.saving.register_keras_serializable(package="patchvae_tf")
class BiGAN(UnsupervisedModel):
    """A generative adversarial network with an encoder.

    Args:
        image_size: int, side of the square images in pixels; a multiple of the stride. Unlike
            PatchVAE's, the parameters depend on it.
        latent_dim: int, width of the code, of which N(0, I) is the prior.
        backbone, stride, channels, seed, **kwargs: as of `UnsupervisedModel`.

    Attributes:
        encoder: images [batch, image_size, image_size, channels] in [0, 1] -> codes [batch,
            latent_dim].
        generator: codes -> images in [0, 1].
        discriminator: (images, codes) -> logits of "an image and its code", [batch].
        backbone: φ, the front of the encoder.

    Call arguments:
        images: float32 [batch, image_size, image_size, channels] in [0, 1].
        training: bool, whether batch normalisation uses the batch's moments.

    Returns, from a call, a dict of float32 tensors:
        reconstruction: [batch, image_size, image_size, channels] in [0, 1], what the generator
            makes of the code. Nothing in training asks for its likeness with the image.
        latent: [batch, latent_dim].

    Raises:
        InputError: an argument out of range.
    """

    term_names = ("loss", "discriminator_loss", "discriminator_rate")
    settings_name = "bigan"

    def __init__(
        self,
        image_size=32,
        latent_dim=96,
        backbone="resnet9",
        stride=None,
        channels=3,
        seed=0,
        **kwargs,
    ):
        super().__init__(image_size, backbone, stride, channels, seed, **kwargs)
        GlobalCode(latent_dim)
        self.latent_dim = latent_dim
        grid_size = image_size // self.stride
        with dtype_policy_scope(self.dtype_policy):
            self.backbone = backbones.build(self.backbone_name, self.stride, channels)
            self.encoder = keras.Sequential(
                [
                    keras.Input((image_size, image_size, channels)),
                    self.backbone,  # [batch, grid, grid, channels]
                    Conv2D(64, 1, use_bias=False, name="squeeze"),
                    BatchNormalization(name="squeeze_bn"),
                    keras.layers.ReLU(name="squeeze_relu"),
                    Conv2D(latent_dim, grid_size, name="code"),  # [batch, 1, 1, dim]
                    keras.layers.Reshape((latent_dim,), dtype="float32", name="flat"),
                ],
                name="encoder",
            )
            self.generator = global_decoder(
                latent_dim, grid_size, self.stride, channels, name="generator"
            )
            self.discriminator = joint_discriminator(image_size, latent_dim, channels)
        self.built = True

    @property
    def decoder(self) -> keras.Model:
        """The generator, by the name that every model's way from codes to images has."""
        return self.generator

    def call(self, images: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        latent = self.encoder(images, training=training)  # [batch, latent_dim]
        reconstruction = self.generator(latent, training=training)
        return {"reconstruction": reconstruction, "latent": latent}

    def loss_terms(
        self,
        images: tf.Tensor,
        step: tf.Tensor,
        seed: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """As of the base class; without a seed the generator's codes are the same at every call.

        `loss` is the encoder's and the generator's: each wants its pair taken for the other's.
        """
        del step
        if seed is None:
            seed = noise.step_seed(self.seed, 0)
        codes = noise.normal([tf.shape(images)[0], self.latent_dim], seed)
        generated = self.generator(
            codes, training=training
        )  # [batch, image_size, image_size, channels]
        latent = self.encoder(images, training=training)  # [batch, latent_dim]
        # Two calls: each batch is normalised by its own moments.
        encoded_logits = self.discriminator([images, latent], training=training)  # [batch]
        generated_logits = self.discriminator([generated, codes], training=training)  # [batch]
        return {
            "loss": losses.generator_loss(generated_logits)
            + losses.generator_loss(-encoded_logits),
            "discriminator_loss": losses.discriminator_loss(encoded_logits, generated_logits),
            "discriminator_rate": losses.discriminator_rate(encoded_logits, generated_logits),
        }
