import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import BetaVAE, PatchVAE
from patchvae_tf.errors import InputError
from patchvae_tf.objectives.agreement import ViewAgreement, contrast, places
from patchvae_tf.optimizers import FusedAdam
from patchvae_tf.settings import PartObjective, ScaledViews, Views
from tests.testing_utils import random_images

IMAGES = random_images(8, 16)
VIEWS = Views(crop_side=0.6, color_jitter=1.0, mask_share=0.5)


def _model(**kwargs):
    keras.utils.set_random_seed(0)
    small = {"image_size": 16, "num_parts": 3, "appearance_dim": 2}
    objective = PartObjective(
        agreement_weight=10.0, map_agreement_weight=5.0, agreement_temperature=0.2
    )
    agreeing = {"objective": objective, "views": VIEWS}
    model = PatchVAE(**{**small, **agreeing, **kwargs})
    model.compile(optimizer=keras.optimizers.SGD(1e-6, 0.9))
    return model


def _contrast(views):
    """The formula, by loops."""
    errors = np.zeros(views.shape[:2])
    for v, i in np.ndindex(errors.shape):
        likeness = np.einsum("d,wjd->wj", views[v, i], views) / 0.2
        others = np.ones_like(likeness, bool)
        others[v, i] = False
        errors[v, i] = np.log(np.exp(likeness[others]).sum()) - likeness[1 - v, i]
    return errors.mean(axis=0)


def test_contrast_by_its_formula():
    views = np.random.default_rng(0).normal(size=(2, 5, 4))
    views /= np.linalg.norm(views, axis=-1, keepdims=True)
    found = contrast(tf.constant(views, tf.float32), 0.2)
    np.testing.assert_allclose(found, _contrast(views), rtol=1e-5)
    # The same codes twice, and all others at right angles: log(1 + 8 exp(-5)).
    alike = tf.stack([tf.eye(5), tf.eye(5)])
    np.testing.assert_allclose(contrast(alike, 0.2), np.log1p(8 * np.exp(-5.0)), rtol=1e-4)


def test_agreement_is_of_expanded_codes():
    layer = ViewAgreement(temperature=0.2)
    first, second = np.random.default_rng(1).normal(size=(2, 6, 5)).astype("float32")
    value = layer(first, second)
    x = tf.concat([first, second], 0)[:, tf.newaxis, tf.newaxis]
    x = layer.expanded(tf.nn.relu(layer.normalization(layer.hidden(x))))
    x = x[:, 0, 0].numpy()
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    np.testing.assert_allclose(value, _contrast(x.reshape(2, 6, 512)), rtol=1e-4)
    assert np.mean(layer(first, first)) < np.mean(value) - 0.5  # the same codes agree


def test_training_makes_two_views_agree():
    model = _model()
    model.compile(optimizer=FusedAdam(1e-3))
    step = tf.function(model.train_step, autograph=False)
    first = {name: float(value) for name, value in step(tf.constant(IMAGES)).items()}
    for _ in range(40):
        model.reset_metrics()
        terms = step(tf.constant(IMAGES))
    assert float(terms["agreement"]) < 0.8 * first["agreement"]
    assert float(terms["map_agreement"]) < 0.8 * first["map_agreement"]


def test_agreement_counts_with_its_weight_and_is_0_where_there_is_one_view():
    model = _model()
    step, seed = tf.constant(0, tf.int64), tf.constant([1, 2])
    terms = model.loss_terms(tf.constant(IMAGES), step, seed)
    parts = terms["reconstruction"] + 10.0 * terms["kl_occurrence"] + terms["kl_appearance"]
    agreement = 10.0 * terms["agreement"] + 5.0 * terms["map_agreement"]
    np.testing.assert_allclose(terms["loss"], parts + agreement, rtol=1e-5)
    without = model.loss_terms(tf.constant(IMAGES), step)
    for name in ("agreement", "map_agreement"):
        assert np.min(terms[name]) > 0.1
        assert terms[name].shape == (8,)
        np.testing.assert_array_equal(without[name], np.zeros(8))


def test_maps_are_compared_by_the_means_of_their_fields():
    features = np.random.default_rng(3).normal(size=(2, 6, 6, 5)).astype("float32")
    fields = features.reshape(2, 2, 3, 2, 3, 5).mean(axis=(2, 4))
    np.testing.assert_allclose(places(tf.constant(features), 2), fields.reshape(2, 20), atol=1e-6)
    # Of 6 places in 4 fields, the second takes half of the second place and all of the third.
    second = (features[:, 1] / 2 + features[:, 2]) / 1.5
    found = tf.reshape(places(tf.constant(features[:, :, :4]), 4), [2, 4, 4, 5])
    np.testing.assert_allclose(found[:, 1], second[:, :4], atol=1e-6)
    whole = places(tf.constant(features), 6)
    np.testing.assert_allclose(whole, features.reshape(2, -1), atol=1e-6)
    # However large the images are, the comparison has as many weights.
    sizes = [_model(image_size=size).map_agreement.hidden.kernel.shape for size in (32, 64)]
    assert sizes == [(4 * 4 * 128, 512)] * 2


