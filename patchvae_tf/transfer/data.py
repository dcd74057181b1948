"""The labelled examples of a transfer: images, or the features of a φ that is all frozen."""

import dataclasses
import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tqdm

from patchvae_tf import datasets
from patchvae_tf.datasets import storage
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels
from patchvae_tf.transfer.config import TransferConfig

_BATCH_SIZE = 256  # by default
_CHECKED = 8
_MOST_CLASSES = 100_000  # of a head, unless a number is asked for
_FEATURE_BATCH = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and labels.

    Attributes:
        inputs: uint8 images [n, size, size, channels], or float32 feature maps [n, rows, cols,
            channels].
        labels: int64 [n].
        mirrored: what the mirror images give, as `inputs`; None where `inputs` are images.
    """

    inputs: np.ndarray
    labels: np.ndarray
    mirrored: np.ndarray | None = None

    def __len__(self):
        return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class TransferData:
    """What a transfer trains on, and what it is measured by.

    Attributes:
        config: TransferConfig, resolved.
        training, test: Examples.
        validation: Examples held out of the data set's training part, or None.
        num_classes: int.
        class_names: names by label, or None.
        batch_size: int.
        steps_per_epoch: int.
        description: dict for `data.json`; two data sets that differ have different ones.
    """

    config: TransferConfig
    training: Examples
    validation: Examples | None
    test: Examples
    num_classes: int
    class_names: tuple[str, ...] | None
    batch_size: int
    steps_per_epoch: int
    description: dict

    def training_batches(self, start_step: int, rows: range | None = None) -> tf.data.Dataset:
        """Batches from a step to the end of training; order and flips depend on the step alone.

        Args:
            start_step: int, finished steps.
            rows: range, the rows of each global batch that are wanted here; None: all.
        """
        return datasets.training_batches(
            self.training.inputs,
            labels=self.training.labels,
            mirrored=self.training.mirrored,
            batch_size=self.batch_size,
            seed=self.config.seed,
            flip=bool(self.config.horizontal_flip),
            start_step=start_step,
            total_steps=self.config.epochs * self.steps_per_epoch,
            rows=rows,
        )

    @property
    def epochs(self) -> int:
        """int, passes over the training examples."""
        return self.config.epochs

    @property
    def validation_batches(self) -> tf.data.Dataset | None:
        """The validation examples in order, or None."""
        return self.validation and self.evaluation_batches(self.validation)

    def evaluation_batches(self, examples: Examples) -> tf.data.Dataset:
        """All of `examples` in order."""
        return datasets.evaluation_batches(
            examples.inputs, labels=examples.labels, batch_size=self.batch_size
        )

    @property
    def checked(self) -> tuple[np.ndarray, np.ndarray]:
        """A small batch, always the same."""
        return self.training.inputs[:_CHECKED], self.training.labels[:_CHECKED]

    def with_features(self, feature_map: Callable[[tf.Tensor], tf.Tensor]) -> "TransferData":
        """The same with φ's features in place of the images, φ run over each image once.

        Where training mirrors images, over their mirror images too.

        Args:
            feature_map: function of uint8 images [n, size, size, channels] -> float32 [n, rows,
                cols, channels].
        """
        flip = self.config.horizontal_flip
        parts = [self.training, self.validation, self.test, self.training if flip else None]
        total = sum(len(part) for part in parts if part)
        with tqdm.tqdm(total=total, desc="Features", unit=" images", delay=1, leave=False) as bar:

            def computed(examples, flip=False):
                inputs = _features(feature_map, examples.inputs, bar)
                mirrored = None
                if flip:
                    mirrored = _features(feature_map, examples.inputs[:, :, ::-1], bar)
                return Examples(inputs, examples.labels, mirrored)

            training = computed(self.training, flip)
            validation = self.validation and computed(self.validation)
            test = computed(self.test)
        return dataclasses.replace(self, training=training, validation=validation, test=test)


def _features(feature_map, images, bar):
    """float32 [n, rows, cols, channels], in memory or in a file without a name."""
    features = None
    for start in range(0, len(images), _FEATURE_BATCH):
        batch = feature_map(tf.constant(images[start : start + _FEATURE_BATCH])).numpy()
        if features is None:
            features = storage.allocate((len(images), *batch.shape[1:]), np.float32)
        features[start : start + len(batch)] = batch
        bar.update(len(batch))
    return features


def load(config: TransferConfig) -> TransferData:
    """Reads the examples of the settings, holds out the validation part, then draws the subset.

    Args:
        config: TransferConfig, resolved.

    Raises:
        InputError: the data is not there or cannot be read, labels are missing or beyond the
            head's, or there is less than what was asked for.
    """
    assert config.dataset is not None  # the settings have been checked
    everything, test = (
        _labelled(config, split) for split in ("train", datasets.test_split(config.dataset))
    )
    names = everything.class_names
    num_classes = config.num_classes
    if num_classes is None:
        num_classes = len(names) if names else int(everything.labels.max()) + 1
        _check_numbering(num_classes)
    for split, part in (("train", everything), ("test", test)):
        _check_labels(part.labels, split, num_classes)
    training, validation = everything, None
    held_out = datasets.validation_count(config.validation_examples, len(everything))
    if held_out:
        training, validation = datasets.split_validation(everything, held_out, config.seed)
    if config.labels_per_class:
        training = datasets.balanced_subset(
            training, config.labels_per_class, num_classes, config.seed
        )
    batch_size = config.batch_size or min(_BATCH_SIZE, len(training))
    return TransferData(
        config=config,
        training=_examples(training),
        validation=None if validation is None else _examples(validation),
        test=_examples(test),
        num_classes=num_classes,
        class_names=names,
        batch_size=batch_size,
        steps_per_epoch=datasets.steps_per_epoch(len(training), batch_size),
        description={
            "training_images": len(training),
            "validation_images": 0 if validation is None else len(validation),
            "test_images": len(test),
            "classes": num_classes,
            "skipped": [*everything.skipped, *test.skipped],
            "checksums": [
                datasets.checksum(everything.images),
                zlib.crc32(everything.labels),
                datasets.checksum(test.images),
                zlib.crc32(test.labels),
            ],
        },
    )


def _labelled(config, split):
    part = datasets.load(
        config.dataset,
        split,
        image_size=config.image_size,
        pixels=Pixels.of(config.channels, config.value_range),
        data_dir=config.data_dir,
        seed=config.seed,
        progress=True,
    )
    if part.labels is None:
        raise InputError(
            f"the {split} part of {config.dataset} has no labels. Give a folder for each class, "
            f"y_{split} in the .npz file, or a data set that has labels."
        )
    return part


def _check_labels(labels, split, num_classes):
    if num_classes < 2:
        raise InputError("all training images are of one class: give images of two or more.")
    if labels.max() >= num_classes:
        raise InputError(
            f"the {split} part has the label {labels.max()}, and the head {num_classes} classes, "
            f"0 to {num_classes - 1}. Choose num_classes={labels.max() + 1} or mend the labels."
        )


def _check_numbering(num_classes):
    """Raises InputError for labels that are no numbers of classes: a head has all up to them."""
    if num_classes > _MOST_CLASSES:
        raise InputError(
            f"the train part has the label {num_classes - 1}: that many classes are more than "
            f"{_MOST_CLASSES:,}. Number the classes from 0, by numpy.unique(labels, "
            "return_inverse=True)[1] say, or give num_classes."
        )


def _examples(image_set):
    return Examples(image_set.images, image_set.labels)
