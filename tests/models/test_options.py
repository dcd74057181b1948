"""The original's options of PatchVAE: independent decoders, the per-part and the entropy terms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import InputError, PatchVAE, losses
from patchvae_tf.settings import PartObjective, unsupervised_config
from tests.testing_utils import random_images

OPTIONS = PartObjective(
    part_reconstruction_weight=2.0, entropy_across_weight=3.0, entropy_within_weight=5.0
)


def _model(**kwargs):
    keras.utils.set_random_seed(0)
    return PatchVAE(image_size=16, num_parts=3, appearance_dim=2, **kwargs)


@pytest.fixture(scope="module")
def model():
    return _model(independent_decoders=True, objective=OPTIONS)


def test_part_squared_error_against_hand_values():
    images = np.zeros((2, 4, 4, 3), "float32")
    parts = np.zeros((2, 4, 4, 2, 3), "float32")
    parts[:, :2, :2, 0] = 0.5  # 1 on the [-1, 1] scale, in the first place of the first part
    parts[:, :, :, 1] = 1.0  # 2 everywhere
    occurrence = np.zeros((2, 2, 2, 2), "float32")
    occurrence[0, 0, 0] = [1.0, 0.5]
    occurrence[0, 1, 1] = [1.0, 0.0]
    expected = (1.0 * 1.0 + 0.5 * 4.0 + 1.0 * 0.0) / 2.5
    error = losses.part_squared_error(images, parts, occurrence)
    np.testing.assert_allclose(error, [expected, 0.0], rtol=1e-6)  # of the second nothing occurs
    q = tf.constant(occurrence)
    with tf.GradientTape() as tape:
        tape.watch(q)
        error = losses.part_squared_error(images, parts, q)
    assert tape.gradient(error, q) is None


def test_entropies_against_hand_values():
    q = np.zeros((2, 1, 2, 2), "float32")
    q[0, 0, :, 0] = [1.0, 0.5]
    q[1, 0, :, 0] = [0.0, 0.5]
    q[1, 0, :, 1] = [0.2, 0.4]
    term = {p: -p * np.log(p) for p in (0.1, 0.2, 0.25, 0.3, 0.5, 0.75)}
    # Means over the two images: 0.5 and 0.5 of the first part, 0.1 and 0.2 of the second.
    across = (term[0.5] + term[0.5] + term[0.1] + term[0.2]) / 4
    np.testing.assert_allclose(losses.entropy_across_images(q), [across, across], rtol=1e-5)
    within = [term[0.75] / 2, (term[0.25] + term[0.3]) / 2]
    np.testing.assert_allclose(losses.entropy_within_images(q), within, rtol=1e-5)
    everywhere = np.ones((1, 2, 2, 3), "float32")
    np.testing.assert_allclose(losses.entropy_within_images(everywhere), [0.0], atol=1e-6)


def test_entropy_across_images_is_the_global_batch_s(two_replicas):
    q = np.random.default_rng(0).random((4, 2, 2, 3)).astype("float32")

    def gradient(q):
        with tf.GradientTape() as tape:
            tape.watch(q)
            entropy = losses.entropy_across_images(q)
            loss = tf.reduce_sum(entropy) / 4.0
        return entropy, tape.gradient(loss, q)

    expected, expected_gradient = gradient(tf.constant(q))
    halves = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(q[2 * context.replica_id_in_sync_group :][:2])
    )
    both = tf.function(lambda q: two_replicas.run(gradient, args=(q,)))(halves)
    for replica, (entropy, slope) in enumerate(
        zip(*(two_replicas.experimental_local_results(value) for value in both), strict=True)
    ):
        rows = slice(2 * replica, 2 * replica + 2)
        np.testing.assert_allclose(entropy, expected[rows], rtol=1e-6)
        np.testing.assert_allclose(slope, expected_gradient[rows], rtol=1e-5, atol=1e-8)


def test_the_options_terms_are_in_the_loss(model):
    images, step = tf.constant(random_images(4, 16)), tf.constant(0, tf.int64)
    terms = model.loss_terms(images, step)
    plain = terms["reconstruction"] + 10.0 * terms["kl_occurrence"] + terms["kl_appearance"]
    expected = plain + 2.0 * terms["part_reconstruction"]
    expected -= 3.0 * terms["entropy_across"] + 5.0 * terms["entropy_within"]
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)
    outputs = model(images)
    np.testing.assert_allclose(
        terms["part_reconstruction"],
        losses.part_squared_error(images, outputs["part_reconstructions"], outputs["occurrence"]),
        rtol=1e-5,
    )
    assert {tracker.name for tracker in model.metrics} >= {"part_reconstruction", "entropy_within"}
    assert not {"part_reconstruction", "entropy_across"} & set(_model().trackers)


def test_an_image_is_the_sum_of_its_parts(model):
    outputs = model(random_images(2, 16))
    parts = outputs["part_reconstructions"]  # [2, 16, 16, 3, 3]
    before_tanh = tf.atanh(2.0 * tf.cast(parts, tf.float64) - 1.0)
    image = 0.5 * tf.tanh(tf.reduce_sum(before_tanh, axis=3)) + 0.5
    np.testing.assert_allclose(outputs["reconstruction"], image, atol=1e-5)


def test_a_part_s_decoder_knows_no_other_part(model):
    latent = tf.random.stateless_normal([2, 2, 2, 6], [1, 2])
    with tf.GradientTape() as tape:
        tape.watch(latent)
        _, maps = model.decoder_with_parts(latent, training=True)
        second = tf.reduce_sum(tf.square(maps[..., 1, :]))
    variables = model.decoder.trainable_variables
    by_latent, *by_weights = tape.gradient(second, [latent, *variables])
    moved = np.abs(by_latent).sum(axis=(0, 1, 2)) > 0.0
    np.testing.assert_array_equal(moved, [False, False, True, True, False, False])
    for variable, gradient in zip(variables, by_weights, strict=True):
        # kernels [groups, ...]; scales and offsets [groups * channels of one]
        by_group = np.abs(gradient).reshape(3, -1).sum(axis=1)
        np.testing.assert_array_equal(by_group > 0.0, [False, True, False], err_msg=variable.path)


def test_independent_decoders_are_as_wide_as_one():
    def kernels(num_parts, widths):
        into = [6, *(width // num_parts for width in widths)]
        sizes = [1, 16, 16]
        total = sum(
            num_parts * size * i * o for size, i, o in zip(sizes, into[:-1], into[1:], strict=True)
        )
        return total + 16 * num_parts * into[-1] * 3 + 2 * sum(widths)

    model = PatchVAE(independent_decoders=True)
    count = sum(int(np.prod(weight.shape)) for weight in model.decoder.trainable_weights)
    assert count == kernels(16, [256, 128, 64])
    # Of 3 parts, rounded up: 86, 43 and 22 channels each.
    count = sum(int(np.prod(w.shape)) for w in _model(independent_decoders=True).decoder.weights)
    grouped = 3 * (2 * 86 + 16 * (86 * 43 + 43 * 22 + 22 * 3))
    assert count == grouped + 4 * 3 * (86 + 43 + 22)  # batch normalisation: four numbers a channel


def test_a_model_with_options_learns_and_is_read_back(model, tmp_path):
    images = random_images(4, 16)
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    copy.compile(optimizer=keras.optimizers.Adam(1e-3))
    tf.function(copy.train_step, autograph=False)(tf.constant(images))
    pairs = zip(copy.trainable_variables, model.trainable_variables, strict=True)
    assert all(np.any(one.numpy() != other.numpy()) for one, other in pairs)
    copy.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for name, value in copy(images).items():
        np.testing.assert_array_equal(loaded(images)[name], value)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(InputError, match="needs independent_decoders: .* Received: 1.0"):
        PatchVAE(objective=PartObjective(part_reconstruction_weight=1.0))
    with pytest.raises(InputError, match="entropy_within_weight must be at least 0. Received: -1"):
        PartObjective(entropy_within_weight=-1.0)
    with pytest.raises(InputError, match="part_reconstruction_weight needs independent_decoders"):
        unsupervised_config(part_reconstruction_weight=1.0)
