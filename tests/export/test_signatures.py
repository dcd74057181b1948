"""The signatures of the SavedModel answer as the Keras model does."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import PatchVAE
from patchvae_tf.datasets.preprocessing import decode_image, resize_and_crop
from patchvae_tf.saved_models import writing as saved_model
from patchvae_tf.settings import PartObjective
from tests.export.exporting import (
    CLOSE,
    FOLDED,
    SIZE,
    assert_same,
    bigan,
    default_answer,
    examples_of,
    expected_outputs,
    in_graph,
    patch_vae,
)
from tests.testing_utils import random_images


def _copy(model):
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return copy


@pytest.mark.parametrize("sides", [(SIZE, SIZE), (24, 32)])
def test_signatures_equal_the_model(model, loaded, sides):
    images = random_images(3, 32)[:, : sides[0], : sides[1]]
    expected = expected_outputs(model, images)
    for name, outputs in expected.items():
        batch = model(images)["latent"] if name == "decode" else tf.constant(images)
        answer = loaded.signatures[name](batch)
        unfolded = name in ("reconstruct", "decode")
        assert_same(answer, outputs, **(CLOSE if unfolded else FOLDED))
        assert {tensor.dtype for tensor in answer.values()} == {tf.float32}
    np.testing.assert_allclose(loaded(images), expected["serving_default"]["features"], **CLOSE)
    occurrence = default_answer(loaded, images)["occurrence"].numpy()
    assert occurrence.shape == (3, sides[0] // 8, sides[1] // 8, 4)
    assert occurrence.std() > 1e-3


def test_files_answer_as_their_pixels_and_a_bad_one_as_black(loaded, files):
    valid = np.array([True, False, True, True, False, True, True])
    pixels = np.zeros((len(files), SIZE, SIZE, 3), np.uint8)
    for index in np.flatnonzero(valid):
        pixels[index] = resize_and_crop(decode_image(files[index]), SIZE)
    images = tf.image.convert_image_dtype(pixels, tf.float32)
    answer = loaded.signatures["serving_bytes"](tf.constant(files))
    assert_same(answer, {**default_answer(loaded, images), "valid": valid})


def test_examples_answer_as_the_files_that_they_hold(loaded, files):
    answer = loaded.signatures["serving_examples"]
    expected = loaded.signatures["serving_bytes"](tf.constant(files))
    half = len(files) // 2  # TFX's name of the feature, and TFDS's
    examples = [*examples_of(files[:half]), *examples_of(files[half:], "image")]
    assert_same(answer(tf.constant(examples)), expected)
    without = answer(tf.constant([b"", *examples_of([b"text"], "name")]))
    np.testing.assert_array_equal(without["valid"], [False, False])
    with pytest.raises(tf.errors.InvalidArgumentError, match="Could not parse example"):
        answer(tf.constant([examples[0], b"no example"]))


def test_files_all_unreadable(loaded):
    answer = loaded.signatures["serving_bytes"](tf.constant([b"", b"no image"]))
    np.testing.assert_array_equal(answer["valid"], [False, False])
    black = default_answer(loaded, np.zeros((2, SIZE, SIZE, 3), np.float32))
    np.testing.assert_array_equal(answer["features"], black["features"])


def test_an_empty_batch_has_empty_outputs(loaded):
    images, grid = tf.zeros([0, SIZE, SIZE, 3]), (0, SIZE // 8, SIZE // 8)
    shapes = {
        "features": (0, 128),
        "feature_map": (*grid, 128),
        "occurrence": (*grid, 4),
        "appearance": (0, 4, 2),
    }
    cases = {
        "serving_default": (images, shapes),
        "serving_bytes": (tf.constant([], tf.string), {**shapes, "valid": (0,)}),
        "serving_examples": (tf.constant([], tf.string), {**shapes, "valid": (0,)}),
        "stages": (
            images,
            {"conv1": (0, 4, 4, 64), "conv1_3": (0, 4, 4, 64), "conv1_5": (*grid, 128)},
        ),
        "reconstruct": (images, {"reconstruction": images.shape}),
        "decode": (tf.zeros([*grid, 8]), {"images": images.shape}),
    }
    for name, (batch, expected) in cases.items():
        answer = loaded.signatures[name](batch)
        assert {key: tuple(tensor.shape) for key, tensor in answer.items()} == expected
    assert loaded(images).shape == (0, 128)


@pytest.mark.parametrize("name", ["serving_default", "stages", "reconstruct", "root"])
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 24, 20, 3)), r"width that are multiples of 8: resize .*\] \[2 24 20 3\]"),
        (np.full((1, 16, 16, 3), 255.0), r"divide 8-bit values by 255.*\] \[255\] \[255\]"),
        (np.full((1, 16, 16, 3), -0.1), r"values in \[0, 1\] .*\] \[-0.1\] \[-0.1\]"),
        (np.where(np.arange(16 * 16 * 3) == 5, np.nan, 0.5).reshape(1, 16, 16, 3), "no NaN"),
    ],
)
def test_wrong_images_are_refused_with_the_way_out(loaded, name, images, message):
    function = loaded if name == "root" else loaded.signatures[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(tf.constant(images, tf.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_code_that_is_not_finite_is_refused(loaded, value):
    latent = np.zeros((2, 2, 2, 8), np.float32)
    assert np.isfinite(loaded.signatures["decode"](tf.constant(latent))["images"]).all()
    latent[1, 0, 1, 3] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match="finite numbers, no NaN: send a code"):
        loaded.signatures["decode"](tf.constant(latent))


def test_a_little_beyond_the_range_is_rounding(loaded):
    loaded(tf.fill([1, SIZE, SIZE, 3], 1.0005))
    loaded(tf.fill([1, SIZE, SIZE, 3], -0.0005))


def test_phi_runs_once_a_request(loaded):
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    nodes = [node.op for function in graph.library.function for node in function.node_def]
    assert nodes.count("Conv2D") == 10 + 3  # φ's with its shortcut, and the heads


def test_the_root_is_a_reusable_saved_model(exported, loaded):
    model, version = exported
    for name, weights in (
        ("variables", model.backbone.weights),
        ("trainable_variables", model.backbone.trainable_weights),
        ("all_variables", model.weights),
    ):
        variables = getattr(loaded, name)
        assert len(variables) == len(weights)
        for variable, weight in zip(variables, weights, strict=True):
            np.testing.assert_array_equal(variable, weight)
    assert list(loaded.regularization_losses) == []
    # Neither an optimizer nor metrics.
    saved = [name for name, _ in tf.train.list_variables(version / "variables" / "variables")]
    assert {name.partition("/")[0] for name in saved} == {
        *("variables", "all_variables", "folded_variables"),
        *("save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH"),
    }
    assert len(saved) == len(model.weights) + len(loaded.folded_variables) + 2


def test_fine_tuning_the_root_moves_phi(exported):
    model, version = exported
    loaded = tf.saved_model.load(version)
    images = random_images(4, SIZE, seed=5)
    before = [variable.numpy() for variable in loaded.all_variables]
    with tf.GradientTape() as tape:
        features = loaded(images, training=True)
        loss = tf.reduce_sum(features[:, :64]) - tf.reduce_sum(features[:, 64:])
    batch_moments = tf.reduce_mean(_copy(model).backbone(images, training=True), axis=[1, 2])
    np.testing.assert_allclose(features, batch_moments, rtol=1e-5, atol=1e-5)
    gradients = tape.gradient(loss, loaded.trainable_variables)
    for variable, gradient in zip(loaded.trainable_variables, gradients, strict=True):
        variable.assign_sub(0.01 * gradient)
    moved = [
        bool(np.any(variable.numpy() != old))
        for variable, old in zip(loaded.all_variables, before, strict=True)
    ]
    # φ comes first: its weights and moving statistics moved, heads and decoder did not.
    count = len(loaded.variables)
    assert moved == [True] * count + [False] * (len(moved) - count)
    loaded(tf.zeros([0, SIZE, SIZE, 3]), training=True)
    assert np.isfinite(loaded(images)).all()


# A loss on `features` alone has no gradient for the heads.
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_tfsm_layer_answers_and_learns(exported, loaded):
    layer = keras.layers.TFSMLayer(exported[1], call_endpoint="serving_default")
    images = random_images(2, SIZE)
    np.testing.assert_allclose(layer(images)["features"], loaded(images), **FOLDED)
    inputs = keras.Input((SIZE, SIZE, 3))
    classifier = keras.Model(inputs, keras.layers.Dense(2)(layer(inputs)["features"]))
    classifier.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    classifier.train_on_batch(images, np.eye(2, dtype="float32"))
    assert np.abs(layer(images)["features"] - loaded(images)).max() > 1e-4


def _trained_once(features, inputs):
    """What Adam, which keeps moments, makes of a dense layer on the features, and of them."""
    classifier = keras.Model(inputs, keras.layers.Dense(2)(features))
    classifier.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    before = [weight.numpy() for weight in classifier.trainable_weights]
    classifier.train_on_batch(random_images(2, SIZE), np.eye(2, dtype="float32"))
    return [
        bool(np.any(weight.numpy() != old))
        for weight, old in zip(classifier.trainable_weights, before, strict=True)
    ]


def test_a_frozen_tfsm_layer_takes_any_optimizer(exported):
    layer = keras.layers.TFSMLayer(exported[1], call_endpoint="serving_default")
    inputs = keras.Input((SIZE, SIZE, 3))
    # As the page on serving says; Keras mends it one day.
    with pytest.raises(ValueError, match="is not a valid scope name"):
        _trained_once(layer(inputs)["features"], inputs)
    layer.trainable = False
    before = [weight.numpy() for weight in layer.weights]
    assert _trained_once(layer(inputs)["features"], inputs) == [True, True]
    for weight, old in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_phi_is_fine_tuned_as_a_keras_model_by_any_optimizer(exported):
    phi = _copy(exported[0]).backbone
    inputs = keras.Input((SIZE, SIZE, 3))
    features = keras.layers.GlobalAveragePooling2D()(phi(inputs, training=False))
    moved = _trained_once(features, inputs)
    assert moved == [True] * (len(phi.trainable_weights) + 2)


@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated")
def test_the_default_signature_converts_to_tflite(exported, loaded):
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(exported[1]), signature_keys=["serving_default"]
    )
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    images = random_images(3, 32)[:, :16, :24]
    answer = interpreter.get_signature_runner("serving_default")(images=images)
    assert_same(answer, default_answer(loaded, images), **FOLDED)


@pytest.fixture(scope="module")
def exported_bigan(tmp_path_factory):
    model = bigan()
    return model, saved_model.export_model(model, tmp_path_factory.mktemp("bigan"))


@pytest.mark.parametrize("name", ["exported_beta_vae", "exported_bigan"])
def test_a_global_code_has_features_of_any_size_and_codes_of_its_own(name, request):
    model, version = request.getfixturevalue(name)
    loaded = tf.saved_model.load(version)
    for sides in ((SIZE, SIZE), (24, 32)):
        images = random_images(2, 32)[:, : sides[0], : sides[1]]
        features = in_graph(model.backbone)(images)
        expected = {"features": tf.reduce_mean(features, axis=[1, 2]), "feature_map": features}
        assert_same(default_answer(loaded, images), expected, **FOLDED)
    images = random_images(2, SIZE)
    outputs = in_graph(model)(images)
    answer = loaded.signatures["reconstruct"](tf.constant(images))["reconstruction"]
    np.testing.assert_allclose(answer, outputs["reconstruction"], **CLOSE)
    answer = loaded.signatures["decode"](outputs["latent"])["images"]
    np.testing.assert_allclose(answer, outputs["reconstruction"], **CLOSE)
    assert loaded.signatures["decode"](tf.zeros([0, 5]))["images"].shape == (0, SIZE, SIZE, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="width 16, as in training"):
        loaded.signatures["reconstruct"](tf.zeros([1, 24, 24, 3]))


@pytest.fixture(scope="module")
def exported_agreement(tmp_path_factory):
    objective = PartObjective(adversarial_weight=1.0, agreement_weight=1.0)
    model = patch_vae(objective=objective)
    return model, saved_model.export_model(model, tmp_path_factory.mktemp("agreement"))


@pytest.mark.parametrize("name", ["exported_bigan", "exported_agreement"])
def test_what_serves_training_alone_is_not_exported(name, request):
    model, version = request.getfixturevalue(name)
    loaded = tf.saved_model.load(version)
    left_out = [weight for part in model.training_parts for weight in part.weights]
    kept = len(model.weights) - len(left_out)
    assert len(loaded.all_variables) == kept
    size = sum(path.stat().st_size for path in version.rglob("variables.data*"))

    def numbers(weights):
        return sum(weight.shape.num_elements() for weight in weights)

    # φ is there twice: to be trained on, and with its batch normalisation folded.
    written = numbers(model.weights) - numbers(left_out) + numbers(model.backbone.weights)
    assert size == pytest.approx(4 * written, rel=0.02)


def test_bfloat16_signatures_are_near_float32_and_the_card_says_how_near(tmp_path):
    model = patch_vae()
    images = random_images(4, SIZE)
    version = saved_model.export_model(model, tmp_path, precision="mixed_bfloat16", images=images)
    loaded = tf.saved_model.load(version)
    expected = expected_outputs(model, images)["serving_default"]["features"].numpy()
    found = default_answer(loaded, images)["features"].numpy()
    assert found.dtype == np.float32
    difference = np.abs(found - expected).max()
    assert 0.0 < difference < 0.05 * np.abs(expected).max()
    facts = json.loads((version / "model.json").read_text())
    assert facts["precision"] == "mixed_bfloat16"
    assert facts["difference"]["largest"] == pytest.approx(difference, rel=0.01)
    assert "bfloat16" in (version / "MODEL_CARD.md").read_text()


def test_a_bfloat16_model_is_exported_in_float32(tmp_path):
    model = patch_vae(dtype="mixed_bfloat16")
    loaded = tf.saved_model.load(saved_model.export_model(model, tmp_path))
    plain = PatchVAE(image_size=SIZE, num_parts=4, appearance_dim=2)
    plain.set_weights(model.get_weights())
    images = random_images(2, SIZE)
    for name, outputs in expected_outputs(plain, images).items():
        batch = plain(images)["latent"] if name == "decode" else tf.constant(images)
        assert_same(loaded.signatures[name](batch), outputs, **FOLDED)
    assert model.backbone.get_layer("conv1_conv").compute_dtype == "bfloat16"  # left as it was


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "alexnet", "stride": 16},
        {"backbone": "pyramid", "stride": 4, "independent_decoders": True},
    ],
)
def test_another_backbone_is_exported_with_its_own_stages(options, tmp_path):
    model = patch_vae(**options)
    version = saved_model.export_model(model, tmp_path)
    loaded = tf.saved_model.load(version)
    stride, channels = model.stride, model.stages[-1].channels
    images = random_images(2, 32)
    outputs, features = in_graph(model)(images), in_graph(model.backbone)(images)
    answer = default_answer(loaded, images)
    assert answer["feature_map"].shape == (2, 32 // stride, 32 // stride, channels)
    expected = {"features": tf.reduce_mean(features, axis=[1, 2]), "feature_map": features}
    expected |= {"occurrence": outputs["occurrence"], "appearance": outputs["appearance_mean"]}
    assert_same(answer, expected, **FOLDED)
    answer = loaded.signatures["decode"](outputs["latent"])["images"]
    np.testing.assert_allclose(answer, outputs["reconstruction"], **CLOSE)
    stages = loaded.signatures["stages"](tf.constant(images))
    assert {name: value.shape[1:] for name, value in stages.items()} == {
        stage.name.replace("-", "_"): (32 // stage.stride, 32 // stage.stride, stage.channels)
        for stage in model.stages
    }
    last = stages[model.stages[-1].name.replace("-", "_")]
    np.testing.assert_allclose(last, features, **FOLDED)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"multiples of {stride}: resize"):
        loaded(tf.zeros([1, stride + 2, stride, 3]))
    card = (version / "MODEL_CARD.md").read_text()
    assert f"height and width multiples of {stride}." in card
    assert all(f"`{stage.name.replace('-', '_')}`" in card for stage in model.stages)
    assert f"one for {stride} × {stride} pixels" in card
