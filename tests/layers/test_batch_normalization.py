import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf.layers import BatchNormalization
from tests.testing_utils import run_layer_test

X = np.random.default_rng(0).normal(2.0, 3.0, (8, 4, 4, 5)).astype("float32")


def test_contract():
    kwargs = {"momentum": 0.8, "epsilon": 1e-3}
    run_layer_test(BatchNormalization, kwargs, (X,), expected_num_weights=4)


def test_training_normalises_and_moves_the_statistics():
    layer = BatchNormalization(momentum=0.9, epsilon=1e-5)
    outputs = layer(X, training=True).numpy()
    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(outputs, (X - mean) / np.sqrt(variance + 1e-5), atol=1e-4)
    count = X.size / 5
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-4)
    unbiased = variance * count / (count - 1)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * unbiased, rtol=1e-4)


def test_inference_uses_the_moving_statistics_with_scale_and_offset():
    layer = BatchNormalization()
    layer.build(X.shape)
    layer.set_weights([np.full(5, v, "float32") for v in (2.0, 0.5, 1.0, 4.0)])
    expected = 2.0 * (X - 1.0) / np.sqrt(4.0 + 1e-5) + 0.5
    np.testing.assert_allclose(layer(X, training=False), expected, atol=1e-4)


def test_frozen_layer_keeps_its_statistics_in_training():
    layer = BatchNormalization()
    layer.trainable = False
    np.testing.assert_allclose(layer(X, training=True), X / np.sqrt(1 + 1e-5), atol=1e-4)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(5))


def test_bfloat16_keeps_float32_weights_and_gives_bfloat16():
    layer = BatchNormalization(dtype="mixed_bfloat16")
    outputs = layer(tf.cast(X, tf.bfloat16), training=True)
    assert outputs.dtype == tf.bfloat16
    assert layer.moving_mean.dtype == "float32"
    expected = BatchNormalization()(X, training=True)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=0.05)


@pytest.mark.parametrize("training", [False, True])
def test_two_replicas_equal_one(training, two_replicas):
    with two_replicas.scope():
        layer = BatchNormalization()
        layer.build(X.shape)
    alone = BatchNormalization()
    expected = alone(X, training=training).numpy()
    halves = iter(
        two_replicas.experimental_distribute_dataset(
            tf.data.Dataset.from_tensors(X).unbatch().batch(8)
        )
    )
    outputs = two_replicas.run(lambda x: layer(x, training=training), args=(next(halves),))
    both = np.concatenate(two_replicas.experimental_local_results(outputs))
    np.testing.assert_allclose(both, expected, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), alone.moving_variance, rtol=1e-5)
    assert isinstance(layer, keras.layers.BatchNormalization)
