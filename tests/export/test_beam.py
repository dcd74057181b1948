"""`python -m export.beam_features` gives the rows of `export.features`, and no half of them."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import InputError, RunError
from patchvae_tf.features import beam_job, extraction
from tests.export.exporting import ROOT, SIZE, assert_same, examples_of, python, write_two_classes

pytest.importorskip("apache_beam", reason="the extra `beam` is not installed: see BUILD.md")
pyarrow_parquet = pytest.importorskip("pyarrow.parquet")

OUTPUTS = "features,occurrence"
# Other batches: float32 sums are taken in another order.
CLOSE = {"rtol": 3e-6, "atol": 3e-6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of two classes, and what is no image of theirs."""
    root = tmp_path_factory.mktemp("images")
    write_two_classes(root)
    shutil.copy(root / "ash/00.jpg", root / "beside.jpg")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    shutil.copy(root / "ash/00.jpg", root / ".hidden/00.jpg")
    return root


@pytest.fixture(scope="module")
def expected(exported, folder, tmp_path_factory):
    """Column -> rows in the order of their keys, by `export.features`."""
    output = tmp_path_factory.mktemp("expected") / "features.npz"
    extraction.extract(
        extraction.FeaturesConfig(
            saved_model=str(exported[1]), dataset=str(folder), output=str(output), outputs=OUTPUTS
        )
    )
    with np.load(output) as columns:
        rows = dict(columns)
    assert list(rows.pop("class_names")) == ["ash", "oak"]
    return _by_key(rows)


@pytest.fixture
def config(exported, folder, tmp_path):
    """Function: settings -> BeamConfig."""

    def make(**settings):
        return beam_job.BeamConfig(
            **{
                "saved_model": str(exported[1].parent),
                "input": str(folder),
                "output": str(tmp_path / "features.parquet"),
                "outputs": OUTPUTS,
                **settings,
            }
        )

    return make


def _by_key(columns):
    order = np.argsort(columns["key"])
    return {name: np.asarray(rows)[order] for name, rows in columns.items()}


def _record(output):
    return json.loads(output.with_name(f"{output.name}.json").read_text())


def _read_parquet(output):
    record = _record(output)
    table = pyarrow_parquet.read_table([str(output.parent / name) for name in record["files"]])
    columns = {"key": table["key"].to_numpy(), "label": table["label"].to_numpy()}
    for name, shape in record["shapes"].items():
        assert json.loads(table.schema.field(name).metadata[b"shape"]) == shape
        values = table[name].combine_chunks().flatten().to_numpy()
        columns[name] = values.reshape(-1, *shape)
    return _by_key(columns)


def _read_tfrecord(output):
    record = _record(output)
    specification = {
        "key": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
        **{
            name: tf.io.FixedLenFeature(shape, tf.float32)
            for name, shape in record["shapes"].items()
        },
    }
    files = [str(output.parent / name) for name in record["files"]]
    examples = list(tf.data.TFRecordDataset(files))
    columns = {
        name: tensor.numpy()
        for name, tensor in tf.io.parse_example(examples, specification).items()
    }
    return _by_key({**columns, "key": columns["key"].astype("U")})


def _assert_rows(rows, expected):
    assert set(rows) == set(expected)
    np.testing.assert_array_equal(rows["key"], expected["key"])
    np.testing.assert_array_equal(rows["label"], expected["label"])
    for name in OUTPUTS.split(","):
        assert rows[name].dtype == np.float32
        np.testing.assert_allclose(rows[name], expected[name], **CLOSE, err_msg=name)


@pytest.mark.parametrize(
    ("suffix", "read"), [(".parquet", _read_parquet), (".tfrecord", _read_tfrecord)]
)
def test_the_rows_are_those_of_export_features(config, expected, tmp_path, capsys, suffix, read):
    output = tmp_path / f"features{suffix}"
    counted = beam_job.compute(config(output=str(output)))
    _assert_rows(read(output), expected)
    assert counted == {"images": 40, "unreadable": 1}
    record = _record(output)
    assert (record["rows"], record["unreadable"]) == (40, 1)
    shards = len(record["files"])
    names = [f"{output.name}-{number:05}-of-{shards:05}" for number in range(shards)]
    assert record["files"] == names
    assert record["class_names"] == ["ash", "oak"]
    (line,) = (tmp_path / f"features{suffix}.unreadable.jsonl").read_text().splitlines()
    assert json.loads(line) == {"key": "oak/21.png", "reason": "no image that can be read"}
    assert "1 files cannot be read: " in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        *record["files"],
        f"features{suffix}.json",
        f"features{suffix}.unreadable.jsonl",
    }
    with pytest.raises(InputError, match="is there already. Remove .*json and what it names"):
        beam_job.compute(config(output=str(output)))


