"""The command and its versions, and the SavedModel wherever it is loaded."""

import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import InputError, PatchVAE, RunError
from patchvae_tf.saved_models import loaded as loaded_model
from patchvae_tf.saved_models import signatures, versions
from patchvae_tf.saved_models import writing as saved_model
from patchvae_tf.unsupervised import export
from tests import processes
from tests.export.exporting import (
    CLOSE,
    FOLDED,
    ROOT,
    SIZE,
    assert_same,
    default_answer,
    examples_of,
    expected_outputs,
    python,
)
from tests.testing_utils import random_images

# Runs with another working folder, and as if we and Keras were not installed.
FRESH = """
import sys
import numpy as np

ABSENT = ("patchvae_tf", "export", "trainers", "keras")
sys.modules.update(dict.fromkeys(ABSENT))  # None: an import fails, and no module is found
import tensorflow as tf

version, inputs_file, outputs_file = sys.argv[1:]
loaded = tf.saved_model.load(version)
outputs = {}
for name, array in np.load(inputs_file, allow_pickle=True).items():
    batch = tf.constant(array.tolist()) if array.dtype == object else tf.constant(array)
    for key, tensor in loaded.signatures[name](batch).items():
        outputs[f"{name}/{key}"] = tensor.numpy()
outputs["root"] = loaded(np.load(inputs_file, allow_pickle=True)["stages"]).numpy()
assert not any(name.split(".")[0] in ABSENT and module for name, module in sys.modules.items())
np.savez(outputs_file, **outputs)
"""


def test_a_process_without_us_and_keras_answers_the_same(exported, files, tmp_path):
    model, version = exported
    images = random_images(2, SIZE, seed=3)
    inputs = dict.fromkeys(("serving_default", "stages", "reconstruct"), images)
    inputs["decode"] = model(images)["latent"].numpy()
    inputs["serving_bytes"] = np.array(files, dtype=object)
    inputs["serving_examples"] = np.array(examples_of(files), dtype=object)
    np.savez(tmp_path / "inputs.npz", **inputs)
    done = python(
        "-c", FRESH, version, tmp_path / "inputs.npz", tmp_path / "outputs.npz", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    answers = dict(np.load(tmp_path / "outputs.npz"))
    expected = {
        f"{name}/{key}": value
        for name, outputs in expected_outputs(model, images).items()
        for key, value in outputs.items()
    }
    expected["root"] = expected["serving_default/features"]
    here = tf.saved_model.load(version).signatures["serving_bytes"](tf.constant(files))
    for name in ("serving_bytes", "serving_examples"):
        expected.update({f"{name}/{key}": value for key, value in here.items()})
    assert not answers["serving_bytes/valid"].all()
    assert_same(answers, expected, **FOLDED)


def test_a_session_as_tf_serving_holds_it_answers_the_same(exported, loaded, files):
    batches = {
        "serving_default": random_images(2, SIZE),
        "serving_bytes": np.array(files, object),
        "serving_examples": np.array(examples_of(files), object),  # as TFX's BulkInferrer asks
    }
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(exported[1]))

        def answer(name, batch):
            signature = graph.signature_def[name]
            (placeholder,) = (tensor.name for tensor in signature.inputs.values())
            outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
            return session.run(outputs, {placeholder: batch})

        answers = {name: answer(name, batch) for name, batch in batches.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match="multiples of 8.*2 20 16 3"):
            answer("serving_default", np.zeros((2, 20, 16, 3)))
    for name, batch in batches.items():
        assert_same(answers[name], loaded.signatures[name](tf.constant(batch.tolist())), **CLOSE)


def _saved_model_cli(*arguments):
    return processes.run("tensorflow.python.tools.saved_model_cli", *arguments)


def test_saved_model_cli_lists_the_signatures(exported):
    done = _saved_model_cli("show", "--all", "--dir", exported[1])
    assert done.returncode == 0, done.stderr
    for name in signatures.NAMES:
        assert f"signature_def['{name}']" in done.stdout
    for name in ("images", "image_bytes", "features", "feature_map", "occurrence", "appearance"):
        assert f"puts['{name}'] tensor_info" in done.stdout
    assert "shape: (-1, -1, -1, 3)" in done.stdout


