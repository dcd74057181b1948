"""Parts that are found before the first step, and taught in each."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import patchvae_tf
from patchvae_tf import PatchVAE, losses
from patchvae_tf.datasets.parts import SceneRenderer
from patchvae_tf.errors import InputError
from patchvae_tf.evaluation import features, part_matching
from patchvae_tf.optimizers import FusedAdam
from patchvae_tf.settings import PartObjective, Views, recipes, unsupervised_config

STEP, SEED = tf.constant(0, tf.int64), tf.constant([1, 2])
VIEWS = Views(rotation=30.0, scaling=1.3, translation=0.2)


def _scenes(count, split="train"):
    return SceneRenderer(32, 0, split).render(np.arange(count))


def _model(template_steps=300, **kwargs):
    keras.utils.set_random_seed(0)
    objective = PartObjective(
        teaching_weight=100.0,
        occurrence_weight=0.1,
        appearance_weight=0.1,
        template_steps=template_steps,
    )
    model = PatchVAE(occurrence="exclusive", objective=objective, **kwargs)
    model.compile(FusedAdam(1e-3))
    return model


@pytest.fixture(scope="module")
def begun():
    images, _ = _scenes(300)
    model = _model()
    assert model.begin_from(lambda most: images[:most], progress=False) == {"teaching": 12}
    return model


def test_teaching_is_a_term_of_the_loss(begun):
    images = tf.constant(_scenes(4)[0] / 255, tf.float32)
    terms = begun.loss_terms(images, STEP, SEED)
    expected = terms["reconstruction"] + 0.1 * (terms["kl_occurrence"] + terms["kl_appearance"])
    np.testing.assert_allclose(terms["loss"], expected + 100 * terms["teaching"], rtol=1e-5)
    assert begun.trackers["teaching"] in begun.metrics
    without = PatchVAE(occurrence="exclusive")
    assert "teaching" not in without.loss_terms(images, STEP, SEED)
    assert not hasattr(without, "teaching")


def test_fit_finds_parts_and_learns_where_they_are():
    images, _ = _scenes(960)
    model = _model()
    assert not model.teaching.is_taught.numpy().any()
    model.fit(images, batch_size=24, epochs=2, verbose=0)
    assert model.teaching.is_taught.numpy().sum() == 12
    unseen, part_maps = _scenes(300, "test")
    occurrence = features.occurrence_maps(model, unseen)
    matches = part_matching.match_parts(occurrence, part_maps)
    assert np.mean([match.area for match in matches]) > 0.8  # after 80 steps; untrained 0.54
    filters = model.teaching.filters.numpy()
    model.fit(images[:24], batch_size=24, verbose=0)  # begins once
    np.testing.assert_array_equal(model.teaching.filters, filters)


def test_a_data_set_of_batches_is_looked_at_too():
    images, _ = _scenes(64)
    model = _model()
    batches = tf.data.Dataset.from_tensor_slices({"image": images}).batch(32)
    model.fit(batches, steps_per_epoch=1, verbose=0)
    assert model.teaching.is_taught.numpy().sum() >= 6


def test_the_file_keeps_the_teacher_and_the_export_does_not(begun, tmp_path):
    begun.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.teaching.filters, begun.teaching.filters)
    images = tf.constant(_scenes(4)[0] / 255, tf.float32)
    for name, value in begun.loss_terms(images, STEP).items():
        np.testing.assert_allclose(loaded.loss_terms(images, STEP)[name], value, rtol=1e-5)
    assert begun.teaching in begun.training_parts
    version = patchvae_tf.export_model(begun, tmp_path / "export")
    exported = tf.saved_model.load(version)
    sizes = {tuple(variable.shape) for variable in exported.variables}
    assert tuple(begun.teaching.filters.shape) not in sizes


@pytest.mark.parametrize("template_steps", [300, 0])
def test_two_replicas_equal_one(two_replicas, template_steps):
    images, _ = _scenes(60)
    batch = images[:8]
    alone = _model(template_steps, views=VIEWS)
    with two_replicas.scope():
        shared = _model(template_steps, views=VIEWS)
        shared.begin_from(lambda most: images[:most], progress=False)
    alone.begin_from(lambda most: images[:most], progress=False)
    np.testing.assert_array_equal(shared.teaching.filters, alone.teaching.filters)
    batches = iter(
        two_replicas.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch))
    )

    @tf.function(autograph=False)
    def step(batches):
        two_replicas.run(shared.train_step, args=(next(batches),))

    step(batches)
    tf.function(alone.train_step, autograph=False)(tf.constant(batch))
    for name in ("teaching", "reconstruction", "loss"):
        one, other = (model.trackers[name].result() for model in (alone, shared))
        np.testing.assert_allclose(one, other, rtol=1e-4)
    offsets = alone.teaching.offsets.numpy()
    np.testing.assert_allclose(shared.teaching.offsets, offsets, atol=1e-5)
    assert offsets.any() == (template_steps == 0)


def test_after_the_templates_the_slow_copy_teaches(begun):
    images = tf.constant(_scenes(8)[0] / 255, tf.float32)
    teacher = begun.teaching
    teacher.follow(begun.backbone, begun.occurrence_head, tf.constant(False))
    logits = begun.encode(images)["occurrence_logits"].numpy()
    taught = teacher.is_taught.numpy()
    rest = np.log(1 + np.exp(logits[..., ~taught]).sum(-1, keepdims=True))
    sharper = np.exp(np.concatenate([logits[..., taught], rest], axis=-1) / 0.7)
    shares = (sharper / sharper.sum(-1, keepdims=True))[..., :-1] + 1e-4
    sharper[..., :-1] *= np.sqrt(shares / shares.max(axis=(1, 2), keepdims=True))
    expected = np.zeros_like(logits)
    expected[..., taught] = (sharper / sharper.sum(-1, keepdims=True))[..., :-1]
    np.testing.assert_allclose(teacher.own_maps(images), expected, atol=1e-5)
    terms = begun.loss_terms(images, tf.constant(300, tf.int64))
    error = losses.teaching_cross_entropy(logits, expected, taught)
    np.testing.assert_allclose(terms["teaching"], error, rtol=1e-4)
    before = begun.loss_terms(images, tf.constant(299, tf.int64))["teaching"].numpy()
    assert np.abs(before - error).max() > 1


@pytest.mark.parametrize("step", [0, 300])
def test_a_view_is_taught_what_the_whole_image_shows_there(step):
    scenes, _ = _scenes(60)
    model = _model(views=VIEWS)
    model.begin_from(lambda most: scenes[:most], progress=False)
    images = tf.constant(scenes[:8] / 255, tf.float32)
    terms = model.loss_terms(images, tf.constant(step, tf.int64), SEED)
    teacher, views = model.teaching, model.random_views
    shares = teacher.own_maps(images) if step else teacher(images, tf.constant([4, 4]))
    within = views.within(shares, SEED)
    assert 0.5 < np.mean(within) < 0.99
    logits = model.encode(views.first(images, SEED)[0])["occurrence_logits"]
    moved = views.moved(shares, SEED)
    error = losses.teaching_cross_entropy(logits, moved, teacher.is_taught, within)
    np.testing.assert_allclose(terms["teaching"], error, rtol=1e-4)


def test_the_copy_is_what_is_learned_until_it_teaches_and_follows_slowly_then():
    model = _model()
    model.backbone.variables[0].assign_add(tf.ones_like(model.backbone.variables[0]))
    copy, learned = model.teaching.backbone.variables[0], model.backbone.variables[0].numpy()
    begun = copy.numpy()
    model.teaching.follow(model.backbone, model.occurrence_head, tf.constant(True))
    np.testing.assert_allclose(copy, 0.97 * begun + 0.03 * learned, atol=1e-6)
    model.teaching.follow(model.backbone, model.occurrence_head, tf.constant(False))
    np.testing.assert_array_equal(copy, learned)
    assert not any(copy is variable for variable in model.trainable_variables)


def test_parts_are_drawn_towards_being_as_frequent_as_they_were_found():
    teacher = _model(num_parts=3).teaching
    teacher.frequencies.assign([0.25, 0.5, 0.0, 0.25])
    shares = tf.broadcast_to([0.5, 0.25, 0.0], [2, 4, 4, 3])
    teacher.balance(shares, tf.constant(False))
    np.testing.assert_array_equal(teacher.offsets, np.zeros(4))
    teacher.balance(shares, tf.constant(True))
    np.testing.assert_allclose(
        teacher.offsets, [-0.1 * np.log(2), 0.1 * np.log(2), 0.0, 0.0], atol=1e-5
    )
    for _ in range(100):  # and no further than they are rarer or more frequent
        teacher.balance(shares, tf.constant(True))
    np.testing.assert_allclose(teacher.offsets, [-np.log(2), np.log(2), 0.0, 0.0], atol=1e-3)


def test_what_is_surely_elsewhere_in_the_image_is_less_likely_here():
    model = _model()
    teacher = model.teaching
    teacher.thresholds.assign(tf.zeros(16))  # all are taught
    teacher.follow(model.backbone, model.occurrence_head, tf.constant(False))
    images = tf.constant(_scenes(8)[0] / 255, tf.float32)
    shares = teacher.own_maps(images).numpy()
    logits = model.encode(images)["occurrence_logits"].numpy() / 0.7
    alone = np.exp(logits) / (1 + np.exp(logits).sum(-1, keepdims=True))
    top = alone == alone.max(axis=(1, 2), keepdims=True)
    assert (shares[top] > alone[top]).mean() > 0.9
    assert shares[~top].sum() < alone[~top].sum()


def test_teaching_begins_anew_whatever_weights_came():
    images, _ = _scenes(60)
    model = _model(template_steps=0)
    teacher = model.teaching
    teacher.offsets.assign(tf.ones_like(teacher.offsets))  # as of a run whose weights were taken
    copy = [*teacher.backbone.variables, *teacher.occurrence_head.variables]
    learned = [*model.backbone.variables, *model.occurrence_head.variables]
    assert any(np.abs(one - other).max() > 0 for one, other in zip(copy, learned, strict=True))
    model.begin_from(lambda most: images[:most], progress=False)
    np.testing.assert_array_equal(teacher.offsets, np.zeros(17))
    for one, other in zip(copy, learned, strict=True):
        np.testing.assert_array_equal(one, other)


def test_frequencies_are_those_of_the_templates(begun):
    images, _ = _scenes(300)
    shares = begun.teaching(tf.constant(images / 255, tf.float32), tf.constant([4, 4])).numpy()
    expected = shares.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(begun.teaching.frequencies[:-1], expected, atol=1e-5)
    np.testing.assert_allclose(begun.teaching.frequencies[-1], 1 - expected.sum(), atol=1e-5)


def test_a_part_that_is_switched_off_leaves_the_rest_of_the_image(begun):
    images = tf.constant(_scenes(2)[0] / 255, tf.float32)
    codes = begun.encode(tf.image.resize(images, [96, 96]))  # 12 x 12 places
    occurrence = codes["occurrence"].numpy()
    latent = begun.latent_map(occurrence, codes["appearance_mean"])
    occurrence[:, 6, 6, 3] = 1.0
    switched = begun.latent_map(occurrence, codes["appearance_mean"])
    change = np.abs(begun.decoder(latent) - begun.decoder(switched)).max(axis=(0, 3))  # [96, 96]
    rows, cols = np.nonzero(change > 0)
    assert len(rows) > 0
    # Its own place is 48...55; what it paints reaches 7 pixels further.
    assert (min(rows), max(rows), min(cols), max(cols)) >= (41, 0, 41, 0)
    assert max(max(rows), max(cols)) <= 62
    assert min(min(rows), min(cols)) >= 41


@pytest.mark.parametrize("stride", [4, 8])
def test_places_of_any_stride_are_taught(stride):
    images, part_maps = _scenes(60, "test")
    model = _model(stride=stride)
    model.begin_from(lambda most: _scenes(300)[0], progress=False)
    grid = tf.constant([32 // stride] * 2)
    shares = model.teaching(tf.constant(images / 255, tf.float32), grid).numpy()
    assert shares.shape == (60, *grid.numpy(), 16)
    coarse = shares.reshape(60, 4, 8 // stride, 4, 8 // stride, 16).mean(axis=(2, 4))
    areas = part_matching.match_parts(coarse, part_maps)
    assert np.mean([match.area for match in areas]) > 0.97


def test_what_does_not_go_together_is_refused():
    with pytest.raises(InputError, match="teaching_weight needs occurrence=exclusive"):
        PatchVAE(objective=PartObjective(teaching_weight=1.0))
    with pytest.raises(InputError, match="occurrence_prior is for occurrence=bernoulli: with excl"):
        PatchVAE(occurrence="exclusive", objective=PartObjective(occurrence_prior=0.1))


def test_parts_is_the_recipe_of_the_generated_images():
    config = unsupervised_config()
    assert (config.dataset, config.recipe) == ("parts", "parts")
    assert (config.occurrence, config.teaching_weight) == ("exclusive", 100.0)
    assert unsupervised_config(dataset="cifar100").recipe == "agreement"
    assert unsupervised_config(dataset="cifar100", recipe="parts").teaching_weight == 100.0
    assert unsupervised_config(model="beta_vae").recipe == "paper"
    assert recipes.default("patchvae", "folder/parts") == "agreement"
