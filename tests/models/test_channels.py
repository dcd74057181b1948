"""Models of images that are not RGB, from training to what is served."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import patchvae_tf
from patchvae_tf import BetaVAE, BiGAN, InputError, PatchVAE
from patchvae_tf.layers import ColorJitter
from patchvae_tf.saved_models import loaded, signatures
from patchvae_tf.visualization import as_rgb, channels_shown, reconstruction_grid

SIZE = 16
RNG = np.random.default_rng(0)


def _images(channels, count=4):
    return RNG.integers(0, 256, (count, SIZE, SIZE, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 4, 13])
@pytest.mark.parametrize("model_class", [PatchVAE, BetaVAE, BiGAN])
def test_models_learn_on_any_channels(model_class, channels):
    model = model_class(image_size=SIZE, channels=channels)
    images = _images(channels)
    assert model(images)["reconstruction"].shape == images.shape
    model.compile(keras.optimizers.Adam(1e-3))
    before = [weight.numpy() for weight in model.backbone.trainable_weights]
    model.fit(images, batch_size=4, verbose=0)
    after = model.backbone.trainable_weights
    assert all(np.abs(one - other).max() > 0 for one, other in zip(before, after, strict=True))
    same = model_class.from_config(model.get_config())
    same.set_weights(model.get_weights())
    for name, output in model(images).items():
        np.testing.assert_array_equal(same(images)[name], output)


def test_what_channels_add_to_the_parameters():
    def count(channels):
        return PatchVAE(channels=channels).count_params()

    first, last = 64 * 7 * 7, 64 * 4 * 4  # of one channel: φ's first and the decoder's last kernel
    assert count(5) - count(3) == 2 * (first + last)


@pytest.mark.parametrize("recipe", ["parts", "agreement", "masked", "paper"])
def test_recipes_of_two_channels(recipe):
    images = _images(2, 64).repeat(2, 1).repeat(2, 2)
    model = PatchVAE.from_recipe(recipe, image_size=32, channels=2, num_parts=4, epochs=1)
    history = model.fit(images, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_uint16_is_taken_as_it_is():
    model = PatchVAE(image_size=SIZE, channels=13)
    images = _images(13)
    eight, sixteen = model(images), model(images.astype(np.uint16) * 257)
    np.testing.assert_allclose(eight["latent"], sixteen["latent"], rtol=1e-5, atol=1e-6)


WRONG = {
    "color": (_images(3), r"grey images, \[n, H, W, 1\]. .* a model with channels=3"),
    "no channels": (_images(1)[..., 0], r"images\[..., None\]"),
    "one": (_images(1)[0], r"images\[None\]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_images_are_refused(case):
    images, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        PatchVAE(image_size=SIZE, channels=1)(images)


def test_gains_of_each_channel_and_grey():
    images = tf.constant(_images(5, 200) / np.float32(255))
    changed = ColorJitter(1.0)(images, seed=tf.constant([1, 2])).numpy()
    spread = np.ptp(changed, axis=-1).max(axis=(1, 2))
    share = np.mean(spread < 1e-5)  # made grey: all channels alike
    assert 0.1 < share < 0.3
    ratio = changed[spread > 0.1].std(axis=(1, 2)) / images.numpy()[spread > 0.1].std(axis=(1, 2))
    assert (ratio.std(axis=-1) > 0.01).all()  # each channel by a gain of its own
    assert (ratio.min(axis=-1) / ratio.max(axis=-1)).min() > 0.8 / 1.2 - 1e-4


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = PatchVAE(image_size=SIZE, num_parts=2, appearance_dim=2, channels=4)
    record = {
        "settings": {"dataset": "bands", "image_size": SIZE, "value_range": "0,999"},
        "data": {"training_images": 9, "validation_images": 0, "skipped": [], "dtype_policy": ""},
        "result": {},
    }
    version = patchvae_tf.export_model(model, tmp_path_factory.mktemp("export"), record)
    return model, version


def test_files_of_four_channels_are_served(exported):
    model, version = exported
    values = RNG.integers(0, 1200, (SIZE, SIZE, 4)).astype(np.uint16)
    served = tf.saved_model.load(version).signatures["serving_bytes"](
        image_bytes=tf.stack([tf.io.encode_png(values), tf.constant(b"no image")])
    )
    assert served["valid"].numpy().tolist() == [True, False]
    seen = np.rint(255 * np.minimum(values / np.float32(999), 1)).astype(np.uint8)
    expected = model.backbone(seen[np.newaxis] / np.float32(255)).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(served["features"][:1], expected, rtol=1e-4, atol=1e-5)
    assert "Images of 4 channels, float32" in (version / "MODEL_CARD.md").read_text()
    assert loaded.facts(version)["channels"] == 4


def test_of_other_channels_no_files_are_served():
    model = PatchVAE(image_size=SIZE, num_parts=2, appearance_dim=2, channels=2)
    _, functions = signatures.exported_parts(model)
    assert set(functions) == {"serving_default", "stages", "reconstruct", "decode"}
    assert functions["reconstruct"].structured_outputs["reconstruction"].shape[-1] == 2


def test_features_and_presets_keep_the_channels(tmp_path):
    model = PatchVAE(image_size=SIZE, num_parts=2, appearance_dim=2, channels=2)
    model.save_to_preset(tmp_path / "preset")
    images = _images(2)
    expected = model.backbone(images / np.float32(255)).numpy()
    np.testing.assert_array_equal(
        patchvae_tf.backbone(tmp_path / "preset")(images / np.float32(255)), expected
    )
    for source in (model, tmp_path / "preset"):
        found = patchvae_tf.embed(images, source).features
        np.testing.assert_allclose(found, expected.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="the array of images has 3 channels, and 2 are wanted"):
        patchvae_tf.embed(_images(3), model)


def test_pictures_show_three_channels():
    images = _images(5)
    np.testing.assert_array_equal(as_rgb(images), images[..., :3])
    with channels_shown((4, 0, 2)):
        np.testing.assert_array_equal(as_rgb(images), images[..., [4, 0, 2]])
    np.testing.assert_array_equal(as_rgb(images[..., :1]), images[..., [0, 0, 0]])
    two = as_rgb(images[..., :2])
    np.testing.assert_array_equal(two[..., :2], images[..., :2])
    assert not two[..., 2].any()
    grid = reconstruction_grid(images / 255, images / 255, scale=1)
    np.testing.assert_array_equal(grid[:SIZE, :SIZE], images[0, ..., :3])
