"""The ONNX file answers as the SavedModel does, and a file that does not is not kept."""

import json

import numpy as np
import pytest
import tensorflow as tf

import patchvae_tf
from patchvae_tf import InputError, RunError
from patchvae_tf.features import extraction as features
from patchvae_tf.saved_models import loaded as loaded_model
from patchvae_tf.saved_models import onnx_loaded, signatures, versions
from patchvae_tf.unsupervised import export
from tests.export.exporting import ROOT, SIZE, assert_same, beta_vae, bigan, patch_vae, python
from tests.testing_utils import random_images

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("tf2onnx", reason="the extra `onnx` is not installed")
from patchvae_tf.saved_models import onnx_writing  # noqa: E402

# Two libraries sum in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def _pixels(count, side=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), "uint8")


def _export(model, folder):
    return onnx_writing.export_onnx(model, folder, _pixels(9))


@pytest.fixture(scope="module")
def exported_onnx(exported, tmp_path_factory):
    """(version, differences) of the model whose SavedModel is `exported`."""
    return _export(exported[0], tmp_path_factory.mktemp("onnx"))


def test_any_batch_and_size_is_answered_as_by_the_saved_model(exported_onnx, loaded):
    session = onnxruntime.InferenceSession(exported_onnx[0] / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    for shape in ((1, SIZE, SIZE, 3), (5, 24, 40, 3), (0, SIZE, SIZE, 3)):
        images = np.random.default_rng(shape[1]).random(shape, np.float32)
        outputs = dict(zip(names, session.run(names, {"images": images}), strict=True))
        expected = loaded.signatures["serving_default"](images=tf.constant(images))
        assert_same(outputs, expected, **CLOSE)


@pytest.mark.parametrize("make", [beta_vae, bigan, lambda: patch_vae(dtype="mixed_bfloat16")])
def test_every_model_in_float32(make, tmp_path):
    model = make()
    version, _ = _export(model, tmp_path)
    _, functions = signatures.exported_parts(model)
    names = list(functions["serving_default"].structured_outputs)
    onnx_model = onnx_loaded.load(version / "model.onnx")
    answer, shapes = loaded_model.of_images(
        loaded_model.answering(onnx_model, names, version), SIZE
    )
    pixels = _pixels(3, seed=1)
    expected = functions["serving_default"](images=tf.image.convert_image_dtype(pixels, tf.float32))
    assert_same(answer(pixels), expected, **CLOSE)
    assert shapes == {name: tuple(value.shape[1:]) for name, value in expected.items()}


def test_the_file_says_what_it_takes_and_gives(exported_onnx):
    path = exported_onnx[0] / "model.onnx"
    onnx.checker.check_model(path, full_check=True)
    graph = onnx.load(path).graph
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert axes == {
        "images": ["n", "H", "W", 3],
        "features": ["n", 128],
        "feature_map": ["n", "h", "w", 128],
        "occurrence": ["n", "h", "w", 4],
        "appearance": ["n", 4, 2],
    }
    facts = onnx_loaded.load(path).facts
    assert (facts["image_size"], facts["stride"]) == (SIZE, 8)


def test_the_card_says_how_near_it_is(exported_onnx):
    version, differences = exported_onnx
    assert set(differences) == {"features", "feature_map", "occurrence", "appearance"}
    for one in differences.values():
        assert 0.0 < one["relative"] < 1e-5
        assert 0.0 < one["largest"] < 1e-5 * one["largest_value"]
    assert json.loads((version / "model.json").read_text())["onnx"] == {
        "opset": 18,
        "differences": differences,
    }
    card = (version / "MODEL_CARD.md").read_text()
    one = differences["features"]
    assert f"| `features` | {one['relative']:.1e} | {one['largest']:.1e} |" in card
    assert "other sizes work, features are best near it. Neither sizes nor values are" in card
    assert {path.name for path in version.iterdir()} == {
        "model.onnx",
        "model.json",
        "MODEL_CARD.md",
    }


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch):
    other = patch_vae()
    other.backbone.set_weights([weight * 1.01 for weight in other.backbone.get_weights()])
    content = onnx_writing._converted(signatures.encoder(other, None)[0].function, other)
    monkeypatch.setattr(onnx_writing, "_converted", lambda *_: content)
    with pytest.raises(RunError, match="from the SavedModel's, .* the file is not kept"):
        _export(patch_vae(), tmp_path)
    assert versions.numbers(tmp_path) == []


def _features(saved_model, output, **settings):
    features.extract(
        features.FeaturesConfig(
            **{
                "saved_model": str(saved_model),
                "outputs": "features,occurrence",
                "output": str(output),
                "batch_size": 4,
                **settings,
            }
        )
    )
    with np.load(output) as columns:
        return dict(columns)


