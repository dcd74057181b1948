import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf.layers import GroupedConv2DTranspose, SplitGroups
from tests.testing_utils import run_layer_test


@pytest.mark.parametrize(("kernel_size", "strides"), [(1, 1), (4, 2)])
def test_each_group_is_a_transposed_convolution_of_its_own(kernel_size, strides):
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype("float32")
    kwargs = {"filters": 12, "kernel_size": kernel_size, "strides": strides, "groups": 3}
    outputs = run_layer_test(GroupedConv2DTranspose, kwargs, (x,), expected_num_weights=1)
    assert outputs.shape == (2, 3 * strides, 5 * strides, 12)
    layer = GroupedConv2DTranspose(**kwargs)
    outputs = layer(x)
    assert layer.count_params() == 3 * kernel_size**2 * 4 * 2
    for group in range(3):
        plain = keras.layers.Conv2DTranspose(
            4, kernel_size, strides=strides, padding="same", use_bias=False
        )
        plain.build((None, None, None, 2))
        plain.set_weights([layer.kernel.numpy()[group]])
        np.testing.assert_allclose(
            outputs[..., 4 * group : 4 * group + 4],
            plain(x[..., 2 * group : 2 * group + 2]),
            atol=1e-5,
        )


def test_no_gradient_crosses_from_group_to_group():
    x = tf.random.stateless_normal([1, 2, 2, 6], [1, 2])
    layer = GroupedConv2DTranspose(6, 4, strides=2, groups=3)
    with tf.GradientTape() as tape:
        tape.watch(x)
        second = tf.reduce_sum(tf.square(layer(x)[..., 2:4]))
    by_input, by_kernel = tape.gradient(second, [x, layer.kernel])
    for gradient, axis in ((by_input, 3), (by_kernel, 0)):
        size = np.abs(gradient).sum(axis=tuple(a for a in range(gradient.ndim) if a != axis))
        np.testing.assert_array_equal(size.reshape(3, -1).sum(axis=1) > 0.0, [False, True, False])


def test_the_first_kernels_are_glorot_s():
    layer = GroupedConv2DTranspose(64, 4, groups=4)
    layer.build((None, None, None, 32))
    kernel = layer.kernel.numpy()
    limit = np.sqrt(6.0 / (16 * (16 + 8)))
    assert kernel.max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3.0), rel=0.03)
    assert len(np.unique(kernel[:, 0, 0, 0, 0])) == 4


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="multiple of `groups`. Received: filters=7, groups=2"):
        GroupedConv2DTranspose(7, 1, groups=2)
    with pytest.raises(ValueError, match="Received: 3 channels, groups=2"):
        GroupedConv2DTranspose(4, 1, groups=2).build((None, 2, 2, 3))


def test_groups_are_split_in_order():
    x = np.arange(2 * 6, dtype="float32").reshape(1, 1, 2, 6)
    split = SplitGroups(3)(x)
    np.testing.assert_array_equal(split[0, 0, 1], [[6, 7], [8, 9], [10, 11]])
