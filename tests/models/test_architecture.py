"""The networks against the paper's supplementary, Tables 1-5: layer by layer, and in sum."""

import keras
import numpy as np
import pytest

from patchvae_tf import BetaVAE, BiGAN, PatchVAE, backbones
from patchvae_tf.settings import PartObjective
from tests.testing_utils import random_images

STAGES = {"conv1": "conv1_pool", "conv1-3": "conv3_out", "conv1-5": "conv5_out"}  # Table 5's


def _count(*layers):
    return sum(int(np.prod(w.shape)) for layer in layers for w in layer.trainable_weights)


@pytest.mark.parametrize("image_size", [32, 64])
def test_patch_vae_counts(image_size):
    model = PatchVAE(image_size=image_size)
    assert _count(model.backbone) == 683_072
    assert _count(model.backbone, *model.heads) == 922_896
    assert _count(model.decoder) == 683_904
    assert _count(model) == 922_896 + 683_904


@pytest.mark.parametrize(
    ("image_size", "encoder", "decoder"), [(32, 888_192, 774_144), (64, 1_478_016, 1_069_056)]
)
def test_beta_vae_counts(image_size, encoder, decoder):
    model = BetaVAE(image_size=image_size)
    assert _count(model.backbone) == 683_072
    assert _count(model.backbone, model.trunk, *model.heads) == encoder
    assert _count(model.decoder) == decoder
    assert _count(model) == encoder + decoder


@pytest.mark.parametrize(
    ("image_size", "encoder", "generator"), [(32, 789_792, 774_144), (64, 1_084_704, 1_069_056)]
)
def test_bigan_counts(image_size, encoder, generator):
    model = BiGAN(image_size=image_size)
    assert _count(model.backbone) == 683_072
    assert _count(model.encoder) == encoder
    assert _count(model.generator) == generator
    assert _count(model) == encoder + generator + _count(model.discriminator)


def _convolutions(model):
    """(kind, kernel, channels, stride, symmetric padding in pixels, bias) of each, in order."""
    rows, pad = [], 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.ZeroPadding2D):
            pad = layer.padding[0][0]
            assert layer.padding == ((pad, pad), (pad, pad))
        elif isinstance(layer, keras.layers.MaxPooling2D):
            assert layer.padding == "valid"
            rows.append(("pool", layer.pool_size[0], None, layer.strides[0], pad, False))
            pad = 0
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            kernel, stride = layer.kernel_size[0], layer.strides[0]
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            if layer.padding == "same":
                # "same" is symmetric for these: an odd kernel of stride 1, and a transposed
                # convolution whose kernel and stride are both even.
                assert (not transposed and stride == 1 and kernel % 2) or (
                    transposed and kernel == 4 and stride == 2
                )
                pad = (kernel - stride + 1) // 2
            kind = "deconv" if transposed else "conv"
            rows.append((kind, kernel, layer.filters, stride, pad, layer.use_bias))
            pad = 0
    return rows


def test_backbone_is_table_5():
    def block(filters, stride):
        first = ("conv", 3, filters, stride, 1, False)
        second = ("conv", 3, filters, 1, 1, False)
        shortcut = [("conv", 1, filters, 2, 0, False)] if stride == 2 else []
        return sorted([first, second, *shortcut])

    rows = _convolutions(backbones.build())
    assert rows[:2] == [("conv", 7, 64, 2, 3, False), ("pool", 3, None, 2, 1, False)]
    assert sorted(rows[2:6]) == sorted(block(64, 1) + block(64, 1))
    assert sorted(rows[6:]) == sorted(block(128, 2) + block(128, 1))


PYRAMID = [
    ("conv", 1, 256, 1, 0, False),  # a transposed 1×1 convolution of stride 1 is a plain one
    ("deconv", 4, 128, 2, 1, False),
    ("deconv", 4, 64, 2, 1, False),
    ("deconv", 4, 3, 2, 1, False),
]


def test_patch_vae_heads_and_decoder_are_tables_1_and_3():
    model = PatchVAE()
    for head, filters in zip(model.heads, (16, 96, 96), strict=True):
        assert (head.kernel_size, head.filters, head.strides) == ((3, 3), filters, (1, 1))
        assert (head.padding, head.use_bias) == ("same", True)
    assert _convolutions(model.decoder) == PYRAMID


