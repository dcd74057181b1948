import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import InputError, PatchVAE, losses
from patchvae_tf.layers import LaplacianWeights
from patchvae_tf.settings import PartObjective
from tests.testing_utils import random_images

IMAGES = random_images(4)
SEED = tf.constant([1, 2], tf.int32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return PatchVAE()


def test_outputs_have_the_documented_shapes_and_ranges(model):
    outputs = model(IMAGES)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "reconstruction": (4, 32, 32, 3),
        "features": (4, 4, 4, 128),
        "occurrence": (4, 4, 4, 16),
        "occurrence_logits": (4, 4, 4, 16),
        "appearance_mean": (4, 16, 6),
        "appearance_variance": (4, 16, 6),
        "latent": (4, 4, 4, 96),
    }
    assert all(value.dtype == tf.float32 for value in outputs.values())
    for name in ("reconstruction", "occurrence"):
        assert 0.0 <= tf.reduce_min(outputs[name]) < tf.reduce_max(outputs[name]) <= 1.0
    assert tf.reduce_min(outputs["appearance_variance"]) > 0.0


def test_any_size_that_the_stride_divides(model):
    outputs = model(random_images(1, 64)[:, :, :40])
    assert outputs["reconstruction"].shape == (1, 64, 40, 3)
    assert outputs["occurrence"].shape == (1, 8, 5, 16)


def test_inference_is_not_random_and_a_seed_is(model):
    one, two = model(IMAGES), model(IMAGES)
    np.testing.assert_array_equal(one["reconstruction"], two["reconstruction"])
    sampled = model(IMAGES, seed=SEED)
    np.testing.assert_array_equal(sampled["occurrence"], one["occurrence"])
    assert np.abs(sampled["latent"] - one["latent"]).max() > 0.1
    np.testing.assert_array_equal(sampled["latent"], model(IMAGES, seed=SEED)["latent"])
    assert np.abs(sampled["latent"] - model(IMAGES, seed=SEED + 1)["latent"]).max() > 0.1


def test_latent_is_occurrence_times_appearance(model):
    outputs = model(IMAGES)
    for part in (0, 7, 15):
        for k in (0, 5):
            expected = (
                outputs["occurrence"][..., part]
                * outputs["appearance_mean"][:, None, None, part, k]
            )
            channel = part * 6 + k
            np.testing.assert_allclose(outputs["latent"][..., channel], expected, atol=1e-6)


def test_decoder_receives_zero_where_a_part_does_not_occur():
    model = PatchVAE(hard_occurrence=True)
    outputs = model(IMAGES, seed=SEED)
    latent = outputs["latent"].numpy().reshape(4, 4, 4, 16, 6)
    absent = (np.abs(latent) < 1e-6).all(-1)
    assert 0.1 < absent.mean() < 0.9
    appearance = latent[0, :, :, 3][~absent[0, :, :, 3]]
    np.testing.assert_allclose(appearance, appearance[:1].repeat(len(appearance), 0), rtol=1e-5)


def test_loss_is_the_sum_of_its_terms_with_the_defaults_of_the_original(model):
    terms = model.loss_terms(tf.constant(IMAGES), tf.constant(0, tf.int64))
    outputs = model(IMAGES)
    weights = LaplacianWeights(8)(IMAGES)
    reconstruction = losses.squared_error(IMAGES, outputs["reconstruction"], weights)
    kl_occurrence = losses.bernoulli_kl(outputs["occurrence_logits"], 1 / 16)
    kl_appearance = losses.gaussian_kl(outputs["appearance_mean"], outputs["appearance_variance"])
    np.testing.assert_allclose(
        terms["loss"], reconstruction + 10.0 * kl_occurrence + kl_appearance, rtol=1e-5
    )
    np.testing.assert_allclose(terms["reconstruction"], reconstruction, rtol=1e-5)
    assert np.std(weights) > 0.1
    np.testing.assert_allclose(
        terms["occurrence_rate"], np.mean(outputs["occurrence"], (1, 2, 3)), rtol=1e-5
    )
    assert float(terms["temperature"]) == 1.0


def test_plain_reconstruction_prior_and_weights_are_used():
    objective = PartObjective(
        weighted_reconstruction=False,
        occurrence_prior=0.3,
        occurrence_weight=2.0,
        appearance_weight=0.5,
    )
    model = PatchVAE(objective=objective)
    outputs = model(IMAGES)
    terms = model.loss_terms(tf.constant(IMAGES), tf.constant(0, tf.int64))
    expected = (
        losses.squared_error(IMAGES, outputs["reconstruction"])
        + 2.0 * losses.bernoulli_kl(outputs["occurrence_logits"], 0.3)
        + 0.5 * losses.gaussian_kl(outputs["appearance_mean"], outputs["appearance_variance"])
    )
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)


def test_categorical_occurrence_chooses_one_part_a_location():
    model = PatchVAE(occurrence="categorical")
    outputs = model(IMAGES)
    np.testing.assert_allclose(tf.reduce_sum(outputs["occurrence"], -1), 1.0, atol=1e-5)
    terms = model.loss_terms(tf.constant(IMAGES), tf.constant(0, tf.int64))
    np.testing.assert_allclose(
        terms["kl_occurrence"], losses.categorical_kl(outputs["occurrence_logits"]), rtol=1e-5
    )


@pytest.mark.parametrize("occurrence", ["bernoulli", "categorical"])
@pytest.mark.parametrize("hard", [False, True])
def test_gradients_reach_every_weight(occurrence, hard):
    objective = PartObjective(occurrence_weight=0.0)
    model = PatchVAE(occurrence=occurrence, hard_occurrence=hard, objective=objective)
    with tf.GradientTape() as tape:
        terms = model.loss_terms(
            tf.constant(IMAGES), tf.constant(0, tf.int64), seed=SEED, training=True
        )
        loss = tf.reduce_mean(terms["reconstruction"])  # through the samples alone
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert float(tf.reduce_max(tf.abs(gradient))) > 0.0, variable.path


def test_temperature_follows_the_steps():
    model = PatchVAE()
    assert float(model.temperature_at(999)) == 1.0
    assert float(model.temperature_at(2000)) == pytest.approx(np.exp(-0.03 - 0.06), rel=1e-5)
    terms = model.loss_terms(tf.constant(IMAGES), tf.constant(2000, tf.int64))
    assert float(terms["temperature"]) == pytest.approx(np.exp(-0.09), rel=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"image_size": 30}, "multiple of the backbone's stride, 8. Received: 30"),
        ({"image_size": 0}, "image_size must be at least 8. Received: 0"),
        ({"image_size": "16"}, "image_size must be a whole number. Received: '16'"),
        ({"num_parts": 0}, "num_parts must be at least 1. Received: 0"),
        ({"num_parts": 2.5}, "num_parts must be a whole number. Received: 2.5"),
        ({"appearance_dim": -1}, "appearance_dim must be at least 1"),
        ({"occurrence": "often"}, "one of bernoulli, categorical, exclusive. Received: often"),
        ({"objective": {"occurrence_prior": 1.0}}, "occurrence_prior must be below 1. Rec.*1.0"),
        ({"objective": {"occurrence_prior": 0.0}}, "occurrence_prior must be above 0. Rec.*0.0"),
        ({"num_parts": 1}, "num_parts=1 makes the prior 1 / num_parts = 1"),
    ],
)
def test_arguments_out_of_range_are_refused(kwargs, message):
    with pytest.raises(InputError, match=message):
        PatchVAE(**kwargs)
