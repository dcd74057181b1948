"""The SavedModel answers as the Keras model does, wherever it is loaded."""

import hashlib
import io
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export import saved_model, signatures
from patchvae_tf import BetaVAE, InputError, PatchVAE, RunError
from patchvae_tf.datasets.preprocessing import decode_image, resize_and_crop
from tests.testing_utils import random_images

ROOT = pathlib.Path(__file__).parents[2]
CLOSE = {"rtol": 1e-6, "atol": 1e-6}
SIZE = 16

# Runs with another working folder, and as if we and Keras were not installed.
FRESH = """
import sys
import numpy as np

ABSENT = ("patchvae_tf", "export", "trainers", "keras")
sys.modules.update(dict.fromkeys(ABSENT))  # None: an import fails, and no module is found
import tensorflow as tf

version, inputs_file, outputs_file = sys.argv[1:]
loaded = tf.saved_model.load(version)
outputs = {}
for name, array in np.load(inputs_file, allow_pickle=True).items():
    batch = tf.constant(array.tolist()) if array.dtype == object else tf.constant(array)
    for key, tensor in loaded.signatures[name](batch).items():
        outputs[f"{name}/{key}"] = tensor.numpy()
outputs["root"] = loaded(np.load(inputs_file, allow_pickle=True)["stages"]).numpy()
assert not any(name.split(".")[0] in ABSENT and module for name, module in sys.modules.items())
np.savez(outputs_file, **outputs)
"""


def _with_moved_statistics(model):
    """The model after it saw images: moving statistics that are not those it began with."""
    for seed in (1, 2):
        model(random_images(8, SIZE, seed), training=True)
    return model


def _patch_vae(**kwargs):
    model = PatchVAE(image_size=SIZE, num_parts=4, appearance_dim=2, **kwargs)
    return _with_moved_statistics(model)


def _copy(model):
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return copy