def test_several_processes_give_the_same_rows(config, expected, tmp_path):
    settings = config()
    done = python(
        *("-m", "export.beam_features", f"--saved_model={settings.saved_model}"),
        *(f"--input={settings.input}", f"--output={settings.output}", f"--outputs={OUTPUTS}"),
        *("--", "--direct_num_workers=2", "--direct_running_mode=multi_processing"),
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "40 rows; record: " in done.stdout
    _assert_rows(_read_parquet(tmp_path / "features.parquet"), expected)


def _extracted(saved_model, folder, output, **settings):
    """The rows of `export.features`, by key."""
    extraction.extract(
        extraction.FeaturesConfig(
            saved_model=saved_model, dataset=str(folder), output=str(output), **settings
        )
    )
    with np.load(output) as columns:
        rows = dict(columns)
    rows.pop("class_names")
    return _by_key(rows)


@pytest.mark.parametrize("kind", ["preset", "folder of a preset", "onnx", "elsewhere"])
def test_every_kind_of_model_gives_the_rows_of_export_features(
    kind, config, exported, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # workers may be in another folder: what is relative is not meant
    outputs = "features,occurrence"
    if kind == "preset":
        given, outputs = "cifar100", "features,occurrence,conv1_3"
    elif kind == "folder of a preset":
        exported[0].save_to_preset(tmp_path / "own")
        given = "own"
    elif kind == "elsewhere":
        given = f"file://{exported[1]}/"
    else:
        pytest.importorskip("tf2onnx", reason="the extra `onnx` is not installed")
        from patchvae_tf.saved_models import onnx_writing

        pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), "uint8")
        version, _ = onnx_writing.export_onnx(exported[0], tmp_path, pixels)
        given = str((version / "model.onnx").relative_to(tmp_path))
    settings = {"outputs": outputs, "image_size": 24}
    counted = beam_job.compute(config(saved_model=given, **settings))
    assert counted == {"images": 40, "unreadable": 1}
    rows = _read_parquet(tmp_path / "features.parquet")
    wanted = _extracted(given, folder, tmp_path / "wanted.npz", **settings)
    assert set(rows) == set(wanted) == {"key", "label", *outputs.split(",")}
    np.testing.assert_array_equal(rows["key"], wanted["key"])
    for name in outputs.split(","):
        np.testing.assert_allclose(rows[name], wanted[name], **CLOSE, err_msg=name)
    assert _record(tmp_path / "features.parquet")["image_size"] == 24


