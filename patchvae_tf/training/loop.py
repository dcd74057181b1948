"""The training loop: steps, checkpoints, and a stop that loses nothing."""

import contextlib
import dataclasses
import math
import time
import typing
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
import tqdm

from patchvae_tf.cluster.workers import Cluster, check_same
from patchvae_tf.errors import RunError
from patchvae_tf.training import evaluating, progress
from patchvae_tf.training.execution import Execution

if typing.TYPE_CHECKING:
    from patchvae_tf.interruption import StopRequest
    from patchvae_tf.runs import RunFolder
    from patchvae_tf.training.checkpoints import Checkpoints
_SCALARS_EVERY = 20  # steps between two points of the TensorBoard curves


class TrainingData(typing.Protocol):
    """What the loop reads.

    Attributes:
        validation_batches: tf.data.Dataset of batches of any size, or None.
        checked: a small batch as validation has them; the terms on it must be finite wherever a
            checkpoint is taken.
        steps_per_epoch: int.
        epochs: int.
        batch_size: int, images in a global batch.
    """

    validation_batches: tf.data.Dataset | None
    checked: tuple | np.ndarray
    steps_per_epoch: int
    epochs: int
    batch_size: int

    def training_batches(self, start_step: int, rows: range | None) -> tf.data.Dataset:
        """These rows of each global batch, from a step to the end of training."""


@dataclasses.dataclass(frozen=True)
class Training:
    """What the loop needs to know.

    Attributes:
        model: a compiled `DistributedModel`, made under `strategy`.
        strategy: a `tf.distribute.Strategy`.
        data: TrainingData.
        execution: Execution.
        on_epoch: function (epoch, step, record) called after each epoch's record is written, on
            the chief.
        measures: function () -> dict name -> float, of the validation images beside the loss terms;
            called after each epoch on the chief.
        cluster: Cluster.
    """

    model: keras.Model
    strategy: tf.distribute.Strategy
    data: TrainingData
    execution: Execution
    on_epoch: Callable
    measures: Callable = dict
    cluster: Cluster = dataclasses.field(default_factory=Cluster)


def train(
    training: Training,
    checkpoints: "Checkpoints",
    run_folder: "RunFolder",
    writer: tf.summary.SummaryWriter,
    stop_request: "StopRequest",
) -> bool:
    """Trains from the newest checkpoint to the last epoch.

    Args:
        training: Training.
        checkpoints: Checkpoints of `training.model`.
        run_folder: RunFolder that takes `metrics.jsonl`.
        writer: a `tf.summary` writer for the curves.
        stop_request: StopRequest; once it is requested the state is saved and the loop left.

    Returns:
        bool, whether all was trained that was asked for and nobody asked to stop; after a stop in
        the last step the next call returns True at once.

    Raises:
        RunError: a loss term is not finite, or no checkpoint can be read.
    """
    with contextlib.closing(writer), writer.as_default(), stop_request.deferred():
        return _train(training, checkpoints, run_folder, stop_request)


def _train(training, checkpoints, run_folder, stop_request):
    step = checkpoints.restore()
    if training.cluster.workers > 1:
        check_same("step of the newest checkpoint", step, training.cluster, training.strategy)
    run_folder.drop_metrics_after(step)
    total_steps = training.data.epochs * training.data.steps_per_epoch
    if step == 0:
        checkpoints.save()  # Something to go back to, and a full disk shows at once.
    elif training.cluster.is_chief:
        print(f"resuming after step {step} of {total_steps}", flush=True)

    train_steps, evaluate_batch = _compiled_steps(training), evaluating.evaluation(training.model)
    batches = iter(_distributed(training, step))
    epoch_clock, save_clock = _Clock(), _Clock()
    requests = _Requests(training, stop_request, save_clock)
    epoch_start = step  # where the epoch's clock began
    traced = False
    before = None  # the terms of the steps before, perhaps still being computed
    with progress.bar(training, step) as bar:
        while step < total_steps:
            bar.set_description(
                f"epoch {step // training.data.steps_per_epoch + 1}/{training.data.epochs}", False
            )
            count = min(
                training.execution.steps_per_execution,
                training.data.steps_per_epoch - step % training.data.steps_per_epoch,
            )
            current = train_steps(batches, tf.constant(count), requests.local())
            # Read one execution late, so that the device never waits for the host.
            requests.read(before)
            if before is not None:
                terms = _checked(_named(before, training), step, checkpoints)
                _show(terms, step, training.execution.steps_per_execution, bar)
            step, before = step + count, current
            bar.update(count * training.data.batch_size)
            if not traced:
                traced, epoch_start = True, step
                epoch_clock.restart()

            epoch_ends = step % training.data.steps_per_epoch == 0
            if not (epoch_ends or requests.save or requests.stop):
                continue
            terms = _checked(_named(current, training), step, checkpoints)
            requests.read(current)
            # The terms are those before the step's update: what is saved must be good after it.
            _checked(
                evaluating.evaluated(evaluate_batch, [training.data.checked]), step, checkpoints
            )
            if epoch_ends:
                rate = (step - epoch_start) * training.data.batch_size / epoch_clock.seconds
                validation = evaluating.validation(training, evaluate_batch)
                _checked(validation, step, checkpoints)
                _finish_epoch(training, step, rate, terms, validation, run_folder)
                epoch_start = step
            checkpoints.save()
            before = None
            save_clock.restart()
            if requests.stop:
                return False
            requests.clear()
            if epoch_ends:
                epoch_clock.restart()
    return True