def test_features_of_a_data_set_are_the_saved_model_s(exported, exported_onnx, tmp_path):
    np.savez(tmp_path / "images.npz", x_train=_pixels(11, seed=2), y_train=np.arange(11) % 3)
    path = exported_onnx[0] / "model.onnx"
    settings = {"dataset": str(tmp_path / "images.npz")}
    by_onnx = _features(path, tmp_path / "onnx.npz", **settings)
    by_tensorflow = _features(exported[1], tmp_path / "tensorflow.npz", **settings)
    assert by_onnx["features"].shape == (11, 128)
    assert by_onnx["occurrence"].shape == (11, 2, 2, 4)
    for name in ("features", "occurrence"):
        np.testing.assert_allclose(by_onnx[name], by_tensorflow[name], **CLOSE)
    np.testing.assert_array_equal(by_onnx["key"], by_tensorflow["key"])
    np.testing.assert_array_equal(by_onnx["label"], by_tensorflow["label"])
    with pytest.raises(InputError, match="has no conv1: it offers appearance, feature_map"):
        _features(path, tmp_path / "stages.npz", outputs="conv1", **settings)
    with pytest.raises(InputError, match="must be a multiple of 8. Received: 20"):
        _features(path, tmp_path / "size.npz", image_size=20, **settings)


@pytest.mark.parametrize("pooling", ["mean", "max", "flat", "parts"])
def test_embed_pools_and_crops_as_by_the_saved_model(pooling, exported, exported_onnx):
    path, pixels = exported_onnx[0] / "model.onnx", _pixels(7, side=24, seed=3)
    for settings in ({}, {"crops": 3, "image_size": 24}):
        by_onnx, by_tensorflow = (
            patchvae_tf.embed(pixels, model, pooling=pooling, **settings).features
            for model in (path, exported[1])
        )
        np.testing.assert_allclose(by_onnx, by_tensorflow, **CLOSE)
    assert by_onnx.shape == (7, {"flat": 3 * 3 * 128, "parts": 4 * (1 + 2)}.get(pooling, 128))


def test_scikit_learn_and_joblib_take_the_file(exported_onnx, tmp_path):
    joblib = pytest.importorskip("joblib", reason="the extra `sklearn` is not installed")
    path, pixels = exported_onnx[0] / "model.onnx", _pixels(5)
    joblib.dump(patchvae_tf.FeatureExtractor(str(path)).fit(pixels), tmp_path / "extractor")
    found = joblib.load(tmp_path / "extractor").transform(pixels)
    np.testing.assert_array_equal(found, patchvae_tf.embed(pixels, path).features)


def test_another_depth_than_the_last_is_refused(exported_onnx):
    with pytest.raises(InputError, match=r"model\.onnx has no conv1: it offers appearance, feat"):
        patchvae_tf.embed(_pixels(2), exported_onnx[0] / "model.onnx", stage="conv1")


def test_files_that_are_not_ours_are_told(tmp_path, monkeypatch):
    np.savez(tmp_path / "images.npz", x_train=_pixels(2))
    settings = {"dataset": str(tmp_path / "images.npz"), "image_size": SIZE}
    with pytest.raises(InputError, match=r"absent\.onnx does not exist. Give an \.onnx file"):
        _features(tmp_path / "absent.onnx", tmp_path / "out.npz", **settings)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"absent\.onnx does not exist"):
        patchvae_tf.embed(_pixels(2), "absent.onnx")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(InputError, match=r"text\.onnx cannot be read \("):
        _features(tmp_path / "text.onnx", tmp_path / "out.npz", **settings)
    node = onnx.helper.make_node("Relu", ["pixels"], ["features"])
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "another",
        [tensor("pixels", onnx.TensorProto.FLOAT, ["n", 3])],
        [tensor("features", onnx.TensorProto.FLOAT, ["n", 3])],
    )
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset]), tmp_path / "another.onnx")
    with pytest.raises(InputError, match=r"does not answer for `images` float32 \[1, 16, 16, 3\]"):
        _features(tmp_path / "another.onnx", tmp_path / "out.npz", outputs="features", **settings)
    assert not (tmp_path / "out.npz").exists()


def test_a_precision_is_refused():
    with pytest.raises(InputError, match="onnx: float32.. Received: precision=mixed_bfloat16"):
        export.ExportConfig(format="onnx", precision="mixed_bfloat16")


def test_the_command_compares_on_the_images_of_the_run(tmp_path):
    run_dir, data = tmp_path / "run", tmp_path / "data.npz"
    run_dir.mkdir()
    patch_vae().save(run_dir / "model.keras")
    np.savez(data, x_train=(random_images(40, SIZE) * 255).astype("uint8"))
    settings = {"dataset": str(data), "image_size": SIZE, "batch_size": 8, "epochs": 1}
    (run_dir / "config.json").write_text(
        json.dumps({**settings, "learning_rate": 1e-4, "validation_examples": 10})
    )
    described = {"training_images": 30, "validation_images": 10, "skipped": []}
    (run_dir / "data.json").write_text(json.dumps({**described, "dtype_policy": "float32"}))
    done = python("-m", "export.saved_model", f"--run_dir={run_dir}", "--format=onnx", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    wrote, compared = done.stdout.splitlines()[-2:]
    assert wrote == f"wrote {run_dir}/onnx/1"
    assert compared.startswith("model.onnx: largest relative difference of an output from")
