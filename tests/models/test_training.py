"""What the base class owes every model: the step, metrics, distribution, precision, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import BetaVAE, BiGAN, PatchVAE
from patchvae_tf.optimizers import FusedAdam
from patchvae_tf.settings import PartObjective, ScaledViews
from tests.testing_utils import random_images


def adversarial_patch_vae(**kwargs):
    return PatchVAE(objective=PartObjective(adversarial_weight=20.0), **kwargs)


MODELS = [PatchVAE, BetaVAE, BiGAN, adversarial_patch_vae]
AUTOENCODERS = [PatchVAE, BetaVAE, adversarial_patch_vae]
IMAGES = random_images(8)


def _compiled(model_class, **kwargs):
    # Layers are named as in a process of their own: by other names TensorFlow rounds otherwise.
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = model_class(**kwargs)
    model.compile(optimizer=FusedAdam(1e-3, beta_1=0.5))
    return model


def _trainer(model):
    """Function: number of steps -> the terms after so many more, by one graph."""
    step = tf.function(model.train_step, autograph=False)
    return lambda steps: _train(model, steps, step)


def _train(model, steps, step=None):
    """The terms after so many steps; eagerly, a graph is worth its tracing from some five on."""
    for _ in range(steps):
        terms = (step or model.train_step)(tf.constant(IMAGES))
    return {name: float(value) for name, value in terms.items()}


def _difference(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one.weights, other.weights, strict=True))


@pytest.mark.parametrize("model_class", AUTOENCODERS)
def test_loss_falls_on_a_batch(model_class):
    model = _compiled(model_class)
    train = _trainer(model)
    first = train(1)
    model.reset_metrics()
    train(25)
    model.reset_metrics()
    last = train(1)
    assert last["loss"] < 0.7 * first["loss"]
    assert int(model.optimizer.iterations) == 27


@pytest.mark.parametrize("model_class", MODELS)
def test_training_repeats_and_the_seed_matters(model_class):
    one, two = (_compiled(model_class, seed=3) for _ in range(2))
    other = _compiled(model_class, seed=4)
    for model in (one, two, other):
        _train(model, 3)
    assert _difference(one, two) == 0.0
    assert _difference(one, other) > 1e-5


def test_metrics_are_means_over_the_epoch():
    model = _compiled(PatchVAE)
    images = tf.constant(IMAGES)
    terms = [model.test_step(batch) for batch in (images[:4], images[4:])]
    whole = model.loss_terms(images, tf.constant(0, tf.int64))
    for name in ("loss", "reconstruction", "kl_occurrence", "kl_appearance", "occurrence_rate"):
        assert float(terms[-1][name]) == pytest.approx(float(np.mean(whole[name])), rel=1e-4)


def test_fit_and_evaluate_work_on_uint8_with_and_without_labels():
    model = _compiled(PatchVAE)
    images = (IMAGES * 255).astype("uint8")
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(4)
    labelled = tf.data.Dataset.zip(dataset, tf.data.Dataset.from_tensors([0, 1]).repeat(2))
    history = model.fit(dataset, epochs=2, verbose=0).history
    assert sorted(history) == sorted(PatchVAE.term_names)
    assert len(history["loss"]) == 2
    assert np.isfinite(history["loss"]).all()
    with_labels = model.evaluate(labelled, verbose=0, return_dict=True)
    assert with_labels == model.evaluate(dataset, verbose=0, return_dict=True)


def _plain(model_class, learning_rate, discriminator_rate):
    """A model with plain gradients: Adam would blow rounding up where a gradient is near 0."""
    keras.utils.set_random_seed(0)
    model = model_class()
    sides = {"optimizer": learning_rate, "discriminator_optimizer": discriminator_rate}
    model.compile(
        **{name: rate and keras.optimizers.SGD(rate, 0.9) for name, rate in sides.items()}
    )
    return model


# PatchVAE's are in tests/trainers/test_equality.py.
@pytest.mark.parametrize(
    ("model_class", "rates", "least_move"),
    [
        (BetaVAE, (1e-5, None), 1e-3),
        # On some processors single steps of 1e-3, from equal weights, differ by 7e-6 in a kernel.
        (BiGAN, (1e-4, 1e-4), 1e-4),
        (adversarial_patch_vae, (1e-6, 1e-3), 1e-3),
    ],
)
def test_two_replicas_equal_one(model_class, rates, least_move, two_replicas):
    alone = _plain(model_class, *rates)
    start = [weight.numpy() for weight in alone.trainable_weights]
    with two_replicas.scope():
        shared = _plain(model_class, *rates)
    dataset = tf.data.Dataset.from_tensors(IMAGES).repeat(4)
    batches = iter(two_replicas.experimental_distribute_dataset(dataset))

    @tf.function(autograph=False)
    def step(batches):
        two_replicas.run(shared.train_step, args=(next(batches),))

    for _ in range(4):
        step(batches)
    _trainer(alone)(4)
    moved = [np.abs(a - b).max() for a, b in zip(start, alone.trainable_weights, strict=True)]
    assert max(moved) > least_move
    for one, other in zip(alone.weights, shared.weights, strict=True):
        # Relative beyond 1: a moving variance of 10 has steps of 1e-6.
        np.testing.assert_array_less(
            np.abs(one - other) / np.maximum(np.abs(one), 1.0), 1e-6, err_msg=one.path
        )


@pytest.mark.parametrize("model_class", MODELS)
def test_keras_file_round_trip_is_exact(model_class, tmp_path):
    model = _compiled(model_class)
    _train(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert _difference(model, loaded) == 0.0
    for name, value in model(IMAGES).items():
        np.testing.assert_array_equal(loaded(IMAGES)[name], value)
    # The optimizer's state came along: both go on alike.
    _train(model, 2)
    _train(loaded, 2)
    assert int(loaded.optimizer.iterations) == 4
    assert _difference(model, loaded) < 1e-6


@pytest.mark.parametrize("model_class", MODELS)
def test_weights_round_trip_is_exact(model_class, tmp_path):
    model, other = _compiled(model_class), model_class(seed=1)
    assert _difference(model, other) > 0.01
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert _difference(model, other) == 0.0


def test_configuration_of_every_argument_survives():
    arguments = {
        "image_size": 64,
        "num_parts": 4,
        "appearance_dim": 3,
        "occurrence": "categorical",
        "hard_occurrence": True,
        "independent_decoders": True,
        "backbone": "pyramid",
        "stride": 16,
        "objective": PartObjective(
            occurrence_weight=3.0,
            appearance_weight=0.5,
            weighted_reconstruction=False,
            temperature=0.8,
            temperature_rate=1e-4,
            temperature_interval=10,
            temperature_floor=0.2,
        ).to_json(),
        "views": ScaledViews(crop_side=0.5, mask_size=8).to_json(),
        "seed": 9,
    }
    config = PatchVAE(**arguments).get_config()
    assert {name: config[name] for name in arguments} == arguments
    assert config["objective"]["temperature_interval"] == 10
    assert PatchVAE.from_config(config).get_config() == config


@pytest.mark.parametrize("model_class", AUTOENCODERS)
def test_bfloat16_trains_with_float32_losses(model_class, tmp_path):
    model = _compiled(model_class, dtype="mixed_bfloat16")
    assert model.backbone.get_layer("conv2a_conv").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    assert all(weight.dtype == "float32" for weight in model.trainable_weights)
    step = tf.constant(0, tf.int64)
    terms = model.loss_terms(tf.constant(IMAGES), step)
    assert all(value.dtype == tf.float32 for value in terms.values())
    exact = _compiled(model_class).loss_terms(tf.constant(IMAGES), step)
    np.testing.assert_allclose(terms["loss"], exact["loss"], rtol=0.02)
    first = float(np.mean(terms["loss"]))
    train = _trainer(model)
    train(15)
    assert np.mean(model.loss_terms(tf.constant(IMAGES), step)["loss"]) != first
    model.reset_metrics()
    assert train(1)["loss"] < 0.8 * first
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.backbone.get_layer("conv2a_conv").compute_dtype == "bfloat16"
