"""Checkpoints of a run: weights, optimizer and the epoch's running means, at any step."""

import logging
import pathlib
import re
import shutil
import tempfile

import tensorflow as tf

from patchvae_tf.errors import RunError

_WORKER_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
_log = logging.getLogger("patchvae_tf")


class Checkpoints:
    """Saves a model, and restores the newest checkpoint that can be read.

    Noise and the order of images are functions of (seed, step), and the step is the optimizer's
    counter: so the model with its optimizer and metrics is the whole state of a run.

    Args:
        folder: where; made when first saved to.
        model: a built `keras.Model`, compiled.
        keep: int, how many checkpoints stay.
        writes: bool; False for a worker that is not the chief. It restores from `folder`, and
            must save when the chief does, because values are collected from all workers: what it
            saves goes to a temporary folder.
        on_error: "stop" or "continue", when a checkpoint cannot be written.
    """

    def __init__(self, folder, model, keep=3, writes=True, on_error="stop"):
        self._folder = pathlib.Path(folder)
        self._model = model
        self._on_error = on_error
        self._scratch = None if writes else tempfile.TemporaryDirectory()
        if writes:
            self._remove_half_written()
        # Variable by variable: TensorFlow does not see all the places where Keras keeps layers.
        optimizers = (model.optimizer, getattr(model, "discriminator_optimizer", None))
        self._checkpoint = tf.train.Checkpoint(
            weights=model.weights,
            optimizers=[one.variables for one in optimizers if one is not None],
            metrics=[metric.variables for metric in model.metrics],
        )
        self._manager = tf.train.CheckpointManager(
            self._checkpoint,
            str(folder) if writes else self._scratch.name,
            max_to_keep=keep if writes else 1,
            checkpoint_name="step",
        )

    @property
    def step(self) -> int:
        """int, finished training steps of the model as it is."""
        return int(self._model.optimizer.iterations.numpy())

    @property
    def newest(self) -> str | None:
        """Path (without suffix) of the newest whole checkpoint, or None."""
        paths = self._newest_first()
        return paths[0] if paths else None

    def _newest_first(self):
        # A checkpoint is whole when it has its index, which TensorFlow writes last.
        paths = [path.with_suffix("") for path in self._folder.glob("step-*.index")]
        return sorted(paths, key=lambda path: -int(path.name.split("-")[1]))

    def _remove_half_written(self):
        for folder in self._folder.glob("step-*_temp"):
            shutil.rmtree(folder, ignore_errors=True)

    def save(self) -> None:
        """Saves the state.

        Raises:
            RunError: it cannot be written, and `on_error` is "stop"; the checkpoints before are
                as they were.
        """
        try:
            self._manager.save(checkpoint_number=self.step)
        except _WORKER_LOST:
            raise
        except (tf.errors.OpError, OSError) as error:
            self._remove_half_written()
            failed = (
                f"the checkpoint of step {self.step} cannot be written to {self._folder} "
                f"({_first_line(error)}). The last good one is {self.newest}."
            )
            if self._on_error == "stop":
                raise RunError(
                    f"{failed} Make room: the same command goes on from there."
                ) from error
            _log.warning("%s Training goes on; make room for the next.", failed)

    def restore(self) -> int:
        """Restores the newest checkpoint that can be read; returns its step, 0 without any.

        Raises:
            RunError: there are checkpoints and none can be read.
        """
        paths = self._newest_first()
        for path in paths:
            try:
                # Every variable must be found; what else the file holds does not matter.
                status = self._checkpoint.read(str(path))
                status.assert_existing_objects_matched()
            except (tf.errors.OpError, AssertionError, IndexError, ValueError) as error:
                reason = str(error).splitlines()[0][:200]
                _log.warning(
                    "checkpoint %s cannot be read (%s): trying the one before", path, reason
                )
                continue
            return self.step
        if paths:
            raise RunError(
                f"none of the {len(paths)} checkpoints in {self._folder} can be read. "
                "Restore them from a copy, or remove the folder to start anew."
            )
        return 0


def _first_line(error):
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"\{\{.*?\}\} ", "", line)[:200]  # without the name of a graph's node
