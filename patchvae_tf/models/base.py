"""What the models that learn from images alone share: settings, `fit`, checks of images."""

import dataclasses
import math
import os
import typing
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from patchvae_tf import backbones, noise, optimizers
from patchvae_tf.errors import InputError, RunError
from patchvae_tf.models import presets
from patchvae_tf.models.distributed import DistributedModel
from patchvae_tf.models.inputs import check_data, model_images
from patchvae_tf.settings import GlobalCode, Settings, unsupervised, unsupervised_config
from patchvae_tf.settings.architecture import Backbone

_LOOKS_EVERY = 20  # steps of `fit` between two looks at whether the loss is finite


class UnsupervisedModel(DistributedModel):
    """A model that learns from images alone.

    Images are uint8, uint16, or floats in [0, 1], NHWC; labels that come along are ignored. A
    subclass has a `backbone` φ, and a `decoder` from codes to images.

    Args:
        image_size: int, side of the square images in pixels; a multiple of the stride.
        backbone: str, one of `backbones.NAMES`.
        stride: int, of the backbone, one of `backbones.strides`; None for its default.
        channels: int, of the images: 3 for RGB.
        seed: int, of all noise in training.
        **kwargs: as of `keras.Model`.

    Attributes:
        settings_name: str, the model's in `settings.unsupervised.CONFIGS`.
        code_class: the `Settings` of its code.
        any_size: bool, whether images of other sizes than `image_size` can be given.
        recipe: the settings that `fit` compiles by, where the model is made by a recipe or of a
            preset; else None.

    Raises:
        InputError: `image_size` is not a positive multiple of the stride, or the backbone or its
            stride does not exist.
    """

    settings_name = ""
    code_class: type[Settings] = GlobalCode
    any_size = False

    def __init__(self, image_size, backbone="resnet9", stride=None, channels=3, seed=0, **kwargs):
        super().__init__(seed, **kwargs)
        Backbone(image_size, channels, backbone, stride)  # checks them
        self.image_size = image_size
        self.channels = channels
        self.backbone_name = backbone
        self.stride = backbones.checked_stride(backbone, stride)
        self.recipe = None

    @classmethod
    def from_settings(
        cls, config: unsupervised.UnsupervisedConfig, **kwargs: typing.Any
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
        if config.init_from is not None:
            presets.begin_with(model, config.init_from)
        model.recipe = config
        return model

    @classmethod
    def from_preset(cls, preset: str | os.PathLike, dtype: str | None = None) -> typing.Self:
        """A trained model: of a preset that comes with the package, or of a folder of one's own.

        It is not compiled; `fit` compiles it with the settings of its training, where they are
        known, and trains it on.

        Args:
            preset: a name of `patchvae_tf.presets()`, or the path of a folder.
            dtype: dtype policy, e.g. "mixed_bfloat16"; None for the one that it was saved with.

        Raises:
            InputError: there is no such preset, it cannot be read, or holds another model.
        """
        return presets.from_preset(preset, cls, dtype)

    def save_to_preset(self, folder: str | os.PathLike, compact: bool = False) -> None:
        """Writes the weights, and what the model is, into a new folder for `from_preset`.

        Of a plain one `from_preset` makes an equal model, to the last bit; the optimizer's state
        is not part of it.

        Args:
            folder: path; its parents are made.
            compact: for passing on: kernels are rounded to float16 (by a 2048th of their value at
                most), and what serves training alone is left out.

        Raises:
            InputError: the folder is there already, or cannot be written.
        """
        presets.save_to_preset(self, folder, compact)

    def fit(self, x=None, y=None, batch_size=None, epochs=None, callbacks=None, **kwargs):
        """As of `keras.Model.fit`, on images.

        Args:
            x: images, uint8 or floats in [0, 1]: an array [n, H, W, channels], or a
                `tf.data.Dataset` of batches (of TFDS's dicts their `image`).
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
        if self.recipe is not None:
            if batch_size is None and not isinstance(x, tf.data.Dataset):
                batch_size = min(self.recipe.batch_size, len(x))
            if not self.compiled:
                steps = kwargs.get("steps_per_epoch") or _steps_per_epoch(x, batch_size)
                epochs = epochs or self.recipe.epochs_of(steps)
                self.compile(optimizers.of_settings(self.recipe, steps, epochs))
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
            sample: function (most) -> uint8, or floats in [0, 1], [n, H, W, channels], n at most
                `most`.
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
        return model_images(images, self.stride, self.channels, self._exact_size)

    @property
    def _exact_size(self):
        return None if self.any_size else self.image_size

    def _check_data(self, x):
        check_data(x, self.stride, self.channels, self._exact_size)

    def _model_input(self, data):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._images(images)  # [batch, H, W, channels]


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