@pytest.mark.parametrize("make", [PatchVAE, BetaVAE])
def test_what_is_rebuilt_is_the_crop_with_its_own_colours(make):
    model = make(image_size=16, views=VIEWS)
    images, seed = tf.constant(IMAGES), tf.constant([5, 6])
    seen, target = model.random_views.first(images, seed)
    assert np.mean(np.all(seen.numpy() == 0.5, axis=-1)) == pytest.approx(0.5, abs=0.15)
    assert 0.0 <= np.min(target) <= np.max(target) <= 1.0
    if make is PatchVAE:
        outputs = model.rebuild(model.encode(seen, training=True), training=True, seed=seed)
    else:
        outputs = model._outputs(seen, training=True, seed=seed)
    error = 4 * model.laplacian_weights(target) * (target - outputs["reconstruction"]) ** 2
    terms = model.loss_terms(images, tf.constant(0, tf.int64), seed, training=True)
    np.testing.assert_allclose(
        terms["reconstruction"], tf.reduce_sum(error, axis=[1, 2, 3]), rtol=1e-4
    )
    for one in model.random_views.first(images, None):
        np.testing.assert_array_equal(one, images)


def test_two_replicas_equal_one(two_replicas):
    alone = _model()
    start = [weight.numpy() for weight in alone.trainable_weights]
    with two_replicas.scope():
        shared = _model()
    batches = iter(
        two_replicas.experimental_distribute_dataset(tf.data.Dataset.from_tensors(IMAGES).repeat(3))
    )

    @tf.function(autograph=False)
    def step(batches):
        two_replicas.run(shared.train_step, args=(next(batches),))

    step_alone = tf.function(alone.train_step, autograph=False)
    for _ in range(3):
        step(batches)
        step_alone(tf.constant(IMAGES))
    weights = zip(alone.weights, shared.weights, start_weights(alone, start), strict=True)
    assert max(np.abs(a - c).max() for a, _, c in weights if c is not None) > 1e-4
    for one, other in zip(alone.weights, shared.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5, err_msg=one.path)


def start_weights(model, start):
    """The first value of each weight of a model; None of those that are not trained."""
    first = dict(zip(map(id, model.trainable_weights), start, strict=True))
    return [first.get(id(weight)) for weight in model.weights]


def test_keras_file_keeps_views_and_agreement(tmp_path):
    model = _model(views=dataclasses.replace(VIEWS, mask_size=8))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert (loaded.views.mask_size, loaded.views.crop_side) == (8, 0.6)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_maps_of_unknown_size_are_refused():
    @tf.function(input_signature=[tf.TensorSpec([2, None, None, 5])], autograph=False)
    def traced(features):
        return places(features, 2)

    with pytest.raises(InputError, match="known height and width.*shape .2, None, None, 5"):
        traced.get_concrete_function()


def test_a_block_that_does_not_divide_the_image_is_refused():
    with pytest.raises(
        InputError, match="mask_size must divide the side of what training sees, 16"
    ):
        PatchVAE(image_size=16, views=Views(mask_size=5))


def test_views_of_fewer_pixels_are_all_that_training_sees():
    model = _model(image_size=32, views=ScaledViews(crop_side=0.6, view_scale=0.5))
    images, seed = tf.constant(random_images(4, 32)), tf.constant([1, 2])
    seen, target = model.random_views.first(images, seed)
    assert seen.shape == (4, 16, 16, 3)
    step = tf.constant(0, tf.int64)
    terms = model.loss_terms(images, step, seed)
    rebuilt = model(seen, seed=seed)["reconstruction"]
    weighed = _model(image_size=16).laplacian_weights(target)
    expected = 4 * tf.reduce_sum(weighed * (rebuilt - target) ** 2, axis=[1, 2, 3])
    np.testing.assert_allclose(terms["reconstruction"], expected, rtol=1e-4)
    # Without a seed, as on held-out images, it is the whole image.
    whole = model.loss_terms(images, step)
    assert float(tf.reduce_mean(whole["reconstruction"])) > 2 * float(tf.reduce_mean(expected))
    assert model.encode(images)["occurrence"].shape == (4, 4, 4, 3)


@pytest.mark.parametrize(("scale", "size", "view"), [(1.0, 48, 48), (0.67, 48, 32), (0.01, 32, 8)])
def test_the_views_side_is_a_multiple_of_the_stride(scale, size, view):
    assert ScaledViews(view_scale=scale).view_size(size, 8) == view


def test_what_needs_images_in_their_own_size_says_so():
    fewer = ScaledViews(view_scale=0.5)
    with pytest.raises(InputError, match="Views has no view_scale. Leave it out"):
        BetaVAE(image_size=32, views=fewer)
    with pytest.raises(InputError, match=r"with teaching_weight.*Received: 0\.5"):
        PatchVAE(
            32, occurrence="exclusive", objective=PartObjective(teaching_weight=1.0), views=fewer
        )
