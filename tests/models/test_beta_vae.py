import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import BetaVAE, InputError, losses
from patchvae_tf.layers import LaplacianWeights
from patchvae_tf.settings import BetaVAEObjective
from tests.testing_utils import random_images

IMAGES = random_images(3)
STEP = tf.constant(0, tf.int64)


def test_outputs_have_the_documented_shapes():
    model = BetaVAE(latent_dim=12)
    outputs = model(IMAGES)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "reconstruction": (3, 32, 32, 3),
        "latent_mean": (3, 12),
        "latent_variance": (3, 12),
        "latent": (3, 12),
    }
    np.testing.assert_array_equal(outputs["latent"], outputs["latent_mean"])
    sampled = model(IMAGES, seed=tf.constant([1, 2], tf.int32))
    assert np.abs(sampled["latent"] - outputs["latent"]).max() > 0.1


def test_code_of_one_image_alone_keeps_its_batch_axis():
    assert BetaVAE()(IMAGES[:1])["latent"].shape == (1, 96)


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_is_reconstruction_plus_weighted_kl(weighted):
    model = BetaVAE(objective=BetaVAEObjective(kl_weight=4.0, weighted_reconstruction=weighted))
    outputs = model(IMAGES)
    terms = model.loss_terms(tf.constant(IMAGES), STEP)
    weights = LaplacianWeights(8)(IMAGES) if weighted else None
    reconstruction = losses.squared_error(IMAGES, outputs["reconstruction"], weights)
    kl = losses.gaussian_kl(outputs["latent_mean"], outputs["latent_variance"])
    np.testing.assert_allclose(terms["reconstruction"], reconstruction, rtol=1e-5)
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], reconstruction + 4.0 * kl, rtol=1e-5)


def test_gradients_reach_every_weight():
    model = BetaVAE()
    with tf.GradientTape() as tape:
        seed = tf.constant([3, 4], tf.int32)
        terms = model.loss_terms(tf.constant(IMAGES), STEP, seed=seed, training=True)
        loss = tf.reduce_mean(terms["reconstruction"])
    for variable, gradient in zip(
        model.trainable_variables,
        tape.gradient(loss, model.trainable_variables),
        strict=True,
    ):
        assert gradient is not None, variable.path
        assert float(tf.reduce_max(tf.abs(gradient))) > 0.0, variable.path


def test_latent_dim_below_one_is_refused():
    with pytest.raises(InputError, match="latent_dim must be at least 1. Received: 0"):
        BetaVAE(latent_dim=0)
