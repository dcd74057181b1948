"""The training loop: steps, progress, validation, checkpoints, and a stop that loses nothing."""

import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tqdm

from patchvae_tf.errors import RunError
from trainers.cluster import Cluster, check_same, summed
from trainers.execution import Execution

# How the bar names a term; the rest keep their own name.
_SHORT = {
    "reconstruction": "rec",
    "kl_occurrence": "KL occ",
    "kl_appearance": "KL app",
    "kl": "KL",
    "occurrence_rate": "occurring",
    "temperature": "temp",
    "cross_entropy": "CE",
    "adversarial": "GAN",
    "discriminator_loss": "D",
    "discriminator_rate": "D right",
}
_SHARES = ("rate", "top1", "top5")  # ends of names whose values are shown in percent
_SCALARS_EVERY = 20  # steps between two points of the TensorBoard curves


@dataclasses.dataclass(frozen=True)
class Job:
    """What the loop needs to know.

    Attributes:
        model: a compiled `DistributedModel`, made under `strategy`.
        strategy: a `tf.distribute.Strategy`.
        training_batches: function (start_step, rows) -> tf.data.Dataset of these rows of each
            global batch, to the end.
        validation_batches: tf.data.Dataset of batches of any size, or None.
        checked: a small batch as validation has them; the terms on it must be finite wherever a
            checkpoint is taken.
        steps_per_epoch: int.
        epochs: int.
        batch_size: int, images in a global batch.
        execution: Execution.
        on_epoch: function (epoch, step, record) called after each epoch's record is written, on
            the chief.
        cluster: Cluster.
    """

    model: tf.keras.Model
    strategy: tf.distribute.Strategy
    training_batches: Callable
    validation_batches: tf.data.Dataset | None
    checked: tuple | np.ndarray
    steps_per_epoch: int
    epochs: int
    batch_size: int
    execution: Execution
    on_epoch: Callable
    cluster: Cluster = dataclasses.field(default_factory=Cluster)


def train(job, checkpoints, run_folder, writer, stop_request):
    """Trains from the newest checkpoint to the last epoch.

    Args:
        job: Job.
        checkpoints: Checkpoints of `job.model`.
        run_folder: RunFolder that takes `metrics.jsonl`.
        writer: a `tf.summary` writer for the curves.
        stop_request: StopRequest; once it is requested the state is saved and the loop left.

    Returns:
        bool, whether training is complete; False after a stop request.

    Raises:
        RunError: a loss term is not finite, or no checkpoint can be read.
    """
    with contextlib.closing(writer), writer.as_default(), stop_request.deferred():
        return _train(job, checkpoints, run_folder, stop_request)


def _train(job, checkpoints, run_folder, stop_request):
    step = checkpoints.restore()
    if job.cluster.workers > 1:
        check_same("step of the newest checkpoint", step, job.cluster, job.strategy)
    run_folder.drop_metrics_after(step)
    total_steps = job.epochs * job.steps_per_epoch
    if step == 0:
        checkpoints.save()  # Something to go back to, and a full disk shows at once.
    elif job.cluster.is_chief:
        print(f"resuming after step {step} of {total_steps}", flush=True)

    train_steps, evaluate_batch = _compiled_steps(job), _evaluation(job.model)
    batches = iter(_distributed(job, step))
    epoch_clock, save_clock = _Clock(), _Clock()
    wishes = _Wishes(job, stop_request, save_clock)
    epoch_start = step  # where the epoch's clock began
    traced = False
    before = None  # the terms of the steps before, perhaps still being computed
    with _progress_bar(job, step) as bar:
        while step < total_steps:
            bar.set_description(f"epoch {step // job.steps_per_epoch + 1}/{job.epochs}", False)
            count = min(
                job.execution.steps_per_execution,
                job.steps_per_epoch - step % job.steps_per_epoch,
            )
            current = train_steps(batches, tf.constant(count), wishes.here())
            # Read one execution late, so that the device never waits for the host.
            wishes.read(before)
            if before is not None:
                terms = _checked(_named(before, job), step, checkpoints)
                _show(terms, step, job.execution.steps_per_execution, bar)
            step, before = step + count, current
            bar.update(count * job.batch_size)
            if not traced:
                traced, epoch_start = True, step
                epoch_clock.restart()

            epoch_ends = step % job.steps_per_epoch == 0
            if not (epoch_ends or wishes.save or wishes.stop):
                continue
            terms = _checked(_named(current, job), step, checkpoints)
            wishes.read(current)
            # The terms are those before the step's update: what is saved must be good after it.
            _checked(_evaluated(evaluate_batch, [job.checked]), step, checkpoints)
            if epoch_ends:
                rate = (step - epoch_start) * job.batch_size / epoch_clock.seconds
                validation = _validation(job, evaluate_batch)
                _checked(validation, step, checkpoints)
                _finish_epoch(job, step, rate, terms, validation, run_folder)
                epoch_start = step
            checkpoints.save()
            before = None
            save_clock.restart()
            if wishes.stop and step < total_steps:
                return False
            wishes.fulfilled()
            if epoch_ends:
                epoch_clock.restart()
    return True


