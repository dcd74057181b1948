"""From settings to the images of a run."""

import contextlib
import dataclasses
import typing
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from patchvae_tf import datasets
from patchvae_tf.cluster import data_services as services
from patchvae_tf.errors import InputError
from patchvae_tf.settings.unsupervised import UnsupervisedConfig

_NUM_PICTURED = 8
_MOST_DECODED = 64e9  # bytes of images that are decoded before, in memory or in a temporary file
_CHECKED_STREAMED = 64  # images of a streamed data set that its checksum is made of


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of a run.

    Attributes:
        config: UnsupervisedConfig.
        training: ImageSet, or StreamedSet of images that are not decoded yet.
        validation: ImageSet held out of the training part, or None.
        batch_size: int, images in a global batch.
        steps_per_epoch: int.
        description: dict for `data.json`; two data sets that differ have different ones.
        data_services: addresses that read and decode in place of this process.
    """

    config: UnsupervisedConfig
    training: datasets.ImageSet | datasets.StreamedSet
    validation: datasets.ImageSet | None
    batch_size: int
    steps_per_epoch: int
    description: dict
    data_services: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """int, passes over the training images."""
        return self.config.epochs_of(self.steps_per_epoch)

    def training_batches(self, start_step: int, rows: range | None = None) -> tf.data.Dataset:
        """Batches from a step to the end of training; order and flips depend on the step alone.

        Args:
            start_step: int, finished steps.
            rows: range, the rows of each global batch that are wanted here; None: all.
        """
        arguments: dict[str, typing.Any] = {
            "batch_size": self.batch_size,
            "seed": self.config.seed,
            "flip": self.config.horizontal_flip,
            "start_step": start_step,
            "total_steps": self.epochs * self.steps_per_epoch,
            "rows": rows,
        }
        if isinstance(self.training, datasets.StreamedSet):
            return self.training.batches(**arguments, services=self.data_services)
        return datasets.training_batches(self.training.images, **arguments)

    @property
    def is_streamed(self) -> bool:
        """Whether images are read and decoded as training needs them."""
        return isinstance(self.training, datasets.StreamedSet)

    @contextlib.contextmanager
    def errors_named(self) -> Iterator[None]:
        """Inside, too many unreadable images raise the `InputError` that names them."""
        try:
            yield
        except tf.errors.OpError as error:
            if isinstance(self.training, datasets.StreamedSet) and self.training.unreadable.error:
                raise self.training.unreadable.error from error
            raise

    @property
    def validation_batches(self) -> tf.data.Dataset | None:
        """The validation images in order, or None."""
        if self.validation is None:
            return None
        return datasets.evaluation_batches(self.validation.images, batch_size=self.batch_size)

    @property
    def checked(self) -> np.ndarray:
        """A few images, the same at each epoch; unseen in training where there are such."""
        return self.shown(_NUM_PICTURED)

    def shown(self, most: int) -> np.ndarray:
        """The first of the validation images or, without any, of those to learn from: uint8."""
        if self.validation is not None:
            return self.validation.images[:most]
        if isinstance(self.training, datasets.StreamedSet):
            return self.training.sample(most, self.config.seed).images
        return self.training.images[:most]


def load_images(config: UnsupervisedConfig, data_services: Iterable[str] = ()) -> Images:
    """Reads the training images of the settings, or opens them, and holds out the validation part.

    Args:
        config: UnsupervisedConfig.
        data_services: addresses that will read and decode streamed images.

    Raises:
        InputError: the data is not there, cannot be read, or is less than a batch; or it cannot be
            streamed as asked for.
    """
    everything = datasets.load(
        config.dataset,
        datasets.unsupervised_split(config.dataset),
        image_size=config.image_size,
        pixels=config.pixels,
        data_dir=config.data_dir,
        seed=config.seed,
        progress=True,
        most_bytes={None: _MOST_DECODED, True: 0, False: None}[config.streamed],
    )
    held_out = datasets.validation_count(config.validation_examples, len(everything))
    training: datasets.ImageSet | datasets.StreamedSet
    validation: datasets.ImageSet | None = None
    skipped: tuple[str, ...] = ()
    if isinstance(everything, datasets.EncodedExamples):
        _check_streaming(config, everything, data_services)
        training, validation = datasets.streamed_split(
            everything,
            held_out,
            image_size=config.image_size,
            shuffle_window=config.shuffle_window,
            seed=config.seed,
        )
        first = everything.take(np.arange(min(_CHECKED_STREAMED, len(everything))))
        checked = datasets.decode_examples(
            first, image_size=config.image_size, most_unreadable=1.0
        ).images
    else:
        _check_streaming(config, None, data_services)
        training, checked, skipped = everything, everything.images, everything.skipped
        if held_out:
            training, validation = datasets.split_validation(everything, held_out, config.seed)
    batch_size = _batch_size(config, len(training))
    return Images(
        config=config,
        training=training,
        validation=validation,
        batch_size=batch_size,
        steps_per_epoch=datasets.steps_per_epoch(len(training), batch_size),
        description={
            "training_images": len(training),
            "validation_images": 0 if validation is None else len(validation),
            "skipped": list(skipped),
            "checksum": datasets.checksum(checked),
        },
        data_services=tuple(data_services),
    )


def _batch_size(config, num_images):
    """`batch_size`; or, of fewer images, the largest power of 2 that they fill, which is said."""
    if num_images >= config.batch_size or not config.smaller_batch or not num_images:
        return config.batch_size
    smaller = 1 << (num_images.bit_length() - 1)
    print(f"{num_images} training images: batches of {smaller}, not {config.batch_size}")
    return smaller


def _check_streaming(config, examples, data_services):
    """Raises InputError where images cannot be streamed as asked for.

    Args:
        config: UnsupervisedConfig.
        examples: EncodedExamples of images that are to be streamed, or None.
        data_services: addresses.
    """
    if examples is None and config.streamed:
        raise InputError(
            f"streamed is for folders of images and TFDS data sets: {config.dataset} is an array "
            "in memory as it is. Leave it out."
        )
    if examples is None and data_services:
        raise InputError(
            "data_service reads and decodes streamed images, and these are decoded once, before. "
            "Set streamed, or leave data_service out."
        )
    if data_services and examples.needs_python:
        raise InputError(
            f"data_service cannot read {config.dataset}: array_record and TIFF files are read by "
            "Python, in this process alone. Leave it out, or prepare them as TFRecord files."
        )
    services.check(data_services)
