"""Folding batch normalisation changes how φ computes, not what."""

import numpy as np
import pytest

from patchvae_tf import backbones
from patchvae_tf.backbones import folding
from patchvae_tf.layers import BatchNormalization
from patchvae_tf.models.distributed import dtype_policy_scope


def _trained_like(network):
    """Moves every weight off its first value: γ = 1 and β = 0 would hide what is left out."""
    rng = np.random.default_rng(0)
    for variable in network.weights:
        variable.assign(variable.numpy() + 0.05 * np.abs(rng.normal(size=variable.shape)))
    return network


@pytest.mark.parametrize("name", backbones.NAMES)
def test_a_folded_backbone_computes_the_same(name):
    network = _trained_like(backbones.build(name))
    images = np.random.default_rng(1).random((3, 64, 64, 3)).astype(np.float32)
    expected = network(images, training=False).numpy()
    folded = folding.folded(network)
    assert not any(isinstance(layer, BatchNormalization) for layer in folded.layers)
    np.testing.assert_allclose(
        folded(images).numpy(), expected, atol=1e-5 * np.abs(expected).max(), rtol=0
    )


def test_the_folded_backbone_has_weights_of_its_own():
    network = _trained_like(backbones.build("resnet9"))
    folded = folding.folded(network)
    images = np.random.default_rng(1).random((2, 32, 32, 3)).astype(np.float32)
    before = folded(images).numpy()
    for variable in network.weights:
        variable.assign(variable.numpy() * 0.0)
    np.testing.assert_array_equal(folded(images).numpy(), before)


def test_weights_are_kept_as_they_are_computed_with():
    with dtype_policy_scope("mixed_bfloat16"):
        network = _trained_like(backbones.build("resnet9"))
    assert {weight.dtype for weight in network.weights} == {"float32"}
    folded = folding.folded(network)
    assert {weight.dtype for weight in folded.weights} == {"bfloat16"}
    kernel, norm = network.get_layer("conv5b_conv").kernel, network.get_layer("conv5b_bn")
    scale = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    np.testing.assert_allclose(  # rounded once: by at most half of bfloat16's last bit
        folded.get_layer("conv5b_conv").kernel.numpy().astype("float32"),
        kernel.numpy() * scale,
        rtol=2**-8,
    )


def test_stages_keep_their_names():
    folded = folding.folded(backbones.build("resnet9"))
    for stage in backbones.stages("resnet9"):
        assert folded.get_layer(stage.layer).output.shape[-1] in (64, 128)
