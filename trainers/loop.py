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
        training_batches: function start_step -> tf.data.Dataset of global batches, to the end.
        validation_batches: tf.data.Dataset of batches of any size, or None.
        checked: a small batch as validation has them; the terms on it must be finite wherever a
            checkpoint is taken.
        steps_per_epoch: int.
        epochs: int.
        batch_size: int, images in a global batch.
        checkpoint_seconds: float, between two checkpoints inside an epoch.
        on_epoch: function (epoch, step, record) called after each epoch's record is written.
    """

    model: tf.keras.Model
    strategy: tf.distribute.Strategy
    training_batches: Callable
    validation_batches: tf.data.Dataset | None
    checked: tuple | np.ndarray
    steps_per_epoch: int
    epochs: int
    batch_size: int
    checkpoint_seconds: float
    on_epoch: Callable


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
    run_folder.drop_metrics_after(step)
    total_steps = job.epochs * job.steps_per_epoch
    if step == 0:
        checkpoints.save()  # Something to go back to, and a full disk shows at once.
    else:
        print(f"resuming after step {step} of {total_steps}", flush=True)

    train_step, evaluate_batch = _compiled_step(job), _evaluation(job.model)
    batches = iter(_distributed(job.training_batches(step), job.strategy))
    epoch_clock, save_clock = _Clock(), _Clock()
    epoch_start = step  # where the epoch's clock began
    first_step = step + 1
    before = None  # the terms of the step before, perhaps still being computed
    with _progress_bar(job, step) as bar:
        while step < total_steps:
            bar.set_description(f"epoch {step // job.steps_per_epoch + 1}/{job.epochs}", False)
            current = train_step(batches)
            # Read one step late, so that the device never waits for the host.
            if before is not None:
                _show(_checked(before, step, checkpoints), step, bar)
            step, before = step + 1, current
            bar.update(job.batch_size)
            if step == first_step:  # it was traced, too
                epoch_start = step
                epoch_clock.restart()

            epoch_ends = step % job.steps_per_epoch == 0
            save_is_due = save_clock.seconds >= job.checkpoint_seconds
            if not (epoch_ends or save_is_due or stop_request.requested):
                continue
            terms = _checked(current, step, checkpoints)
            # The terms are those before the step's update: what is saved must be good after it.
            _checked(_evaluated(evaluate_batch, [job.checked]), step, checkpoints)
            if epoch_ends:
                rate = (step - epoch_start) * job.batch_size / epoch_clock.seconds
                validation = {}
                if job.validation_batches is not None:
                    validation = _evaluated(evaluate_batch, job.validation_batches)
                    _checked(validation, step, checkpoints)
                _finish_epoch(job, step, rate, terms, validation, run_folder)
                before, epoch_start = None, step
            checkpoints.save()
            save_clock.restart()
            if stop_request.requested and step < total_steps:
                return False
            if epoch_ends:
                epoch_clock.restart()
    return True


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


def _compiled_step(job):
    """The training step on an iterator of distributed batches, as one graph."""

    # Without AutoGraph: no Python in them depends on a tensor, and they are traced sooner.
    @tf.function(autograph=False)
    def train_step(batches):
        terms = job.strategy.run(job.model.train_step, args=(batches.get_next(),))
        return {
            name: job.strategy.reduce("MEAN", value, axis=None) for name, value in terms.items()
        }

    return train_step


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


def _distributed(dataset, strategy):
    """Shares each global batch out to the replicas, in order."""
    options = tf.data.Options()
    # There is one worker: sharding by worker would change nothing, and copy every image.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return strategy.experimental_distribute_dataset(dataset.with_options(options))


def _progress_bar(job, step):
    terminal = sys.stderr.isatty()
    return tqdm.tqdm(
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


def _show(terms, step, bar):
    bar.set_postfix_str(_terms_line(terms), refresh=False)
    if step % _SCALARS_EVERY == 0:
        _write_scalars("train", terms, step)


def _finish_epoch(job, step, images_per_second, terms, validation, run_folder):
    """Writes the epoch's record and starts the running means anew."""
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
    job.model.reset_metrics()
    run_folder.append_metrics(record)
    job.on_epoch(epoch, step, record)


def _evaluated(evaluate_batch, batches):
    """Mean of each loss term over all examples of `batches`."""
    total, sums = 0.0, {}
    for batch in batches:
        count, terms = evaluate_batch(batch)
        total += float(count)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    return {name: value / total for name, value in sums.items()}


def _write_scalars(group, terms, step):
    for name, value in terms.items():
        tf.summary.scalar(f"{group}/{name}", value, step=step)