def _python(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, **kwargs
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(model, version): a PatchVAE with an optimizer, and what the command made of it."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    run_dir.mkdir()
    model = _patch_vae()
    model.compile(optimizer=keras.optimizers.Adam())
    model.save(run_dir / "model.keras")
    done = _python("-m", "export.saved_model", f"--run_dir={run_dir}", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"wrote {run_dir}/export/1",
        "signatures: serving_default, serving_bytes, stages, reconstruct, decode",
    ]
    return model, run_dir / "export/1"


@pytest.fixture(scope="module")
def model(exported):
    return exported[0]


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(exported[1])


@pytest.fixture(scope="module")
def files():
    """Image files of several formats, modes and sizes, two of them unreadable."""

    def encoded(mode, size, file_format):
        pixels = np.random.default_rng(size[0]).integers(0, 256, (*size, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, file_format)
        return buffer.getvalue()

    png = encoded("RGBA", (40, 23), "PNG")
    return [
        encoded("RGB", (19, 31), "JPEG"),
        b"no image",
        png,
        encoded("L", (16, 16), "PNG"),
        png[: len(png) // 2],
        encoded("RGB", (21, 17), "WEBP"),
        encoded("P", (18, 24), "GIF"),
    ]


def _expected(model, images):
    """Signature name -> outputs, by the Keras model."""
    outputs = model(images)
    features = model.backbone(images)
    layers = {"conv1": "conv1_pool", "conv1_3": "conv3_out", "conv1_5": "conv5_out"}
    maps = keras.Model(
        model.backbone.input,
        {name: model.backbone.get_layer(layer).output for name, layer in layers.items()},
    )
    return {
        "serving_default": {
            "features": tf.reduce_mean(features, axis=[1, 2]),
            "feature_map": features,
            "occurrence": outputs["occurrence"],
            "appearance": outputs["appearance_mean"],
        },
        "stages": maps(images),
        "reconstruct": {"reconstruction": outputs["reconstruction"]},
        "decode": {"images": outputs["reconstruction"]},
    }


def _assert_same(outputs, expected, **tolerance):
    assert set(outputs) == set(expected)
    for name, tensor in outputs.items():
        if tolerance:
            np.testing.assert_allclose(tensor, expected[name], **tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def _answer(loaded, images):
    return loaded.signatures["serving_default"](tf.constant(images))


@pytest.mark.parametrize("sides", [(SIZE, SIZE), (24, 32)])
def test_signatures_equal_the_model(model, loaded, sides):
    images = random_images(3, 32)[:, : sides[0], : sides[1]]
    expected = _expected(model, images)
    for name, outputs in expected.items():
        batch = model(images)["latent"] if name == "decode" else tf.constant(images)
        answer = loaded.signatures[name](batch)
        _assert_same(answer, outputs, **CLOSE)
        assert {tensor.dtype for tensor in answer.values()} == {tf.float32}
    np.testing.assert_allclose(loaded(images), expected["serving_default"]["features"], **CLOSE)
    occurrence = _answer(loaded, images)["occurrence"].numpy()
    assert occurrence.shape == (3, sides[0] // 8, sides[1] // 8, 4)
    assert occurrence.std() > 1e-3


def test_files_answer_as_their_pixels_and_a_bad_one_as_black(loaded, files):
    valid = np.array([True, False, True, True, False, True, True])
    pixels = np.zeros((len(files), SIZE, SIZE, 3), np.uint8)
    for index in np.flatnonzero(valid):
        pixels[index] = resize_and_crop(decode_image(files[index]), SIZE)
    images = tf.image.convert_image_dtype(pixels, tf.float32)
    answer = loaded.signatures["serving_bytes"](tf.constant(files))
    _assert_same(answer, {**_answer(loaded, images), "valid": valid})


def test_files_all_unreadable(loaded):
    answer = loaded.signatures["serving_bytes"](tf.constant([b"", b"no image"]))
    np.testing.assert_array_equal(answer["valid"], [False, False])
    black = _answer(loaded, np.zeros((2, SIZE, SIZE, 3), np.float32))
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
        *("variables", "all_variables", "save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")
    }
    assert len(saved) == len(model.weights) + 2


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
    np.testing.assert_array_equal(layer(images)["features"], loaded(images))
    inputs = keras.Input((SIZE, SIZE, 3))
    classifier = keras.Model(inputs, keras.layers.Dense(2)(layer(inputs)["features"]))
    classifier.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    classifier.train_on_batch(images, np.eye(2, dtype="float32"))
    assert np.abs(layer(images)["features"] - loaded(images)).max() > 1e-4


def test_a_process_without_us_and_keras_answers_the_same(exported, files, tmp_path):
    model, version = exported
    images = random_images(2, SIZE, seed=3)
    inputs = dict.fromkeys(("serving_default", "stages", "reconstruct"), images)
    inputs["decode"] = model(images)["latent"].numpy()
    inputs["serving_bytes"] = np.array(files, dtype=object)
    np.savez(tmp_path / "inputs.npz", **inputs)
    done = _python(
        "-c", FRESH, version, tmp_path / "inputs.npz", tmp_path / "outputs.npz", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    answers = dict(np.load(tmp_path / "outputs.npz"))
    expected = {
        f"{name}/{key}": value
        for name, outputs in _expected(model, images).items()
        for key, value in outputs.items()
    }
    expected["root"] = expected["serving_default/features"]
    here = tf.saved_model.load(version).signatures["serving_bytes"](tf.constant(files))
    expected.update({f"serving_bytes/{key}": value for key, value in here.items()})
    assert not answers["serving_bytes/valid"].all()
    _assert_same(answers, expected, **CLOSE)


def test_a_session_as_tf_serving_holds_it_answers_the_same(exported, loaded, files):
    batches = {"serving_default": random_images(2, SIZE), "serving_bytes": np.array(files, object)}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(exported[1]))

        def answer(name, batch):
            signature = graph.signature_def[name]
            (placeholder,) = (tensor.name for tensor in signature.inputs.values())
            outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
            return session.run(outputs, {placeholder: batch})

        answers = {name: answer(name, batch) for name, batch in batches.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match="multiples of 8.*2 20 16 3"):
            answer("serving_default", np.zeros((2, 20, 16, 3)))
    for name, batch in batches.items():
        _assert_same(answers[name], loaded.signatures[name](tf.constant(batch.tolist())), **CLOSE)


def test_saved_model_cli_lists_the_signatures(exported):
    tool = pathlib.Path(sys.executable).with_name("saved_model_cli")
    done = subprocess.run(
        [tool, "show", "--all", "--dir", exported[1]], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name in signatures.NAMES:
        assert f"signature_def['{name}']" in done.stdout
    for name in ("images", "image_bytes", "features", "feature_map", "occurrence", "appearance"):
        assert f"puts['{name}'] tensor_info" in done.stdout
    assert "shape: (-1, -1, -1, 3)" in done.stdout


def test_beta_vae_has_features_of_any_size_and_codes_of_its_own(tmp_path):
    model = _with_moved_statistics(BetaVAE(image_size=SIZE, latent_dim=5))
    loaded = tf.saved_model.load(saved_model.export_model(model, tmp_path))
    for sides in ((SIZE, SIZE), (24, 32)):
        images = random_images(2, 32)[:, : sides[0], : sides[1]]
        features = model.backbone(images)
        expected = {"features": tf.reduce_mean(features, axis=[1, 2]), "feature_map": features}
        _assert_same(_answer(loaded, images), expected, **CLOSE)
    images = random_images(2, SIZE)
    outputs = model(images)
    answer = loaded.signatures["reconstruct"](tf.constant(images))["reconstruction"]
    np.testing.assert_allclose(answer, outputs["reconstruction"], **CLOSE)
    answer = loaded.signatures["decode"](outputs["latent"])["images"]
    np.testing.assert_allclose(answer, outputs["reconstruction"], **CLOSE)
    assert loaded.signatures["decode"](tf.zeros([0, 5]))["images"].shape == (0, SIZE, SIZE, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="width 16, as in training"):
        loaded.signatures["reconstruct"](tf.zeros([1, 24, 24, 3]))


def test_a_bfloat16_model_is_exported_in_float32(tmp_path):
    model = _patch_vae(dtype="mixed_bfloat16")
    loaded = tf.saved_model.load(saved_model.export_model(model, tmp_path))
    plain = PatchVAE(image_size=SIZE, num_parts=4, appearance_dim=2)
    plain.set_weights(model.get_weights())
    images = random_images(2, SIZE)
    for name, outputs in _expected(plain, images).items():
        batch = plain(images)["latent"] if name == "decode" else tf.constant(images)
        _assert_same(loaded.signatures[name](batch), outputs, **CLOSE)
    assert model.backbone.get_layer("conv1_conv").compute_dtype == "bfloat16"  # left as it was


@pytest.fixture
def small_parts(monkeypatch):
    """Stands in for the exported functions: quick to write."""
    root = tf.train.Checkpoint(value=tf.Variable(1.0))
    monkeypatch.setattr(signatures, "exported_parts", lambda model: (root, {}))


def _hashes(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_versions_count_up_and_old_ones_stay(small_parts, model, tmp_path):
    export_dir = tmp_path / "new" / "export"
    assert saved_model.export_model(model, export_dir) == export_dir / "1"
    before = _hashes(export_dir / "1")
    assert pathlib.Path("saved_model.pb") in before
    (export_dir / ".export-12").mkdir()  # of a killed export
    (export_dir / "20-notes").mkdir()
    assert saved_model.export_model(model, export_dir).name == "2"
    (export_dir / "9").mkdir()
    assert saved_model.export_model(model, export_dir).name == "10"
    assert _hashes(export_dir / "1") == before
    assert not any((export_dir / "9").iterdir())
    assert {path.name for path in export_dir.iterdir()} == {
        *("1", "2", "9", "10", ".export-12", "20-notes")
    }
    # Whoever may enter the folder may read the version, TF Serving's user too.
    assert (export_dir / "1").stat().st_mode & 0o777 == export_dir.stat().st_mode & 0o777


def test_a_number_that_another_export_takes_meanwhile_is_passed_over(
    small_parts, model, tmp_path, monkeypatch
):
    rename = os.rename

    def rename_late(source, target):
        if target.name == "1":
            (target / "variables").mkdir(parents=True)
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_late)
    assert saved_model.export_model(model, tmp_path).name == "2"


@pytest.mark.parametrize(
    ("module", "name"), [(os, "rename"), (tf.saved_model, "save")], ids=["rename", "save"]
)
@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_export_that_breaks_off_leaves_nothing(
    small_parts, model, tmp_path, monkeypatch, module, name, raised
):
    whole = getattr(module, name)

    def broken(*args, **kwargs):
        if name == "save":
            whole(*args, **kwargs)
        raise raised

    monkeypatch.setattr(module, name, broken)
    with pytest.raises((KeyboardInterrupt, RunError), match="No space|^$"):
        saved_model.export_model(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_ours_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be a PatchVAE or a BetaVAE. Received: Sequential"):
        saved_model.export_model(keras.Sequential(), tmp_path)


def test_wrong_folders_are_told_before_tensorflow_is_imported(tmp_path):
    for name in ("empty", "unfinished", "finished"):
        (tmp_path / name).mkdir()
    (tmp_path / "unfinished/config.json").write_text("{}")
    (tmp_path / "finished/model.keras").write_text("half")
    (tmp_path / "file").write_text("")
    for flags, message in (
        ([], "--run_dir is missing. Give the folder of a finished run."),
        (["absent"], "absent does not exist. Give the folder of a finished run."),
        (["empty"], "holds no run: neither model.keras nor config.json is there."),
        (["unfinished"], "has not finished: it has no model.keras. Give the command that began it"),
        (["finished", "file/export"], "cannot be written: Not a directory. Choose another --exp"),
    ):
        names = zip(("--run_dir", "--export_dir"), flags, strict=False)
        arguments = [f"{flag}={tmp_path / value}" for flag, value in names]
        done = _python("-X", "importtime", "-m", "export.saved_model", *arguments, cwd=ROOT)
        *imports, error = done.stderr.splitlines()
        assert done.returncode == 1
        assert error.startswith("error: ")
        assert message in error
        assert not any(line.endswith(" tensorflow") for line in imports)
