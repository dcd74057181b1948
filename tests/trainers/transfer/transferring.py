"""What the tests of the command share."""

import os
import subprocess
import sys

import numpy as np

from patchvae_tf.transfer.config import TransferConfig, resolved
from tests import processes

COMMAND = "trainers.transfer"
SIZE = 16


def colours(count, num_classes, seed):
    """Images whose class is their colour, in noise: (uint8 [n, 16, 16, 3], int64 [n])."""
    labels = np.arange(count) % num_classes
    images = np.random.default_rng(seed).integers(0, 60, (count, SIZE, SIZE, 3))
    for image, label in zip(images, labels, strict=True):
        image[..., label % 3] += 90 + 90 * (label // 3)
    return images.astype("uint8"), labels


def run_transfer(*flags):
    return processes.run(COMMAND, *flags)


def run_showing_imports(*flags):
    """In a new interpreter, every import is named on stderr."""
    return subprocess.run(
        [sys.executable, "-m", COMMAND, *map(str, flags)],
        cwd=processes.ROOT,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
    )


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
