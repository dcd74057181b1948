"""NumPy archives: `x_train`, and where there, `y_train`, `x_test` and `y_test`."""

import pathlib
import zipfile
import zlib

import numpy as np

from patchvae_tf.datasets import storage
from patchvae_tf.datasets.images import ImageSet
from patchvae_tf.datasets.preprocessing import resize_and_crop
from patchvae_tf.errors import InputError

_BATCH = 256


def load_npz(path: pathlib.Path, split: str, *, image_size: int) -> ImageSet:
    """Reads the arrays `x_<split>` and, where there, `y_<split>` of an .npz file.

    Args:
        path: `pathlib.Path`.
        split: str, "train" or "test".
        image_size: int, pixels of a side.

    Returns:
        An `ImageSet`; images of another size are resized and cropped.

    Raises:
        InputError: if the file, an array or its contents are not as expected.
    """
    if not path.is_file():
        raise InputError(f"{str(path)!r} does not exist: check the path of the .npz file.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {
                name: archive[name] for name in (f"x_{split}", f"y_{split}") if name in archive
            }
            names = ", ".join(archive.files)
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{str(path)!r} cannot be read as plain arrays ({error}): write it with numpy.savez."
        ) from error
    if f"x_{split}" not in arrays:
        raise InputError(
            f"{str(path)!r} has no array 'x_{split}' for the split {split!r}; it holds: {names}."
        )
    pixels = _checked_images(arrays[f"x_{split}"], f"'x_{split}' in {str(path)!r}")
    labels = arrays.get(f"y_{split}")
    if labels is not None:
        labels = _checked_labels(labels, len(pixels), f"'y_{split}' in {str(path)!r}")
    return ImageSet(
        images=_to_uint8_squares(pixels, image_size),
        labels=labels,
        class_names=None,
        keys=tuple(f"{split}/{index}" for index in range(len(pixels))),
    )


def _checked_images(pixels, where):
    """Returns `pixels` with a channel axis, or raises."""
    if pixels.ndim == 3:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3) or 0 in pixels.shape:
        raise InputError(
            f"{where} has shape {pixels.shape}: expected [n, height, width, 3], "
            "[n, height, width, 1] or [n, height, width], none of them 0."
        )
    if np.issubdtype(pixels.dtype, np.floating):
        low, high = pixels.min(), pixels.max()  # Both NaN if any value is.
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"{where} holds floats from {low:g} to {high:g}: expected them within [0, 1], "
                "without NaN; divide by 255, or store uint8."
            )
    elif pixels.dtype != np.uint8:
        raise InputError(
            f"{where} has dtype {pixels.dtype}: expected uint8, or floats within [0, 1]."
        )
    return pixels


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


def _to_uint8_squares(pixels, image_size):
    images = storage.allocate((len(pixels), image_size, image_size, 3))
    for start in range(0, len(pixels), _BATCH):
        batch = pixels[start : start + _BATCH]
        if batch.dtype != np.uint8:
            batch = np.rint(batch.astype(np.float32) * 255).astype(np.uint8)
        if batch.shape[1:3] != (image_size, image_size):
            batch = resize_and_crop(batch, image_size).numpy()
        images[start : start + len(batch)] = batch  # One grey channel fills all three.
    return images
