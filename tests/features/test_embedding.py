"""`embed` and the command: the model's own numbers, from whatever images come as."""

import json
import logging

import numpy as np
import pytest
import tensorflow as tf

import patchvae_tf
from patchvae_tf import InputError, noise, pretrained
from patchvae_tf.features import extraction, pooling, sources
from patchvae_tf.saved_models import writing
from tests.features.conftest import SIZE
from tests.models.test_presets import moved

CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # batch normalisation is folded into the convolutions


@pytest.fixture(scope="module")
def outputs(model, images):
    """What the Keras model says of the images."""
    return {**model(images), "map": model.backbone(images / np.float32(255)).numpy()}


def _parts(outputs):
    probability = outputs["occurrence"].numpy().max(axis=(1, 2))[..., None]
    look = outputs["appearance_mean"].numpy() * probability
    return np.concatenate([probability, look], axis=-1).reshape(len(look), -1)


POOLED = {
    "mean": lambda outputs: outputs["map"].mean(axis=(1, 2)),
    "max": lambda outputs: outputs["map"].max(axis=(1, 2)),
    "flat": lambda outputs: outputs["map"].reshape(40, -1),
    "parts": _parts,
}


@pytest.mark.parametrize("kind", POOLED)
def test_each_pooling_is_that_of_the_model(kind, preset, images, outputs):
    found = patchvae_tf.embed(images, preset, pooling=kind)
    np.testing.assert_allclose(found.features, POOLED[kind](outputs), **CLOSE)
    assert found.features.dtype == np.float32
    assert list(found.keys) == [str(index) for index in range(40)]
    assert found.labels is None
    assert len(found) == 40


def test_a_stage_is_named_with_either_sign(preset, model, images):
    to_stage = tf.keras.Model(model.backbone.input, model.backbone.get_layer("conv3_out").output)
    expected = tf.reduce_max(to_stage(images / np.float32(255)), axis=[1, 2])
    for name in ("conv1-3", "conv1_3"):
        found = patchvae_tf.embed(images, preset, stage=name, pooling="max").features
        np.testing.assert_allclose(found, expected, **CLOSE)
    last, default = (
        patchvae_tf.embed(images, preset, stage=stage).features for stage in ("conv1-5", None)
    )
    np.testing.assert_array_equal(last, default)


def test_crops_are_averaged_and_the_same_each_time(preset, model, images):
    found = patchvae_tf.embed(images, preset, crops=3).features
    again = patchvae_tf.embed(images[::-1], preset, crops=3, batch_size=7).features[::-1]
    np.testing.assert_allclose(found, again, rtol=1e-5, atol=1e-6)
    pixels = images / np.float32(255)
    views = [pixels]
    drawn = noise.indexed_uniforms(0, noise.Purpose.CROP, np.arange(2), 3)
    for number, (side, y, x) in enumerate(drawn):
        side = 0.6 + 0.4 * side
        box = [[y * (1 - side), x * (1 - side), y * (1 - side) + side, x * (1 - side) + side]] * 40
        view = tf.image.crop_and_resize(pixels, box, range(40), [SIZE, SIZE]).numpy()
        views.append(view[:, :, ::-1] if number == 0 else view)
    expected = np.mean([model.backbone(view).numpy().mean(axis=(1, 2)) for view in views], axis=0)
    np.testing.assert_allclose(found, expected, **CLOSE)
    boxes = pooling.boxes(50)
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1], rtol=1e-6)


