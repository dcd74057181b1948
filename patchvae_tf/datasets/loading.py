"""From the name of a data set to its images."""

import contextlib
import os
import pathlib
import typing
from collections.abc import Iterator

from patchvae_tf.datasets.decoding import EncodedExamples, decode_examples
from patchvae_tf.datasets.folder import folder_examples
from patchvae_tf.datasets.images import ImageSet
from patchvae_tf.datasets.npz import load_npz
from patchvae_tf.datasets.parts import load_parts
from patchvae_tf.datasets.prepared_tfds import is_tfds_name, tfds_examples
from patchvae_tf.datasets.stream import ImageStream, stream_of
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import RGB, Pixels

_cache: dict | None = None  # inside `cached_loading`: arguments of `load` -> ImageSet


@contextlib.contextmanager
def cached_loading() -> Iterator[None]:
    """Inside, `load` keeps each `ImageSet` that it reads, for whoever asks for it again.

    For many trainings on one data set. Nobody may write into the arrays.
    """
    global _cache
    _cache = {}
    try:
        yield
    finally:
        _cache = None


@typing.overload
def load(
    dataset: str,
    split: str = "train",
    *,
    image_size: int,
    pixels: Pixels = RGB,
    data_dir: str | None = None,
    seed: int = 0,
    progress: bool = False,
    most_bytes: None = None,
) -> ImageSet: ...
@typing.overload
def load(
    dataset: str,
    split: str = "train",
    *,
    image_size: int,
    pixels: Pixels = RGB,
    data_dir: str | None = None,
    seed: int = 0,
    progress: bool = False,
    most_bytes: float | None,
) -> ImageSet | EncodedExamples: ...
def load(
    dataset: str,
    split: str = "train",
    *,
    image_size: int,
    pixels: Pixels = RGB,
    data_dir: str | None = None,
    seed: int = 0,
    progress: bool = False,
    most_bytes: float | None = None,
) -> ImageSet | EncodedExamples:
    """Reads one split of a data set; never from the network.

    Args:
        dataset: one of, in this order,
            "parts": generated scenes with known parts;
            the path of an .npz file with `x_train` (and `y_train`, `x_test`, `y_test`);
            the path of a folder of images, with or without class folders and `train`, `test`;
            the name of a prepared TFDS data set (`name`, `name/config`, `name:version`).
        split: str, "train", "test" or another one that the data set has.
        image_size: int, pixels of a side; images of another size are resized and cropped.
        pixels: Pixels, channels and range of values that are wanted.
        data_dir: str, where TFDS data sets are prepared; None for TFDS's own default.
        seed: int, what "parts" is generated from; other data sets do not use it.
        progress: bool, whether to show a progress bar on stderr when it takes long.
        most_bytes: int, what decoded images may take; None: any.

    Returns:
        An `ImageSet`; or, where the images would take more than `most_bytes`, and are not arrays
        already, the `EncodedExamples` of one.

    Raises:
        InputError: if the data set or split is missing, or its contents are not as expected.
    """
    arguments = (dataset, split, image_size, pixels, data_dir, seed, most_bytes)
    if _cache is not None and arguments in _cache:
        return _cache[arguments]
    images = _source(dataset, split, image_size, pixels, data_dir, seed, progress)
    is_large = most_bytes is not None and pixels.channels * image_size**2 * len(images) > most_bytes
    if isinstance(images, EncodedExamples) and not is_large:
        images = decode_examples(images, image_size=image_size, progress=progress)
    if _cache is not None:
        _cache[arguments] = images
    return images


def stream(
    dataset: str,
    split: str = "train",
    *,
    image_size: int,
    pixels: Pixels = RGB,
    data_dir: str | None = None,
    seed: int = 0,
) -> ImageStream:
    """Opens one split of a data set to be read once, in order, in memory that does not grow.

    ("parts" and .npz files are arrays: they lie in memory all the same.)

    Args:
        dataset, split, image_size, pixels, data_dir, seed: as of `load`.

    Returns:
        An `ImageStream`, of the pixels that `load` gives.

    Raises:
        InputError: as `load`, but for images that cannot be read.
    """
    source = _source(dataset, split, image_size, pixels, data_dir, seed, False)
    return stream_of(source, image_size)


def _source(dataset, split, image_size, pixels, data_dir, seed, progress):
    """An `ImageSet`, or the `EncodedExamples` of one."""
    if image_size < 1:
        raise InputError(f"image_size is {image_size}: expected a positive number of pixels.")
    if dataset == "parts":
        return load_parts(split, image_size=image_size, seed=seed, progress=progress, pixels=pixels)
    path = pathlib.Path(dataset).expanduser()
    if path.suffix.lower() == ".npz":
        return load_npz(path, split, image_size=image_size, pixels=pixels)
    if path.is_dir() and dataset:
        return folder_examples(path, split, pixels)
    if path.is_file():
        raise InputError(f"{dataset!r} is a file, but neither a folder nor an .npz file: name one.")
    looks_like_path = dataset.startswith((".", "~")) or os.sep in dataset
    if looks_like_path and not is_tfds_name(dataset, data_dir):
        raise InputError(f"The path {dataset!r} does not exist: check it, or name a data set.")
    return tfds_examples(dataset, split, pixels, data_dir=data_dir)
