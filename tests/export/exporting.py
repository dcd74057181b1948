"""What the tests of the export share: small models, what they answer, and how it is compared."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from patchvae_tf import BetaVAE, BiGAN, PatchVAE
from tests.testing_utils import random_images

ROOT = pathlib.Path(__file__).parents[2]
SIZE = 16
# What float32 keeps between a batch and its rows, whose sums are taken in another order.
CLOSE = {"rtol": 3e-6, "atol": 3e-6}
# Beside the model itself: batch normalisation folded into convolutions rounds otherwise.
FOLDED = {"rtol": 1e-5, "atol": 1e-5}
# Of the run that the exported BetaVAE says it is of.
RECORD = {
    "settings": {"dataset": "photos", "image_size": SIZE, "epochs": 3},
    "data": {
        "training_images": 12345,
        "validation_images": 67,
        "skipped": ["broken.jpg"],
        "dtype_policy": "mixed_bfloat16",
    },
    "result": {
        "epoch": 3,
        "val_loss": 390.726,
        "device": "A processor, 2 cores",
        "linear_probe": {
            "top1": 0.85,
            "random_backbone_top1": 0.547,
            "classes": 10,
            "training_images": 9500,
            "test_images": 67,
        },
    },
}


def patch_vae(**kwargs):
    """A small PatchVAE that saw images: moving statistics are not those it began with."""
    return _with_moved_statistics(
        PatchVAE(image_size=SIZE, num_parts=4, appearance_dim=2, **kwargs)
    )


def beta_vae():
    return _with_moved_statistics(BetaVAE(image_size=SIZE, latent_dim=5))


def bigan():
    return _with_moved_statistics(BiGAN(image_size=SIZE, latent_dim=5))


def _with_moved_statistics(model):
    for seed in (1, 2):
        model(random_images(8, SIZE, seed), training=True)
    return model


def expected_outputs(model, images):
    """Signature name -> outputs, by the Keras model, a PatchVAE."""
    return tf.function(_expected_outputs, autograph=False)(model, tf.constant(images))


def in_graph(model):
    """`model` of an array of images, in a graph as it is trained and exported.

    Called eagerly its layers are not fused: the last digits of float32 differ then.
    """
    graph = tf.function(lambda images: model(images), autograph=False)
    return lambda images: graph(tf.constant(images))


def _expected_outputs(model, images):
    outputs = model(images)
    features = model.backbone(images)
    layers = {"conv1": "conv1_pool", "conv1_3": "conv3_out", "conv1_5": "conv5_out"}
    maps = keras.Model(
        model.backbone.input,
        {name: model.backbone.get_layer(layer).output for name, layer in layers.items()},
    )
    return {
        "serving_default": {
            "features": tf.reduce_mean(features, axis=[1, 2]),
            "feature_map": features,
            "occurrence": outputs["occurrence"],
            "appearance": outputs["appearance_mean"],
        },
        "stages": maps(images),
        "reconstruct": {"reconstruction": outputs["reconstruction"]},
        "decode": {"images": outputs["reconstruction"]},
    }


def write_two_classes(root):
    """Writes 41 PNG and JPEG images of two classes and several sizes, one of them unreadable."""
    rng = np.random.default_rng(0)
    for index in range(41):
        side = (SIZE, 24, 40)[index % 3]
        pixels = rng.integers(0, 256, (side, side + index % 2, 3), "uint8")
        encode = tf.io.encode_png if index % 2 else tf.io.encode_jpeg
        path = root / ("ash", "oak")[index % 2] / f"{index:02d}.{'png' if index % 2 else 'jpg'}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(pixels).numpy())
    (root / "oak" / "21.png").write_bytes(b"no image")


def examples_of(files, name="image/encoded"):
    """Serialized `tf.train.Example`s that hold image files."""
    return [
        tf.train.Example(
            features=tf.train.Features(
                feature={name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))}
            )
        ).SerializeToString()
        for file in files
    ]


def default_answer(loaded, images):
    """What `serving_default` of a loaded SavedModel says of an array of images."""
    return loaded.signatures["serving_default"](tf.constant(images))


def assert_same(outputs, expected, **tolerance):
    """Two dicts of outputs: the same names and values, equal or within the tolerance."""
    assert set(outputs) == set(expected)
    for name, value in outputs.items():
        if tolerance:
            np.testing.assert_allclose(value, expected[name], **tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


def python(*arguments, **kwargs):
    """Runs this interpreter; the finished process, with its text."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, **kwargs
    )
