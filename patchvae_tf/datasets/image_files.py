"""How the files of images are decoded: by TensorFlow, and TIFF by Python."""

import os
from collections.abc import Sequence

import tensorflow as tf

from patchvae_tf.datasets import tiff
from patchvae_tf.datasets.preprocessing import check_encoded, decode_image
from patchvae_tf.settings.pixels import Pixels


def files_decoding(paths: Sequence[str | bytes], pixels: Pixels) -> dict:
    """What of `EncodedExamples` says how files are decoded: `decode`, `channels`, `needs_python`.

    Args:
        paths: of image files.
        pixels: Pixels that are wanted.

    Raises:
        InputError: such files have no such pixels; or the package that reads TIFF is not installed.
    """
    called_tiff = [path for path in paths if os.fsdecode(path).lower().endswith(tiff.SUFFIXES)]
    first_tiff = next(filter(tiff.is_tiff_file, called_tiff), None)
    if first_tiff is None or len(called_tiff) < len(paths):
        check_encoded(pixels)

    def decode(encoded):
        return decode_image(encoded, pixels)

    if first_tiff is None:
        return {"decode": decode, "channels": pixels.channels}
    decode_tiff = tiff.Decoder(first_tiff, pixels)
    if len(called_tiff) == len(paths):
        return {"decode": decode_tiff, "channels": pixels.channels, "needs_python": True}

    def decode_either(encoded):
        return tf.cond(tiff.is_tiff(encoded), lambda: decode_tiff(encoded), lambda: decode(encoded))

    return {"decode": decode_either, "channels": pixels.channels, "needs_python": True}
