"""The command where system, Python and Keras are set otherwise than usual."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from patchvae_tf import InputError, environment

ROOT = pathlib.Path(__file__).parents[2]
# An image's folder may be called so; no ASCII stream can show it.
SIGNS = "größe 8×8"
PLAIN_STREAMS = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def _run(*arguments, **environment):
    """The command `patchvae` with these variables, and none of ours about streams."""
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONIOENCODING"}
    return subprocess.run(
        [sys.executable, "-m", "patchvae_tf", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        env={**inherited, **environment},
    )


def _images(folder, count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), "uint8")
    folder.mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A training to its report, all set otherwise: (folder of the run, of the images, output)."""
    root = tmp_path_factory.mktemp("odd")
    images = root / SIGNS
    for name, count in {"training/a": 10, "training/b": 10, "valid/a": 3, "test/a": 12}.items():
        _images(images / name, count)
    small = ("--image_size=8", "--num_parts=4", "--epochs=1")
    done = _run(
        "train", f"--dataset={images}", f"--run_dir={root / 'run'}", *small,
        **PLAIN_STREAMS, PYTHONWARNINGS="error", TF_USE_LEGACY_KERAS="1", MPLBACKEND="nonsense",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return root / "run", images, done


def test_plain_streams_strict_warnings_and_another_keras_for_tensorflow_stop_nothing(odd):
    run_dir, _, done = odd
    result = json.loads((run_dir / "result.json").read_text())
    assert (result["epoch"], result["linear_probe"]["classes"]) == (1, 2)
    assert (run_dir / "export/1/saved_model.pb").exists()
    assert "Features in two dimensions" in (run_dir / "report.html").read_text(encoding="utf-8")
    assert b"no report" not in done.stdout
    for trace in (b"Traceback", b"Error", b"Warning", b"WARNING"):
        assert trace not in done.stderr, done.stderr.decode()
    assert (done.stdout + done.stderr).isascii()


def test_the_splits_that_were_found_are_said_once(odd):
    _, images, done = odd
    found = [line for line in done.stdout.decode().splitlines() if "holds the splits" in line]
    assert len(found) == 1
    assert found[0].endswith(
        "holds the splits test (12 images), training (20 images), valid (3 images)."
    )
    assert images.parent.name in found[0]


def test_fewer_images_than_a_batch_are_trained_on_and_it_is_said(odd):
    run_dir, _, done = odd
    assert b"19 training images: batches of 16, not 128\n" in done.stdout
    data = json.loads((run_dir / "data.json").read_text())
    assert (data["training_images"], data["validation_images"]) == (19, 1)
    assert json.loads((run_dir / "result.json").read_text())["step"] == 1


@pytest.mark.parametrize("stream", [{"LC_ALL": "C"}, PLAIN_STREAMS, {"PYTHONIOENCODING": "ascii"}])
def test_errors_and_help_are_shown_by_any_stream(stream):
    shown = _run("probe", "--help", **stream)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert b"--run_dir" in shown.stdout
    refused = _run("train", f"--recipe={SIGNS}", **stream)
    (line,) = refused.stderr.decode("utf-8").splitlines()
    assert line.startswith("error: flag --recipe=")
    assert "value should be one of" in line


def test_a_folder_to_write_that_the_encoding_cannot_show_is_refused(tmp_path):
    failed = _run("train", f"--run_dir={tmp_path / SIGNS}", **PLAIN_STREAMS)
    assert failed.returncode == 1
    (line,) = failed.stderr.decode().splitlines()
    assert line.startswith("error: --run_dir=")
    assert "cannot be read in the encoding ascii. Give a name of plain characters" in line


def test_a_file_that_the_system_refuses_is_named_in_one_line(tmp_path):
    program = (
        "from patchvae_tf.command_line import console\n"
        f"console.run(lambda stop: open({str(tmp_path)!r}, 'w'), 'usage')"
    )
    failed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    message = f"error: {tmp_path}: Is a directory. Mend that, or name another.\n"
    assert (failed.returncode, failed.stderr) == (1, message)


def test_other_settings_of_keras_are_named_with_their_source(tmp_path):
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first"}')
    _assert_refused(
        f"Keras is set to image_data_format=channels_first by {tmp_path}/keras.json, and this "
        "package needs channels_last. Change it there, or set KERAS_HOME to a folder without a "
        "keras.json.",
        tmp_path,
        KERAS_HOME=str(tmp_path),
    )


@pytest.mark.parametrize("name", ["float16", "float64"])
def test_another_floatx_is_named(name, monkeypatch):
    monkeypatch.setattr(keras.config, "floatx", lambda: name)
    with pytest.raises(InputError, match=rf"floatx={name} by .*keras\.json.* needs float32"):
        environment.check_keras()


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_another_backend_is_named(backend, tmp_path):
    _assert_refused(
        f"Keras is set to backend={backend} by KERAS_BACKEND, and this package needs tensorflow. "
        "Unset that environment variable, or set it to tensorflow.",
        tmp_path,
        KERAS_BACKEND=backend,
    )


def test_the_backend_of_a_keras_json_is_named(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    _assert_refused(
        f"Keras is set to backend=jax by {tmp_path}/keras.json, and this package needs tensorflow. "
        "Change it there, or set KERAS_HOME to a folder without a keras.json.",
        tmp_path,
        KERAS_HOME=str(tmp_path),
    )


def _assert_refused(message, tmp_path, **environment):
    """It is all that stderr has: nothing of TensorFlow's own notes."""
    failed = _run("train", f"--run_dir={tmp_path / 'run'}", **environment)
    assert (failed.returncode, failed.stderr.decode()) == (1, f"error: {message}\n")
