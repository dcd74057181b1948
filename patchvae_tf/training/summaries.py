"""The curves of a run, for TensorBoard."""

import pathlib

import tensorflow as tf


def writer(run_dir: pathlib.Path, writes: bool = True) -> tf.summary.SummaryWriter:
    """A `tf.summary` writer into the run's folder; one that drops all where `writes` is False."""
    if not writes:
        return tf.summary.create_noop_writer()
    return tf.summary.create_file_writer(str(run_dir / "tensorboard"))