class _Wishes:
    """Whether to stop, or to save: what one worker wants, all do, after the same step.

    On one machine a wish holds at once. Several workers tell each other with the terms of a step.

    Attributes:
        stop, save: bool.
    """

    def __init__(self, job, stop_request, save_clock):
        self._job, self._stop_request, self._save_clock = job, stop_request, save_clock
        self._agreed = np.zeros(2, bool)

    def here(self):
        """What this worker wants, float32 [2]; only the chief looks at the clock."""
        save_seconds = 60 * self._job.execution.checkpoint_minutes
        is_due = self._job.cluster.is_chief and self._save_clock.seconds >= save_seconds
        return tf.constant([self._stop_request.requested is not None, is_due], tf.float32)

    def read(self, values):
        """Takes what all workers wanted from the result of some steps (None: nothing yet)."""
        if values is not None:
            self._agreed |= values.numpy()[-2:] > 0

    def fulfilled(self):
        """Forgets what was agreed on."""
        self._agreed = np.zeros(2, bool)

    @property
    def stop(self):
        return self._now()[0]

    @property
    def save(self):
        return self._now()[1]

    def _now(self):
        return self._agreed if self._job.cluster.workers > 1 else self.here().numpy() > 0


def _terms_line(terms):
    """The loss terms as people read them, in one line."""
    parts = []
    for name, value in terms.items():
        shown = f"{100 * value:.1f}%" if name.endswith(_SHARES) else f"{value:.4g}"
        parts.append(f"{_SHORT.get(name, name)} {shown}")
    return ", ".join(parts)


class _Clock:
    def __init__(self):
        self.restart()

    def restart(self):
        self._start = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self._start


def evaluate(model, batches):
    """Mean of each loss term over all examples of `batches`, nothing sampled: name -> float."""
    return _evaluated(_evaluation(model), batches)


def _compiled_steps(job):
    """Some training steps on an iterator of distributed batches, as one graph.

    Returns:
        Function (iterator, count int32, wishes float32 [2]) -> float32 [terms + 2]: the terms in
        the order of `job.model.trackers`, then the mean of all workers' wishes.
    """
    replica_step = job.model.train_step
    if job.execution.xla:
        replica_step = tf.function(replica_step, autograph=False, jit_compile=True)

    def on_replica(batch, wishes):
        terms = replica_step(batch)
        return tf.concat([tf.stack([terms[name] for name in job.model.trackers]), wishes], 0)

    def one_step(batches, wishes):
        values = job.strategy.run(on_replica, args=(batches.get_next(), wishes))
        return job.strategy.reduce("MEAN", values, axis=None)

    # Without AutoGraph: no Python in them depends on a tensor, and they are traced sooner.
    @tf.function(autograph=False)
    def train_steps(batches, count, wishes):
        if job.execution.steps_per_execution == 1:
            return one_step(batches, wishes)
        return tf.while_loop(
            lambda done, values: done < count,
            lambda done, values: (done + 1, one_step(batches, wishes)),
            [tf.constant(0), tf.zeros([len(job.model.trackers) + 2])],
        )[1]

    return train_steps


def _named(values, job):
    """The terms of `_compiled_steps`'s result by name."""
    return dict(zip(job.model.trackers, values.numpy()[:-2].tolist(), strict=True))


def _evaluation(model):
    """Returns a function batch -> (number of examples, summed loss terms), as one graph."""

    @tf.function(autograph=False, reduce_retracing=True)
    def evaluate_batch(batch):
        batch = tf.nest.map_structure(_as_model_input, batch)
        terms = model.loss_terms(batch, model.optimizer.iterations)
        count = tf.cast(tf.shape(tf.nest.flatten(batch)[0])[0], tf.float32)
        return count, {name: tf.reduce_mean(value) * count for name, value in terms.items()}

    return evaluate_batch


