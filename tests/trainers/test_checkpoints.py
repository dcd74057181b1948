from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import BetaVAE, BiGAN, PatchVAE, RunError
from patchvae_tf.models.base import UnsupervisedModel
from patchvae_tf.settings import BetaVAEObjective, PartObjective, Views
from patchvae_tf.training.checkpoints import Checkpoints
from tests.testing_utils import random_images


class SmallModel(UnsupervisedModel):
    """One dense layer on the pixels' channels: quick to step."""

    def __init__(self):
        super().__init__(image_size=8, stride=8)
        self.dense = keras.layers.Dense(3)
        self.dense.build((None, 3))
        self.built = True

    def loss_terms(self, images, step, seed=None, training=False):
        return {"loss": tf.reduce_sum(tf.square(self.dense(images) - 1.0), axis=[1, 2, 3])}


def _small_model():
    model = SmallModel()
    model.compile(optimizer=keras.optimizers.Adam(0.1))
    return model


def _step(model):
    model.train_step(tf.constant(random_images(2, 8)))


def _state(model):
    variables = [*model.weights, *model.optimizer.variables, *model.metrics_variables]
    return [np.array(variable) for variable in variables]


def _saved_after(steps, folder):
    """Returns the state saved after each of the steps."""
    model, states = _small_model(), {}
    checkpoints = Checkpoints(folder, model)
    for _ in range(steps):
        _step(model)
        checkpoints.save()
        states[checkpoints.step] = _state(model)
    return states


def _assert_restored(folder, step, states):
    model = _small_model()
    _step(model)
    assert Checkpoints(folder, model).restore() == step
    for one, other in zip(_state(model), states[step], strict=True):
        np.testing.assert_array_equal(one, other)


def test_restores_weights_optimizer_and_running_means(tmp_path):
    states = _saved_after(2, tmp_path)
    assert len(states[2]) == 2 + 6 + 2  # weights; Adam's moments, step and rate; running mean
    _assert_restored(tmp_path, 2, states)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BiGAN(image_size=8, latent_dim=3),
        lambda: BetaVAE(
            image_size=8, latent_dim=3, objective=BetaVAEObjective(adversarial_weight=1.0)
        ),
        lambda: PatchVAE(
            image_size=8,
            num_parts=2,
            objective=PartObjective(agreement_weight=1.0),
            views=Views(crop_side=0.5),
        ),
        lambda: PatchVAE(
            image_size=8,
            num_parts=2,
            occurrence="exclusive",
            objective=PartObjective(teaching_weight=1.0, template_steps=1),
            views=Views(rotation=30.0, scaling=1.5, translation=0.2, mask_share=0.5, mask_size=4),
        ),
        lambda: PatchVAE(image_size=8, num_parts=2, independent_decoders=True),
    ],
    ids=["bigan", "adversarial", "agreement", "teaching", "independent decoders"],
)
def test_every_part_of_every_model_is_restored_and_goes_on_the_same(make, tmp_path):
    def compiled():
        model = make()
        model.compile(keras.optimizers.Adam(0.01))
        return model

    def state(model):
        optimizers = [model.optimizer]
        if model.discriminator is not None:
            optimizers.append(model.discriminator_optimizer)
        variables = model.weights + [v for one in optimizers for v in one.variables]
        return {variable.path: np.array(variable) for variable in variables}

    images = tf.constant(random_images(4, 8))
    model = compiled()
    checkpoints = Checkpoints(tmp_path, model)
    model.train_step(images)
    saved = state(model)
    checkpoints.save()
    resumed = compiled()
    resumed.train_step(images)
    resumed.train_step(images)  # elsewhere
    assert Checkpoints(tmp_path, resumed).restore() == 1
    for one, other in zip(state(resumed).values(), saved.values(), strict=True):
        np.testing.assert_array_equal(one, other)
    for each in (model, resumed):
        each.train_step(images)
    for one, other in zip(state(resumed).values(), state(model).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_keeps_the_newest_three(tmp_path):
    _saved_after(5, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.index")) == [
        f"step-{step}.index" for step in (3, 4, 5)
    ]


def test_nothing_saved_restores_step_0(tmp_path):
    assert Checkpoints(tmp_path, _small_model()).restore() == 0


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "index"])
def test_a_corrupt_checkpoint_gives_way_to_the_one_before(tmp_path, damage, caplog):
    states = _saved_after(3, tmp_path)
    data = tmp_path / "step-3.data-00000-of-00001"
    content = data.read_bytes()
    if damage == "truncate":
        data.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        middle = len(content) // 2
        flipped = bytes(byte ^ 0xFF for byte in content[middle : middle + 8])
        data.write_bytes(content[:middle] + flipped + content[middle + 8 :])
    elif damage == "remove":
        data.unlink()
    else:
        (tmp_path / "step-3.index").write_bytes(b"no index")
    _assert_restored(tmp_path, 2, states)
    assert "step-3 cannot be read" in caplog.text
    assert "trying the one before" in caplog.text


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    states = _saved_after(2, tmp_path)
    (tmp_path / "step-3.data-00000-of-00001").write_bytes(b"half")
    (tmp_path / "checkpoint").write_text("garbage")
    (tmp_path / "step-3_temp").mkdir()
    (tmp_path / "step-3_temp" / "part-00000").write_bytes(b"half")
    _assert_restored(tmp_path, 2, states)
    assert not (tmp_path / "step-3_temp").exists()


def test_no_readable_checkpoint_is_an_error(tmp_path):
    _saved_after(2, tmp_path)
    for path in tmp_path.glob("*.data*"):
        path.write_bytes(b"")
    with pytest.raises(RunError, match="none of the 2 checkpoints in .* can be read"):
        Checkpoints(tmp_path, _small_model()).restore()
    assert tf.train.latest_checkpoint(tmp_path)


def test_a_checkpoint_that_cannot_be_written_is_an_error_that_names_the_last_good_one(tmp_path):
    model = _small_model()
    checkpoints = Checkpoints(tmp_path / "checkpoints", model)
    checkpoints.save()
    _step(model)
    with (
        mock.patch.object(
            tf.train.CheckpointManager,
            "save",
            side_effect=tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
        ),
        pytest.raises(RunError, match=r"step 1 cannot be written .*No space left.*step-0"),
    ):
        checkpoints.save()