class _Requests:
    """Whether to stop, or to save: what one worker asks for, all do, after the same step.

    On one machine a request holds at once. Several workers exchange theirs with a step's terms.

    Attributes:
        stop, save: bool.
    """

    def __init__(self, training, stop_request, save_clock):
        self._training, self._stop_request, self._save_clock = training, stop_request, save_clock
        self._agreed = np.zeros(2, bool)

    def local(self):
        """What this worker asks for, float32 [2]; only the chief looks at the clock."""
        save_seconds = 60 * self._training.execution.checkpoint_minutes
        is_due = self._training.cluster.is_chief and self._save_clock.seconds >= save_seconds
        return tf.constant([self._stop_request.requested is not None, is_due], tf.float32)

    def read(self, values):
        """Takes what all workers asked for from the result of some steps (None: nothing yet)."""
        if values is not None:
            self._agreed |= values.numpy()[-2:] > 0

    def clear(self):
        """Forgets what was agreed on."""
        self._agreed = np.zeros(2, bool)

    @property
    def stop(self):
        return self._now()[0]

    @property
    def save(self):
        return self._now()[1]

    def _now(self):
        return self._agreed if self._training.cluster.workers > 1 else self.local().numpy() > 0


class _Clock:
    def __init__(self):
        self.restart()

    def restart(self):
        self._start = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self._start


def _compiled_steps(training):
    """Some training steps on an iterator of distributed batches, as one graph.

    Returns:
        Function (iterator, count int32, requests float32 [2]) -> float32 [terms + 2]: the terms in
        the order of `training.model.trackers`, then the mean of all workers' requests.
    """
    replica_step = training.model.train_step
    if training.execution.xla:
        replica_step = tf.function(replica_step, autograph=False, jit_compile=True)

    def on_replica(batch, requests):
        terms = replica_step(batch)
        return tf.concat([tf.stack([terms[name] for name in training.model.trackers]), requests], 0)

    def one_step(batches, requests):
        values = training.strategy.run(on_replica, args=(batches.get_next(), requests))
        return training.strategy.reduce("MEAN", values, axis=None)

    # Without AutoGraph: no Python in them depends on a tensor, and they are traced sooner.
    @tf.function(autograph=False)
    def train_steps(batches, count, requests):
        if training.execution.steps_per_execution == 1:
            return one_step(batches, requests)
        return tf.while_loop(
            lambda done, values: done < count,
            lambda done, values: (done + 1, one_step(batches, requests)),
            [tf.constant(0), tf.zeros([len(training.model.trackers) + 2])],
        )[1]

    return train_steps


def _named(values, training):
    """The terms of `_compiled_steps`'s result by name."""
    return dict(zip(training.model.trackers, values.numpy()[:-2].tolist(), strict=True))


def _distributed(training, start_step):
    """Shares each global batch out to the replicas, in order; a worker reads its own rows only."""
    rows = training.cluster.rows(training.data.batch_size)
    local_replicas = training.strategy.num_replicas_in_sync // training.cluster.workers

    def batches(context):
        del context
        dataset = training.data.training_batches(start_step, rows)
        return dataset if local_replicas == 1 else dataset.rebatch(len(rows) // local_replicas)

    return training.strategy.distribute_datasets_from_function(batches)


def _checked(terms, step, checkpoints):
    """Returns the terms after `step` as floats; raises RunError unless all are finite."""
    values = {name: float(value) for name, value in terms.items()}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if not bad:
        return values
    name = next((name for name in bad if name != "loss"), "loss")  # the cause, not the sum
    raise RunError(
        f"the loss is not finite after step {step}: {name} is {values[name]}. The last good "
        f"checkpoint is {checkpoints.newest}. Try a lower learning_rate, or precision=float32, "
        "in another folder."
    )


def _show(terms, step, steps, bar):
    bar.set_postfix_str(progress.terms_line(terms), refresh=False)
    if step % _SCALARS_EVERY < steps:
        progress.write_scalars("train", terms, step)


def _finish_epoch(training, step, images_per_second, terms, validation, run_folder):
    """Starts the running means anew; on the chief writes the epoch's record."""
    training.model.reset_metrics()
    if not training.cluster.is_chief:
        return
    epoch = step // training.data.steps_per_epoch
    validation = {**validation, **training.measures()}
    record = {
        "epoch": epoch,
        "step": step,
        "images_per_second": round(images_per_second, 1),
        **terms,
        **{f"val_{name}": value for name, value in validation.items()},
    }
    progress.write_scalars("train", terms, step)
    progress.write_scalars("validation", validation, step)
    line = f"epoch {epoch}/{training.data.epochs}: {images_per_second:.0f} images/s, "
    line += progress.terms_line(terms)
    if validation:
        line += f"; validation: {progress.terms_line(validation)}"
    tqdm.tqdm.write(line)
    run_folder.append_metrics(record)
    training.on_epoch(epoch, step, record)
