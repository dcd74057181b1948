"""`--init_from`, and presets made of runs: what a run begins with, and what is left of it."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import patchvae_tf
from patchvae_tf import InputError, PatchVAE, pretrained
from patchvae_tf.command_line import main
from patchvae_tf.pretrained import weights
from patchvae_tf.saved_models import signatures
from patchvae_tf.settings import unsupervised_config
from patchvae_tf.training.execution import Execution
from patchvae_tf.unsupervised import preset, preset_card, trainer
from tests.models.test_presets import moved
from tests.testing_utils import random_images

ROOT = pathlib.Path(__file__).parents[2]
SMALL = {"image_size": 16, "num_parts": 3, "appearance_dim": 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """An .npz of 36 small labelled images: 32 to train on, 4 steps an epoch."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    pixels = (random_images(36, 16) * 255).astype("uint8")
    np.savez(path, x_train=pixels, y_train=np.arange(36) % 2)
    return path


@pytest.fixture(scope="module")
def train(images):
    """Function (run_dir, **settings) -> what the command printed."""
    fixed = {"validation_examples": 4, "batch_size": 8, "epochs": 2, "dataset": images}

    def of(run_dir, **settings):
        given = {**SMALL, **fixed, "run_dir": run_dir, **settings}
        flags = [f"--{name}={value}" for name, value in given.items()]
        command = [
            sys.executable,
            "-m",
            "trainers.unsupervised",
            *flags,
            "--noexport",
            "--noreport",
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return of


@pytest.fixture(scope="module")
def run_dir(train, tmp_path_factory):
    """A finished run. No test may change it."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    train(run_dir)
    return run_dir


@pytest.fixture
def own(tmp_path):
    """(model, folder): a PatchVAE and its preset."""
    model = moved(PatchVAE.from_recipe("agreement", **SMALL))
    model.save_to_preset(tmp_path / "own")
    return model, tmp_path / "own"


def _state(run_dir):
    model = patchvae_tf.load_model(run_dir)
    return [np.array(value) for value in (*model.weights, *model.optimizer.variables)]


def test_a_run_begins_with_a_preset_and_resumes_without_it(own, train, tmp_path):
    model, folder = own
    out = train(tmp_path / "whole", init_from=folder)
    total = len(model.weights)
    assert f"begins with {total} of {total} weights of {folder}\n" in out
    config = json.loads((tmp_path / "whole/config.json").read_text())
    assert config["init_from"] == str(folder)

    # The first checkpoint is taken before the first step.
    begun = [array for name, array in _checkpointed(tmp_path / "whole/checkpoints/step-0")]
    for array, weight in zip(begun, model.weights, strict=True):
        np.testing.assert_array_equal(array, weight)

    # As after a loss of the machine in the second epoch, with the preset gone since.
    broken = tmp_path / "broken"
    shutil.copytree(tmp_path / "whole", broken)
    for path in (broken / "model.keras", broken / "result.json"):
        path.unlink()
    for path in (broken / "checkpoints").glob("step-8.*"):
        path.unlink()
    shutil.rmtree(folder)
    assert "resuming after step 4 of 8" in train(broken, init_from=folder)
    for one, other in zip(_state(tmp_path / "whole"), _state(broken), strict=True):
        np.testing.assert_array_equal(one, other)


def _checkpointed(path):
    reader = tf.train.load_checkpoint(str(path))
    count = sum(name.startswith("weights/") for name in reader.get_variable_to_shape_map())
    for number in range(count):
        name = f"weights/{number}/.ATTRIBUTES/VARIABLE_VALUE"
        key = (
            name
            if reader.has_tensor(name)
            else f"weights/{number}/_value/.ATTRIBUTES/VARIABLE_VALUE"
        )
        yield key, reader.get_tensor(key)


def test_a_run_begins_with_a_run_of_another_size_and_number_of_parts(run_dir, train, tmp_path):
    out = train(tmp_path / "other", init_from=run_dir, image_size=24, num_parts=4, epochs=1)
    (line,) = [line for line in out.splitlines() if line.startswith("begins with ")]
    assert line.endswith(
        f"weights of {run_dir}; as at any beginning: occurrence_head, appearance_mean_head, "
        "appearance_log_variance_head, decoder/deconv1, agreement/hidden"
    )


def test_two_replicas_begin_alike(own, two_replicas):
    from patchvae_tf.models import presets

    model, folder = own
    with two_replicas.scope():
        other = PatchVAE.from_recipe("agreement", **SMALL)
        presets.begin_with(other, folder)
    for one, weight in zip(model.weights, other.weights, strict=True):
        for value in two_replicas.experimental_local_results(weight.value):
            np.testing.assert_array_equal(one, value)


@pytest.mark.parametrize("source", ["cifar11", "a folder"])
def test_what_is_not_there_is_refused_before_the_images_are_read(source, tmp_path):
    given, message = {
        "cifar11": ("cifar11", "init_from cifar11 does not exist: give one of .*parts"),
        "a folder": (str(tmp_path), "is neither a preset nor a finished run: give one of"),
    }[source]
    config = unsupervised_config(dataset="nowhere", init_from=given)
    options = trainer.Options(run_dir=str(tmp_path / "run"))
    with pytest.raises(InputError, match=message):
        trainer.train(config, options, Execution(), None)
    assert not (tmp_path / "run").exists()


def test_the_preset_of_a_run_is_its_model(run_dir, tmp_path, capsys):
    preset.make(preset.PresetConfig(run_dir=str(run_dir), output=str(tmp_path / "own")))
    assert "MB of weights; its card: " in capsys.readouterr().out
    model = patchvae_tf.load_model(run_dir)
    again = PatchVAE.from_preset(tmp_path / "own")
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    facts = pretrained.read_facts(tmp_path / "own")
    assert facts.settings["dataset"] == "images.npz"
    assert facts.description == "PatchVAE of images.npz"
    card = (tmp_path / "own/README.md").read_text()
    assert "All weights are float32, to the last bit." in card
    assert "Licence of the images: not recorded." in card


def test_the_card_of_a_compact_preset_says_how_it_was_made_and_what_it_is_worth(run_dir, tmp_path):
    measured = tmp_path / "run"
    shutil.copytree(run_dir, measured)
    row = {"stage": "conv1-5", "pooled": True, "linear": 0.5, "untrained_linear": 0.25}
    probe = {"training_images": 36, "test_images": 9, "dataset": "x", "split": "test"}
    (measured / "probe.json").write_text(json.dumps({**probe, "rows": [row]}))
    model = patchvae_tf.load_model(measured)
    (measured / "model.keras").unlink()
    signatures.with_policy(model, "mixed_bfloat16").save(measured / "model.keras")
    preset.make(
        preset.PresetConfig(
            run_dir=str(measured),
            output=str(tmp_path / "own"),
            compact=True,
            description="Noise",
            data="Random numbers",
            licence="none",
        )
    )
    card = (tmp_path / "own/README.md").read_text()
    assert card.startswith("# Noise\n")
    assert (
        "patchvae train --dataset=images.npz --appearance_dim=2 --batch_size=8 --epochs=2 "
        "--image_size=16 --num_parts=3 --validation_examples=4\n" in card
    )
    assert "Random numbers. 32 images to learn from, 4 held out, 16 × 16 pixels." in card
    assert "Seed 0; epochs: 2, steps: 8; on " in card
    assert "On 4 images `features` differ from the run's by " in card
    assert "36 labelled images of x, 9 of test, top-1 | 50.0% |" in card
    assert str(tmp_path) not in card + (tmp_path / "own/preset.json").read_text()
    kept = weights.read(tmp_path / "own/model.safetensors")
    assert not any("agreement/" in name for name in kept)
    assert PatchVAE.from_preset(tmp_path / "own").dtype_policy.name == "float32"
    change = float(re.search(r"all together by ([\d.e-]+)%", card)[1])
    assert 0 < change < 0.1  # of rounded kernels; bfloat16 arithmetic would be a third of a percent


def test_the_command_of_a_card_has_these_settings():
    given = {
        "paper_dataset": "cifar100",
        "horizontal_flip": False,
        "num_parts": 5,
        "recipe": "masked",
    }
    config = unsupervised_config(**given)
    assert preset_card.command(config.to_json()) == (
        "patchvae train --paper_dataset=cifar100 --recipe=masked --nohorizontal_flip --num_parts=5"
    )
    assert preset_card.command(unsupervised_config().to_json()) == "patchvae train"


def test_a_preset_is_made_of_a_finished_run_alone(run_dir, tmp_path):
    with pytest.raises(InputError, match="output is missing"):
        preset.PresetConfig(run_dir=str(run_dir))
    with pytest.raises(InputError, match="is there already. Remove it, or choose another"):
        preset.PresetConfig(run_dir=str(run_dir), output=str(tmp_path))
    shutil.copy(run_dir / "model.keras", tmp_path)
    config = preset.PresetConfig(run_dir=str(tmp_path), output=str(tmp_path / "own"))
    with pytest.raises(InputError, match="Give the whole folder of the run; or write the weights"):
        preset.make(config)
    assert not (tmp_path / "own").exists()


def test_it_is_a_command():
    assert main.COMMANDS["preset"][0] == "export.preset"
