"""What a run leaves, what its folder refuses, and how one that was stopped goes on.

Each run is a process of its own, as its user meets it; one that nothing disturbs is trained once.
"""

import json
import re
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import patchvae_tf
from patchvae_tf import InputError, interruption
from patchvae_tf.saved_models.signatures import with_policy
from patchvae_tf.settings import unsupervised_config
from patchvae_tf.training import devices, loop
from patchvae_tf.training.checkpoints import Checkpoints
from patchvae_tf.training.execution import Execution
from patchvae_tf.unsupervised import trainer
from tests import processes
from tests.testing_utils import random_images
from tests.trainers import small_runs


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """68 small labelled images."""
    return small_runs.save_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A run that nothing disturbed: its folder and what it printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    done = small_runs.train(images, run_dir, "--export")
    assert done.returncode == 0, done.stderr
    return run_dir, done


def test_leaves_model_record_and_pictures(finished):
    run_dir, done = finished
    names = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*")}
    assert {
        "config.json",
        "data.json",
        "metrics.jsonl",
        "result.json",
        "model.keras",
        "checkpoints/step-16.index",
        "pictures/reconstructions.png",
        "pictures/occurrence.png",
        "export/1/saved_model.pb",
    } <= names
    assert any(name.startswith("tensorboard/events") for name in names)
    config = json.loads((run_dir / "config.json").read_text())
    assert (config["num_parts"], config["batch_size"], config["epochs"]) == (4, 8, 2)
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 8), (2, 16)]
    for line in lines:
        for prefix in ("", "val_"):
            total = line[f"{prefix}reconstruction"]
            total += 0.05 * (line[f"{prefix}kl_occurrence"] + line[f"{prefix}kl_appearance"])
            total += 150.0 * (line[f"{prefix}agreement"] + line[f"{prefix}map_agreement"])
            assert line[f"{prefix}loss"] == pytest.approx(total, rel=1e-4)
    result = json.loads((run_dir / "result.json").read_text())
    assert result["step"] == 16
    assert result["val_loss"] == lines[-1]["val_loss"]
    parts = result["parts"]
    for name, value in parts.items():
        assert lines[-1][f"val_{name}"] == value, name
    assert f"parts: {parts['parts_alive']} alive of 4, two views agree " in done.stdout
    assert f"| {parts['parts_alive']} of 4 |" in (run_dir / "export/1/MODEL_CARD.md").read_text()
    probe = result["linear_probe"]
    assert (probe["classes"], probe["training_images"], probe["test_images"]) == (2, 64, 4)
    shown = f"linear probe, 4 held-out images of 2 classes: top-1 {probe['top1']:.1%} "
    assert shown in done.stdout
    assert f"{probe['top1']:.1%}" in (run_dir / "export/1/MODEL_CARD.md").read_text()
    assert "64 training and 4 validation images" in done.stdout
    assert "images/s" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_saved_model_is_the_trained_one(finished):
    run_dir, _ = finished
    model = patchvae_tf.load_model(run_dir)
    result = json.loads((run_dir / "result.json").read_text())
    assert result["parameters"] == sum(np.prod(w.shape) for w in model.trainable_weights)
    last = [np.array(w) for w in (*model.weights, *model.optimizer.variables)]
    assert int(model.optimizer.iterations) == 16
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    assert Checkpoints(run_dir / "checkpoints", model).restore() == 16
    for weight, saved in zip((*model.weights, *model.optimizer.variables), last, strict=True):
        np.testing.assert_array_equal(weight, saved, err_msg=weight.path)


def test_the_exported_model_gives_the_backbone_s_features(finished):
    run_dir, _ = finished
    images = tf.constant(random_images(3, 16))
    features = tf.saved_model.load(run_dir / "export/1")(images)
    backbone = with_policy(
        patchvae_tf.load_model(run_dir), "float32"
    ).backbone  # trained in what is fast here
    feature_map = tf.function(backbone, autograph=False)(images)  # [3, 2, 2, 128]
    np.testing.assert_allclose(features, np.mean(feature_map, axis=(1, 2)), atol=1e-6)


def test_an_unfinished_or_absent_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="Give a .keras file or the folder of a finished run"):
        patchvae_tf.load_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="The run has not finished"):
        patchvae_tf.load_model(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"half")
    with pytest.raises(InputError, match="is no whole .keras file"):
        patchvae_tf.load_model(tmp_path)


def test_a_damaged_model_is_refused_whatever_is_wrong_with_it(finished, tmp_path):
    file = tmp_path / "model.keras"
    whole = (finished[0] / "model.keras").read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    with pytest.raises(InputError, match=r"cannot be read \(Bad CRC-32.*Restore it from a copy"):
        patchvae_tf.load_model(tmp_path)
    with open(file, "wb") as stream:
        np.savez(stream, x=np.zeros(3))  # a zip file as well
    with pytest.raises(InputError, match=r"cannot be read \(There is no item named 'config.json"):
        patchvae_tf.load_model(tmp_path)
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(file)
    with pytest.raises(InputError, match="holds a Sequential, no model of this package"):
        patchvae_tf.load_model(tmp_path)


def test_a_finished_run_says_so_and_does_nothing(finished, images):
    run_dir, _ = finished
    before = (run_dir / "model.keras").stat().st_mtime_ns
    again = small_runs.train(images, run_dir)
    assert again.returncode == 0
    assert "is finished: 2 epochs, 16 steps" in again.stdout
    assert (run_dir / "model.keras").stat().st_mtime_ns == before


