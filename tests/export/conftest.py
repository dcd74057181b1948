"""A small exported PatchVAE, and image files to ask it about."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.export.exporting import ROOT, patch_vae, python


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """(model, version): a PatchVAE with an optimizer, and what the command made of it.

    One for the session: no test may change either, or write into the folder.
    """
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    run_dir.mkdir()
    model = patch_vae()
    model.compile(optimizer=keras.optimizers.Adam())
    model.save(run_dir / "model.keras")
    done = python("-m", "export.saved_model", f"--run_dir={run_dir}", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"wrote {run_dir}/export/1",
        "signatures: serving_default, serving_bytes, serving_examples, stages, reconstruct, decode",
    ]
    return model, run_dir / "export/1"


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
