"""What a transfer trains, leaves and resumes."""

import json
import re
import shutil
import signal
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import patchvae_tf
from patchvae_tf import backbones
from patchvae_tf.training import evaluating
from patchvae_tf.transfer import data as transfer_data
from patchvae_tf.transfer import model as transfer_model
from tests import processes
from tests.test_resnet18_weights import torchvision_tensors
from tests.trainers.transfer.transferring import (
    COMMAND,
    SIZE,
    colours,
    config_of,
    flags_of,
    run_showing_imports,
    run_transfer,
)


@pytest.fixture(scope="module")
def finished(images, run_dir, tmp_path_factory):
    """A fine-tuning that nothing disturbed: its flags, folder and what it printed."""
    flags = (f"--run_dir={run_dir}", "--freeze=conv1-3", "--epochs=2", "--cut_epochs=1")
    folder = tmp_path_factory.mktemp("transfers") / "whole"
    done = run_transfer(*flags_of(images, folder, *flags))
    assert done.returncode == 0, done.stderr
    return flags, folder, done


def test_leaves_model_and_record(finished, pretrained):
    _, folder, done = finished
    config = json.loads((folder / "config.json").read_text())
    assert (config["freeze"], config["image_size"], config["momentum"]) == ("conv1-3", SIZE, 0.9)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 7), (2, 14)]
    assert {"top1", "top5", "val_top1", "val_cross_entropy"} <= set(lines[0])
    result = json.loads((folder / "result.json").read_text())
    assert (result["test_images"], result["classes"], result["step"]) == (30, 6, 14)
    # 2 x 2 places of 128 channels; of Table 5's count 157,504 are frozen, and 640 x 2 fixed.
    assert result["parameters"] == 683_072 + 512 * 513 + 6 * 513
    fixed = 2 * 5 * 128  # scales and offsets of Conv4-5's five normalisations
    assert result["trained_parameters"] == result["parameters"] - 157_504 - fixed
    assert "120 training, 6 validation and 30 test images of 6 classes" in done.stdout
    assert f"top-1 {result['test_top1']:.1%}, top-5 {result['test_top5']:.1%}" in done.stdout
    assert "Traceback" not in done.stderr
    model = patchvae_tf.load_model(folder)
    same = [
        np.array_equal(one, other)
        for one, other in zip(
            model.backbone.get_weights(), pretrained.backbone.get_weights(), strict=True
        )
    ]
    frozen = len(keras.Model(model.backbone.input, _stage(model.backbone, "conv1-3")).weights)
    assert all(same[:frozen])
    assert not all(same[frozen:])
    (x_test, y_test) = colours(30, 6, 1)
    logits = model(tf.image.convert_image_dtype(x_test, tf.float32)).numpy()
    assert result["test_top1"] == pytest.approx(np.mean(logits.argmax(axis=1) == y_test))


def _stage(backbone, stage):
    layers = {known.name: known.layer for known in backbones.stages("resnet9")}
    return backbone.get_layer(layers[stage]).output


def test_a_finished_one_says_so_and_other_settings_are_refused(finished, images):
    flags, folder, _ = finished
    again = run_showing_imports(*flags_of(images, folder, *flags))
    assert again.returncode == 0
    assert re.search(r"is finished: top-1 [\d.]+%, top-5", again.stdout)
    assert "tensorflow" not in again.stderr
    refused = run_transfer(*flags_of(images, folder, *flags, "--seed=4"))
    assert refused.returncode == 1
    assert "seed is 0 there and 4 now" in refused.stderr
    assert "another transfer_dir" in refused.stderr


def test_another_backbone_in_the_folder_is_refused(finished, images, tmp_path):
    flags, folder, _ = finished
    for name in ("config.json", "data.json"):
        shutil.copy(folder / name, tmp_path)
    facts = json.loads((tmp_path / "data.json").read_text())
    facts["backbone"] += 1  # as if the run had been trained anew
    (tmp_path / "data.json").write_text(json.dumps(facts))
    refused = run_transfer(*flags_of(images, tmp_path, *flags))
    assert refused.returncode == 1
    assert re.search(r"another backbone or another precision: backbone is \d+", refused.stderr)


def _stopped(number, flags, folder, after_step):
    """Starts a transfer and sends it a signal after some steps; returns it finished."""
    checkpoint = folder / f"checkpoints/step-{after_step}.index"
    process = processes.Running(COMMAND, *flags)
    process.wait_for(checkpoint.exists)
    process.send_signal(number)
    return process.finished()