def test_sixteen_bits_are_read_by_the_range(config, exported, tmp_path):
    rng, images = np.random.default_rng(0), tmp_path / "images"
    (images / "one").mkdir(parents=True)
    for index in range(3):
        pixels = rng.integers(0, 4096, (SIZE, SIZE, 3), "uint16")
        (images / f"one/{index}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    settings = {"value_range": "0,4095"}
    beam_job.compute(config(input=str(images), outputs="features", **settings))
    rows = _read_parquet(tmp_path / "features.parquet")
    model = str(exported[1])
    wanted = _extracted(model, images, tmp_path / "wanted.npz", **settings)
    np.testing.assert_allclose(rows["features"], wanted["features"], **CLOSE)
    dark = _extracted(model, images, tmp_path / "dark.npz")
    assert np.abs(wanted["features"] - dark["features"]).max() > 1e-3


def test_channels_that_no_file_has_are_refused(config, tmp_path):
    from patchvae_tf import PatchVAE

    PatchVAE(image_size=SIZE, num_parts=4, appearance_dim=2, channels=5).save_to_preset(
        tmp_path / "five"
    )
    with pytest.raises(InputError, match="five takes images of 5 channels, and Beam reads files"):
        beam_job.compute(config(saved_model=str(tmp_path / "five")))


def test_a_pattern_of_files_without_classes(config, expected, folder, tmp_path):
    beam_job.compute(config(input=f"{folder}/oak/*.png"))
    rows = _read_parquet(tmp_path / "features.parquet")
    of_oak = [key.startswith("oak/") for key in expected["key"]]
    assert [f"oak/{key}" for key in rows["key"]] == list(expected["key"][of_oak])
    assert np.isnan(rows["label"]).all()  # null
    np.testing.assert_allclose(rows["features"], expected["features"][of_oak], **CLOSE)
    assert _record(tmp_path / "features.parquet")["class_names"] is None


def test_a_killed_pipeline_leaves_nothing_under_the_output_s_name(exported, tmp_path):
    images, output = tmp_path / "images", tmp_path / "out" / "features.parquet"
    images.mkdir()
    output.parent.mkdir()
    image = tf.io.encode_png(np.zeros((SIZE, SIZE, 3), "uint8")).numpy()
    for index in range(8000):
        (images / f"{index:05}.png").write_bytes(image)
    command = [
        *(sys.executable, "-m", "export.beam_features", f"--saved_model={exported[1]}"),
        *(f"--input={images}", f"--output={output}"),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while not list(output.parent.glob("beam-temp-*/*")):  # rows are being written
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert all(path.name.startswith("beam-temp-") for path in output.parent.iterdir())

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = _record(output)
    assert record["rows"] == 8000
    assert {path.name for path in output.parent.iterdir()} == {
        *record["files"],
        "features.parquet.json",
    }


def test_what_a_killed_job_left_goes_and_other_jobs_stay(config, tmp_path):
    hexadecimal = "0123456789abcdef" * 2
    left = ["features.parquet-00003-of-00009", f"beam-temp-features.parquet-{hexadecimal}/one"]
    others = [
        *("features2.parquet-00000-of-00001", "features-b.parquet-00000-of-00001"),
        f"beam-temp-features-b.parquet-{hexadecimal}/one",
    ]
    for name in (*left, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    beam_job.compute(config())
    assert not any((tmp_path / name).exists() for name in left)
    assert not (tmp_path / left[1]).parent.exists()
    assert all((tmp_path / name).exists() for name in others)


def test_only_unreadable_images_are_an_error(config, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.png").write_bytes(b"")
    with pytest.raises(RunError, match="no image of .*bad.* can be read"):
        beam_job.compute(config(input=str(tmp_path / "bad")))
    assert not (tmp_path / "features.parquet.json").exists()


def test_wrong_settings_are_told(config, tmp_path):
    (tmp_path / "empty").mkdir()
    for wrong, message in (
        ({"saved_model": ""}, "saved_model is missing"),
        ({"input": ""}, "input is missing"),
        ({"output": "features.npz"}, "output must end in .parquet or .tfrecord. Received"),
        ({"outputs": ","}, "outputs names nothing"),
        ({"outputs": "conv2"}, "has no conv2: it offers appearance, conv1, conv1_3, conv1_5, fea"),
        ({"saved_model": "nosuch"}, "there is no model 'nosuch': give a preset .cifar100, parts,"),
        ({"image_size": 20}, "image_size must be a multiple of 8. Received: 20"),
        ({"value_range": "9"}, "value_range must be two numbers"),
        ({"saved_model": str(tmp_path / "absent")}, "absent does not exist"),
        ({"saved_model": "gone://export/1"}, "gone://export/1/model.json cannot be read"),
        ({"input": str(tmp_path / "empty")}, "matches no file. Give a folder of images"),
    ):
        with pytest.raises(InputError, match=message):
            beam_job.compute(config(**wrong))
    with pytest.raises(RunError, match="the pipeline failed .*NoRunner"):
        beam_job.compute(config(runner="NoRunner"))
    assert {path.name for path in tmp_path.iterdir()} == {"empty"}


def test_the_handler_asks_any_signature(exported, loaded, files):
    from patchvae_tf.features.beam_inference import FunctionHandler, OfSignature

    names = ("features", "occurrence")
    images = list(np.random.default_rng(0).random((3, SIZE, SIZE, 3), np.float32))
    examples = examples_of(files)
    for signature, batch in (("serving_default", images), ("serving_examples", examples)):
        handler = FunctionHandler(OfSignature(str(exported[1]), signature, names), batch_size=4)
        assert handler.batch_elements_kwargs() == {"min_batch_size": 4, "max_batch_size": 4}
        rows = handler.run_inference(batch, handler.load_model())
        answer = loaded.signatures[signature](tf.constant(batch))
        assert len(rows) == len(batch)
        columns = {name: np.stack([row[name] for row in rows]) for name in names}
        assert_same(columns, {name: answer[name] for name in names})
    assert handler.get_num_bytes([b"three", b"six"]) == 8
    assert handler.get_num_bytes(images) == 3 * SIZE * SIZE * 3 * 4


def test_splits_are_not_taken_for_classes(config, folder, tmp_path):
    for split in ("test", "train"):
        shutil.copytree(folder / "ash", tmp_path / "images" / split / "ash")
    with pytest.raises(RunError, match="the splits test, train, not classes. Give one of .*/train"):
        beam_job.compute(config(input=str(tmp_path / "images")))
    assert not list(tmp_path.glob("features*"))
