"""The LiteRT files answer as the model does, and say what int8 costs."""

import json

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf.datasets import ImageSet
from patchvae_tf.saved_models import litert
from tests import processes
from tests.export.exporting import SIZE, assert_same, beta_vae, expected_outputs, patch_vae

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated")


def _images(count, seed):
    """(uint8 images, labels): dark where the label is 0, bright where it is 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    noise = rng.integers(0, 100, (count, SIZE, SIZE, 3))
    return (noise + 120 * labels[:, None, None, None]).astype("uint8"), labels


def _image_set(count, seed, labelled=True):
    images, labels = _images(count, seed)
    return ImageSet(images, labels if labelled else None, None, ("",) * count)


def _answer(file, images):
    interpreter = tf.lite.Interpreter(model_content=file.read_bytes())
    (name,) = interpreter.get_signature_list()
    return interpreter.get_signature_runner(name)(images=images)


@pytest.fixture(scope="module")
def exported_lite(tmp_path_factory):
    """(model, version, costs) of a small PatchVAE."""
    model = patch_vae()
    folder = tmp_path_factory.mktemp("litert")
    return model, *litert.export_litert(model, folder, _image_set(90, 0), _image_set(70, 1))


def test_float32_equals_the_model(exported_lite):
    model, version, costs = exported_lite
    images, _ = _images(70, 1)
    images = tf.image.convert_image_dtype(images, tf.float32)
    for batch in (images[:1], images[:5]):
        answer = _answer(version / "float32.tflite", batch)
        expected = expected_outputs(model, batch)["serving_default"]
        assert_same(answer, expected, rtol=1e-5, atol=1e-5)
    assert max(costs["float32"].relative_errors.values()) < 1e-5
    assert costs["float32"].top1 == costs["float32"].saved_model_top1 == 1.0


def test_int8_is_small_and_near(exported_lite):
    model, version, costs = exported_lite
    images, _ = _images(70, 1)
    images = tf.image.convert_image_dtype(images, tf.float32)
    answer = _answer(version / "int8.tflite", images)
    expected = expected_outputs(model, images)["serving_default"]
    for name, value in expected.items():
        error = np.linalg.norm(answer[name] - value) / np.linalg.norm(value)
        assert error < 0.1, name
        assert costs["int8"].relative_errors[name] == pytest.approx(error, rel=0.01)
    assert costs["int8"].size == (version / "int8.tflite").stat().st_size
    assert costs["int8"].size < 0.35 * costs["float32"].size
    assert costs["int8"].top1 == 1.0
    facts = json.loads((version / "model.json").read_text())
    assert facts["litert"]["int8"]["top1"] == 1.0
    card = (version / "MODEL_CARD.md").read_text()
    assert f"`int8.tflite`: {costs['int8'].size:,} bytes; linear probe 100.0%" in card
    assert "serving_bytes" not in card


def test_beta_vae_without_labels(tmp_path):
    model = beta_vae()
    version, costs = litert.export_litert(model, tmp_path, _image_set(20, 0, labelled=False), None)
    images = tf.image.convert_image_dtype(_images(3, 5)[0], tf.float32)
    answer = _answer(version / "float32.tflite", images)
    feature_map = tf.function(model.backbone, autograph=False)(images)
    expected = {"feature_map": feature_map, "features": tf.reduce_mean(feature_map, axis=[1, 2])}
    assert_same(answer, expected, rtol=1e-5, atol=1e-5)
    assert costs["int8"].top1 is None
    assert "not measured: no labels" in (version / "MODEL_CARD.md").read_text()


def test_the_command_measures_on_the_images_of_the_run(tmp_path):
    run_dir, data = tmp_path / "run", tmp_path / "data.npz"
    run_dir.mkdir()
    patch_vae().save(run_dir / "model.keras")
    command = ("export.saved_model", f"--run_dir={run_dir}", "--format=litert")
    done = processes.run(*command)
    assert done.returncode == 1
    assert "no config.json and data.json, and format=litert, format=onnx" in done.stderr

    images, labels = _images(80, 2)
    np.savez(data, x_train=images, y_train=labels)
    settings = {"dataset": str(data), "image_size": SIZE, "batch_size": 8, "epochs": 1}
    (run_dir / "config.json").write_text(
        json.dumps({**settings, "learning_rate": 1e-4, "validation_examples": 20})
    )
    described = {"training_images": 60, "validation_images": 20, "skipped": []}
    (run_dir / "data.json").write_text(json.dumps({**described, "dtype_policy": "float32"}))
    done = processes.run(*command)
    assert done.returncode == 0, done.stderr
    wrote, float32, int8 = done.stdout.splitlines()[-3:]
    assert wrote == f"wrote {run_dir}/litert/1"
    assert float32.startswith("float32.tflite: ")
    assert "linear probe 100.0% (SavedModel: 100.0%)" in int8
    assert {path.name for path in (run_dir / "litert/1").iterdir()} == {
        *("float32.tflite", "int8.tflite", "model.json", "MODEL_CARD.md")
    }
