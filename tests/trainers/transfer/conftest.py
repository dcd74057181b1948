import json

import numpy as np
import pytest

from patchvae_tf import PatchVAE
from patchvae_tf.saved_models.writing import export_model
from tests.trainers.transfer.transferring import SIZE, colours


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """An .npz of 6 classes: 126 images to train on, of which 6 are held out by default."""
    path = tmp_path_factory.mktemp("data") / "colours.npz"
    (x_train, y_train), (x_test, y_test) = colours(126, 6, 0), colours(30, 6, 1)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="module")
def pretrained():
    model = PatchVAE(image_size=SIZE, num_parts=4, appearance_dim=2)
    model(np.random.default_rng(0).random((8, SIZE, SIZE, 3), "float32"), training=True)
    return model


@pytest.fixture(scope="module")
def run_dir(pretrained, tmp_path_factory):
    """A finished run as far as transfer looks at it, with an export."""
    folder = tmp_path_factory.mktemp("runs") / "patchvae"
    folder.mkdir()
    pretrained.save(folder / "model.keras")
    settings = {"model": "patchvae", "image_size": SIZE}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "data.json").write_text("{}")
    export_model(pretrained, folder / "export")
    return folder
