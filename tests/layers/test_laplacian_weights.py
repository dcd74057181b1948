import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf.layers import LaplacianWeights
from patchvae_tf.layers.laplacian_weights import absolute_laplacian
from tests.testing_utils import random_images, run_layer_test


def _reference(image, block):
    """The mask of one image by plain loops: float64 [H, W, channels]."""
    rows, cols, channels = image.shape
    padded = np.pad(image.astype("float64"), ((1, 1), (1, 1), (0, 0)), mode="edge")
    mask = np.ones(image.shape)
    for c in range(channels):
        edges = np.zeros((rows, cols))
        for i in range(rows):
            for j in range(cols):
                y, x = i + 1, j + 1
                around = padded[y - 1, x, c] + padded[y + 1, x, c]
                around += padded[y, x - 1, c] + padded[y, x + 1, c]
                edges[i, j] = abs(around - 4 * padded[y, x, c])
        if edges.sum() == 0:
            continue
        for i in range(0, rows, block):
            for j in range(0, cols, block):
                mask[i : i + block, j : j + block, c] = edges[i : i + block, j : j + block].sum()
        mask[..., c] /= mask[..., c].mean()
    return mask


def test_contract():
    run_layer_test(LaplacianWeights, {"block_size": 4}, (random_images(2),))


def test_laplacian_of_a_single_bright_pixel():
    image = np.zeros((1, 3, 3, 1), "float32")
    image[0, 1, 1] = 1.0
    expected = [[0, 1, 0], [1, 4, 1], [0, 1, 0]]
    np.testing.assert_array_equal(absolute_laplacian(image)[0, :, :, 0], expected)


def test_laplacian_replicates_the_edge():
    ramp = np.arange(4, dtype="float32").reshape(1, 1, 4, 1)
    np.testing.assert_array_equal(absolute_laplacian(ramp)[0, 0, :, 0], [1, 0, 0, 1])


@pytest.mark.parametrize("block", [4, 8])
def test_mask_equals_plain_loops(block):
    images = random_images(2, size=16)
    weights = LaplacianWeights(block)(images).numpy()
    for image, mask in zip(images, weights, strict=True):
        np.testing.assert_allclose(mask, _reference(image, block), rtol=1e-4)
    np.testing.assert_allclose(weights.mean(axis=(1, 2)), 1.0, rtol=1e-5)


def test_constant_images_and_channels_have_weight_one():
    images = random_images(2)
    images[0] = 0.3
    images[1, :, :, 2] = 0.7
    weights = LaplacianWeights(8)(images).numpy()
    np.testing.assert_array_equal(weights[0], 1.0)
    np.testing.assert_array_equal(weights[1, :, :, 2], 1.0)
    assert weights[1, :, :, 0].std() > 0.01


def test_no_gradient_flows_through_the_mask():
    images = tf.constant(random_images(1))
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(LaplacianWeights(8)(images) ** 2)
    assert tape.gradient(total, images) is None


def test_block_size_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1. Received: block_size=0"):
        LaplacianWeights(0)
