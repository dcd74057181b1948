"""Images that are arrays: seen to be such, and made square."""

import numpy as np
import tensorflow as tf

from patchvae_tf.datasets import conversion, storage
from patchvae_tf.datasets.preprocessing import resize_and_crop
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels

_BATCH = 256


def checked_images(values: np.ndarray, where: str, pixels: Pixels) -> np.ndarray:
    """Returns `values` with a channel axis.

    Args:
        values: whole numbers or floats, [n, H, W, channels] or [n, H, W]; without a `value_range`
            uint8, uint16, or floats in [0, 1].
        where: what they are called, for errors.
        pixels: Pixels that are wanted.

    Raises:
        InputError: another shape, range or type.
    """
    if values.ndim == 3:
        values = values[..., np.newaxis]
    if values.ndim != 4 or 0 in values.shape:
        raise InputError(
            f"{where} has shape {values.shape}: expected [n, height, width, {pixels.channels}], "
            "[n, height, width, 1] or [n, height, width], none of them 0."
        )
    conversion.check_channels(values.shape[-1], pixels, where)
    if np.issubdtype(values.dtype, np.floating):
        _check_floats(values, where, pixels.value_range)
    elif values.dtype.kind not in "ui" or (
        pixels.value_range is None and values.dtype not in (np.uint8, np.uint16)
    ):
        raise InputError(
            f"{where} has dtype {values.dtype}: expected uint8, uint16, or floats within [0, 1]; "
            "of other whole numbers say by value_range=LOW,HIGH which become 0 and 1."
        )
    return values


def _check_floats(values, where, value_range):
    low, high = values.min(), values.max()  # Both NaN if any value is.
    if value_range is None and not (low >= 0 and high <= 1):
        raise InputError(
            f"{where} holds floats from {low:g} to {high:g}: expected them within [0, 1], "
            "without NaN; divide by 255, store uint8, or say by value_range=LOW,HIGH which become "
            "0 and 1."
        )
    if not np.isfinite([low, high]).all():
        raise InputError(f"{where} holds NaN or infinity: leave these images out, or mend them.")


def to_uint8_squares(values: np.ndarray, image_size: int, pixels: Pixels) -> np.ndarray:
    """uint8 [n, size, size, channels] of what `checked_images` returns; resized and cropped."""
    images = storage.allocate((len(values), image_size, image_size, pixels.channels))
    for start in range(0, len(values), _BATCH):
        batch = values[start : start + _BATCH]
        if batch.dtype != np.uint8 or batch.shape[-1] != images.shape[-1]:
            batch = conversion.converted(tf.constant(batch), pixels).numpy()
        if batch.shape[1:3] != (image_size, image_size):
            batch = resize_and_crop(batch, image_size).numpy()
        images[start : start + len(batch)] = batch
    return images
