"""The command as its user meets it: defaults, mistakes, help."""

import re

import numpy as np
import pytest

from patchvae_tf import InputError
from patchvae_tf.transfer import data as transfer_data
from patchvae_tf.transfer.config import TransferConfig, resolved
from tests.test_resnet18_weights import torchvision_tensors
from tests.trainers.transfer.transferring import (
    SIZE,
    colours,
    config_of,
    flags_of,
    run_showing_imports,
    run_transfer,
)


def test_the_defaults_are_the_original_s():
    config = resolved(TransferConfig(untrained=True, dataset="cifar100"))
    settings = (config.learning_rate, config.momentum, config.weight_decay, config.image_size)
    assert settings == (0.1, 0.9, 1e-4, 32)
    assert config.horizontal_flip is False
    assert resolved(TransferConfig(untrained=True, dataset="indoor67")).horizontal_flip is True


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give one backbone: .* Received: none"),
        (("--untrained", "--run_dir=x"), "Received: run_dir and untrained"),
        (("--untrained", "--dataset="), "dataset is missing. Give a folder"),
        (
            ("--untrained", "--image_size=20"),
            "image_size must be a positive multiple .* Use e.g. 16 or 24",
        ),
        (("--untrained", "--model=patchvae"), "model says what run_dir must hold"),
        (("--untrained", "--freeze=conv2"), "freeze must be a stage of the backbone or none"),
        (("--untrained", "--labels_per_class=0"), "labels_per_class must be at least 1"),
        (("--run_dir=no/run",), "run_dir no/run does not exist"),
        (("--run_dir={empty}",), "holds no run"),
        (("--run_dir={unfinished}",), "has not finished: it has no model.keras"),
        (("--run_dir={strange}",), "holds no record of an unsupervised run"),
        (("--run_dir={run}", "--image_size=20"), "multiple of the backbone's stride, 8. .* 16 or"),
        (
            ("--run_dir={run}", "--model=beta_vae"),
            "trained with model=patchvae, asked for was beta_vae",
        ),
        (("--run_dir=cifar100", "--channels=1"), "cifar100 trained with channels=3, asked for was"),
        (("--saved_model={run}", "--freeze=none"), "gives frozen features: freeze must be"),
        (("--run_dir={run}", "--crop_side=0.5"), "crop_side is for fine-tuning, and here φ is all"),
        (("--untrained", "--color_jitter=1"), "color_jitter is for fine-tuning"),
        (("--saved_model={run}", "--image_size=20"), "image_size must be a multiple of 8. Receiv"),
        (("--saved_model={empty}",), "holds no SavedModel"),
        (("--weights=no.npz",), "weights no.npz does not exist"),
        (("--weights={weights}",), r"conv1.weight has shape \(64, 3, 3, 3\), expected"),
        (("--untrained", "--transfer_dir=/proc/t"), "cannot be written.*another transfer_dir"),
    ],
)
def test_wrong_flags_get_one_line_before_tensorflow_is_imported(flags, message, run_dir, tmp_path):
    for name in ("empty", "unfinished", "strange"):
        (tmp_path / name).mkdir()
    (tmp_path / "unfinished/config.json").write_text("{}")
    (tmp_path / "strange/model.keras").write_text("")
    wrong = {**torchvision_tensors(), "conv1.weight": np.zeros((64, 3, 3, 3))}
    np.savez(tmp_path / "weights.npz", **wrong)
    places = {name: tmp_path / name for name in ("empty", "unfinished", "strange")}
    flags = [flag.format(run=run_dir, weights=tmp_path / "weights.npz", **places) for flag in flags]
    failed = run_showing_imports("--dataset=parts", *flags)
    assert failed.returncode == 1
    error = failed.stderr.strip().splitlines()[-1]
    assert re.search(message, error), error
    assert "Traceback" not in failed.stderr
    assert "tensorflow" not in failed.stderr


def test_wrong_data_gets_one_line(tmp_path):
    (x, y), (x_test, y_test) = colours(24, 3, 0), colours(6, 3, 1)
    whole = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}

    def refused(message, arrays, **settings):
        np.savez(tmp_path / "d.npz", **arrays)
        config = config_of(
            tmp_path / "d.npz", untrained=True, image_size=SIZE, validation_examples=0, **settings
        )
        with pytest.raises(InputError, match=message) as caught:
            transfer_data.load(config)
        assert "\n" not in str(caught.value)

    def without(name):
        return {key: value for key, value in whole.items() if key != name}

    refused("the train part of .* has no labels", without("y_train"))
    refused("the test part of .* has no labels", without("y_test"))
    refused("no array 'x_test'", without("x_test"))
    refused("train part has the label 2, and the head 2 classes, 0 to 1", whole, num_classes=2)
    refused("test part has the label 7, and the head 3", {**whole, "y_test": y_test + 5})
    refused("all training images are of one class", {**whole, "y_train": 0 * y})
    sparse = {**whole, "y_train": 10**9 * y.astype("int64")}
    refused("has the label 2000000000: .* Number the classes from 0, by numpy.unique", sparse)
    refused("class 0 has 8 training images. Choose at most 8", whole, labels_per_class=9)
    refused("class 3 has 0 training images", whole, labels_per_class=1, num_classes=4)
    refused("batch_size is 25: expected 1 to 24", whole, batch_size=25)


def test_a_mistake_leaves_no_folder(images, tmp_path):
    flags = ("--untrained", f"--image_size={SIZE}", "--epochs=1")
    failed = run_transfer(*flags_of(images, tmp_path / "t", *flags, "--labels_per_class=1000"))
    assert failed.returncode == 1
    assert re.search(r"error: labels_per_class=1000 is more than there is", failed.stderr)
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "t").exists()


def test_help_shows_every_flag_without_tensorflow():
    shown = run_showing_imports("--help")
    assert shown.returncode == 0
    assert "tensorflow" not in shown.stderr
    for flag in (
        "--run_dir",
        "--freeze",
        "--labels_per_class",
        "--transfer_dir",
        "--[no]untrained",
    ):
        assert re.search(rf"^  {re.escape(flag)}\b", shown.stdout, re.MULTILINE)
    assert max(map(len, shown.stdout.splitlines())) <= 100
