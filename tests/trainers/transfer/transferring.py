"""What the tests of the command share."""

import os
import pathlib
import subprocess
import sys

import numpy as np

from patchvae_tf.transfer.config import TransferConfig, resolved

ROOT = pathlib.Path(__file__).parents[3]
SHOW_IMPORTS = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}  # every import is named on stderr
SIZE = 16


def colours(count, num_classes, seed):
    """Images whose class is their colour, in noise: (uint8 [n, 16, 16, 3], int64 [n])."""
    labels = np.arange(count) % num_classes
    images = np.random.default_rng(seed).integers(0, 60, (count, SIZE, SIZE, 3))
    for image, label in zip(images, labels, strict=True):
        image[..., label % 3] += 90 + 90 * (label // 3)
    return images.astype("uint8"), labels


def command_of(*flags):
    return [sys.executable, "-m", "trainers.transfer", *map(str, flags)]


def run_transfer(*flags, **kwargs):
    return subprocess.run(command_of(*flags), cwd=ROOT, capture_output=True, text=True, **kwargs)


def flags_of(images, transfer_dir, *more):
    return (
        f"--dataset={images}",
        f"--transfer_dir={transfer_dir}",
        "--learning_rate=0.01",
        "--batch_size=16",
        "--checkpoint_minutes=0",  # a checkpoint after every step
        *more,
    )


def config_of(images, **settings):
    values = {"learning_rate": 0.01, "batch_size": 16, "precision": "float32", **settings}
    return resolved(TransferConfig(dataset=str(images), **values))
