"""Images from the prior alone: what a model takes the world to look like."""

import typing

import keras
import tensorflow as tf
from matplotlib.figure import Figure

from patchvae_tf import noise
from patchvae_tf.visualization.tables import as_uint8, picture_table

if typing.TYPE_CHECKING:
    import numpy as np


def sample_prior(model: keras.Model, count: int, seed: int = 0) -> "np.ndarray":
    """Decodes codes drawn from the prior.

    PatchVAE's: z_occ ~ Bern(p) (or one part a location), 0 or 1; z_app ~ N(0, I) a part and image.
    The others': one code ~ N(0, I).

    Args:
        model: an `UnsupervisedModel`.
        count: int.
        seed: int.

    Returns:
        float32 [count, H, W, 3] in [0, 1].
    """
    draws = noise.step_seed(seed, 0)
    if not hasattr(model, "num_parts"):
        return model.decoder(noise.normal([count, model.latent_dim], draws)).numpy()
    side = model.image_size // model.stride
    choices = model.num_parts + (model.occurrence == "exclusive")  # the last one: no part
    u = noise.uniform([count, side, side, choices], noise.fold_in(draws, noise.Purpose.OCCURRENCE))
    if model.occurrence == "bernoulli":
        occurrence = tf.cast(u < model.occurrence_prior, tf.float32)
    else:
        occurrence = tf.one_hot(tf.argmax(u, axis=-1), model.num_parts)
    shape = [count, model.num_parts, model.appearance_dim]
    appearance = noise.normal(shape, noise.fold_in(draws, noise.Purpose.APPEARANCE))
    return model.decoder(model.latent_map(occurrence, appearance)).numpy()


def prior_figure(model: keras.Model, rows: int = 3, columns: int = 8, seed: int = 0) -> Figure:
    """A grid of samples from the prior, whose title says the settings.

    Args:
        model: an `UnsupervisedModel`.
        rows, columns: int.
        seed: int.

    Returns:
        matplotlib `Figure`.
    """
    samples = as_uint8(sample_prior(model, rows * columns, seed))
    return picture_table(
        [list(samples[row * columns : (row + 1) * columns]) for row in range(rows)],
        tile_dots=80,
        title=f"Samples from the prior: {_prior_of(model)}, seed {seed}",
    )


def _prior_of(model):
    if not hasattr(model, "num_parts"):
        return f"{model.latent_dim} numbers of N(0, 1)"
    sizes = f"N = {model.num_parts}, d_p = {model.appearance_dim}"
    if model.occurrence == "bernoulli":
        return f"{sizes}, p = {model.occurrence_prior:.3g}"
    return f"{sizes}, one part a location" + (" or none" if model.occurrence == "exclusive" else "")
