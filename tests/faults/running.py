"""Starting runs, disturbing them, and telling whether two runs are the same."""

import contextlib
import json
import os
import pathlib
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

import patchvae_tf
from tests import processes
from tests.datasets.test_prepared_tfds import prepare
from tests.testing_utils import random_images

ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
SECONDS = 300  # that anything may take on a machine that does much else


def write_images(path, count=68):
    """An .npz of small images."""
    np.savez(path, x_train=(random_images(count, 16) * 255).astype("uint8"))
    return path


def write_records(folder, pixels, file_format="tfrecord"):
    """A prepared TFDS data set "noise" of images uint8 [n, size, size, 3], in 4 files."""
    prepare(
        folder,
        "noise",
        {"image": tfds.features.Image(shape=pixels.shape[1:])},
        {"train": [{"image": one} for one in pixels]},
        file_format=file_format,
        download_config=tfds.download.DownloadConfig(num_shards=4),
    )


def words(dataset, run_dir, *flags, workers=1):
    """The command of a small run, behind `python -m`."""
    launcher = ["trainers.launch", f"--workers={workers}", "--"] if workers > 1 else []
    return [
        *(*launcher, "trainers.unsupervised"),
        *("--image_size=16", "--num_parts=2", "--batch_size=8", "--epochs=2"),
        *("--learning_rate=1e-3", "--validation_examples=4", "--checkpoint_minutes=0"),
        *(f"--dataset={dataset}", f"--run_dir={run_dir}", *flags),
    ]


def run(*args, **kwargs):
    """Runs it to its end."""
    return processes.run(*words(*args, **kwargs))


@contextlib.contextmanager
def started(*args, **kwargs):
    """A run that is under way; killed at the end of the block if it still is."""
    process = processes.Running(*words(*args, **kwargs))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # a launcher ends its workers
            process.wait(90)


def wait_for(condition, process):
    """Waits until `condition()`; False if the process ended before."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return True


def newest_step(run_dir):
    """The step of the newest checkpoint; -1 without any."""
    paths = (pathlib.Path(run_dir) / "checkpoints").glob("step-*.index")
    return max((int(path.stem.split("-")[1]) for path in paths), default=-1)


def assert_same_run(one, other, record_tolerance=0.0):
    """Weights and optimizer are equal to the last bit, the record within a relative tolerance.

    A checkpoint holds the sum of the workers' running means, so that one inside an epoch of several
    workers rounds the record otherwise.
    """
    models = [patchvae_tf.load_model(path) for path in (one, other)]
    variables = [[*model.weights, *model.optimizer.variables] for model in models]
    for a, b in zip(*variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    for a, b in zip(_record(one), _record(other), strict=True):
        assert a == (pytest.approx(b, rel=record_tolerance, abs=0.0) if record_tolerance else b)


def _record(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        del record["images_per_second"]
    return records
