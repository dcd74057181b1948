from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

import patchvae_tf
from patchvae_tf.unsupervised.pictures import Pictures


@pytest.mark.parametrize(
    ("epochs", "pictured"),
    [(3, [1, 2, 3]), (100, range(1, 101)), (250, [*range(3, 250, 3), 250])],
)
def test_pictures_are_at_most_a_hundred_and_the_last_is_there(epochs, pictured, tmp_path):
    model = patchvae_tf.PatchVAE(16, num_parts=2)
    images = np.zeros([2, 16, 16, 3], "uint8")
    pictures = Pictures(model, images, tmp_path, epochs)
    drawn = []
    with mock.patch.object(tf.summary, "image", lambda name, data, step: drawn.append(step)):
        for epoch in range(1, epochs + 1):
            pictures.write(epoch, 10 * epoch, {})
    assert drawn == [10 * epoch for epoch in pictured for _ in ("reconstructions", "occurrence")]
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "reconstructions.png",
        "occurrence.png",
    }


def test_pictures_that_cannot_be_written_stop_no_training(tmp_path, caplog):
    (tmp_path / "pictures").write_text("a file where the folder should be")
    images = np.zeros([2, 16, 16, 3], "uint8")
    Pictures(patchvae_tf.PatchVAE(16, num_parts=2), images, tmp_path, 1).write(1, 10, {})
    (message,) = caplog.messages
    assert message.startswith("no pictures of epoch 1: FileExistsError: ")