def _assert_same(one, other):
    """Weights and record are equal to the last bit."""
    models = [patchvae_tf.load_model(path) for path in (one, other)]
    for a, b in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    records = []
    for path in (one, other):
        lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        lines.append(json.loads((path / "result.json").read_text()))
        records.append([{k: v for k, v in line.items() if "per_second" not in k} for line in lines])
    assert records[0] == records[1]


def test_one_that_is_stopped_twice_goes_on_to_the_same_weights(finished, images, tmp_path):
    flags = flags_of(images, tmp_path / "run", *finished[0])
    killed = _stopped(signal.SIGKILL, flags, tmp_path / "run", after_step=3)
    assert killed.returncode == -9
    stopped = _stopped(signal.SIGINT, flags, tmp_path / "run", after_step=8)  # the second epoch
    assert stopped.returncode == 130
    last = stopped.stderr.splitlines()[-1]
    assert re.match(r"stopped by SIGINT after step \d+, all saved", last)
    resumed = run_transfer(*flags)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after step" in resumed.stdout
    _assert_same(tmp_path / "run", finished[1])


def test_training_on_features_goes_on_to_the_same_weights(images, run_dir, tmp_path):
    more = (f"--run_dir={run_dir}", "--epochs=2", "--labels_per_class=15")
    whole = run_transfer(*flags_of(images, tmp_path / "whole", *more))
    assert whole.returncode == 0, whole.stderr
    assert "90 training, 6 validation" in whole.stdout
    flags = flags_of(images, tmp_path / "run", *more)
    assert _stopped(signal.SIGKILL, flags, tmp_path / "run", after_step=3).returncode == -9
    resumed = run_transfer(*flags)
    assert resumed.returncode == 0, resumed.stderr
    _assert_same(tmp_path / "run", tmp_path / "whole")


def _trained(config, cached=True):
    """(model, test terms) after all steps, without the loop's files."""
    strategy = tf.distribute.get_strategy()
    data = transfer_data.load(config)
    untrained = transfer_model.prepare(config, data, "float32", strategy)
    if cached:
        data = data.with_features(untrained.feature_map)
    else:
        untrained = transfer_model.TransferModel(
            config, "float32", untrained.classifier, None, untrained.checksum
        )
    model = untrained.compiled(data)
    step = tf.function(model.train_step, autograph=False)
    for batch in data.training_batches(0):
        step(batch)
    return untrained.whole(model), evaluating.evaluate(model, data.evaluation_batches(data.test))


def test_features_computed_once_train_the_same_classifier(images, run_dir):
    # With mirrored images, as is the default.
    config = config_of(images, run_dir=str(run_dir), epochs=2)
    assert config.horizontal_flip
    (cached, cached_terms), (plain, terms) = (_trained(config, flag) for flag in (True, False))
    for one, other in zip(cached.weights, plain.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=one.path)
    assert cached_terms["cross_entropy"] == pytest.approx(terms["cross_entropy"], rel=1e-4)


def test_each_image_goes_through_a_frozen_backbone_once(images, run_dir):
    for flip, count in ((True, 120 + 6 + 30 + 120), (False, 120 + 6 + 30)):
        data = transfer_data.load(config_of(images, run_dir=str(run_dir), horizontal_flip=flip))
        with mock.patch.object(transfer_data, "_FEATURE_BATCH", 50):
            feature_map = mock.Mock(side_effect=lambda x: tf.zeros([len(x), 2, 2, 5]))
            featured = data.with_features(feature_map)
        assert sum(len(call.args[0]) for call in feature_map.call_args_list) == count
        assert featured.training.inputs.shape == (120, 2, 2, 5)
        assert (featured.training.mirrored is not None) == flip


def test_what_can_be_told_apart_is_learned(images, run_dir):
    for more in ({"epochs": 40}, {"epochs": 160, "labels_per_class": 5, "cut_epochs": 160}):
        config = config_of(images, run_dir=str(run_dir), **more)
        _, terms = _trained(config)
        assert (terms["top1"], terms["top5"]) == (1.0, 1.0)


def test_an_export_gives_the_features_of_its_run(images, run_dir):
    configs = [config_of(images, **{name: str(run_dir)}) for name in ("run_dir", "saved_model")]
    features = []
    for config in configs:
        data = transfer_data.load(config)
        untrained = transfer_model.prepare(config, data, "float32", tf.distribute.get_strategy())
        features.append(data.with_features(untrained.feature_map).test.inputs)
    np.testing.assert_allclose(*features, rtol=1e-4, atol=1e-5)


