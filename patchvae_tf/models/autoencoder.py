"""What PatchVAE and β-VAE share: how far a reconstruction is from its image."""

from patchvae_tf import losses, noise
from patchvae_tf.errors import InputError
from patchvae_tf.layers import BlockMasking, ColorJitter, LaplacianWeights, RandomCrop
from patchvae_tf.models.base import UnsupervisedModel, dtype_policy_scope
from patchvae_tf.models.discriminators import image_discriminator

_CROP_SALT, _JITTER_SALT, _MASK_SALT = 11, 12, 13


class Autoencoder(UnsupervisedModel):
    """A model that learns by rebuilding images.

    Args:
        image_size: int, side of the square images in pixels; a multiple of the stride.
        weighted_reconstruction: bool, L_w instead of the plain squared error.
        adversarial_weight: float, factor of the GAN loss on reconstructions (the supplementary,
            section A); 0 for none, and no discriminator.
        backbone, stride, seed, **kwargs: as of `UnsupervisedModel`.
        crop_side: float in (0, 1], least side of the random crop that takes an image's place in
            training; 1 for none. See `layers.RandomCrop`.
        color_jitter: float in [0, 1], strength of the change of colours in what training sees; the
            image to be rebuilt keeps its own. See `layers.ColorJitter`.
        mask_share: float in [0, 1), share of the blocks that are hidden in what training sees. See
            `layers.BlockMasking`.
        mask_size: int, side of a hidden block in pixels; divides `image_size`.

    Raises:
        InputError: an argument out of range.
    """

    def __init__(
        self,
        image_size,
        weighted_reconstruction,
        adversarial_weight,
        backbone,
        stride,
        seed,
        crop_side=1.0,
        color_jitter=0.0,
        mask_share=0.0,
        mask_size=4,
        **kwargs,
    ):
        super().__init__(image_size, backbone, stride, seed, **kwargs)
        if not adversarial_weight >= 0.0:
            raise InputError(
                f"`adversarial_weight` must be at least 0. Received: {adversarial_weight}"
            )
        self.weighted_reconstruction = weighted_reconstruction
        self.adversarial_weight = adversarial_weight
        self.laplacian_weights = LaplacianWeights(block_size=self.stride)
        self.random_crop = RandomCrop(crop_side)
        self.color_jitter = ColorJitter(color_jitter)
        self.block_masking = BlockMasking(mask_share, mask_size)
        if image_size % mask_size:
            raise InputError(
                f"`mask_size` must divide the image size, {image_size}. Received: {mask_size}"
            )
        if adversarial_weight:
            with dtype_policy_scope(self.dtype_policy):
                self.discriminator = image_discriminator()
            self._track("adversarial", "discriminator_loss", "discriminator_rate")

    def view(self, images, seed):
        """What training sees of images, and what it is to rebuild.

        Args:
            images: float32 [batch, H, W, 3] in [0, 1].
            seed: int32 [2], or None for the images themselves, twice.

        Returns:
            (seen, target): each float32 [batch, H, W, 3]. The target is the crop, in [0, 1]; what
            is seen of it has other colours, and blocks of it are hidden.
        """
        if seed is None:
            return images, images
        target = self.random_crop(images, seed=noise.fold_in(seed, _CROP_SALT))
        seen = self.color_jitter(target, seed=noise.fold_in(seed, _JITTER_SALT))
        return self.block_masking(seen, seed=noise.fold_in(seed, _MASK_SALT)), target

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
        names = ("weighted_reconstruction", "adversarial_weight")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "crop_side": self.random_crop.least_side,
            "color_jitter": self.color_jitter.strength,
            "mask_share": self.block_masking.share,
            "mask_size": self.block_masking.block_size,
        }