def test_the_command_names_the_signatures_that_are_there(monkeypatch, tmp_path):
    monkeypatch.setattr(export.writing, "export_model", lambda *_: tmp_path / "1")
    model = PatchVAE(image_size=SIZE, num_parts=2, appearance_dim=1, channels=5)
    config = export.ExportConfig(run_dir=str(tmp_path))
    _, lines = export._saved_model(model, tmp_path, None, None, config)
    assert lines == ["signatures: serving_default, stages, reconstruct, decode"]


def test_saved_model_cli_runs_a_signature(exported, loaded, tmp_path):
    images = random_images(2, SIZE, seed=4)
    np.savez(tmp_path / "images.npz", x=images)
    done = _saved_model_cli(
        *("run", "--dir", exported[1], "--tag_set=serve", "--signature_def=serving_default"),
        *(f"--inputs=images={tmp_path}/images.npz[x]", "--outdir", tmp_path / "outputs"),
    )
    assert done.returncode == 0, done.stderr
    answers = {path.stem: np.load(path) for path in (tmp_path / "outputs").iterdir()}
    assert_same(answers, default_answer(loaded, images), **CLOSE)


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_export_that_breaks_off_leaves_no_version(model, tmp_path, monkeypatch, raised):
    def broken(root, folder, **kwargs):
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_text("half")
        raise raised

    monkeypatch.setattr(tf.saved_model, "save", broken)
    with pytest.raises((KeyboardInterrupt, RunError), match="No space left .* Make room|^$"):
        saved_model.export_model(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(".lock", "models.config", "batching.config", "batching-gpu.config")
    }


def test_a_killed_command_leaves_no_version(model, tmp_path):
    model.save(tmp_path / "model.keras")
    command = ("export.saved_model", f"--run_dir={tmp_path}")
    process = processes.Running(*command)
    export_dir = tmp_path / "export"
    # Until it is in the middle of writing.
    process.wait_for(lambda: any(export_dir.glob(".export-*/version/*")))
    process.send_signal(signal.SIGKILL)
    assert process.finished().returncode == -signal.SIGKILL
    assert versions.numbers(export_dir) == []
    assert processes.run(*command).returncode == 0
    assert versions.numbers(export_dir) == [1]
    assert not any(export_dir.glob(".export-*"))


def test_a_model_that_is_not_ours_is_refused(tmp_path):
    with pytest.raises(InputError, match="PatchVAE, BetaVAE or BiGAN. Received: Sequential"):
        saved_model.export_model(keras.Sequential(), tmp_path)


def test_wrong_folders_are_told_before_tensorflow_is_imported(tmp_path):
    for name in ("empty", "unfinished", "finished"):
        (tmp_path / name).mkdir()
    (tmp_path / "unfinished/config.json").write_text("{}")
    (tmp_path / "finished/model.keras").write_text("half")
    (tmp_path / "file").write_text("")
    for flags, message in (
        ([], "run_dir is missing. Give the folder of a finished run."),
        (["absent"], "absent does not exist. Give the folder of a finished run."),
        (["empty"], "holds no run: neither model.keras nor config.json is there."),
        (["unfinished"], "has not finished: it has no model.keras. Give the command that began it"),
        (["finished", "file/export"], "cannot be written: Not a directory. Choose another exp"),
    ):
        names = zip(("--run_dir", "--export_dir"), flags, strict=False)
        arguments = [f"{flag}={tmp_path / value}" for flag, value in names]
        done = python("-X", "importtime", "-m", "export.saved_model", *arguments, cwd=ROOT)
        *imports, error = done.stderr.splitlines()
        assert done.returncode == 1
        assert error.startswith("error: ")
        assert message in error
        assert not any(line.endswith(" tensorflow") for line in imports)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"3", b'{"a": "\xff"}'])
def test_facts_that_are_not_as_we_write_them_are_named(content, tmp_path):
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.json cannot be read .* Export the model once"):
        loaded_model.facts(tmp_path)
