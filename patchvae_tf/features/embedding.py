"""Features of images in one call, for Python: arrays, files, a folder or a data set."""

import dataclasses
import functools
import logging
import os
import typing
from collections.abc import Callable, Sequence

import numpy as np
import tqdm

from patchvae_tf import datasets
from patchvae_tf.datasets.decoding import unreadable_message
from patchvae_tf.errors import InputError
from patchvae_tf.features import computing, sources
from patchvae_tf.features.pooling import Pooling
from patchvae_tf.settings.pixels import Pixels

if typing.TYPE_CHECKING:
    import keras

    from patchvae_tf.datasets.stream import ImageStream

Images = np.ndarray | str | os.PathLike | Sequence[str | os.PathLike]


@dataclasses.dataclass(frozen=True, eq=False)
class Embeddings:
    """The features of images, a row an image; `len()` counts them.

    Attributes:
        features: float32 [n, d].
        keys: str [n], what the images are called: file names, or positions.
        labels: int64 [n], or None where the images have none.
        class_names: names by label, or None.
    """

    features: np.ndarray
    keys: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...] | None

    def __len__(self):
        return len(self.features)


def embed(
    images: Images,
    model: "str | os.PathLike | keras.Model",
    *,
    pooling: str = "mean",
    stage: str | None = None,
    crops: int = 1,
    image_size: int | None = None,
    value_range: str | None = None,
    split: str = "train",
    batch_size: int | None = None,
    progress: bool = False,
) -> Embeddings:
    """Computes the features of images by a trained model.

    Args:
        images: an array, uint8, uint16 or floats in [0, 1], [n, H, W, channels]; a list of paths
            of image files; the path of a folder of images, where each sub-folder is a class; or
            another data set as `patchvae features` takes it. All are made squares of `image_size`.
        model: a preset's name, e.g. "parts", or its folder; a run, an export or an .onnx file; or a
            model.
        pooling: "mean" or "max" over the places, "flat": all of them, or "parts": how probable each
            part is, and its look.
        stage: depth of φ, e.g. "conv1_3"; None for the last.
        crops: int, over how many crops of each image the features are averaged.
        image_size: int, pixels; None for the size that the model was trained on.
        value_range: str, "LOW,HIGH", the values of other arrays, of TIFF and of 16-bit files that
            become 0 and 1.
        split: str, of a folder or data set that has several.
        batch_size: int, images computed at once; None for as many as are quick.
        progress: bool, whether to show a progress bar.

    Returns:
        Embeddings. What cannot be read of a folder is left out, and said; of a list it is an error.

    Raises:
        InputError: the images or the model are not there or not as expected, or a setting is wrong.
    """
    how = Pooling(pooling=pooling, stage=stage, crops=crops)
    source = sources.find(model)
    size = computing.checked_size(image_size, source)
    how.made_of(source)
    stream = open_images(images, size, Pixels.of(source.channels, value_range), split)
    compute, _ = loaded(model, source, how, size)
    batches = computing.rows(compute, stream, batch_size or computing.batch_size_of(size))
    columns = []
    with tqdm.tqdm(total=len(stream), desc="Features", unit=" images", disable=not progress) as bar:
        for batch in batches:
            columns.append(batch)
            bar.update(len(batch["index"]))
    together = {
        name: np.concatenate([batch[name] for batch in columns])
        for name in (columns[0] if columns else ())
    }
    _check_read(together, stream, images)
    return Embeddings(
        features=together[computing.FEATURES],
        keys=together["key"],
        labels=together["label"] if stream.labelled else None,
        class_names=stream.class_names,
    )


def open_images(
    images: Images, image_size: int, pixels: Pixels, split: str = "train"
) -> "ImageStream":
    """The `ImageStream` of what `embed` is given.

    Raises:
        InputError: it is nothing that images can be read from.
    """
    if isinstance(images, str | os.PathLike):
        return datasets.stream(os.fspath(images), split, image_size=image_size, pixels=pixels)
    if _are_paths(images):
        return datasets.stream_files(list(images), image_size, pixels)
    if isinstance(images, list | tuple):
        raise InputError(
            "images must be paths or one array [n, H, W, channels]. Received: a "
            f"{type(images).__name__} of {type(images[0]).__name__}. Put arrays together: "
            "numpy.stack(images)."
        )
    return datasets.stream_arrays(np.asarray(images), image_size, pixels)


def _are_paths(images):
    """Whether it is a sequence of paths; NumPy's and pandas' columns of text are too."""
    if isinstance(images, np.ndarray) and (images.ndim != 1 or images.dtype.kind not in "OU"):
        return False
    if not hasattr(images, "__len__") or not hasattr(images, "__iter__"):
        return False
    if getattr(images, "ndim", 1) != 1:
        return False
    return all(isinstance(path, str | os.PathLike) for path in images)


def loaded(
    model: object, source: sources.Source, how: Pooling, image_size: int
) -> tuple[Callable, dict[str, tuple[int, ...]]]:
    """`computing.function` of `features`; models that lie in a file are kept for the next call."""
    if isinstance(model, str | os.PathLike):
        return _kept(os.fspath(model), source.digest(), how, image_size)
    return computing.function(source, (computing.FEATURES,), how, image_size)


@functools.lru_cache(maxsize=8)
def _kept(model, digest, how, image_size):
    del digest  # only so that another model in the same place is loaded anew
    return computing.function(sources.find(model), (computing.FEATURES,), how, image_size)


def _check_read(columns, stream, images):
    """Names what could not be read: an error where rows have to stand beside what was given."""
    unreadable = np.ones(len(stream), bool)
    if columns:
        unreadable[columns["index"]] = False
    skipped = [stream.key(index) for index in np.flatnonzero(unreadable)]
    if not skipped:
        return
    found = unreadable_message(skipped, len(stream))
    if not isinstance(images, str | os.PathLike) or len(skipped) == len(stream):
        raise InputError(
            f"{found}: repair them or leave them out; JPEG, PNG, GIF, BMP and WEBP are read."
        )
    logging.getLogger("patchvae_tf").warning("%s: left out.", found)
