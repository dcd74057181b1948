"""Images that are arrays: seen to be such, and made square."""

import numpy as np

from patchvae_tf.datasets import storage
from patchvae_tf.datasets.preprocessing import resize_and_crop
from patchvae_tf.errors import InputError

_BATCH = 256


def checked_images(pixels: np.ndarray, where: str) -> np.ndarray:
    """Returns `pixels` with a channel axis.

    Args:
        pixels: uint8, or floats in [0, 1], [n, H, W, 3], [n, H, W, 1] or [n, H, W].
        where: what they are called, for errors.

    Raises:
        InputError: another shape, range or type.
    """
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


def to_uint8_squares(pixels: np.ndarray, image_size: int) -> np.ndarray:
    """uint8 [n, size, size, 3] of what `checked_images` returns; resized and cropped if need be."""
    images = storage.allocate((len(pixels), image_size, image_size, 3))
    for start in range(0, len(pixels), _BATCH):
        batch = pixels[start : start + _BATCH]
        if batch.dtype != np.uint8:
            batch = np.rint(batch.astype(np.float32) * 255).astype(np.uint8)
        if batch.shape[1:3] != (image_size, image_size):
            batch = resize_and_crop(batch, image_size).numpy()
        images[start : start + len(batch)] = batch  # One grey channel fills all three.
    return images