def test_a_preset_gives_the_weights_of_its_run(images, run_dir, tmp_path):
    patchvae_tf.load_model(run_dir).save_to_preset(tmp_path / "preset")
    prepared = []
    for source in (run_dir, tmp_path / "preset"):
        config = config_of(images, run_dir=str(source), freeze="conv1")
        data = transfer_data.load(config)
        prepared.append(
            transfer_model.prepare(config, data, "float32", tf.distribute.get_strategy())
        )
    of_run, of_preset = prepared
    assert of_run.checksum == of_preset.checksum
    for wanted, found in zip(
        of_run.classifier.backbone.get_weights(),
        of_preset.classifier.backbone.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)


def test_a_backbone_reads_images_of_another_size_than_it_was_trained_on(images, run_dir):
    for freeze in ("conv1", "conv1-5"):
        prepared = []
        for size in (SIZE, 24):
            config = config_of(images, run_dir=str(run_dir), freeze=freeze, image_size=size)
            data = transfer_data.load(config)
            prepared.append(
                transfer_model.prepare(config, data, "float32", tf.distribute.get_strategy())
            )
        as_trained, larger = prepared
        assert larger.checksum == as_trained.checksum
        assert data.test.inputs.shape[1:] == (24, 24, 3)
        logits = larger.classifier(tf.image.convert_image_dtype(data.test.inputs, tf.float32))
        assert logits.shape == (30, 6)
        # The hidden layer of the head, of 3 x 3 places in place of 2 x 2.
        more = larger.classifier.parameter_count - as_trained.classifier.parameter_count
        assert more == (9 - 4) * 128 * 512


def test_an_export_leaves_a_head(images, run_dir, tmp_path):
    done = run_transfer(*flags_of(images, tmp_path / "t", f"--saved_model={run_dir}", "--epochs=1"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "t/result.json").read_text())
    assert (result["parameters"], result["trained_parameters"]) == (None, 512 * 513 + 6 * 513)
    assert patchvae_tf.load_model(tmp_path / "t")(tf.zeros([3, 2, 2, 128])).shape == (3, 6)


def test_weights_and_seed_give_the_backbone(images, tmp_path):
    np.savez(tmp_path / "w.npz", **torchvision_tensors())
    strategy = tf.distribute.get_strategy()

    def prepared(**source):
        config = config_of(images, image_size=SIZE, **source)
        return transfer_model.prepare(config, transfer_data.load(config), "float32", strategy)

    backbone = prepared(weights=str(tmp_path / "w.npz"), freeze="conv1").classifier.backbone
    kernel = torchvision_tensors()["layer1.1.conv2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(backbone.get_layer("conv3b_conv").kernel, kernel)
    one, same, other = (prepared(untrained=True, seed=seed) for seed in (0, 0, 1))
    assert one.checksum == same.checksum != other.checksum


def test_the_learning_rate_is_cut_by_10(images):
    config = config_of(images, untrained=True, image_size=SIZE, cut_epochs=2, freeze="none")
    data = transfer_data.load(config)
    untrained = transfer_model.prepare(config, data, "float32", tf.distribute.get_strategy())
    optimizer = untrained.compiled(data).optimizer
    rates = []
    for step in (0, 13, 14, 27, 28):  # 7 steps an epoch
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.001, 0.001, 0.0001], rtol=1e-5)


def test_two_devices_or_workers_train_like_one(images, run_dir, tmp_path):
    results = {}
    for name, launcher, more, said in (
        ("one", (), (), "float32 on "),
        ("devices", (), ("--devices=cpu:2",), "2 devices"),
        ("workers", ("trainers.launch", "--workers=2", "--"), (), "2 devices of 2 workers"),
    ):
        same = (f"--run_dir={run_dir}", "--epochs=1", "--precision=float32", "--freeze=conv1-3")
        flags = flags_of(images, tmp_path / name, *same, "--learning_rate=1e-3", *more)
        done = processes.run(*launcher, COMMAND, *flags)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
        results[name] = json.loads((tmp_path / name / "result.json").read_text())
    for several in ("devices", "workers"):
        for name in ("cross_entropy", "val_cross_entropy", "test_cross_entropy"):
            assert results[several][name] == pytest.approx(results["one"][name], rel=1e-3), name


def test_a_classifier_is_not_exported(finished):
    failed = processes.run("export.saved_model", f"--run_dir={finished[1]}")
    assert failed.returncode == 1
    assert re.search("must be a PatchVAE, BetaVAE or BiGAN. Received: Transfer", failed.stderr)
    assert "Traceback" not in failed.stderr
