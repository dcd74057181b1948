"""A small PatchVAE, images for it, and what a survey of them says."""

import keras
import numpy as np
import pytest

from patchvae_tf import PatchVAE, visualization
from tests.testing_utils import random_images


@pytest.fixture(scope="package")
def model():
    keras.utils.set_random_seed(0)
    model = PatchVAE(image_size=16, num_parts=4, appearance_dim=2)
    for seed in (1, 2):
        model(random_images(8, 16, seed), training=True)
    # Parts that differ from each other and from place to place.
    model.occurrence_head.bias.assign([-0.8, -30.0, 30.0, -0.4])
    kernel = model.occurrence_head.kernel
    kernel.assign(np.asarray(kernel) * np.array([3.0, 0.0, 0.0, 3.0], "float32"))
    return model


@pytest.fixture(scope="package")
def images():
    return (random_images(23, 16, seed=5) * 255).astype("uint8")


@pytest.fixture(scope="package")
def survey(model, images):
    return visualization.survey(
        model, batches(images, np.arange(len(images)) % 2), class_names=("cat", "wild_dog"), best=3
    )


def batches(images, labels, size=7):
    """Batches as a stream gives them, the last one short."""
    for start in range(0, len(images), size):
        indices = np.arange(start, min(start + size, len(images)))
        yield indices, images[indices], labels[indices]