def test_arrays_files_and_folders_are_the_same_images(preset, images, folder):
    expected = patchvae_tf.embed(images, preset).features
    np.testing.assert_array_equal(patchvae_tf.embed(images / 255.0, preset).features, expected)
    paths = [folder / ("dark", "bright")[index // 20] / f"{index:02}.png" for index in range(40)]
    given = {
        "paths": paths,
        "texts": [str(path) for path in paths],
        "an array of texts": np.array([str(path) for path in paths]),
        "an array of paths": np.array(paths, object),
    }
    for kind, one in given.items():
        found = patchvae_tf.embed(one, preset)
        np.testing.assert_array_equal(found.features, expected, err_msg=kind)
        assert list(found.keys) == [str(path) for path in paths]
    found = patchvae_tf.embed(folder, preset)
    assert found.class_names == ("bright", "dark")
    assert list(found.labels) == [0] * 20 + [1] * 20
    assert list(found.keys[[0, 20]]) == ["bright/20.png", "dark/00.png"]
    np.testing.assert_array_equal(found.features, np.concatenate([expected[20:], expected[:20]]))


def test_every_source_of_a_model_gives_the_same(model, preset, images, tmp_path):
    version = writing.export_model(model, tmp_path / "export")
    expected = patchvae_tf.embed(images, preset, pooling="parts").features
    for source in (version, str(tmp_path), model):
        found = patchvae_tf.embed(images, source, pooling="parts").features
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_another_size_than_the_trained_one(preset, model, images):
    found = patchvae_tf.embed(images, preset, image_size=24).features
    larger = tf.round(tf.image.resize(images, [24, 24], antialias=True)) / 255
    np.testing.assert_allclose(found, np.mean(model.backbone(larger), axis=(1, 2)), **CLOSE)


def test_a_model_that_has_changed_in_its_place_is_read_anew(model, preset, images, tmp_path):
    other = moved(type(model).from_preset(preset), seed=9)
    for number, one in enumerate((model, other)):
        one.save_to_preset(tmp_path / str(number))
    (tmp_path / "0").rename(tmp_path / "here")
    first = patchvae_tf.embed(images, tmp_path / "here").features
    (tmp_path / "here").rename(tmp_path / "0")
    (tmp_path / "1").rename(tmp_path / "here")
    assert np.abs(patchvae_tf.embed(images, tmp_path / "here").features - first).max() > 0.01


def test_the_command_writes_what_embed_returns(preset, folder, tmp_path):
    settings = {"pooling": "max", "stage": "conv1", "crops": 2}
    output = tmp_path / "features.npz"
    extraction.extract(
        extraction.FeaturesConfig(
            saved_model=preset, dataset=str(folder), output=str(output), **settings
        )
    )
    found = patchvae_tf.embed(folder, preset, **settings)
    with np.load(output) as columns:
        np.testing.assert_array_equal(columns["features"], found.features)
        np.testing.assert_array_equal(columns["key"], found.keys)
        np.testing.assert_array_equal(columns["label"], found.labels)
    record = json.loads((tmp_path / "features.npz.json").read_text())
    assert {name: record[name] for name in settings} == settings
    assert record["version"] == f"preset {preset}"


def test_a_preset_of_the_package_is_asked_by_its_name():
    name = pretrained.names()[0]
    size = sources.find(name).image_size
    found = patchvae_tf.embed(np.zeros((2, size, size, 3), "uint8"), name)
    expected = patchvae_tf.backbone(name)(np.zeros((2, size, size, 3), "float32"))
    np.testing.assert_allclose(found.features, np.mean(expected, axis=(1, 2)), **CLOSE)


WRONG = {
    "no such model": ((None, "cifar11"), {}, "there is no model 'cifar11': give a preset"),
    "a folder of none": ((None, "/tmp"), {}, "holds no SavedModel"),
    "an object": ((None, 3), {}, "must be a PatchVAE, BetaVAE or BiGAN. Received: int"),
    "no such pooling": ((), {"pooling": "sum"}, "pooling must be one of mean, max, flat, parts"),
    "no such stage": ((), {"stage": "conv7"}, "has no stage conv7: it has conv1, conv1_3, conv1_5"),
    "a stage of parts": ((), {"pooling": "parts", "stage": "conv1"}, "not of a stage"),
    "no crops": ((), {"crops": 0}, "crops must be at least 1"),
    "an odd size": ((), {"image_size": 20}, "must be a multiple of 8. Received: 20"),
    "no such folder": (("./nowhere",), {}, "'./nowhere' does not exist"),
    "no such file": ((["a.png"],), {}, "a.png is not a file"),
    "no files": (([],), {}, "the list of paths is empty"),
    "arrays in a list": (([np.zeros((4, 4, 3))],), {}, "Put arrays together: numpy.stack"),
    "a table": ((np.zeros((4, 5)),), {}, r"has shape \(4, 5\): expected \[n, height, width, 3\]"),
    "floats of 255": ((np.full((1, 8, 8, 3), 255.0),), {}, "expected them within"),
    "integers": ((np.zeros((1, 8, 8, 3), int),), {}, "has dtype int64: expected uint8"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(kind, preset, images):
    given, settings, message = WRONG[kind]
    arguments = [images if not given or given[0] is None else given[0], preset]
    if len(given) > 1:
        arguments[1] = given[1]
    with pytest.raises(InputError, match=message) as refused:
        patchvae_tf.embed(*arguments, **settings)
    assert "\n" not in str(refused.value)


def test_unreadable_files_are_left_out_of_a_folder_and_refused_in_a_list(
    preset, folder, tmp_path, caplog
):
    good = (folder / "dark/00.png").read_bytes()
    for name, content in {"a": good, "b": b"", "c": good[:40]}.items():
        (tmp_path / f"{name}.png").write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="patchvae_tf"):
        found = patchvae_tf.embed(tmp_path, preset)
    assert list(found.keys) == ["a.png"]
    assert "2 of 3 images cannot be read ('b.png', 'c.png'): left out." in caplog.text
    with pytest.raises(InputError, match=r"1 of 2 images cannot be read .*b\.png.*: repair them"):
        patchvae_tf.embed([tmp_path / "a.png", tmp_path / "b.png"], preset)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="2 of 2 images cannot be read"):
        patchvae_tf.embed(tmp_path, preset)


def test_pooling_that_nothing_asks_for_is_refused(preset, tmp_path):
    settings = {"saved_model": preset, "dataset": "parts", "output": str(tmp_path / "f.npz")}
    with pytest.raises(InputError, match="crops says how `features` are made, and outputs="):
        extraction.FeaturesConfig(outputs="occurrence", crops=2, **settings)


def test_names_are_as_many_as_numbers():
    names = pooling.Pooling(pooling="max", stage="conv1-3").names(3)
    assert names == ["conv1_3_max0", "conv1_3_max1", "conv1_3_max2"]
