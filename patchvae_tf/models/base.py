"""What every model shares: the training step, noise, metrics and distribution."""

import abc
import contextlib
import dataclasses
import inspect
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from patchvae_tf import backbones, noise, optimizers
from patchvae_tf.errors import InputError, RunError
from patchvae_tf.models.inputs import check_data, model_images
from patchvae_tf.settings import GlobalCode, Settings, unsupervised, unsupervised_config
from patchvae_tf.settings.architecture import Backbone, check_image_size

_LOOKS_EVERY = 20  # steps of `fit` between two looks at whether the loss is finite


@contextlib.contextmanager
def dtype_policy_scope(policy) -> Iterator[None]:
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
        self, batch, step: tf.Tensor, seed: tf.Tensor | None = None, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """The terms of the loss, one value for each example.

        Args:
            batch: what the model learns from, e.g. images, float32 [batch, H, W, 3] in [0, 1].
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


class UnsupervisedModel(DistributedModel):
    """A model that learns from images alone.

    Images are uint8, or floats in [0, 1], NHWC; labels that come along are ignored. A subclass has
    a `backbone` φ, and a `decoder` from codes to images.

    Args:
        image_size: int, side of the square images in pixels; a multiple of the stride.
        backbone: str, one of `backbones.NAMES`.
        stride: int, of the backbone, one of `backbones.strides`; None for its default.
        seed: int, of all noise in training.
        **kwargs: as of `keras.Model`.

    Attributes:
        settings_name: str, the model's in `settings.unsupervised.CONFIGS`.
        code_class: the `Settings` of its code.
        any_size: bool, whether images of other sizes than `image_size` can be given.

    Raises:
        InputError: `image_size` is not a positive multiple of the stride, or the backbone or its
            stride does not exist.
    """

    settings_name = ""
    code_class: type[Settings] = GlobalCode
    any_size = False

    def __init__(self, image_size, backbone="resnet9", stride=None, seed=0, **kwargs):
        super().__init__(seed, **kwargs)
        check_image_size(image_size, backbone, stride)
        self.image_size = image_size
        self.backbone_name = backbone
        self.stride = backbones.checked_stride(backbone, stride)
        self._recipe = None

    @classmethod
    def from_settings(
        cls, config: unsupervised.UnsupervisedConfig, **kwargs
    ) -> "UnsupervisedModel":
        """An untrained model of a training's settings, its first weights by their seed.

        Args:
            config: of the model's class in `settings.unsupervised.CONFIGS`.
            **kwargs: as of `keras.Model`, e.g. `dtype`.
        """
        noise.set_first_weights(config.seed)
        return cls(**cls._arguments(config), **kwargs)

    @classmethod
    def _arguments(cls, config):
        """The constructor's arguments, of a training's settings."""
        return {
            **Backbone.part_of(config).to_json(),
            **cls.code_class.part_of(config).to_json(),
            "seed": config.seed,
        }

    @classmethod
    def from_recipe(
        cls, recipe: str | None = None, dtype: str | None = None, **settings: object
    ) -> "UnsupervisedModel":
        """An untrained model as a recipe has it, with the recipe's optimizer and schedule.

        `fit` compiles it for as many steps as it will train; without `epochs` these are the
        recipe's.

        Args:
            recipe: str, one of `settings.recipes.DESCRIPTIONS`; None for the model's default.
            dtype: str, e.g. "mixed_bfloat16"; None for Keras' global policy.
            **settings: what is to be otherwise, by the names of the trainer's flags, e.g.
                image_size=64, num_parts=16, seed=1.

        Raises:
            InputError: there is no such recipe or setting, or it does not apply to this model.
        """
        for field in dataclasses.fields(unsupervised.Data):
            if field.name in settings:
                raise InputError(
                    f"{field.name} is about the images, and the model gets those from fit(): leave "
                    "it out, or use patchvae_tf.train()."
                )
        config = unsupervised_config(
            model=cls.settings_name, recipe=recipe, **{**settings, "dataset": ""}
        )
        model = cls.from_settings(config, **({} if dtype is None else {"dtype": dtype}))
        model._recipe = config
        return model

    def fit(self, x=None, y=None, batch_size=None, epochs=None, callbacks=None, **kwargs):
        """As of `keras.Model.fit`, on images.

        Args:
            x: images, uint8 or floats in [0, 1]: an array [n, H, W, 3], or a `tf.data.Dataset` of
                batches (of TFDS's dicts their `image`).
            y: ignored, as labels in a data set are.
            batch_size: int, of an array; None for the recipe's, or Keras' 32.
            epochs: int; None for the recipe's, or 1.
            callbacks, **kwargs: as of `keras.Model.fit`; `validation_data` as `x`, or a tuple that
                begins with it.

        Raises:
            InputError: the images have another shape or range.
            RunError: the loss is no longer finite.
        """
        del y
        self._check_data(x)
        held_out = kwargs.get("validation_data")
        if held_out is not None:
            self._check_data(held_out[0] if isinstance(held_out, tuple) else held_out)
        if self._recipe is not None:
            if batch_size is None and not isinstance(x, tf.data.Dataset):
                batch_size = min(self._recipe.batch_size, len(x))
            if not self.compiled:
                steps = kwargs.get("steps_per_epoch") or _steps_per_epoch(x, batch_size)
                epochs = epochs or self._recipe.epochs_of(steps)
                self.compile(optimizers.of_settings(self._recipe, steps, epochs))
        if self.compiled and int(self.optimizer.iterations) == 0:
            self.begin_from(lambda most: _first_images(x, most, self.seed))
        stops = [*(callbacks or ()), _StopWhenNotFinite()]
        return super().fit(x, batch_size=batch_size, epochs=epochs or 1, callbacks=stops, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        """As of `keras.Model.evaluate`, on what `fit` takes."""
        # Within `fit` Keras hands over a data adapter of its own instead.
        if not kwargs.get("_use_cached_eval_dataset"):
            self._check_data(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """As of `keras.Model.predict`, on what `fit` takes."""
        self._check_data(x)
        return super().predict(x, *args, **kwargs)

    def export(self, filepath, *args, **kwargs):
        """Not Keras' own way: raises InputError that names ours."""
        del args, kwargs
        raise InputError(
            f"write the model by patchvae_tf.export_model(model, {str(filepath)!r}): features, "
            "codes and files as signatures, with a model card, in version 1, 2, ... of the folder."
        )

    def begin_from(
        self, sample: Callable[[int], np.ndarray], progress: bool = True
    ) -> dict[str, int]:
        """Looks at images before the first training step, where the objective needs it.

        Args:
            sample: function (most) -> uint8, or floats in [0, 1], [n, H, W, 3], n at most `most`.
            progress: bool, whether to show a progress bar.

        Returns:
            dict: name of a term -> how many parts it found.

        Raises:
            InputError: there are none.
        """
        del sample, progress
        return {}

    def __call__(self, images, *args, **kwargs):
        # Before Keras' own call, which would put a page around what is wrong with them.
        return super().__call__(self._images(images), *args, **kwargs)

    @property
    def stages(self) -> tuple[backbones.Stage, ...]:
        """The `backbones.Stage`s of φ, in order."""
        return backbones.stages(self.backbone_name, self.stride)

    def _images(self, images):
        """`model_images` of this model."""
        return model_images(images, self.stride, None if self.any_size else self.image_size)

    def _check_data(self, x):
        check_data(x, self.stride, None if self.any_size else self.image_size)

    def _model_input(self, data):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._images(images)  # [batch, H, W, 3]


class _StopWhenNotFinite(keras.callbacks.Callback):
    """Ends `fit` with a sentence when the loss is not finite."""

    def on_train_batch_end(self, batch, logs=None):
        if batch % _LOOKS_EVERY == 0:
            self._look(logs, f"step {batch + 1} of the epoch")

    def on_epoch_end(self, epoch, logs=None):
        self._look(logs, f"epoch {epoch + 1}")

    @staticmethod
    def _look(logs, when):
        bad = [name for name, value in (logs or {}).items() if not math.isfinite(float(value))]
        if bad:
            name = next((name for name in bad if name != "loss"), "loss")  # the cause, not the sum
            raise RunError(
                f"the loss is not finite in {when}: {name} is not. The weights are spoilt: begin "
                "anew with a lower learning rate, and images that are finite."
            )


def _first_images(x, most, seed):
    """Images of what `fit` is given: of an array drawn by the seed, of a data set the first."""
    if not isinstance(x, tf.data.Dataset):
        drawn = noise.step_seed(seed, 0)
        rows = tf.range(min(most, len(x)), dtype=tf.int64)
        return np.asarray(x)[noise.shuffled(rows, drawn, len(x)).numpy()]
    found = []
    for batch in x:
        images, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        found.append(np.asarray(images["image"] if isinstance(images, dict) else images))
        if sum(map(len, found)) >= most:
            break
    return np.concatenate(found)[:most]


def _steps_per_epoch(x, batch_size):
    if not isinstance(x, tf.data.Dataset):
        return math.ceil(len(x) / batch_size)
    steps = int(x.cardinality())
    if steps < 1:
        raise InputError(
            "the recipe's schedule needs the number of steps, and the data set does not say its "
            "length: give steps_per_epoch."
        )
    return steps
