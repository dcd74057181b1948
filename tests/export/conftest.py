"""What the exported PatchVAE answers, and image files to ask it about."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image


@pytest.fixture(scope="session")
def model(exported):
    return exported[0]


@pytest.fixture(scope="session")
def loaded(exported):
    return tf.saved_model.load(exported[1])


@pytest.fixture(scope="session")
def files():
    """Image files of several formats, modes and sizes, two of them unreadable."""

    def encoded(mode, size, file_format):
        pixels = np.random.default_rng(size[0]).integers(0, 256, (*size, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, file_format)
        return buffer.getvalue()

    png = encoded("RGBA", (40, 23), "PNG")
    return [
        encoded("RGB", (19, 31), "JPEG"),
        b"no image",
        png,
        encoded("L", (16, 16), "PNG"),
        png[: len(png) // 2],
        encoded("RGB", (21, 17), "WEBP"),
        encoded("P", (18, 24), "GIF"),
    ]
