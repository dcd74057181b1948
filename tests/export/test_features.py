"""`python -m export.features`: the model's numbers in every format, whatever interrupts it."""

import json
import logging
import os
import pathlib
import shutil
import signal

import numpy as np
import pyarrow.parquet
import pytest
import tensorflow as tf

from patchvae_tf import InputError, RunError, datasets, runs
from patchvae_tf.features import extraction as features
from patchvae_tf.features import files as feature_files
from tests import processes
from tests.export.exporting import ROOT, SIZE, default_answer, python, write_two_classes

OUTPUTS = "features,occurrence,conv1"
SHAPES = {"features": (128,), "occurrence": (2, 2, 4), "conv1": (4, 4, 64)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """41 PNG and JPEG images of two classes and several sizes, one of them unreadable."""
    root = tmp_path_factory.mktemp("images")
    write_two_classes(root)
    return root


@pytest.fixture
def config(exported, folder, tmp_path):
    """Function: settings -> FeaturesConfig."""

    def make(**settings):
        return features.FeaturesConfig(
            **{
                "saved_model": str(exported[1]),
                "dataset": str(folder),
                "output": str(tmp_path / "features.npz"),
                "outputs": OUTPUTS,
                "batch_size": 4,
                **settings,
            }
        )

    return make


@pytest.fixture(scope="module")
def expected(loaded, folder):
    """Column -> rows, by the SavedModel on the pixels that training sees."""
    keys = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    keys.remove("oak/21.png")
    paths = [str(folder / key) for key in keys]
    images = [
        datasets.resize_and_crop(datasets.decode_image(tf.io.read_file(path)), SIZE)
        for path in paths
    ]
    images = tf.image.convert_image_dtype(tf.stack(images), tf.float32)
    answer = default_answer(loaded, images)
    stages = loaded.signatures["stages"](images=images)
    labels = [("ash", "oak").index(key.split("/")[0]) for key in keys]
    return {
        "key": np.array(keys),
        "label": np.array(labels),
        "features": answer["features"].numpy(),
        "occurrence": answer["occurrence"].numpy(),
        "conv1": stages["conv1"].numpy(),
    }


def _read_npz(path):
    with np.load(path) as archive:
        columns = dict(archive)
    assert list(columns.pop("class_names")) == ["ash", "oak"]
    return columns


def _read_parquet(path):
    table = pyarrow.parquet.read_table(path)
    assert json.loads(table.schema.metadata[b"class_names"]) == ["ash", "oak"]
    columns = {"key": np.array(table["key"].to_pylist()), "label": table["label"].to_numpy()}
    for name in SHAPES:
        shape = json.loads(table.schema.field(name).metadata[b"shape"])
        values = table[name].combine_chunks().values.to_numpy()
        columns[name] = values.reshape(len(table), *shape)
    return columns


def _read_tfrecord(path):
    shards = sorted(path.parent.glob(f"{path.name}-*"))
    assert [shard.name for shard in shards] == [
        f"{path.name}-{number:05d}-of-00003" for number in range(3)
    ]
    record = json.loads(path.with_name(f"{path.name}.json").read_text())
    specification = {
        "key": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
        **{
            name: tf.io.FixedLenFeature(shape, tf.float32)
            for name, shape in record["shapes"].items()
        },
    }
    records = list(tf.data.TFRecordDataset([str(shard) for shard in shards]))
    columns = {
        name: tensor.numpy() for name, tensor in tf.io.parse_example(records, specification).items()
    }
    columns["key"] = columns["key"].astype("U")
    return columns


@pytest.mark.parametrize(
    ("suffix", "read"),
    [(".npz", _read_npz), (".parquet", _read_parquet), (".tfrecord", _read_tfrecord)],
)
def test_every_format_holds_the_models_numbers(
    config, expected, tmp_path, monkeypatch, caplog, suffix, read
):
    monkeypatch.setattr(features, "_PART_EXAMPLES", 8)  # six parts
    monkeypatch.setattr(feature_files, "_SHARD_BYTES", 70_000)
    path = tmp_path / f"features{suffix}"
    with caplog.at_level(logging.WARNING, logger="patchvae_tf"):
        features.extract(config(output=str(path)))
    assert "1 of 41 images cannot be read ('oak/21.png'): left out." in caplog.text
    columns = read(path)
    assert set(columns) == set(expected)
    for name, rows in expected.items():
        if name in SHAPES:
            assert columns[name].dtype == np.float32
            assert columns[name].shape == (40, *SHAPES[name])
            np.testing.assert_allclose(columns[name], rows, rtol=1e-6, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(columns[name], rows, err_msg=name)
    record = json.loads((tmp_path / f"features{suffix}.json").read_text())
    assert record["rows"] == 40
    assert record["skipped"] == ["oak/21.png"]
    assert record["class_names"] == ["ash", "oak"]
    assert {name: tuple(shape) for name, shape in record["shapes"].items()} == SHAPES
    assert record["images_per_second"] > 0
    # Nothing but the output and its record is left.
    assert {path.name for path in tmp_path.iterdir()} == {
        *record["files"],
        f"features{suffix}.json",
    }


def test_arrays_without_labels_and_a_size_of_their_own(config, loaded, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (9, 24, 24, 3), "uint8")
    np.savez(tmp_path / "images.npz", x_test=pixels, x_train=pixels[:2])
    settings = {"dataset": str(tmp_path / "images.npz"), "split": "test", "outputs": "features"}
    features.extract(config(image_size=24, **settings))
    with np.load(tmp_path / "features.npz") as columns:
        assert set(columns) == {"key", "features"}
        assert list(columns["key"]) == [f"test/{index}" for index in range(9)]
        images = tf.image.convert_image_dtype(pixels, tf.float32)
        np.testing.assert_allclose(columns["features"], loaded(images), rtol=1e-5, atol=1e-5)


def test_a_second_run_finds_all_done_and_other_settings_are_refused(config, tmp_path, capsys):
    features.extract(config())
    before = (tmp_path / "features.npz").stat()
    left_by_a_kill = tmp_path / ".features.npz.partial"
    left_by_a_kill.mkdir()
    (left_by_a_kill / "part-000000000004-000000000008.npz").write_text("the last of many")
    features.extract(config())
    assert "is finished" in capsys.readouterr().out
    assert not left_by_a_kill.exists()
    assert (tmp_path / "features.npz").stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(InputError, match="there already, with other settings. Remove it"):
        features.extract(config(outputs="features"))
    (tmp_path / "other.parquet").write_text("mine")
    with pytest.raises(InputError, match="there already"):
        features.extract(config(output=str(tmp_path / "other.parquet")))
    assert (tmp_path / "other.parquet").read_text() == "mine"


def test_a_finished_output_of_other_images_is_no_finished_one(config, folder, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    settings = {"dataset": str(images), "outputs": "features"}
    for name in ("a.png", "b.png"):
        shutil.copy(folder / "ash/00.jpg", images / name)
    features.extract(config(**settings))
    features.extract(config(**settings))
    record = json.loads((tmp_path / "features.npz.json").read_text())
    assert (record["count"], record["rows"]) == (2, 2)
    (images / "b.png").rename(images / "c.png")
    with pytest.raises(InputError, match="of other images: 2 there, 2 now, .* Remove it and its"):
        features.extract(config(**settings))
    shutil.copy(images / "a.png", images / "b.png")
    with pytest.raises(InputError, match="of other images: 2 there, 3 now"):
        features.extract(config(**settings))
    with pytest.raises(InputError, match="there already, with other settings"):
        features.extract(config(**settings, data_dir=str(tmp_path)))


def test_what_is_held_until_it_is_written_does_not_grow_with_a_row():
    assert features._part_examples(4 * 128, 256) == 4096
    row_bytes = 4 * 28 * 28 * 512  # a map of 28 x 28 places
    part = features._part_examples(row_bytes, 20)
    assert part == 160
    assert part * row_bytes <= 2**28 < (part + 20) * row_bytes
    assert features._part_examples(2**30, 20) == 20


def _flags(settings):
    return [f"--{name}={value}" for name, value in settings.items()]


def test_a_stopped_job_goes_on_to_the_same_file(exported, tmp_path):
    # Five parts, each computed in some tenths of a second: time to stop it in the middle.
    pixels = np.random.default_rng(2).integers(0, 256, (17_000, SIZE, SIZE, 3), "uint8")
    np.savez(tmp_path / "images.npz", x_train=pixels, y_train=np.arange(17_000) % 7)
    settings = {
        "saved_model": exported[1].parent,  # the newest version
        "dataset": tmp_path / "images.npz",
        "batch_size": 64,
        "outputs": "features,occurrence",
    }
    whole, stopped = tmp_path / "whole.npz", tmp_path / "stopped.npz"
    work = tmp_path / ".stopped.npz.partial"
    command = ["export.features", *_flags(settings)]
    assert processes.run(*command, f"--output={whole}").returncode == 0

    def stop_in_the_middle(number):
        """Returns what the process said, after one more part was written."""
        before = set(work.glob("part-*.npz"))
        process = processes.Running(*command, f"--output={stopped}")
        process.wait_for(lambda: set(work.glob("part-*.npz")) != before)
        process.send_signal(number)
        done = process.finished()
        assert done.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[number]
        assert not stopped.exists()
        return done.stderr

    assert "the same command goes on from here" in stop_in_the_middle(signal.SIGINT)
    stop_in_the_middle(signal.SIGKILL)
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("part-*.npz")}
    assert 0 < len(kept) < 5
    other = processes.run(*command, f"--output={stopped}", "--image_size=24")
    assert other.returncode == 1
    assert "other settings: image_size is 16 there and 24 now" in other.stderr
    done = processes.run(*command, f"--output={stopped}")
    assert done.returncode == 0, done.stderr
    assert stopped.read_bytes() == whole.read_bytes()
    assert not work.exists()


def test_a_kill_while_the_output_is_written_costs_nothing(config, tmp_path, monkeypatch):
    def killed(parts, path):
        raise KeyboardInterrupt

    monkeypatch.setitem(feature_files.WRITERS, ".npz", killed)
    with pytest.raises(KeyboardInterrupt):
        features.extract(config())
    assert not (tmp_path / "features.npz").exists()
    monkeypatch.setitem(feature_files.WRITERS, ".npz", feature_files.write_npz)
    monkeypatch.setattr(features.np, "concatenate", None)  # nothing is computed again
    features.extract(config())
    assert (tmp_path / "features.npz").exists()


def test_a_full_disk_leaves_nothing_half_written(config, tmp_path, monkeypatch):
    savez = np.savez

    def full(file, **columns):
        savez(file, **columns)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(RunError, match="No space left on device.*give the same command to go on"):
        features.extract(config())
    left = {path.name for path in (tmp_path / ".features.npz.partial").iterdir()}
    assert left == {".lock", "job.json", "data.json"}
    monkeypatch.setattr(np, "savez", savez)
    features.extract(config())


def _mean_model(folder):
    """A SavedModel of another maker: the mean of an image."""
    specification = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
    mean = tf.function(
        lambda images: {"mean": tf.reduce_mean(images, axis=[1, 2])},
        input_signature=[specification],
    )
    tf.saved_model.save(tf.Module(), folder, signatures={"serving_default": mean})
    return str(folder)


def test_memory_does_not_grow_with_the_images(tmp_path):
    # The same process on few and on many files: the decoded ones would take 100 MB.
    program = (
        "import resource, sys\n"
        "from patchvae_tf.features import extraction as features\n"
        "def peak(dataset):\n"
        "    features.extract(features.FeaturesConfig(saved_model=sys.argv[1], batch_size=16,\n"
        "        dataset=dataset, output=dataset + '.npz', outputs='mean', image_size=128))\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print([peak(folder) for folder in sys.argv[2:]])\n"
    )
    image = tf.io.encode_jpeg(np.zeros((128, 128, 3), "uint8")).numpy()
    folders = []
    for count in (256, 2304):
        folders.append(tmp_path / str(count))
        folders[-1].mkdir()
        for index in range(count):
            (folders[-1] / f"{index}.jpg").write_bytes(image)
    done = python("-c", program, _mean_model(tmp_path / "model"), *folders, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    few, many = json.loads(done.stdout.splitlines()[-1])
    assert many - few < 40  # MB


def test_two_jobs_with_one_output_are_refused(config, tmp_path):
    other = runs.RunFolder(tmp_path / ".features.npz.partial")
    with pytest.raises(InputError, match="another process runs in .*choose another output"):
        features.extract(config())
    del other  # held until here


def test_only_unreadable_images_are_an_error(config, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.png").write_bytes(b"")
    with pytest.raises(RunError, match="none of the 1 images can be read"):
        features.extract(config(dataset=str(tmp_path / "bad")))


def test_wrong_settings_are_told_before_tensorflow_is_imported(exported, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    right = {
        "saved_model": exported[1],
        "dataset": folder,
        "output": tmp_path / "features.npz",
    }
    for wrong, message in (
        ({"saved_model": ""}, "saved_model is missing. Give the folder of a run or an export."),
        ({"output": ""}, "output is missing. Give the file to write."),
        ({"output": "features.csv"}, "output must end in .npz, .parquet, .tfrecord."),
        ({"outputs": ","}, "outputs names nothing"),
        ({"outputs": "features,logits"}, "has no logits: it offers appearance, conv1, conv1_3"),
        ({"saved_model": tmp_path / "absent"}, "absent does not exist"),
        ({"saved_model": tmp_path / "empty"}, "holds no SavedModel"),
        ({"image_size": 20}, "must be a multiple of 8. Received: 20"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"output": tmp_path / "file" / "features.npz"}, "cannot be written: Not a directory"),
    ):
        done = python(
            "-X", "importtime", "-m", "export.features", *_flags({**right, **wrong}), cwd=ROOT
        )
        *imports, error = done.stderr.splitlines()
        assert done.returncode == 1
        assert error.startswith("error: ")
        assert message in error
        assert not any(line.endswith(" tensorflow") for line in imports)
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "file"}


def test_wrong_data_leaves_no_folder_behind(config, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        features.extract(config(dataset=str(tmp_path / "absent")))
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_of_another_maker_needs_the_image_size(config, tmp_path, folder):
    settings = {"saved_model": _mean_model(tmp_path / "model"), "outputs": "mean"}
    with pytest.raises(InputError, match="give image_size"):
        features.extract(config(**settings))
    with pytest.raises(InputError, match="has no features: it offers mean"):
        features.extract(config(**{**settings, "outputs": "features"}, image_size=SIZE))
    features.extract(config(**settings, image_size=SIZE))
    with np.load(tmp_path / "features.npz") as columns:
        assert columns["mean"].shape == (40, 3)
        assert 0.3 < columns["mean"].mean() < 0.7


def test_real_photographs(config, test_data, tmp_path):
    photographs = test_data("scene15")
    features.extract(
        config(dataset=str(photographs), split="test", outputs="features", batch_size=256)
    )
    with np.load(tmp_path / "features.npz") as columns:
        count = sum(1 for _ in pathlib.Path(photographs, "test").rglob("*.jpg"))
        assert columns["features"].shape == (count, 128)
        assert len(columns["class_names"]) == 15
        assert columns["label"].max() == 14
        assert len(set(columns["key"])) == count
    assert os.path.getsize(tmp_path / "features.npz") > 4 * 128 * count
