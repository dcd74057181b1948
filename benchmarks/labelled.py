"""Labelled images that benchmarks learn a classifier from, and those that they score it on."""

import dataclasses
import typing

from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting


@dataclasses.dataclass(frozen=True)
class LabelledData(Settings):
    """What benchmarks share that measure a trained φ by labels."""

    dataset: str | None = setting(None, "Data", "labelled, with a train and a test part; needed")
    data_dir: str | None = data_dir_setting()
    image_size: int | None = setting(
        None,
        "Data",
        "pixels to which images are brought (default: those of the training)",
        minimum=8,
    )
    validation_examples: int = setting(
        0,
        "Data",
        "of the training part, scored in place of the test part: to choose by",
        minimum=0,
    )

    def check(self):
        """Raises InputError where the data set is missing."""
        if not self.dataset:
            raise InputError("dataset is missing. --help shows how it is used.")


@dataclasses.dataclass(frozen=True)
class LabelledParts:
    """What classifiers learn from, and what they are scored on.

    Attributes:
        training, scored: labelled `ImageSet`s.
        description: str, what is scored.
    """

    training: typing.Any
    scored: typing.Any
    description: str


def labelled_parts(dataset, held_out, holdout_seed, **source):
    """The training part and the test part, or in its place what is held out of the former.

    Args:
        dataset: str, as of `datasets.load`.
        held_out: int, images of the training part that are scored; 0: the test part is.
        holdout_seed: int, by which they are drawn.
        **source: more arguments of `datasets.load`.

    Returns:
        LabelledParts.

    Raises:
        InputError: the data is not there or cannot be read, or has no labels.
    """
    from patchvae_tf import datasets

    def load(split):
        images = datasets.load(dataset, split, **source)
        if images.labels is None:
            raise InputError(f"{dataset} has no labels, which the classifiers need.")
        return images

    training = load("train")
    if held_out:
        parts = datasets.split_validation(training, held_out, holdout_seed)
        return LabelledParts(*parts, f"{held_out} of train, held out")
    name = datasets.test_split(dataset)
    return LabelledParts(training, load(name), name)
