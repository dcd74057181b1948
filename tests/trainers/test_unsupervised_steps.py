"""Trainings that end early, and that several devices share."""

import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import models, optimizers
from patchvae_tf.settings import unsupervised_config
from patchvae_tf.training.checkpoints import Checkpoints
from tests.testing_utils import random_images
from tests.trainers import small_runs


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    images = small_runs.save_images(tmp_path / "images.npz")
    # A step so large that the weights overflow.
    failed = small_runs.train(images, tmp_path / "run", "--learning_rate=1e18")
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert re.match(
        r"error: the loss is not finite after step \d+: \w+ is (nan|inf)\. "
        r"The last good checkpoint is .*/checkpoints/step-\d+\.",
        last,
    )
    assert "Traceback" not in failed.stderr
    good = re.search(r"checkpoint is (\S+)\.", last)[1]
    config = unsupervised_config(dataset=str(images), image_size=16, num_parts=4)
    model = models.from_settings(config)
    model.compile(optimizers.of_settings(config, 1, 1))
    assert Checkpoints(pathlib.Path(good).parent, model).restore() == int(good.split("-")[-1])
    loss = model.loss_terms(tf.constant(random_images(4, 16)), model.optimizer.iterations)["loss"]
    assert np.isfinite(loss).all()


def test_two_devices_train_like_one(tmp_path):
    unlabelled = small_runs.save_images(tmp_path / "images.npz", labelled=False)
    # The trainer itself under MirroredStrategy, on two logical processors. With steps this small
    # the terms are those of the same images, flips and noise; large ones of Adam would blow
    # rounding up where a gradient is near 0.
    small = ("--learning_rate=1e-6", "--epochs=1", "--precision=float32")
    done = small_runs.train(unlabelled, tmp_path / "two", "--devices=cpu:2", *small)
    assert done.returncode == 0, done.stderr
    assert "2 devices" in done.stdout
    assert small_runs.train(unlabelled, tmp_path / "one", *small).returncode == 0
    one, two = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text()) for name in ("one", "two")
    )
    for name in set(one) - {"images_per_second"}:
        assert two[name] == pytest.approx(one[name], rel=1e-4), name
    odd = small_runs.train(unlabelled, tmp_path / "odd", "--devices=cpu:2", "--batch_size=7")
    assert odd.returncode == 1
    assert "multiple of the 2 devices" in odd.stderr
