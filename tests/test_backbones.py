"""The backbones against the papers' sizes, counted by hand, and what can be done with any."""

import itertools
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import BetaVAE, BiGAN, InputError, PatchVAE, TransferClassifier, backbones
from patchvae_tf.layers import BatchNormalization
from patchvae_tf.settings import unsupervised_config
from tests.testing_utils import random_images

PAGE = (pathlib.Path(__file__).parents[1] / "docs/choosing.md").read_text()


def _count(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def _by_hand(name, stride):
    """Trainable parameters, from the papers' tables."""
    levels = [4, 8, 16, 32].index(stride) + 1
    if name.startswith("resnet"):
        counts = (3, 4, 6, 3) if name == "resnet50" else (2, 2, 2, 2)
        total, channels = 7 * 7 * 3 * 64 + 2 * 64, 64
        for level in range(levels):
            width = 64 * 2**level
            for block in range(counts[level]):
                if name == "resnet50":
                    out = 4 * width
                    total += channels * width + 9 * width * width + width * out
                    total += 2 * (width + width + out)
                    projected = block == 0
                else:
                    out = width
                    total += 9 * channels * width + 9 * width * width + 4 * width
                    projected = block == 0 and level > 0
                total += (channels * out + 2 * out) if projected else 0
                channels = out
        return total
    if name == "alexnet":
        convolutions = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
        return sum(k * k * i * o + o for k, i, o in convolutions[: {4: 1, 8: 2}.get(stride, 5)])
    widths = [3, *(64 * 2**level for level in range(levels + 1))]
    return sum(16 * i * o + 2 * o for i, o in itertools.pairwise(widths))


CUTS = [(name, stride) for name in backbones.NAMES for stride in backbones.strides(name)]


@pytest.mark.parametrize(("name", "stride"), CUTS)
def test_parameters_and_stages(name, stride):
    backbone = backbones.build(name, stride)
    assert _count(backbone) == _by_hand(name, stride)
    stages = backbones.stages(name, stride)
    assert stages[-1].stride == stride
    assert backbone.output is backbone.get_layer(stages[-1].layer).output
    maps = keras.Model(backbone.input, [backbone.get_layer(s.layer).output for s in stages])
    shapes = [tuple(map_.shape) for map_ in keras.tree.flatten(maps(random_images(1, 64)))]
    assert shapes == [(1, 64 // s.stride, 64 // s.stride, s.channels) for s in stages]


def test_whole_networks_have_the_published_numbers():
    # torchvision's resnet18, resnet50 and alexnet, without their last dense layers.
    assert _by_hand("resnet18", 32) == 11_689_512 - 512 * 1000 - 1000
    assert _by_hand("resnet50", 32) == 25_557_032 - 2048 * 1000 - 1000
    assert _by_hand("alexnet", 32) == 2_469_696
    assert _by_hand("resnet9", 8) == 683_072  # Table 5


def test_the_table_of_parameters_is_counted_right():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| ([^|]*) \|(.*) \|$", PAGE, re.MULTILINE)
    assert [(name, int(stride)) for name, stride, *_ in rows] == CUTS
    for name, text, channels, counts in rows:
        stride, channels = int(text), int(channels.replace(",", ""))
        assert channels == backbones.stages(name, stride)[-1].channels
        phi = _by_hand(name, stride)
        heads = (9 * channels + 1) * (16 + 96 + 96)
        widths = [64 * 2**level for level in reversed(range(stride.bit_length() - 1))]
        decoder = 96 * widths[0] + 2 * sum(widths) + 16 * 64 * 3
        decoder += sum(16 * i * o for i, o in itertools.pairwise(widths))
        shown = [int(count.replace(",", "")) for count in counts.split(" | ")]
        assert shown == [phi, phi + heads, decoder]


def test_every_stride_is_there_but_resnet9_s_deeper_ones():
    assert backbones.strides("resnet9") == (4, 8)
    assert all(backbones.strides(name) == (4, 8, 16, 32) for name in backbones.NAMES[1:])


def test_alexnet_s_convolution_by_hand():
    backbone = backbones.build("alexnet", 4)
    kernel, bias = (weight.numpy() for weight in backbone.get_layer("conv1_conv").weights)
    assert kernel.shape == (11, 11, 3, 64)
    image = random_images(1, 16)
    padded = np.pad(2.0 * image[0] - 1.0, ((4, 4), (4, 4), (0, 0)))
    expected = np.einsum("yxc,yxco->o", padded[4:15, 8:19], kernel) + bias  # of place (1, 2)
    np.testing.assert_allclose(backbone(image)[0, 1, 2], np.maximum(expected, 0), atol=1e-4)
    assert not any(isinstance(layer, BatchNormalization) for layer in backbone.layers)


def test_alexnet_s_first_weights_keep_the_scale():
    keras.utils.set_random_seed(0)
    backbone = backbones.build("alexnet", 16)
    noise = np.random.default_rng(0).random((2, 64, 64, 3)).astype("float32")
    scale = np.sqrt(np.mean(np.square(backbone(noise))))
    assert 0.2 < scale < 5.0  # of an image on [-1, 1]: 0.58


def test_a_stride_or_a_backbone_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"one of resnet9, resnet18, .* Received: 'vgg'"):
        backbones.build("vgg")
    with pytest.raises(InputError, match="stride of backbone=resnet9 must be one of 4, 8. Rec"):
        PatchVAE(image_size=32, stride=16)
    with pytest.raises(
        InputError, match="multiple of the backbone's stride, 32. Received: 48. Use e.g"
    ):
        PatchVAE(image_size=48, backbone="resnet18")
    with pytest.raises(InputError, match="stride of backbone=resnet9 must be one of 4, 8. Rec"):
        unsupervised_config(stride=32)
    with pytest.raises(InputError, match="image_size must be .*, 32. Received: 48. Use e.g. 32"):
        unsupervised_config(backbone="alexnet", image_size=48)
    with pytest.raises(InputError, match="backbone must be one of resnet9, .* Received: vgg"):
        unsupervised_config(backbone="vgg")


DECODERS = [(4, 128), (8, 256), (16, 512), (32, 1024)]


@pytest.mark.parametrize(("stride", "first"), DECODERS)
def test_the_decoder_doubles_as_often_as_the_stride_asks(stride, first):
    model = PatchVAE(
        image_size=32, num_parts=2, appearance_dim=3, backbone="pyramid", stride=stride
    )
    expected, width = 6 * first + 2 * first, first
    while width > 64:
        expected += 16 * width * (width // 2) + 2 * (width // 2)
        width //= 2
    assert _count(model.decoder) == expected + 16 * 64 * 3
    outputs = model(random_images(2, 32))
    assert outputs["reconstruction"].shape == (2, 32, 32, 3)
    assert outputs["occurrence"].shape == (2, 32 // stride, 32 // stride, 2)
    assert model.laplacian_weights.block_size == stride


@pytest.mark.parametrize("model_class", [PatchVAE, BetaVAE, BiGAN])
@pytest.mark.parametrize(
    ("name", "stride"),
    [("pyramid", 4), pytest.param("alexnet", None, marks=pytest.mark.slow)],
)
def test_every_model_learns_on_any_backbone_and_is_read_back(model_class, name, stride, tmp_path):
    model = model_class(image_size=32, backbone=name, stride=stride)
    assert model.stride == (stride or 32)
    model.compile(optimizer=keras.optimizers.Adam(1e-4))
    before = [weight.numpy() for weight in model.backbone.trainable_weights]
    images = random_images(4)
    tf.function(model.train_step, autograph=False)(tf.constant(images))
    for weight, old in zip(model.backbone.trainable_weights, before, strict=True):
        assert np.any(weight.numpy() != old), weight.path
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config()["backbone"] == name
    np.testing.assert_array_equal(loaded(images)["reconstruction"], model(images)["reconstruction"])


def test_a_classifier_on_another_backbone_freezes_by_its_stages():
    model = TransferClassifier(3, 16, freeze="conv1-2", backbone="alexnet", stride=16)
    frozen = {
        layer.name for layer in model.backbone.layers if layer.weights and not layer.trainable
    }
    assert frozen == {"conv1_conv", "conv2_conv"}
    assert model.feature_shape == (1, 1, 256)
    assert model.parameter_count == 2_469_696 + (256 * 512 + 512) + (512 * 3 + 3)
    with pytest.raises(InputError, match="one of none, conv1, conv1-2, conv1-5. Received: pool5"):
        TransferClassifier(3, 16, freeze="pool5", backbone="alexnet", stride=16)
    assert type(model).from_config(model.get_config()).stride == 16


@pytest.mark.slow
def test_the_paper_s_imagenet_setting_runs_a_step():
    # 224 × 224, stride 32, ResNet-18, N = 64, d_p = 16.
    model = PatchVAE(image_size=224, num_parts=64, appearance_dim=16, backbone="resnet18")
    heads = 9 * 512 * (64 + 1024 + 1024) + (64 + 1024 + 1024)
    assert _count(model) == 11_176_512 + heads + _count(model.decoder)
    model.compile(optimizer=keras.optimizers.Adam(2e-4, beta_1=0.5))
    images = tf.constant(random_images(2, 224))
    terms = tf.function(model.train_step, autograph=False)(images)
    assert all(np.isfinite(float(value)) for value in terms.values())
    outputs = model(images)
    assert outputs["occurrence"].shape == (2, 7, 7, 64)
    assert outputs["reconstruction"].shape == (2, 224, 224, 3)
