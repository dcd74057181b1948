"""ResNet-18's tensors in φ, against a network that is written out here after torchvision's."""

import json
import re
import struct

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import InputError, backbones, resnet18_weights
from tests.testing_utils import random_images

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def torchvision_tensors(seed=0):
    """The front of a ResNet-18's state dict, and some of what else it holds; all random."""
    rng = np.random.default_rng(seed)
    tensors = {}

    def convolution(name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        tensors[f"{name}.weight"] = rng.normal(0, scale, shape)

    def normalisation(name, channels):
        tensors[f"{name}.weight"] = rng.uniform(0.5, 1.5, channels)
        tensors[f"{name}.bias"] = rng.normal(0, 0.2, channels)
        tensors[f"{name}.running_mean"] = rng.normal(0, 0.2, channels)
        tensors[f"{name}.running_var"] = rng.uniform(0.5, 1.5, channels)

    convolution("conv1", 64, 3, 7, 7)
    normalisation("bn1", 64)
    for block, before, channels in (
        ("layer1.0", 64, 64),
        ("layer1.1", 64, 64),
        ("layer2.0", 64, 128),
        ("layer2.1", 128, 128),
    ):
        convolution(f"{block}.conv1", channels, before, 3, 3)
        normalisation(f"{block}.bn1", channels)
        convolution(f"{block}.conv2", channels, channels, 3, 3)
        normalisation(f"{block}.bn2", channels)
    convolution("layer2.0.downsample.0", 128, 64, 1, 1)
    normalisation("layer2.0.downsample.1", 128)
    convolution("layer3.0.conv1", 256, 128, 3, 3)
    tensors["fc.bias"] = rng.normal(size=1000)
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def write_safetensors(path, tensors, dtype="F32"):
    header, chunks, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in tensors.items():
        if dtype == "BF16":
            raw = (np.ascontiguousarray(tensor).view("<u4") >> 16).astype("<u2").tobytes()
        else:
            raw = tensor.astype({"F16": "<f2", "F32": "<f4", "F64": "<f8", "I64": "<i8"}[dtype])
            raw = raw.tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        chunks.append(raw)
        offset += len(raw)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


@pytest.fixture(scope="module")
def tensors():
    return torchvision_tensors()


@pytest.fixture(scope="module")
def backbone(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    write_safetensors(path, tensors)
    model = backbones.build()
    resnet18_weights.assign(model, resnet18_weights.read(path))
    return model


def _convolution(tensors, name, x, stride, padding):
    kernel = tensors[f"{name}.weight"].transpose(2, 3, 1, 0)
    return tf.nn.conv2d(x, kernel, stride, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]])


def _normalisation(tensors, name, x):
    parts = (tensors[f"{name}.{p}"] for p in ("running_mean", "running_var", "bias", "weight"))
    return tf.nn.batch_normalization(x, *parts, 1e-5)


def _first_layer(tensors, images, pad_value=None):
    """conv1 and bn1 of ImageNet-normalised images, padded with a grey or, as there, with zeros."""
    padding = 3
    if pad_value is not None:
        width = [[0, 0], [3, 3], [3, 3], [0, 0]]
        images, padding = np.pad(images, width, constant_values=pad_value), 0
    x = ((images - MEAN) / STD).astype(np.float32)
    return _normalisation(tensors, "bn1", _convolution(tensors, "conv1", x, 2, padding))


def _front(tensors, x):
    """The rest of φ, from bn1's output."""
    x = tf.nn.relu(x)
    x = tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
    for block, stride in (("layer1.0", 1), ("layer1.1", 1), ("layer2.0", 2), ("layer2.1", 1)):
        shortcut = x
        if stride == 2:
            shortcut = _convolution(tensors, f"{block}.downsample.0", x, 2, 0)
            shortcut = _normalisation(tensors, f"{block}.downsample.1", shortcut)
        x = _convolution(tensors, f"{block}.conv1", x, stride, 1)
        x = tf.nn.relu(_normalisation(tensors, f"{block}.bn1", x))
        x = _convolution(tensors, f"{block}.conv2", x, 1, 1)
        x = tf.nn.relu(_normalisation(tensors, f"{block}.bn2", x) + shortcut)
    return x


