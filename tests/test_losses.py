import math

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import losses


def test_squared_error_is_that_of_the_signed_scale():
    images = np.zeros((2, 2, 2, 3), "float32")
    reconstructions = images.copy()
    reconstructions[1, 0, 0, 0] = 0.5  # 1 on the [-1, 1] scale
    np.testing.assert_allclose(losses.squared_error(images, reconstructions), [0.0, 1.0])
    weights = np.full_like(images, 3.0)
    np.testing.assert_allclose(losses.squared_error(images, reconstructions, weights), [0.0, 3.0])


def test_gaussian_kl_against_hand_values():
    # KL(N(1, 1) || N(0, 1)) = 1/2;  KL(N(0, e) || N(0, 1)) = (e - 2) / 2, two numbers an image.
    mean = np.array([[1.0, 0.0], [0.0, 0.0]], "float32")
    variance = np.array([[1.0, 1.0], [math.e, math.e]], "float32")
    np.testing.assert_allclose(losses.gaussian_kl(mean, variance), [0.5, math.e - 2], rtol=1e-6)


def test_gaussian_kl_is_the_expectation_it_claims():
    mean, variance = 0.7, 0.4
    x = np.random.default_rng(0).normal(mean, math.sqrt(variance), 400_000)
    log_ratio = -0.5 * (math.log(variance) + (x - mean) ** 2 / variance) + 0.5 * x**2
    kl = losses.gaussian_kl(tf.constant([[mean]]), tf.constant([[variance]]))
    assert float(kl[0]) == pytest.approx(log_ratio.mean(), abs=0.005)


def test_bernoulli_kl_against_hand_values():
    q, p = 0.3, 0.0625
    expected = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
    logits = np.full((2, 4, 4, 16), math.log(q / (1 - q)), "float32")
    np.testing.assert_allclose(losses.bernoulli_kl(logits, p), expected * 256, rtol=1e-5)
    at_prior = np.full((1, 3), math.log(p / (1 - p)), "float32")
    np.testing.assert_allclose(losses.bernoulli_kl(at_prior, p), 0.0, atol=1e-6)


def test_bernoulli_kl_stays_finite_for_extreme_logits():
    logits = np.array([[1e4], [-1e4]], "float32")
    expected = [math.log(1 / 0.25), math.log(1 / 0.75)]
    np.testing.assert_allclose(losses.bernoulli_kl(logits, 0.25), expected, rtol=1e-6)


def test_categorical_kl_against_hand_values():
    np.testing.assert_allclose(losses.categorical_kl(np.zeros((1, 4, 4, 8), "float32")), 0.0)
    q = np.array([0.7, 0.2, 0.1])
    logits = np.broadcast_to(np.log(q), (2, 5, 3)).astype("float32")
    expected = 5 * np.sum(q * np.log(q * 3))
    np.testing.assert_allclose(losses.categorical_kl(logits), expected, rtol=1e-5)


def test_exclusive_kl_against_hand_values():
    np.testing.assert_allclose(losses.exclusive_kl(np.zeros((1, 4, 4, 8), "float32")), 0.0)
    q = np.array([0.5, 0.3, 0.2])  # the last one: nothing
    logits = np.broadcast_to(np.log(q[:2] / q[2]), (2, 5, 2)).astype("float32")
    expected = 5 * np.sum(q * np.log(q * 3))
    np.testing.assert_allclose(losses.exclusive_kl(logits), expected, rtol=1e-5)


def test_log_sum_exp_is_tensorflows_to_the_last_bit():
    values = tf.constant(np.random.default_rng(0).normal(0.0, 50.0, (7, 5, 9)), tf.float32)
    values = tf.concat([values, tf.fill([7, 5, 1], -1e9)], axis=-1)
    results = []
    for function in (
        losses.log_sum_exp,
        lambda x: tf.reduce_logsumexp(x, axis=-1, keepdims=True),
    ):
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(values)
        results.append((result, tape.gradient(result, values)))
    (ours, our_gradient), (theirs, their_gradient) = results
    assert ours.shape == (7, 5, 1)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(our_gradient, their_gradient)


def test_teaching_cross_entropy_against_hand_values():
    # Two parts are taught, one is free, and nothing has 0.1.
    q = np.array([0.4, 0.3, 0.2, 0.1])
    logits = np.broadcast_to(np.log(q[:3] / q[3]), (1, 1, 2, 3)).astype("float32")
    shares = np.array([[[[1.0, 0.0, 0.0], [0.25, 0.25, 0.0]]]], "float32")
    taught = [True, True, False]
    expected = -np.log(0.4) - 0.25 * np.log(0.4) - 0.25 * np.log(0.3) - 0.5 * np.log(0.3)
    found = losses.teaching_cross_entropy(logits, shares, taught)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    # What is free may go to and fro.
    other = np.broadcast_to(np.log([4.0, 3.0, 1.2]) - np.log(1.8), (1, 1, 2, 3)).astype("float32")
    np.testing.assert_allclose(
        losses.teaching_cross_entropy(other, shares, taught), [expected], rtol=1e-5
    )
    sure = losses.teaching_cross_entropy(np.float32([[[[1e4, 0, 0]] * 2]]), shares, taught)
    assert np.isfinite(sure).all()
    # Of two places the second does not count.
    counts = [[[[True], [False]]]]
    found = losses.teaching_cross_entropy(logits, shares, taught, counts)
    np.testing.assert_allclose(found, [-np.log(0.4)], rtol=1e-5)


def test_half_precision_inputs_give_float32():
    half = tf.ones((1, 2, 2, 3), tf.bfloat16)
    assert losses.squared_error(half, half).dtype == tf.float32
    assert losses.gaussian_kl(half, half).dtype == tf.float32
    assert losses.bernoulli_kl(half, 0.5).dtype == tf.float32
    assert losses.categorical_kl(half).dtype == tf.float32