@pytest.mark.parametrize("image_size", [32, 64])
def test_beta_vae_is_tables_1_to_4(image_size):
    model = BetaVAE(image_size=image_size)
    grid = image_size // 8
    assert _convolutions(model.trunk) == [("conv", 1, 64, 1, 0, False)]
    for head in model.heads:
        assert (head.kernel_size, head.filters) == ((grid, grid), 96)
        assert (head.padding, head.use_bias) == ("valid", True)
    assert _convolutions(model.decoder) == [("deconv", grid, 64, 1, 0, False), *PYRAMID]


@pytest.mark.parametrize("image_size", [32, 64])
def test_bigan_is_tables_1_to_4(image_size):
    model = BiGAN(image_size=image_size)
    grid = image_size // 8
    squeeze, code = model.encoder.get_layer("squeeze"), model.encoder.get_layer("code")
    assert (squeeze.kernel_size, squeeze.filters, squeeze.use_bias) == ((1, 1), 64, False)
    assert (code.kernel_size, code.filters, code.use_bias) == ((grid, grid), 96, True)
    assert _convolutions(model.generator) == [("deconv", grid, 64, 1, 0, False), *PYRAMID]


def test_image_discriminator_is_section_a():
    discriminator = PatchVAE(objective=PartObjective(adversarial_weight=1.0)).discriminator
    convolutions = [la for la in discriminator.layers if isinstance(la, keras.layers.Conv2D)]
    assert [(la.kernel_size[0], la.strides[0], la.filters) for la in convolutions] == [
        (4, 2, 64),
        (4, 2, 128),
        (4, 2, 256),
        (1, 1, 1),
    ]
    normalised = [la.name for la in discriminator.layers if la.name.endswith("_bn")]
    assert normalised == ["conv2_bn", "conv3_bn"]
    assert discriminator(random_images(2, 64)).shape == (2,)
    assert discriminator(random_images(3, 24)).shape == (3,)


@pytest.mark.parametrize("model_class", [PatchVAE, BetaVAE, BiGAN])
def test_normalisation_and_activations(model_class):
    model = model_class()
    inner = [model.backbone, model.decoder]
    layers = [layer for part in inner for layer in part.layers]
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)
        if isinstance(layer, keras.layers.LeakyReLU):
            assert layer.negative_slope == pytest.approx(0.2)
    assert model.decoder.get_layer("tanh").activation is keras.activations.tanh


def test_transposed_convolution_pads_one_pixel_on_each_side():
    # The full transposed convolution of a single pixel is the 4 × 4 kernel; pad 1 cuts one pixel
    # from each side of what stride 2 lays out.
    layer = keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", use_bias=False)
    layer.build((None, 2, 2, 1))
    kernel = np.arange(16, dtype="float32").reshape(4, 4, 1, 1)
    layer.set_weights([kernel])
    image = np.zeros((1, 2, 2, 1), "float32")
    image[0, 0, 0] = 1.0
    expected = np.zeros((4, 4))
    expected[:3, :3] = kernel[1:, 1:, 0, 0]
    np.testing.assert_array_equal(layer(image)[0, :, :, 0], expected)


@pytest.mark.parametrize("size", [32, 64])
def test_stages_have_the_shapes_of_table_5(size):
    backbone = backbones.build()
    stages = {name: backbone.get_layer(layer).output for name, layer in STAGES.items()}
    outputs = keras.Model(backbone.input, stages)(random_images(2, size))
    assert {name: tuple(map_.shape) for name, map_ in outputs.items()} == {
        "conv1": (2, size // 4, size // 4, 64),
        "conv1-3": (2, size // 4, size // 4, 64),
        "conv1-5": (2, size // 8, size // 8, 128),
    }
    # Conv1 freezes 9,536 parameters, Conv1-3 157,504: those of ResNet-18's front.
    counts = {name: _count(keras.Model(backbone.input, map_)) for name, map_ in stages.items()}
    assert counts == {"conv1": 9_536, "conv1-3": 157_504, "conv1-5": 683_072}
