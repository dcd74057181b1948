"""From settings to what is trained, and on what: the model and the images."""

import dataclasses
import inspect
import zlib

import keras
import numpy as np

import patchvae_tf
from patchvae_tf import datasets
from patchvae_tf.config import UnsupervisedConfig
from patchvae_tf.optimizers import FusedAdam

MODELS = {
    "patchvae": patchvae_tf.PatchVAE,
    "beta_vae": patchvae_tf.BetaVAE,
    "bigan": patchvae_tf.BiGAN,
}

_LARGEST_VALIDATION = 1000  # images, unless the settings say otherwise
_NUM_PICTURED = 8


def build_model(config, dtype_policy, strategy, steps_per_epoch):
    """Returns the untrained model of the settings, compiled, its variables under `strategy`."""
    model_class = MODELS[config.model]
    # A model's arguments, and those that it hands on, have the names of the settings.
    arguments = {
        name
        for one in model_class.__mro__
        if one.__module__.startswith(patchvae_tf.__name__)
        for name in inspect.signature(one.__init__).parameters
    }
    settings = {name: value for name, value in config.to_json().items() if name in arguments}
    keras.utils.set_random_seed(config.seed)  # the first weights
    with strategy.scope():
        model = model_class(**settings, dtype=dtype_policy)
        model.compile(
            optimizer=FusedAdam(
                learning_rate(config, steps_per_epoch),
                beta_1=config.adam_beta_1,
                beta_2=config.adam_beta_2,
                weight_decay=config.weight_decay or None,
            )
        )
    return model


def learning_rate(config, steps_per_epoch):
    """The learning rate of the settings: a number, or a schedule, a function of the step alone."""
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    if config.learning_rate_schedule == "constant" and not warmup_steps:
        return config.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup_steps else config.learning_rate,
        # The steps after the warm-up.
        max(config.epochs * steps_per_epoch - warmup_steps, 1),
        alpha=0.0 if config.learning_rate_schedule == "cosine" else 1.0,
        warmup_target=config.learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of a run.

    Attributes:
        config: UnsupervisedConfig.
        training: ImageSet.
        validation: ImageSet held out of the training part, or None.
        steps_per_epoch: int.
        description: dict for `data.json`; two data sets that differ have different ones.
    """

    config: UnsupervisedConfig
    training: datasets.ImageSet
    validation: datasets.ImageSet | None
    steps_per_epoch: int
    description: dict

    def training_batches(self, start_step, rows=None):
        """Batches from a step to the end of training; order and flips depend on the step alone.

        Args:
            start_step: int, finished steps.
            rows: range, the rows of each global batch that are wanted here; None: all.
        """
        return datasets.training_batches(
            self.training.images,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            flip=self.config.horizontal_flip,
            start_step=start_step,
            total_steps=self.config.epochs * self.steps_per_epoch,
            rows=rows,
        )

    @property
    def validation_batches(self):
        """The validation images in order, or None."""
        if self.validation is None:
            return None
        return datasets.evaluation_batches(
            self.validation.images, batch_size=self.config.batch_size
        )

    @property
    def pictured(self):
        """A few images, the same at each epoch; unseen in training where there are such."""
        source = self.training if self.validation is None else self.validation
        return source.images[:_NUM_PICTURED]


def load_images(config):
    """Reads the training images of the settings and holds out the validation part.

    Raises:
        InputError: the data is not there, cannot be read, or is less than a batch.
    """
    everything = datasets.load(
        config.dataset,
        datasets.unsupervised_split(config.dataset),
        image_size=config.image_size,
        data_dir=config.data_dir,
        seed=config.seed,
        progress=True,
    )
    held_out = validation_count(config.validation_examples, len(everything))
    training, validation = everything, None
    if held_out:
        training, validation = datasets.split_validation(everything, held_out, config.seed)
    return Images(
        config=config,
        training=training,
        validation=validation,
        steps_per_epoch=datasets.steps_per_epoch(len(training), config.batch_size),
        description={
            "training_images": len(training),
            "validation_images": 0 if validation is None else len(validation),
            "skipped": list(everything.skipped),
            "checksum": checksum(everything.images),
        },
    )


def validation_count(asked_for, total):
    """How many of `total` images are held out: as many as asked for, or by default (None)."""
    return min(_LARGEST_VALIDATION, total // 20) if asked_for is None else asked_for


def checksum(images):
    """A number that changes when the images do: the CRC-32 of up to 1000 of them, spread out."""
    step = -(-len(images) // 1000)
    return zlib.crc32(np.ascontiguousarray(images[::step]))
