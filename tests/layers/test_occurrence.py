import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.layers import RelaxedBernoulli, RelaxedCategorical, RelaxedExclusive
from tests.testing_utils import run_layer_test

LOGITS = np.random.default_rng(0).normal(0.0, 2.0, (2, 4, 4, 16)).astype("float32")
SEED = tf.constant([3, 4], tf.int32)


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize("layer_class", [RelaxedBernoulli, RelaxedCategorical, RelaxedExclusive])
@pytest.mark.parametrize("hard", [False, True])
def test_layer_contract(layer_class, hard):
    run_layer_test(layer_class, {"hard": hard}, (LOGITS,), {"seed": SEED, "temperature": 0.5})


def test_without_seed_bernoulli_gives_probabilities():
    np.testing.assert_allclose(RelaxedBernoulli()(LOGITS), _sigmoid(LOGITS), rtol=1e-5)


def test_without_seed_categorical_gives_probabilities():
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    np.testing.assert_allclose(RelaxedCategorical()(LOGITS), expected, rtol=1e-5)


def test_bernoulli_follows_the_formula():
    u = noise.uniform(LOGITS.shape, SEED).numpy()
    expected = _sigmoid((LOGITS + np.log(u / (1 - u))) / 0.7)
    sample = RelaxedBernoulli()(LOGITS, seed=SEED, temperature=0.7)
    np.testing.assert_allclose(sample, expected, atol=2e-5)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_bernoulli_is_above_a_half_with_the_given_probability(temperature):
    logits = np.full((100_000, 1), np.log(0.3 / 0.7), "float32")
    sample = RelaxedBernoulli()(logits, seed=SEED, temperature=temperature).numpy()
    assert np.mean(sample > 0.5) == pytest.approx(0.3, abs=0.006)  # 4 standard errors


def test_categorical_chooses_with_the_given_probabilities():
    probabilities = np.array([0.1, 0.2, 0.7])
    logits = np.broadcast_to(np.log(probabilities), (100_000, 3)).astype("float32")
    sample = RelaxedCategorical()(logits, seed=SEED, temperature=0.5).numpy()
    np.testing.assert_allclose(sample.sum(-1), 1.0, atol=1e-5)
    chosen = np.bincount(sample.argmax(-1), minlength=3) / len(sample)
    np.testing.assert_allclose(chosen, probabilities, atol=0.006)


def test_exclusive_has_the_choice_of_nothing():
    with_nothing = np.concatenate([LOGITS, np.zeros_like(LOGITS[..., :1])], axis=-1)
    expected = RelaxedCategorical()(with_nothing)[..., :-1]
    np.testing.assert_allclose(RelaxedExclusive()(LOGITS), expected, rtol=1e-6)
    logits = np.broadcast_to(np.log([0.25, 0.75]), (100_000, 2)).astype("float32")
    sample = RelaxedExclusive(hard=True)(logits, seed=SEED, temperature=0.5).numpy()
    # Of 0.25, 0.75 and 1 for nothing.
    np.testing.assert_allclose(sample.mean(axis=0), [0.125, 0.375], atol=0.006)
    assert set(sample.sum(axis=-1)) == {0.0, 1.0}


def test_low_temperature_tends_to_zero_or_one():
    def spread(temperature):
        sample = RelaxedBernoulli()(LOGITS, seed=SEED, temperature=temperature).numpy()
        return np.mean(np.minimum(sample, 1 - sample))

    assert spread(0.01) < 0.01 < 0.1 < spread(1.0)


@pytest.mark.parametrize("layer_class", [RelaxedBernoulli, RelaxedCategorical])
def test_hard_has_hard_values_and_the_relaxed_gradient(layer_class):
    logits = tf.constant(LOGITS)
    weights = tf.constant(np.random.default_rng(1).random(LOGITS.shape), tf.float32)
    gradients, values = [], []
    for hard in (False, True):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            sample = layer_class(hard=hard)(logits, seed=SEED, temperature=0.6)
            total = tf.reduce_sum(sample * weights)
        values.append(sample.numpy())
        gradients.append(tape.gradient(total, logits).numpy())
    soft, hard = values
    np.testing.assert_allclose(hard, np.round(hard), atol=1e-6)
    if layer_class is RelaxedBernoulli:
        np.testing.assert_allclose(hard, soft > 0.5, atol=1e-6)
    else:
        np.testing.assert_array_equal(hard.argmax(-1), soft.argmax(-1))
        np.testing.assert_allclose(hard.sum(-1), 1.0, atol=1e-5)
    assert np.abs(gradients[0]).max() > 0.01
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def test_same_seed_same_sample_and_another_seed_another():
    layer = RelaxedBernoulli()
    one = layer(LOGITS, seed=SEED)
    np.testing.assert_array_equal(one, layer(LOGITS, seed=SEED))
    assert np.abs(one - layer(LOGITS, seed=SEED + 1)).max() > 0.1
