import keras
import numpy as np
import pytest
import tensorflow as tf

import patchvae_tf
from patchvae_tf import InputError, TransferClassifier, backbones, noise
from patchvae_tf.layers import BatchNormalization, RandomViews
from patchvae_tf.models import FeatureClassifier
from patchvae_tf.settings import Views
from tests.testing_utils import random_images

# Table 5's sums; of them the classifier's own two layers.
COUNTS = [(32, 100, 1_783_460), (64, 67, 4_912_259), (64, 205, 4_983_053)]

STAGES = {stage.name: stage.layer for stage in backbones.stages("resnet9")}


def _classifier(freeze="none", learning_rate=0.05, weight_decay=1e-4, **kwargs):
    keras.utils.set_random_seed(0)
    model = TransferClassifier(
        4, image_size=16, freeze=freeze, weight_decay=weight_decay, seed=3, **kwargs
    )
    model.compile(keras.optimizers.SGD(learning_rate, momentum=0.9))
    return model


def _examples(count=8):
    images = (random_images(count, 16) * 255).astype("uint8")
    return tf.constant(images), tf.constant(np.arange(count) % 4, tf.int64)


@pytest.mark.parametrize(("image_size", "num_classes", "count"), COUNTS)
def test_counts_are_those_of_table_5(image_size, num_classes, count):
    model = TransferClassifier(num_classes, image_size)
    assert model.parameter_count == count
    # Nothing but scale and offset of the normalisations (φ has 1,600 of each kind) is fixed.
    trained = sum(weight.shape.num_elements() for weight in model.trainable_weights)
    channels = 64 + 4 * 64 + 2 * 128 + 128 + 2 * 128
    assert trained == count - 2 * channels
    head = 512 * ((image_size // 8) ** 2 * 128 + 1) + num_classes * 513
    frozen = TransferClassifier(num_classes, image_size, freeze="conv1-5")
    assert frozen.parameter_count == count
    assert sum(w.shape.num_elements() for w in frozen.trainable_weights) == head


@pytest.mark.parametrize("freeze", ["none", *STAGES])
def test_frozen_weights_stay_bit_for_bit_and_the_others_move(freeze):
    model = _classifier(freeze)
    layers = {layer.name: layer for layer in model.backbone.layers if layer.weights}
    first_moving = {"none": "conv1", "conv1": "conv2", "conv1-3": "conv4", "conv1-5": "conv6"}
    before = {name: layer.get_weights() for name, layer in layers.items()}
    head_before = model.head.get_weights()
    for _ in range(2):
        model.train_step(_examples())
    for name, layer in layers.items():
        moves = name[:5] >= first_moving[freeze]
        for index, (old, new) in enumerate(zip(before[name], layer.get_weights(), strict=True)):
            fixed = isinstance(layer, BatchNormalization) and index < 2  # scale and offset
            assert np.array_equal(old, new) == (fixed or not moves), (name, index)
    for old, new in zip(head_before, model.head.get_weights(), strict=True):
        assert not np.array_equal(old, new)


def test_frozen_stages_run_in_inference_mode():
    model = _classifier("conv1-3")
    images = tf.constant(random_images(4, 16))
    inner = keras.Model(
        model.backbone.input, [model.backbone.get_layer(STAGES[s]).output for s in STAGES]
    )
    outputs = [inner(images, training=training) for training in (False, True)]
    for one, other, same in zip(*outputs, (True, True, False), strict=True):
        assert np.array_equal(one, other) == same


def test_loss_is_cross_entropy_and_l2():
    model = _classifier(weight_decay=0.5)
    images, labels = _examples()
    images = tf.image.convert_image_dtype(images, tf.float32)
    terms = model.loss_terms((images, labels), 0)
    log_probabilities = tf.nn.log_softmax(model(images)).numpy()
    expected = -log_probabilities[np.arange(8), labels]
    np.testing.assert_allclose(terms["cross_entropy"], expected, rtol=1e-5)
    l2 = sum((weight.numpy() ** 2).sum() for weight in model.trainable_variables)
    np.testing.assert_allclose(terms["loss"], expected + 0.25 * l2, rtol=1e-5)


def test_a_step_is_pytorch_s_sgd():
    # buffer = 0.9 buffer + (gradient + decay * w); w -= rate * buffer
    model = FeatureClassifier(3, (1, 1, 4), weight_decay=0.1, seed=1)
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9))
    rng = np.random.default_rng(0)
    features = tf.constant(rng.normal(size=(6, 1, 1, 4)), tf.float32)
    labels = tf.constant([0, 1, 2, 0, 1, 2], tf.int64)
    weights = [weight.numpy() for weight in model.trainable_variables]
    buffers = [np.zeros_like(weight) for weight in weights]
    for step in range(3):
        copy = FeatureClassifier.from_config({**model.get_config(), "weight_decay": 0.0})
        copy.set_weights(weights)
        with tf.GradientTape() as tape:
            seed = noise.step_seed(1, step)
            terms = copy.loss_terms((features, labels), step, seed, training=True)
            loss = tf.reduce_mean(terms["cross_entropy"])
        gradients = tape.gradient(loss, copy.trainable_variables)
        buffers = [
            0.9 * buffer + gradient.numpy() + 0.1 * weight
            for buffer, gradient, weight in zip(buffers, gradients, weights, strict=True)
        ]
        weights = [w - 0.5 * buffer for w, buffer in zip(weights, buffers, strict=True)]
        model.train_step((features, labels))
        for weight, expected in zip(model.trainable_variables, weights, strict=True):
            np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


