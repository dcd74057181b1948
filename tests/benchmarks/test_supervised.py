import json

import numpy as np
import pytest

from benchmarks import supervised
from patchvae_tf.errors import InputError


def _data(folder, labelled=True):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 340)
    images = (128 + 60 * (2 * labels[:, None, None, None] - 1)) * np.ones((340, 16, 16, 3))
    images = (images + rng.normal(size=images.shape) * 20).clip(0, 255).astype("uint8")
    arrays = {"x_train": images, **({"y_train": labels} if labelled else {})}
    np.savez(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


def test_classes_that_can_be_told_apart_are_learned_and_a_record_is_left(tmp_path, capsys):
    config = supervised.SupervisedConfig(
        dataset=_data(tmp_path),
        image_size=16,
        validation_examples=40,
        epochs=8,
        batch_size=20,
        output=str(tmp_path / "records.jsonl"),
    )
    supervised.main(None, config)
    (record,) = map(json.loads, (tmp_path / "records.jsonl").read_text().splitlines())
    assert record["own_layer"] > 0.9
    assert record["fc"] > 0.9
    assert record["scored_on"] == "40 of train, held out"
    assert (record["epochs"], record["learning_rate"], record["crop_side"]) == (8, 1e-3, 0.35)
    assert '"own_layer"' in capsys.readouterr().out


def test_images_without_labels_are_refused_before_training(tmp_path):
    config = supervised.SupervisedConfig(dataset=_data(tmp_path, labelled=False), image_size=16)
    with pytest.raises(InputError, match="has no labels, which the classifiers need"):
        supervised.main(None, config)
    with pytest.raises(InputError, match="multiple of the backbone's stride, 8. Received: 20"):
        supervised.SupervisedConfig(dataset="parts", image_size=20)
    with pytest.raises(InputError, match="dataset is missing"):
        supervised.SupervisedConfig()
