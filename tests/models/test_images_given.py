"""What a model is given from Python: images, or one sentence."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import InputError, PatchVAE

SIZE = 16
IMAGES = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), "uint8")


@pytest.fixture(scope="module")
def model():
    model = PatchVAE(image_size=SIZE, num_parts=2, appearance_dim=2)
    model.compile(keras.optimizers.Adam(1e-4))
    return model


def _dataset(images):
    return tf.data.Dataset.from_tensor_slices(images).batch(2)


WRONG = {
    "no images": (IMAGES[:0], r"there are no images. Received: \[0, 16, 16, 3\]"),
    "no batch": (_dataset(IMAGES[:0]), "has no batch: give one with images"),
    "nothing": (None, "must be an array .* Received: None"),
    "a path": ("FOLDER", r"To train on a folder: patchvae_tf.train\(dataset=FOLDER\)"),
    "a list": (list(IMAGES), r"Received: a list of 4. Put them together: numpy.stack"),
    "one image": (IMAGES[0], r"One image is a batch of one: images\[None\]"),
    "grey": (IMAGES[..., :1], "Grey images take three equal channels"),
    "channels first": (np.moveaxis(IMAGES, -1, 1), "Channels come last"),
    "a size": (IMAGES[:, :12], "multiples of the backbone's stride, 8"),
    "integers": (IMAGES.astype("int64"), "Received: int64. Cast them to uint8"),
    "0 to 255": (IMAGES.astype("float32"), r"in \[0, 1\]. Received: 0 to 255. .*: x / 255"),
    "batches of 0 to 255": (_dataset(IMAGES.astype("float32")), "Received: 0 to 255"),
    "-1 to 1": (IMAGES / 127.5 - 1.0, r"Received: -1 to 1. .* \(x \+ 1\) / 2"),
    "NaN": (np.where(IMAGES < 9, np.nan, IMAGES / 255.0), "not finite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_images_are_refused_by_all_that_takes_them(case, model):
    images, message = WRONG[case]
    for function in (
        model.fit,
        model.evaluate,
        model.predict,
        lambda x: model.fit(IMAGES, validation_data=x) if x is not None else model.fit(x),
        lambda x: model.fit(IMAGES, validation_data=(x, None)),
    ):
        with pytest.raises(InputError, match=message):
            function(images)


@pytest.mark.parametrize(
    "images",
    [IMAGES, IMAGES / 255.0, _dataset(IMAGES), _dataset((IMAGES, np.arange(4)))],
    ids=["uint8", "floats", "batches", "batches with labels"],
)
def test_images_in_any_of_their_forms_are_one(images, model):
    expected = model(IMAGES)["occurrence"]
    answer = model.predict(images, verbose=0)["occurrence"]
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)
    losses = model.evaluate(images, verbose=0, return_dict=True)
    assert losses["loss"] == pytest.approx(
        model.evaluate(IMAGES, verbose=0, return_dict=True)["loss"], rel=1e-4
    )


def test_held_out_images_are_evaluated_within_fit(model):
    history = model.fit(IMAGES, validation_data=IMAGES[:2], epochs=1, verbose=0).history
    held_out = model.evaluate(IMAGES[:2], verbose=0, return_dict=True)
    assert history["val_reconstruction"] == [pytest.approx(held_out["reconstruction"], rel=1e-4)]