def test_every_tensor_lands_in_its_place(tensors, backbone):
    places = {
        "conv2{}": "layer1.0.{}",
        "conv3{}": "layer1.1.{}",
        "conv4{}": "layer2.0.{}",
        "conv5{}": "layer2.1.{}",
    }
    pairs = [
        (
            "conv4_shortcut_conv",
            "conv4_shortcut_bn",
            "layer2.0.downsample.0",
            "layer2.0.downsample.1",
        )
    ]
    for ours, theirs in places.items():
        for letter, number in (("a", 1), ("b", 2)):
            layers = [ours.format(f"{letter}_{kind}") for kind in ("conv", "bn")]
            sources = [theirs.format(f"{kind}{number}") for kind in ("conv", "bn")]
            pairs.append((*layers, *sources))
    for conv, bn, conv_source, bn_source in pairs:
        kernel = tensors[f"{conv_source}.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(backbone.get_layer(conv).kernel, kernel)
        norm = backbone.get_layer(bn)
        for variable, part in (
            (norm.gamma, "weight"),
            (norm.beta, "bias"),
            (norm.moving_mean, "running_mean"),
            (norm.moving_variance, "running_var"),
        ):
            np.testing.assert_array_equal(variable, tensors[f"{bn_source}.{part}"])
    first = backbone.get_layer("conv1_bn")
    np.testing.assert_array_equal(first.gamma, tensors["bn1.weight"])
    np.testing.assert_array_equal(first.moving_variance, tensors["bn1.running_var"])
    weighted = {layer.name for layer in backbone.layers if layer.weights}
    assert set(resnet18_weights.LAYERS) == weighted
    assert len(pairs) * 2 + 2 == len(weighted)


def test_features_are_torchvision_s_of_an_image_in_a_grey_frame(tensors, backbone):
    images = random_images(2, 64)
    expected = _front(tensors, _first_layer(tensors, images, pad_value=0.5))
    np.testing.assert_allclose(backbone(images), expected, rtol=1e-3, atol=2e-4)


def test_the_scale_is_folded_in_exactly_but_for_the_border(tensors, backbone):
    images = random_images(2, 64)
    first = keras.Model(backbone.input, backbone.get_layer("conv1_bn").output)(images)
    expected = _first_layer(tensors, images)
    inner = np.s_[:, 2:-2, 2:-2]
    np.testing.assert_allclose(first[inner], expected[inner], rtol=1e-4, atol=1e-4)
    assert np.abs(first[:, 0] - expected[:, 0]).max() > 0.01  # the documented difference


@pytest.mark.parametrize(("dtype", "tolerance"), [("F16", 1e-3), ("F64", 0), ("BF16", 1e-2)])
def test_other_floats_are_read(tensors, tmp_path, dtype, tolerance):
    write_safetensors(tmp_path / "w.safetensors", tensors, dtype)
    (kernel,) = resnet18_weights.read(tmp_path / "w.safetensors")["conv3b_conv"]
    assert kernel.dtype == np.float32
    expected = tensors["layer1.1.conv2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(kernel, expected, rtol=tolerance, atol=1e-6 if tolerance else 0)


def test_an_npz_gives_the_same(tensors, tmp_path):
    np.savez(tmp_path / "w.npz", **tensors)
    write_safetensors(tmp_path / "w.safetensors", tensors)
    one, other = (resnet18_weights.read(tmp_path / f"w.{end}") for end in ("npz", "safetensors"))
    assert one.keys() == other.keys()
    for layer in one:
        for a, b in zip(one[layer], other[layer], strict=True):
            np.testing.assert_array_equal(a, b)


def test_wrong_files_are_told(tensors, tmp_path):
    def refused(path, message):
        with pytest.raises(InputError, match=re.escape(message)) as caught:
            resnet18_weights.read(path)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "w.pth", "must end in .safetensors or .npz. Received")
    refused(tmp_path / "w.npz", "does not exist")
    good = tmp_path / "good.safetensors"
    write_safetensors(good, tensors)
    path = tmp_path / "w.safetensors"
    for content in (b"", b"abc", b"\xff" * 8, b"\x08" + bytes(7) + b"no json!"):
        path.write_bytes(content)
        refused(path, "cannot be read as .safetensors")
    path.write_bytes(good.read_bytes()[:400_000])
    refused(path, "is not whole")
    (tmp_path / "w.npz").write_bytes(b"nothing")
    refused(tmp_path / "w.npz", "cannot be read as .npz")
    write_safetensors(path, tensors, "I64")
    refused(path, "is of type I64, not of floats")

    def changed(message, **changes):
        np.savez(tmp_path / "w.npz", **{**tensors, **changes})
        refused(tmp_path / "w.npz", message)

    lacking = {name: tensor for name, tensor in tensors.items() if "layer2.1.bn2" not in name}
    np.savez(tmp_path / "lacking.npz", **lacking)
    refused(tmp_path / "lacking.npz", "has no layer2.1.bn2.weight (and 3 more are missing)")
    name = "layer1.0.conv1.weight"
    changed(f"{name} has shape (64, 64, 1, 1), expected", **{name: np.zeros((64, 64, 1, 1))})
    changed("bn1.bias holds values that are not finite", **{"bn1.bias": np.full(64, np.nan)})
