"""A preset of a small model, and images it has not seen."""

import numpy as np
import pytest
from PIL import Image

from patchvae_tf import PatchVAE
from tests.models.test_presets import moved
from tests.testing_utils import random_images

SIZE = 16


@pytest.fixture(scope="session")
def model():
    """A small PatchVAE. No test may change it."""
    return moved(PatchVAE(image_size=SIZE, num_parts=3, appearance_dim=2))


@pytest.fixture(scope="session")
def preset(model, tmp_path_factory):
    """The folder of its preset, as a str. No test may change it."""
    folder = tmp_path_factory.mktemp("presets") / "own"
    model.save_to_preset(folder)
    return str(folder)


@pytest.fixture(scope="session")
def images():
    """uint8 [40, 16, 16, 3]: the second half brighter than the first."""
    pixels = random_images(40, SIZE, seed=5) * 0.5
    pixels[20:] += 0.4
    return (pixels * 255).astype("uint8")


@pytest.fixture(scope="session")
def folder(images, tmp_path_factory):
    """The images as files, of classes `bright` and `dark`. No test may change it."""
    root = tmp_path_factory.mktemp("images")
    for index, pixels in enumerate(images):
        path = root / ("dark", "bright")[index // 20] / f"{index:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="session")
def labels():
    """int64 [40], 1 for bright images."""
    return np.arange(40) // 20
