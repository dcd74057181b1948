"""The classifiers learn what is there to learn."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.examples.conftest import FORMATS, write_colours, write_features
from tests.export.exporting import SIZE

NAMES = ["cat", "dog", "owl"]


def _features(count, seed):
    """Features of three classes, far apart."""
    labels = np.arange(count) % 3
    features = np.random.default_rng(seed).normal(size=(count, 128)).astype("float32")
    features[:, :120] += 5 * np.eye(3, dtype="float32")[labels].repeat(40, axis=1)
    keys = np.array([f"{index}.png" for index in range(count)])
    return {"key": keys, "label": labels, "features": features}


@FORMATS
def test_the_classifier_of_features(run, tmp_path, suffix):
    train, test = tmp_path / f"train{suffix}", tmp_path / f"test{suffix}"
    write_features(train, _features(90, seed=0), NAMES)
    columns = _features(32, seed=1)
    columns["label"][[0, 3]] = 1  # cats that the file calls dogs
    columns["label"][30:] = -1  # not known
    write_features(test, columns, NAMES)
    assert run("sklearn_classifier.py", train, test).splitlines() == [
        "90 images to learn from, 30 to test",
        "top-1 accuracy 93.3% (always the most frequent class: 40.0%)",
        "  cat  100.0% of 8",
        "  dog   83.3% of 12",
        "  owl  100.0% of 10",
        "most often mistaken: dog for cat, 2 times",
    ]


@FORMATS
def test_the_classifier_holds_out_a_fifth(run, tmp_path, suffix):
    path = tmp_path / f"all{suffix}"
    write_features(path, _features(60, seed=0))
    assert run("sklearn_classifier.py", path).splitlines() == [
        "48 images to learn from, 12 to test",
        "top-1 accuracy 100.0% (always the most frequent class: 33.3%)",
        *(f"  class {number}  100.0% of 4" for number in range(3)),
    ]


@FORMATS
def test_the_classifier_tells_what_is_wrong(error, tmp_path, suffix):
    def written(name, names=NAMES, **changes):
        path = tmp_path / (name + suffix)
        columns = {**_features(30, seed=0), **changes}
        columns = {key: value for key, value in columns.items() if value is not None}
        write_features(path, columns, names)
        return path

    train = written("train")
    one_of_a_class = np.array([0] * 29 + [1])
    (tmp_path / f"text{suffix}").write_text("text")
    (tmp_path / f"half{suffix}").write_bytes(train.read_bytes()[:1000])
    for arguments, message in (
        ([tmp_path / f"absent{suffix}"], "No such file or directory"),
        ([tmp_path / f"text{suffix}"], "cannot be read: "),
        ([tmp_path / f"half{suffix}"], "cannot be read: "),
        ([written("unlabelled", label=None)], "holds no labels of two classes or more"),
        ([written("one", label=np.zeros(30, int))], "holds no labels of two classes or more"),
        ([written("none", label=np.full(30, -1))], "holds no labels of two classes or more"),
        ([written("other", features=None)], "holds no `features`."),
        ([written("few", label=one_of_a_class)], "Give a TEST file too."),
        ([train, written("renamed", ["a", "b", "c"])], "are not those of"),
        ([train, written("short", features=np.ones((30, 5), "float32"))], "with one model"),
    ):
        assert message in error("sklearn_classifier.py", *arguments)


@pytest.mark.parametrize("split", [True, False])
def test_the_classifier_of_images(run, run_anew, patch_vae_version, tmp_path, split):
    run = run_anew if split else run
    for part in ("train", "test") if split else (".",):
        write_colours(tmp_path / part)
    arguments = ["--fine_tune", "--epochs=4"] if split else ["--epochs=4"]
    lines = run("keras_classifier.py", patch_vae_version, tmp_path, *arguments).splitlines()
    frozen = next(line for line in lines if line.startswith("frozen"))
    assert re.fullmatch(r"frozen φ \(0 of \d+ weights moved\): top-1 accuracy 100.0%", frozen)
    if split:
        moved = re.fullmatch(
            r"fine-tuned φ \((\d+) of \d+ weights moved\): top-1 accuracy 100.0%", lines[-1]
        )
        assert int(moved[1]) == 20  # kernels and biases of φ's ten convolutions


def test_the_classifier_of_images_tells_what_is_wrong(error, patch_vae_version, tmp_path):
    script = "keras_classifier.py"
    assert "holds no exported version" in error(script, tmp_path, tmp_path)
    assert "holds no images in folders" in error(script, patch_vae_version, tmp_path / "absent")
    assert "holds no images in folders" in error(script, patch_vae_version, tmp_path)
    for part, name in (("train", "red"), ("train", "blue"), ("test", "red"), ("test", "green")):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("RGB", (SIZE, SIZE)).save(tmp_path / part / name / "0.png")
    assert "are not those under" in error(script, patch_vae_version, tmp_path)