def _as_model_input(tensor):
    """Images as float32 in [0, 1]; labels and features as they are."""
    return tf.image.convert_image_dtype(tensor, tf.float32) if tensor.dtype == tf.uint8 else tensor


def _distributed(job, start_step):
    """Shares each global batch out to the replicas, in order; a worker reads its own rows only."""
    rows = job.cluster.rows(job.batch_size)
    local_replicas = job.strategy.num_replicas_in_sync // job.cluster.workers

    def batches(context):
        del context
        dataset = job.training_batches(start_step, rows)
        return dataset if local_replicas == 1 else dataset.rebatch(len(rows) // local_replicas)

    return job.strategy.distribute_datasets_from_function(batches)


def _progress_bar(job, step):
    terminal = sys.stderr.isatty()
    return tqdm.tqdm(
        disable=not job.cluster.is_chief,
        initial=step * job.batch_size,
        total=job.epochs * job.steps_per_epoch * job.batch_size,
        unit=" images",
        bar_format="{desc} {percentage:3.0f}%|{bar:12}| {rate_noinv_fmt}, "
        "{remaining} left{postfix}",
        dynamic_ncols=True,
        smoothing=0.1,
        # A line every half minute is enough for a log file.
        mininterval=0.3 if terminal else 30,
        leave=False,
    )


def _checked(terms, step, checkpoints):
    """Returns the terms after `step` as floats; raises RunError unless all are finite."""
    values = {name: float(value) for name, value in terms.items()}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if not bad:
        return values
    name = next((name for name in bad if name != "loss"), "loss")  # the cause, not the sum
    raise RunError(
        f"the loss is not finite after step {step}: {name} is {values[name]}. The last good "
        f"checkpoint is {checkpoints.newest}. Try a lower --learning_rate, or --precision=float32, "
        "in another folder."
    )


def _show(terms, step, steps, bar):
    bar.set_postfix_str(_terms_line(terms), refresh=False)
    if step % _SCALARS_EVERY < steps:
        _write_scalars("train", terms, step)


def _finish_epoch(job, step, images_per_second, terms, validation, run_folder):
    """Starts the running means anew; on the chief writes the epoch's record."""
    job.model.reset_metrics()
    if not job.cluster.is_chief:
        return
    epoch = step // job.steps_per_epoch
    record = {
        "epoch": epoch,
        "step": step,
        "images_per_second": round(images_per_second, 1),
        **terms,
        **{f"val_{name}": value for name, value in validation.items()},
    }
    _write_scalars("train", terms, step)
    _write_scalars("validation", validation, step)
    line = f"epoch {epoch}/{job.epochs}: {images_per_second:.0f} images/s, {_terms_line(terms)}"
    if validation:
        line += f"; validation: {_terms_line(validation)}"
    tqdm.tqdm.write(line)
    run_folder.append_metrics(record)
    job.on_epoch(epoch, step, record)


def _validation(job, evaluate_batch):
    """Mean of each loss term over the validation images; each worker takes its share of them."""
    if job.validation_batches is None:
        return {}
    if job.cluster.workers == 1:
        return _evaluated(evaluate_batch, job.validation_batches)
    share = job.validation_batches.shard(job.cluster.workers, job.cluster.index)
    total, sums = _sums(evaluate_batch, share)
    names = list(job.model.trackers)
    local = np.array([total, *(sums.get(name, 0.0) for name in names)])
    total, *values = summed(local, job.cluster, job.strategy)
    return {name: value / total for name, value in zip(names, values, strict=True)}


def _evaluated(evaluate_batch, batches):
    """Mean of each loss term over all examples of `batches`."""
    total, sums = _sums(evaluate_batch, batches)
    return {name: value / total for name, value in sums.items()}


def _sums(evaluate_batch, batches):
    """Number of examples, and the sum of each loss term over them."""
    total, sums = 0.0, {}
    for batch in batches:
        count, terms = evaluate_batch(batch)
        total += float(count)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    return total, sums


def _write_scalars(group, terms, step):
    for name, value in terms.items():
        tf.summary.scalar(f"{group}/{name}", value, step=step)
