import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import losses
from patchvae_tf.layers import AppearancePooling, GaussianSampling
from tests.testing_utils import run_layer_test

RNG = np.random.default_rng(0)
PARTS, DIM = 3, 2
MEAN_MAP = RNG.normal(size=(2, 4, 4, PARTS * DIM)).astype("float32")
LOG_VARIANCE_MAP = RNG.normal(size=(2, 4, 4, PARTS * DIM)).astype("float32")
OCCURRENCE = RNG.random((2, 4, 4, PARTS)).astype("float32")
SEED = tf.constant([1, 2], tf.int32)


def test_pooling_contract():
    run_layer_test(AppearancePooling, {}, (MEAN_MAP, LOG_VARIANCE_MAP, OCCURRENCE))


def test_sampling_contract():
    variance = np.exp(LOG_VARIANCE_MAP)
    run_layer_test(GaussianSampling, {}, (MEAN_MAP, variance), {"seed": SEED})


def test_pooling_is_the_weighted_mean_of_each_part():
    pooled = AppearancePooling()(MEAN_MAP, LOG_VARIANCE_MAP, OCCURRENCE)
    mean, variance = (tensor.numpy() for tensor in pooled)
    for image in range(2):
        for part in range(PARTS):
            weight = OCCURRENCE[image, :, :, part]
            for k in range(DIM):
                channel = part * DIM + k  # channel i · d_p + k belongs to part i
                expected = (weight * MEAN_MAP[image, :, :, channel]).sum() / weight.sum()
                assert mean[image, part, k] == pytest.approx(expected, abs=1e-5)
                expected = (weight * np.exp(LOG_VARIANCE_MAP[image, :, :, channel])).sum()
                assert variance[image, part, k] == pytest.approx(expected / weight.sum(), rel=1e-4)


def test_pooling_passes_no_gradient_through_the_weight():
    occurrence, mean_map = tf.constant(OCCURRENCE), tf.constant(MEAN_MAP)
    with tf.GradientTape() as tape:
        tape.watch([occurrence, mean_map])
        mean, variance = AppearancePooling()(mean_map, LOG_VARIANCE_MAP, occurrence)
        total = tf.reduce_sum(mean) + tf.reduce_sum(variance)
    through_weight, through_map = tape.gradient(total, [occurrence, mean_map])
    assert through_weight is None
    np.testing.assert_allclose(tf.reduce_sum(through_map, [1, 2]), 1.0, atol=1e-4)


@pytest.mark.parametrize("rate", [0.0, 1e-30])
def test_a_part_that_occurs_nowhere_has_a_finite_kl_and_gradient(rate):
    maps = [tf.constant(MEAN_MAP), tf.constant(LOG_VARIANCE_MAP)]
    with tf.GradientTape() as tape:
        tape.watch(maps)
        mean, variance = AppearancePooling()(*maps, np.full_like(OCCURRENCE, rate))
        kl = tf.reduce_sum(losses.gaussian_kl(mean, variance))
    np.testing.assert_allclose(mean, 0.0, atol=1e-20)
    np.testing.assert_allclose(variance, 1e-7, rtol=1e-5)
    assert np.isfinite(kl)
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(kl, maps))


@pytest.mark.parametrize(("log_variance", "expected"), [(-100.0, 1e-7), (100.0, 1e7)])
def test_pooling_keeps_the_variance_in_its_bounds(log_variance, expected):
    extreme = np.full_like(LOG_VARIANCE_MAP, log_variance)
    _, variance = AppearancePooling()(MEAN_MAP, extreme, np.ones_like(OCCURRENCE))
    np.testing.assert_allclose(variance, expected, rtol=1e-4)


def test_sampling_has_the_given_mean_and_variance():
    mean = np.full((200_000, 1), 3.0, "float32")
    sample = GaussianSampling()(mean, np.full_like(mean, 4.0), seed=SEED).numpy()
    assert sample.mean() == pytest.approx(3.0, abs=0.02)  # 4 standard errors
    assert sample.var() == pytest.approx(4.0, abs=0.06)


def test_sampling_without_seed_is_the_mean():
    np.testing.assert_array_equal(GaussianSampling()(MEAN_MAP, np.exp(LOG_VARIANCE_MAP)), MEAN_MAP)
