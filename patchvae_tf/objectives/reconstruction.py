"""How far a reconstruction is from its image: what PatchVAE and β-VAE share."""

import typing

from patchvae_tf import losses

if typing.TYPE_CHECKING:
    import keras
    import tensorflow as tf


def reconstruction_terms(
    model: "keras.Model", images: "tf.Tensor", reconstructions: "tf.Tensor", training: bool
) -> dict:
    """The terms that compare images with their reconstructions, and their weighted sum.

    Args:
        model: an `Autoencoder`.
        images, reconstructions: float32 [batch, H, W, channels] in [0, 1].
        training: whether batch normalisation uses the batch's moments.

    Returns:
        dict: name -> float32 [batch]: `loss`, `reconstruction`; with a discriminator
        `adversarial`, before its weight, `discriminator_loss`, `discriminator_rate`.
    """
    objective = model.objective
    weights = model.laplacian_weights(images) if objective.weighted_reconstruction else None
    error = losses.squared_error(images, reconstructions, weights)
    terms = {"loss": error, "reconstruction": error}
    if model.discriminator is None:
        return terms
    # Two calls: each batch is normalised by its own moments.
    real = model.discriminator(images, training=training)  # [batch]
    rebuilt = model.discriminator(reconstructions, training=training)  # [batch]
    adversarial = losses.generator_loss(rebuilt)
    return {
        "loss": error + objective.adversarial_weight * adversarial,
        "reconstruction": error,
        "adversarial": adversarial,
        "discriminator_loss": losses.discriminator_loss(real, rebuilt),
        "discriminator_rate": losses.discriminator_rate(real, rebuilt),
    }