def test_another_configuration_in_the_folder_is_refused(finished, images):
    run_dir, _ = finished
    refused = small_runs.train(images, run_dir, "--num_parts=5")
    assert refused.returncode == 1
    assert "num_parts is 4 there and 5 now" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_finished_run_is_trained_on_as_the_refusal_of_more_epochs_says(finished, images):
    run_dir, _ = finished
    refused = small_runs.train(images, run_dir, "--epochs=3")
    assert refused.returncode == 1
    assert "epochs is 2 there and 3 now" in refused.stderr
    advice = refused.stderr.strip().partition("in Python: ")[2].removesuffix(".")
    assert advice.startswith("model = patchvae_tf.load_model(RUN_DIR); model.compile(")
    before = patchvae_tf.load_model(run_dir).get_weights()
    names = {
        "patchvae_tf": patchvae_tf,
        "keras": keras,
        "RUN_DIR": run_dir,
        "images": np.load(images)["x_train"],
    }
    exec(advice.replace("...", "1"), names)
    moved = [
        np.abs(new - old).max()
        for new, old in zip(names["model"].get_weights(), before, strict=True)
    ]
    assert min(moved) > 0.0
    assert max(moved) < 1.0


def test_other_data_in_the_folder_is_refused(finished, tmp_path):
    # The same path, but not the same images: going on would mix two runs.
    other, run_dir = tmp_path / "images.npz", tmp_path / "run"
    run_dir.mkdir()
    np.savez(other, x_train=(random_images(68, 16, seed=5) * 255).astype("uint8"))
    config = json.loads((finished[0] / "config.json").read_text())
    (run_dir / "config.json").write_text(json.dumps({**config, "dataset": str(other)}))
    shutil.copy(finished[0] / "data.json", run_dir)
    refused = small_runs.train(other, run_dir)
    assert refused.returncode == 1
    assert re.search(
        "other images or another precision: checksum is .* there and .* now", refused.stderr
    )


def _stopped(number, images, run_dir, after_step):
    """Starts a run and sends it a signal after some steps; returns it finished."""
    checkpoint = run_dir / f"checkpoints/step-{after_step}.index"
    process = processes.Running(small_runs.COMMAND, *small_runs.flags(images, run_dir))
    process.wait_for(checkpoint.exists)
    process.send_signal(number)
    return process.finished()


def _assert_same_run(one, other):
    """Weights, optimizer and record are equal to the last bit."""
    models = [patchvae_tf.load_model(path) for path in (one, other)]
    variables = [[*model.weights, *model.optimizer.variables] for model in models]
    for a, b in zip(*variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    records = [
        [
            {name: value for name, value in json.loads(line).items() if "per_second" not in name}
            for line in (path / "metrics.jsonl").read_text().splitlines()
        ]
        for path in (one, other)
    ]
    assert records[0] == records[1]


def test_a_run_that_is_stopped_again_and_again_goes_on_to_the_same_weights(finished, tmp_path):
    unlabelled = small_runs.save_images(tmp_path / "images.npz", labelled=False)
    run_dir = tmp_path / "run"
    # Twice in the first epoch and once in the second, of 8 steps each.
    for number, step in ((signal.SIGKILL, 2), (signal.SIGINT, 5), (signal.SIGTERM, 10)):
        stopped = _stopped(number, unlabelled, run_dir, step)
        assert not (run_dir / "result.json").exists()
        if number == signal.SIGKILL:
            assert stopped.returncode == -signal.SIGKILL
            continue
        assert "resuming after step" in stopped.stdout
        assert stopped.returncode == 128 + number
        last = stopped.stderr.strip().splitlines()[-1]
        assert re.fullmatch(
            rf"stopped by {number.name} after step \d+, all saved: "
            "the same command goes on from here.",
            last,
        )
    resumed = small_runs.train(unlabelled, run_dir)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after step" in resumed.stdout
    _assert_same_run(run_dir, finished[0])


def test_a_stop_in_the_last_step_leaves_the_rest_to_the_next_start(images, tmp_path, monkeypatch):
    settings = {"image_size": 16, "num_parts": 4, "batch_size": 8, "epochs": 1, "recipe": "paper"}
    config = unsupervised_config(dataset=str(images), validation_examples=4, **settings)
    options = trainer.Options(run_dir=str(tmp_path / "run"), export=False, report=False)
    stop_request, finish_epoch = interruption.StopRequest(), loop._finish_epoch

    def stopped(*args):
        finish_epoch(*args)
        stop_request.requested = signal.SIGTERM

    # A second strategy of several devices would take the collective operations of `two_replicas`.
    monkeypatch.setattr(devices, "strategy", lambda *args: tf.distribute.get_strategy())
    monkeypatch.setattr(loop, "_finish_epoch", stopped)
    with pytest.raises(interruption.Stop, match="stopped by SIGTERM after step 8, all saved"):
        trainer.train(config, options, Execution(), stop_request)
    assert not (tmp_path / "run/result.json").exists()
    stop_request.requested = None
    trainer.train(config, options, Execution(), stop_request)
    stop_request.restore()
    assert json.loads((tmp_path / "run/result.json").read_text())["step"] == 8


def test_the_report_comes_at_the_end_and_again_where_it_was_cut_off(finished, images, tmp_path):
    run_dir = tmp_path / "copy"
    shutil.copytree(finished[0], run_dir)
    done = small_runs.train(images, run_dir, "--export", "--report")
    assert done.returncode == 0, done.stderr
    assert "is finished" in done.stdout
    assert f"train: {run_dir}/report.html" in done.stdout
    assert "4 parts occur in some images" in (run_dir / "report.html").read_text()
    assert (run_dir / "pictures/part-galleries.png").exists()
    assert "report on" not in small_runs.train(images, run_dir, "--export", "--report").stdout
