import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf.layers import Conv2D, Conv2DTranspose
from tests.testing_utils import run_layer_test

# (kernel size, strides, padding, side of the larger maps): odd and even kernels and sides, and maps
# whose last places go unseen
GEOMETRIES = [
    (3, 1, "same", 4),
    (3, 2, "same", 8),
    (3, 2, "same", 7),
    (4, 2, "same", 8),
    (2, 1, "valid", 4),
    (3, 2, "valid", 8),
    ((3, 4), 2, "same", 8),
]


def _whole_numbers(shape, seed):
    """-1, 0, 1: their products and sums are exact in bfloat16."""
    drawn = tf.random.stateless_uniform(shape, [seed, 0], -1, 2, tf.int32)
    return tf.cast(drawn, tf.float32)


def _values(layer_class, geometry, dtype):
    """(outputs, gradient by the inputs, gradient by the kernel) and the operations' types."""
    kernel_size, strides, padding, side = geometry
    layer = layer_class(
        6, kernel_size, strides=strides, padding=padding, use_bias=False, dtype=dtype
    )
    if issubclass(layer_class, keras.layers.Conv2DTranspose):
        side = -(-side // strides)  # its inputs are the smaller maps
    x = _whole_numbers([5, side, side, 4], 1)
    layer.build(x.shape)
    layer.set_weights([_whole_numbers(layer.kernel.shape, 2)])

    @tf.function
    def values(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = tf.cast(layer(x), tf.float32)
            loss = tf.reduce_sum(outputs * _whole_numbers(tf.shape(outputs), 3))
        return outputs, *tape.gradient(loss, [x, layer.kernel.value])

    operations = values.get_concrete_function(x).graph.get_operations()
    return values(x), {operation.type for operation in operations}


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="GPUs take the common way")
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize(
    ("ours", "plain"),
    [(Conv2D, keras.layers.Conv2D), (Conv2DTranspose, keras.layers.Conv2DTranspose)],
)
def test_values_and_gradients_are_those_of_keras(ours, plain, geometry):
    values, operations = _values(ours, geometry, "mixed_bfloat16")
    expected, _ = _values(plain, geometry, "float32")
    assert "Conv2DBackpropFilter" not in operations
    assert np.abs(expected[2]).max() > 4
    for value, wanted in zip(values, expected, strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("layer_class", [Conv2D, Conv2DTranspose])
def test_the_common_way_where_it_is_the_faster_one(layer_class):
    for geometry, dtype in (
        ((3, 1, "same", 4), "float32"),
        ((3, 1, "same", 7), "mixed_bfloat16"),
        ((1, 1, "same", 4), "mixed_bfloat16"),
    ):
        _, operations = _values(layer_class, geometry, dtype)
        assert "Conv2DBackpropFilter" in operations, (geometry, dtype)


def test_layers_keep_their_contract():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    run_layer_test(Conv2D, {"filters": 5, "kernel_size": (3, 3)}, (x,), expected_num_weights=2)
    settings = {"filters": 5, "kernel_size": (4, 4), "strides": (2, 2), "padding": "same"}
    run_layer_test(Conv2DTranspose, settings, (x,), expected_num_weights=1)
