"""The training step of every model: noise, gradients, metrics, distribution."""

import abc
import contextlib
import inspect
import typing
from collections.abc import Iterator

import keras
import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings


@contextlib.contextmanager
def dtype_policy_scope(policy: keras.DTypePolicy | str) -> Iterator[None]:
    """Layers made inside take `policy`, whatever the global one is (as when a model is loaded)."""
    outer = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(outer)


class DistributedModel(keras.Model, abc.ABC):
    """A model whose step is right under any `tf.distribute` strategy.

    A subclass lists `term_names`, whose first is "loss", and gives `loss_terms`.

    Args:
        seed: int, of all noise in training.
        **kwargs: as of `keras.Model`.

    Attributes:
        discriminator: network that learns against the rest of the model, from the term
            "discriminator_loss" and with an optimizer of its own; None where there is none.
    """

    term_names: tuple[str, ...] = ("loss",)

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.discriminator = None
        self.trackers = {}
        self._track(*self.term_names)

    @property
    def training_parts(self) -> list[keras.layers.Layer]:
        """Layers that serve training alone, and are not exported."""
        return [] if self.discriminator is None else [self.discriminator]

    def _track(self, *names):
        """Keeps running means of further terms."""
        for name in names:
            self.trackers[name] = keras.metrics.Mean(name=name)

    @abc.abstractmethod
    def loss_terms(
        self,
        batch: typing.Any,
        step: tf.Tensor,
        seed: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """The terms of the loss, one value for each example.

        Args:
            batch: what the model learns from, e.g. images, float32 [batch, H, W, channels] in [0,
                1].
            step: scalar int64, finished training steps.
            seed: int32 [2], or None to use means and probabilities instead of samples.
            training: bool, whether batch normalisation uses the batch's moments.

        Returns:
            dict: name -> float32 [batch] (or a scalar), for each of the tracked terms.
        """

    def compile(self, optimizer, discriminator_optimizer=None, **kwargs):
        """As of `keras.Model`.

        Args:
            optimizer: of all but the discriminator.
            discriminator_optimizer: of the discriminator, where there is one; by default another
                of the same settings.
            **kwargs: as of `keras.Model.compile`.

        Raises:
            InputError: another loss is given: it is the model's own.
        """
        if kwargs.get("loss") is not None:
            raise InputError(
                f"the loss is the model's own: leave loss={kwargs['loss']!r} out of compile()."
            )
        super().compile(optimizer=optimizer, **kwargs)
        if self.discriminator is not None:
            self.discriminator_optimizer = keras.optimizers.get(
                discriminator_optimizer or keras.optimizers.serialize(self.optimizer)
            )
        # Now and not in the first step: making variables inside a `tf.function` has it traced
        # twice, and fails under a strategy.
        for _, one, variables in self._learners():
            one.build(variables)

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self.discriminator is not None:
            optimizer = keras.saving.serialize_keras_object(self.discriminator_optimizer)
            return {**config, "discriminator_optimizer": optimizer}
        return config

    def compile_from_config(self, config):
        # Keras leaves this to whoever overrides `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _learners(self):
        """Who learns from which term: [(term, optimizer, variables), ...]."""
        if self.discriminator is None:
            return [("loss", self.optimizer, self.trainable_variables)]
        judges = self.discriminator.trainable_variables
        judging = {id(variable) for variable in judges}
        judged = [v for v in self.trainable_variables if id(v) not in judging]
        return [
            ("loss", self.optimizer, judged),
            ("discriminator_loss", self.discriminator_optimizer, judges),
        ]

    def get_config(self):
        """The constructor's arguments, each an attribute of its name; settings as dicts."""
        config = super().get_config()
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if name == "self" or parameter.kind is parameter.VAR_KEYWORD:
                continue
            value = getattr(self, f"{name}_name" if name == "backbone" else name)
            config[name] = value.to_json() if isinstance(value, Settings) else value
        return config

    @property
    def metrics(self):
        """The running means of the loss terms; `fit` resets them at each epoch."""
        return list(self.trackers.values())

    def train_step(self, data):
        """One step on the local part of the global batch; the gradient is the global batch's.

        Where there is a discriminator, both sides move at once, from the same forward pass
        (as in Donahue et al., "Adversarial Feature Learning", ICLR 2017).
        """
        batch = self._model_input(data)
        step = self.optimizer.iterations
        learners = self._learners()
        with tf.GradientTape(persistent=len(learners) > 1) as tape:
            terms = self.loss_terms(batch, step, noise.step_seed(self.seed, step), training=True)
            # The optimizer sums the replicas' gradients, hence the division by the global batch.
            global_batch = self._global_batch(terms["loss"])
            losses = [
                optimizer.scale_loss(tf.reduce_sum(terms[name]) / global_batch)
                for name, optimizer, _ in learners
            ]
        gradients = [
            tape.gradient(loss, variables)
            for loss, (_, _, variables) in zip(losses, learners, strict=True)
        ]
        for gradient, (_, optimizer, variables) in zip(gradients, learners, strict=True):
            optimizer.apply(gradient, variables)
        return self._updated_metrics(terms)

    def test_step(self, data):
        """The terms on a batch, from means and probabilities: nothing in it is random."""
        return self._updated_metrics(
            self.loss_terms(self._model_input(data), self.optimizer.iterations)
        )

    @abc.abstractmethod
    def _model_input(self, data):
        """What `loss_terms` takes, of what `fit` or a training loop gives."""

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
