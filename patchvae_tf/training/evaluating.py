"""The loss terms over images that are not learned from."""

import typing

import keras
import tensorflow as tf

from patchvae_tf.cluster.workers import summed

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from patchvae_tf.training.loop import Training


def evaluate(model: keras.Model, batches: tf.data.Dataset) -> dict[str, float]:
    """Mean of each loss term over all examples of `batches`, nothing sampled: name -> float."""
    return evaluated(evaluation(model), batches)


def evaluation(model: keras.Model) -> "Callable":
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


def validation(training: "Training", evaluate_batch: "Callable") -> dict[str, float]:
    """Mean of each loss term over the validation images; each worker takes its share of them."""
    if training.data.validation_batches is None:
        return {}
    if training.cluster.workers == 1:
        return evaluated(evaluate_batch, training.data.validation_batches)
    share = training.data.validation_batches.shard(training.cluster.workers, training.cluster.index)
    total, sums = _sums(evaluate_batch, share)
    names = list(training.model.trackers)
    local = [total, *(sums.get(name, 0.0) for name in names)]
    total, *values = summed(local, training.cluster, training.strategy)
    return {name: value / total for name, value in zip(names, values, strict=True)}


def evaluated(evaluate_batch: "Callable", batches: "Iterable") -> dict[str, float]:
    """Mean of each loss term over all examples of `batches`, by a function of `evaluation`."""
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
