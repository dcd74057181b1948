"""What two sides owe each other: losses, and that each moves its own weights only."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import BetaVAE, BiGAN, InputError, PatchVAE, losses, noise
from patchvae_tf.settings import BetaVAEObjective, PartObjective
from tests.testing_utils import random_images

IMAGES = random_images(8)
STEP = tf.constant(0, tf.int64)
SEED = tf.constant([3, 4], tf.int32)


def _stopped(model, side):
    """Compiles with a learning rate of 0 for one side."""
    rates = {"optimizer": 1e-3, "discriminator_optimizer": 1e-3, side: 0.0}
    model.compile(**{name: keras.optimizers.SGD(rate) for name, rate in rates.items()})
    return model


@pytest.mark.parametrize(
    "make",
    [
        BiGAN,
        lambda: PatchVAE(objective=PartObjective(adversarial_weight=2.0)),
        lambda: BetaVAE(objective=BetaVAEObjective(adversarial_weight=2.0)),
    ],
)
@pytest.mark.parametrize("side", ["optimizer", "discriminator_optimizer"])
def test_each_optimizer_moves_its_own_side(make, side):
    model = _stopped(make(), side)
    judges = {id(variable) for variable in model.discriminator.trainable_variables}
    before = {v.path: v.numpy() for v in model.trainable_variables}
    tf.function(model.train_step, autograph=False)(tf.constant(IMAGES))
    moved = {
        v.path: np.abs(v.numpy() - before[v.path]).max() > 0.0 for v in model.trainable_variables
    }
    for variable in model.trainable_variables:
        judging = id(variable) in judges
        assert moved[variable.path] == (judging == (side == "optimizer")), variable.path


@pytest.mark.parametrize("model_class", [PatchVAE, BetaVAE])
def test_adversarial_terms_are_the_discriminators(model_class):
    plain = model_class()
    model = model_class(objective={"adversarial_weight": 2.0})
    names = ("adversarial", "discriminator_loss", "discriminator_rate")
    assert set(model.trackers) - set(plain.trackers) == set(names)
    judging = {id(weight) for weight in model.discriminator.weights}
    plain.set_weights([w.numpy() for w in model.weights if id(w) not in judging])
    terms = model.loss_terms(tf.constant(IMAGES), STEP, seed=SEED)
    without = plain.loss_terms(tf.constant(IMAGES), STEP, seed=SEED)
    outputs = model(IMAGES, seed=SEED)
    real = model.discriminator(IMAGES).numpy()
    rebuilt = model.discriminator(outputs["reconstruction"]).numpy()
    np.testing.assert_allclose(terms["adversarial"], np.log1p(np.exp(-rebuilt)), rtol=1e-5)
    np.testing.assert_allclose(
        terms["discriminator_loss"],
        np.log1p(np.exp(-real)) + np.log1p(np.exp(rebuilt)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        terms["loss"], without["loss"] + 2.0 * terms["adversarial"], rtol=1e-5
    )


def test_bigan_losses_are_of_opposite_pairs():
    model = BiGAN()
    terms = model.loss_terms(tf.constant(IMAGES), STEP, seed=SEED)
    codes = noise.normal([8, 96], SEED)
    images = tf.constant(IMAGES)
    encoded = model.discriminator([images, model.encoder(images)]).numpy()
    generated = model.discriminator([model.generator(codes), codes]).numpy()
    np.testing.assert_allclose(
        terms["discriminator_loss"],
        np.log1p(np.exp(-encoded)) + np.log1p(np.exp(generated)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        terms["loss"], np.log1p(np.exp(encoded)) + np.log1p(np.exp(-generated)), rtol=1e-5
    )
    # Without a seed the codes are always the same.
    one, two = (model.loss_terms(tf.constant(IMAGES), STEP) for _ in range(2))
    np.testing.assert_array_equal(one["loss"], two["loss"])


def test_discriminator_rate_counts_what_is_told_rightly():
    real, generated = tf.constant([1.0, 1.0, -1.0]), tf.constant([-1.0, 1.0, 1.0])
    np.testing.assert_array_equal(losses.discriminator_rate(real, generated), [1.0, 0.5, 0.0])


def test_discriminator_learns_to_tell_pairs_from_a_standing_generator():
    model = BiGAN()
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.Adam(1e-3))
    step = tf.function(model.train_step, autograph=False)
    for _ in range(20):
        step(tf.constant(IMAGES))
    model.reset_metrics()
    terms = step(tf.constant(IMAGES))
    assert float(terms["discriminator_rate"]) == 1.0
    assert float(terms["discriminator_loss"]) < 0.1


def test_second_optimizer_has_the_first_ones_settings_and_its_own_state():
    model = BiGAN()
    model.compile(keras.optimizers.Adam(3e-4, beta_1=0.4))
    first, second = model.optimizer, model.discriminator_optimizer
    assert first is not second
    assert second.get_config() == {**first.get_config(), "name": second.name}
    judges = model.discriminator.trainable_variables
    assert len(second.variables) == 2 + 2 * len(judges)
    assert len(first.variables) == 2 + 2 * (len(model.trainable_variables) - len(judges))


def test_negative_weight_is_refused():
    with pytest.raises(InputError, match="adversarial_weight must be at least 0"):
        PatchVAE(objective=PartObjective(adversarial_weight=-1.0))
