import dataclasses

import numpy as np
import pytest

from patchvae_tf import models, optimizers
from patchvae_tf.settings import unsupervised_config
from patchvae_tf.unsupervised import images as run_images


def _model(**settings):
    config = unsupervised_config(**settings)
    model = models.from_settings(config)
    model.compile(optimizers.of_settings(config, steps_per_epoch=10))
    return model


def test_the_seed_makes_the_first_weights():
    one, same, other = _model(seed=3), _model(seed=3), _model(seed=4)
    for a, b, c in zip(one.weights, same.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
        if a.path.endswith("kernel"):
            assert np.abs(np.array(a) - np.array(c)).max() > 1e-3, a.path


def test_no_two_layers_start_alike():
    kernels = [np.array(w) for w in _model().weights if w.path.endswith("kernel")]
    for index, one in enumerate(kernels):
        for other in kernels[:index]:
            assert one.shape != other.shape or np.abs(one - other).max() > 1e-3


def test_every_setting_of_a_model_reaches_it():
    model = _model(
        recipe="masked",
        dataset="images",
        image_size=64,
        num_parts=5,
        appearance_dim=2,
        occurrence_weight=3.0,
        crop_side=0.9,
        mask_size=8,
    )
    config = model.get_config()
    assert (config["image_size"], config["num_parts"], config["appearance_dim"]) == (64, 5, 2)
    assert config["objective"]["occurrence_weight"] == 3.0
    paper = _model(learning_rate=0.01)
    assert float(paper.optimizer.learning_rate) == pytest.approx(0.01)
    assert not paper.optimizer.weight_decay
    assert model.optimizer.weight_decay == 1e-4
    views = config["views"]
    assert (views["crop_side"], views["mask_share"], views["mask_size"]) == (0.9, 0.5, 8)
    beta = _model(model="beta_vae", latent_dim=7, kl_weight=2.0).get_config()
    assert (beta["latent_dim"], beta["objective"]["kl_weight"]) == (7, 2.0)


def test_the_learning_rate_rises_then_falls_or_stays():
    config = unsupervised_config(
        recipe="masked", dataset="images", epochs=10, learning_rate=1.0, warmup_epochs=2.0
    )
    cosine = optimizers.learning_rate(config, steps_per_epoch=10)
    values = [float(cosine(step)) for step in (0, 10, 20, 60, 100)]
    assert values == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0], abs=1e-6)
    config = dataclasses.replace(config, learning_rate_schedule="constant")
    constant = optimizers.learning_rate(config, steps_per_epoch=10)
    assert [float(constant(step)) for step in (0, 10, 20, 60, 100)] == [0.0, 0.5, 1.0, 1.0, 1.0]
    config = dataclasses.replace(config, warmup_epochs=0.0)
    assert optimizers.learning_rate(config, steps_per_epoch=10) == 1.0
    config = dataclasses.replace(config, learning_rate_schedule="cosine")
    falling = optimizers.learning_rate(config, steps_per_epoch=10)
    assert [float(falling(step)) for step in (0, 50, 100)] == pytest.approx([1.0, 0.5, 0.0])


def test_backbone_starts_by_fan_out():
    kernel = np.array(_model().backbone.get_layer("conv5b_conv").kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2.0 / (9 * 128)), rel=0.02)


def test_images_are_held_out_and_described(tmp_path):
    images = np.arange(40 * 8 * 8 * 3, dtype="uint32").reshape(40, 8, 8, 3) % 251
    np.savez(tmp_path / "images.npz", x_train=images.astype("uint8"))
    config = unsupervised_config(dataset=f"{tmp_path}/images.npz", image_size=8, batch_size=4)
    loaded = run_images.load_images(config)
    assert (len(loaded.training), len(loaded.validation)) == (38, 2)  # a twentieth
    assert loaded.steps_per_epoch == 9
    assert loaded.description["training_images"] == 38
    both = np.concatenate([loaded.training.images, loaded.validation.images]).reshape(40, -1)
    assert {tuple(row) for row in both} == {tuple(row) for row in images.reshape(40, -1)}
    images[7, 0, 0, 0] += 1
    np.savez(tmp_path / "images.npz", x_train=images.astype("uint8"))
    changed = run_images.load_images(config)
    assert changed.description["checksum"] != loaded.description["checksum"]
    whole = unsupervised_config(**{**config.to_json(), "validation_examples": 0})
    loaded = run_images.load_images(whole)
    assert (len(loaded.training), loaded.validation_batches) == (40, None)
