import json

import numpy as np
import pytest

from benchmarks import frozen_features
from patchvae_tf import PatchVAE, datasets
from patchvae_tf.settings.pixels import Pixels
from tests import processes


def _examples(count, seed, signal=1.0):
    """Three classes, told by one dimension of five whose scales differ by a thousand."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    features = rng.normal(size=(count, 5)) * [1.0, 10.0, 100.0, 1000.0, 0.1]
    features[:, 4] += signal * labels
    return features.astype("float32"), labels


def test_what_can_be_told_apart_is_told_apart_whatever_its_scale():
    result = frozen_features.measure(_examples(2048, 0), _examples(500, 1), seed=0)
    assert result["linear"] > 0.6  # 160 steps at so low a rate
    assert result["fc"] > 0.95


def test_chance_is_not_exceeded():
    training, test = _examples(2048, 0, signal=0.0), _examples(500, 1, signal=0.0)
    result = frozen_features.measure(training, test, seed=0)
    assert result["linear"] == pytest.approx(1 / 3, abs=0.08)
    assert result["fc"] == pytest.approx(1 / 3, abs=0.08)


def test_a_preset_is_read_at_the_size_that_is_asked_for_and_scored_on_what_is_held_out(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 340)
    images = (128 + 90 * (2 * labels[:, None, None, None] - 1)) * np.ones((340, 16, 16, 3))
    images += rng.normal(size=images.shape) * 20
    np.savez(tmp_path / "data.npz", x_train=images.clip(0, 255).astype("uint8"), y_train=labels)
    done = processes.run(
        "benchmarks.frozen_features", "--model=parts", "--image_size=24",
        "--dataset=data.npz", "--validation_examples=40", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["dimensions"] == 3 * 3 * 128
    assert result["image_size"] == 24
    assert (result["training_images"], result["test_images"]) == (300, 40)
    assert result["fc"] == 1.0  # light and dark images
    assert result["scored_on"] == "40 of train, held out"


def test_images_are_read_as_the_run_read_them_and_scored_where_results_are_reported(
    tmp_path, monkeypatch
):
    PatchVAE(image_size=16, channels=1, num_parts=2).save(tmp_path / "model.keras")
    (tmp_path / "config.json").write_text('{"value_range": "0,4095"}')
    (tmp_path / "data.json").write_text("{}")
    loaded = []

    def load(dataset, split, **source):
        loaded.append((dataset, split, source["image_size"], source["pixels"]))
        images = np.zeros((2, 16, 16, source["pixels"].channels), "uint8")
        return datasets.ImageSet(images, np.array([0, 1]), ("a", "b"), keys=("a", "b"))

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(frozen_features, "measure", lambda *_, **__: {"linear": 0.5, "fc": 0.5})
    frozen_features.main(
        None, frozen_features.FrozenFeaturesConfig(model=str(tmp_path), dataset="imagenet2012")
    )
    pixels = Pixels(1, (0.0, 4095.0))
    assert loaded == [("imagenet2012", split, 16, pixels) for split in ("train", "validation")]
    result = json.loads((tmp_path / "frozen_features.json").read_text())
    assert result["scored_on"] == "validation"
    assert result["dimensions"] == 2 * 2 * 128
