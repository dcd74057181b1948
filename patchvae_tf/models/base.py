"""What every unsupervised model shares: the training step, noise, metrics and distribution."""

import contextlib

import keras
import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.errors import InputError


@contextlib.contextmanager
def dtype_policy_scope(policy):
    """Layers made inside take `policy`, whatever the global one is (as when a model is loaded)."""
    outer = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(outer)


class UnsupervisedModel(keras.Model):
    """A model that learns from images alone, under any `tf.distribute` strategy.

    A subclass lists `term_names`, whose first is "loss", and gives `loss_terms`. Images are [0, 1]
    float32 (or uint8, converted on the device), NHWC; labels that come along are ignored.

    Args:
        image_size: int, side of the square images in pixels; a multiple of `stride`.
        stride: int, of the backbone.
        seed: int, of all noise in training.
        **kwargs: as of `keras.Model`.

    Raises:
        InputError: `image_size` is not a positive multiple of `stride`.
    """

    term_names = ("loss",)

    def __init__(self, image_size, stride, seed=0, **kwargs):
        super().__init__(**kwargs)
        if image_size < stride or image_size % stride:
            lower = max(image_size // stride, 1) * stride
            raise InputError(
                f"`image_size` must be a positive multiple of the backbone's stride, {stride}. "
                f"Received: image_size={image_size}. Use e.g. {lower} or {lower + stride}."
            )
        self.image_size = image_size
        self.stride = stride
        self.seed = seed
        self.trackers = {name: keras.metrics.Mean(name=name) for name in self.term_names}

    def loss_terms(self, images, step, seed=None, training=False):
        """The terms of the loss, one value for each image.

        Args:
            images: float32 [batch, H, W, 3] in [0, 1].
            step: scalar int64, finished training steps.
            seed: int32 [2], or None to use means and probabilities instead of samples.
            training: bool, whether batch normalisation uses the batch's moments.

        Returns:
            dict: name -> float32 [batch] (or a scalar), for each of `term_names`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `loss_terms`.")

    def compile(self, optimizer, **kwargs):
        super().compile(optimizer=optimizer, **kwargs)
        # Now and not in the first step: making variables inside a `tf.function` has it traced
        # twice, and fails under a strategy.
        self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config):
        # Keras leaves this to whoever overrides `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def metrics(self):
        """The running means of the loss terms; `fit` resets them at each epoch."""
        return list(self.trackers.values())

    def train_step(self, data):
        """One step on the local part of the global batch; the gradient is the global batch's."""
        images = self._images(data)
        step = self.optimizer.iterations
        with tf.GradientTape() as tape:
            terms = self.loss_terms(images, step, noise.step_seed(self.seed, step), training=True)
            loss = tf.reduce_sum(terms["loss"]) / self._global_batch(terms["loss"])
            scaled_loss = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        # The optimizer sums the replicas' gradients, hence the division by the global batch above.
        self.optimizer.apply(tape.gradient(scaled_loss, variables), variables)
        return self._updated_metrics(terms)

    def test_step(self, data):
        """The terms on a batch, from means and probabilities: nothing in it is random."""
        return self._updated_metrics(self.loss_terms(self._images(data), self.optimizer.iterations))

    def _images(self, data):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return tf.image.convert_image_dtype(images, tf.float32)  # [batch, H, W, 3]

    @staticmethod
    def _global_batch(per_example):
        count = tf.cast(tf.shape(per_example)[0], tf.float32)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return count
        return context.all_reduce(tf.distribute.ReduceOp.SUM, count)

    def _updated_metrics(self, terms):
        for name, tracker in self.trackers.items():
            tracker.update_state(terms[name])
        return {name: tracker.result() for name, tracker in self.trackers.items()}
