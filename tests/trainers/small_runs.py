"""Small trainings by the command: what they train on, and how they are called."""

import pathlib

import numpy as np

from tests import processes
from tests.testing_utils import random_images

COMMAND = "trainers.unsupervised"
SMALL = ("--image_size=16", "--num_parts=4", "--batch_size=8", "--epochs=2", "--learning_rate=1e-3")


def save_images(path: pathlib.Path, labelled: bool = True) -> pathlib.Path:
    """An .npz of 68 small images: 64 to train on, 8 steps an epoch.

    Without labels nothing is classified at the end of a training.
    """
    pixels = (random_images(68, 16) * 255).astype("uint8")
    labels = {"y_train": np.arange(68) % 2} if labelled else {}
    np.savez(path, x_train=pixels, **labels)
    return path


def flags(images: pathlib.Path, run_dir: pathlib.Path, *more: str) -> tuple[str, ...]:
    """Flags of a small training, and more of them."""
    return (
        *SMALL,
        f"--dataset={images}",
        f"--run_dir={run_dir}",
        "--validation_examples=4",
        "--checkpoint_minutes=0",  # a checkpoint after every step
        "--noexport",
        "--noreport",
        *more,
    )


def train(images: pathlib.Path, run_dir: pathlib.Path, *more: str) -> processes.Finished:
    """Runs a small training to its end; the arguments are those of `flags`."""
    return processes.run(COMMAND, *flags(images, run_dir, *more))