def test_top_1_and_top_5_on_known_logits():
    model = FeatureClassifier(8, (1, 1, 4))
    logits = tf.constant(
        [
            [9, 1, 2, 3, 4, 5, 6, 7],  # rank 0
            [5, 9, 8, 7, 6, 0, 1, 2],  # rank 4: the last within five
            [4, 9, 8, 7, 6, 5, 1, 2],  # rank 5
            [1, 1, 1, 1, 1, 1, 1, 1],  # equal logits: the first class comes first
        ],
        tf.float32,
    )
    model.call = lambda *args, **kwargs: logits
    inputs = tf.zeros([4, 1, 1, 4])
    terms = model.loss_terms((inputs, tf.constant([0, 0, 0, 0], tf.int64)), 0)
    np.testing.assert_array_equal(terms["top1"], [1, 0, 0, 1])
    np.testing.assert_array_equal(terms["top5"], [1, 1, 0, 1])
    terms = model.loss_terms((inputs, tf.constant([0, 0, 0, 5], tf.int64)), 0)
    np.testing.assert_array_equal(terms["top5"], [1, 1, 0, 0])


def test_dropout_is_a_function_of_seed_and_step_and_drops_half():
    model = FeatureClassifier(2, (4, 4, 128))
    seen = []
    model.head = lambda features: seen.append(features) or features[:, 0, 0, :2]
    ones = tf.ones([8, 4, 4, 128])
    for seed in ([1, 2], [1, 2], [1, 3], None):
        model(ones, seed=None if seed is None else tf.constant(seed))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert np.mean(seen[0] != seen[2]) == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(np.unique(seen[0]), [0, 2])
    assert np.mean(seen[0]) == pytest.approx(1.0, abs=0.03)
    np.testing.assert_array_equal(seen[3], ones)


def test_training_on_features_is_training_on_images():
    whole = _classifier("conv1-5")
    images, labels = _examples()
    features = whole.feature_map(tf.image.convert_image_dtype(images, tf.float32))
    head = FeatureClassifier(4, features.shape[1:], seed=3)
    head.compile(keras.optimizers.SGD(0.05, momentum=0.9))
    head.head.set_weights(whole.head.get_weights())
    for _ in range(3):
        one, other = whole.train_step((images, labels)), head.train_step((features, labels))
        assert one["loss"].numpy() == pytest.approx(other["loss"].numpy(), rel=1e-5)
    for one, other in zip(whole.head.get_weights(), head.head.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_training_sees_views_and_nothing_else_does():
    model = _classifier(views={"crop_side": 0.5, "color_jitter": 1.0})
    images, labels = _examples()
    images = tf.image.convert_image_dtype(images, tf.float32)
    seed, step = tf.constant([4, 5]), tf.constant(0, tf.int64)
    seen = np.clip(RandomViews(model.views).first(images, seed)[0], 0, 1)
    assert np.abs(seen - images).mean() > 0.05
    found = model.loss_terms((images, labels), step, seed)["cross_entropy"]
    expected = _classifier().loss_terms((seen, labels), step, seed)["cross_entropy"]
    np.testing.assert_array_equal(found, expected)
    found, expected = (
        one.loss_terms((images, labels), step)["cross_entropy"] for one in (model, _classifier())
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("freeze", ["conv1-3", "conv1-5"])
def test_comes_back_from_its_file(tmp_path, freeze):
    model = _classifier(freeze, views=Views(crop_side=0.6))
    model.train_step(_examples())
    model.save(tmp_path / "model.keras")
    loaded = patchvae_tf.load_model(tmp_path)
    assert loaded.get_config() == model.get_config()
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    assert int(loaded.optimizer.iterations) == 1
    head = FeatureClassifier(3, (2, 2, 128), weight_decay=0.2)
    assert FeatureClassifier.from_config(head.get_config()).get_config() == head.get_config()


def test_wrong_arguments_are_told():
    with pytest.raises(InputError, match="`freeze` must be one of none, conv1, conv1-3, conv1-5"):
        TransferClassifier(4, freeze="conv2")
    with pytest.raises(InputError, match="image_size must be a positive multiple of .*, 8. Rec"):
        TransferClassifier(4, image_size=30)
    with pytest.raises(InputError, match="`num_classes` must be at least 2. Received: 1"):
        TransferClassifier(1)
