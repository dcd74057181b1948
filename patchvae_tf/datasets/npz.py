"""NumPy archives: `x_train`, and where there, `y_train`, `x_test` and `y_test`."""

import pathlib
import zipfile
import zlib

import numpy as np

from patchvae_tf.datasets import arrays
from patchvae_tf.datasets.images import ImageSet
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels


def load_npz(path: pathlib.Path, split: str, *, image_size: int, pixels: Pixels) -> ImageSet:
    """Reads the arrays `x_<split>` and, where there, `y_<split>` of an .npz file.

    Args:
        path: `pathlib.Path`.
        split: str, "train" or "test".
        image_size: int, of a side.
        pixels: Pixels that are wanted.

    Returns:
        An `ImageSet`; images of another size are resized and cropped.

    Raises:
        InputError: if the file, an array or its contents are not as expected.
    """
    if not path.is_file():
        raise InputError(f"{str(path)!r} does not exist: check the path of the .npz file.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {
                name: archive[name] for name in (f"x_{split}", f"y_{split}") if name in archive
            }
            names = ", ".join(archive.files)
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{str(path)!r} cannot be read as plain arrays ({error}): write it with numpy.savez."
        ) from error
    if f"x_{split}" not in found:
        raise InputError(
            f"{str(path)!r} has no array 'x_{split}' for the split {split!r}; it holds: {names}."
        )
    values = arrays.checked_images(found[f"x_{split}"], f"'x_{split}' in {str(path)!r}", pixels)
    labels = found.get(f"y_{split}")
    if labels is not None:
        labels = _checked_labels(labels, len(values), f"'y_{split}' in {str(path)!r}")
    return ImageSet(
        images=arrays.to_uint8_squares(values, image_size, pixels),
        labels=labels,
        class_names=None,
        keys=tuple(f"{split}/{index}" for index in range(len(values))),
    )


def _checked_labels(labels, count, where):
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape not in ((count,), (count, 1)):
        raise InputError(
            f"{where} has dtype {labels.dtype} and shape {labels.shape}: expected integers of "
            f"shape ({count},) or ({count}, 1), one for each image."
        )
    labels = labels.reshape(-1).astype(np.int64)
    if labels.min() < 0:
        raise InputError(f"{where} holds the label {labels.min()}: expected 0 or more.")
    return labels
