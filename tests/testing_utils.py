"""The contract that every layer of ours keeps, checked in one place."""

import keras
import numpy as np


def run_layer_test(layer_class, init_kwargs, inputs, call_kwargs=None, expected_num_weights=0):
    """Checks config round trip, weights, symbolic against real shapes, and float32 output.

    Args:
        layer_class: the layer's class.
        init_kwargs: dict of constructor arguments.
        inputs: tuple of arrays, the positional call arguments.
        call_kwargs: dict of further call arguments.
        expected_num_weights: int.

    Returns:
        The layer's outputs.
    """
    layer = layer_class(**init_kwargs)
    config = layer.get_config()
    for name, value in init_kwargs.items():
        assert config[name] == value
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(restored) is layer_class
    assert restored.get_config() == config

    outputs = layer(*inputs, **(call_kwargs or {}))
    assert layer.get_config() == config, "building must not change the configuration"
    assert len(layer.weights) == expected_num_weights
    symbolic = layer.compute_output_shape(*(array.shape for array in inputs))
    real = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), outputs)
    assert keras.tree.flatten(symbolic) == keras.tree.flatten(real)

    # A layer of the method computes in float32 whatever the global policy.
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = layer_class(**init_kwargs)(*inputs, **(call_kwargs or {}))
    finally:
        keras.config.set_dtype_policy("float32")
    if expected_num_weights == 0:
        for one, other in zip(keras.tree.flatten(outputs), keras.tree.flatten(mixed), strict=True):
            assert str(other.dtype) in ("float32", "<dtype: 'float32'>")
            np.testing.assert_array_equal(one, other)
    return outputs


def random_images(count, size=32, seed=0):
    """Smooth random images, float32 [count, size, size, 3] in [0, 1]."""
    coarse = np.random.default_rng(seed).random((count, size // 8, size // 8, 3))
    fine = np.random.default_rng(seed + 1).random((count, size, size, 3))
    images = 0.8 * coarse.repeat(8, axis=1).repeat(8, axis=2) + 0.2 * fine
    return images.astype("float32")
