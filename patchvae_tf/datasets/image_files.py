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
        paths: of image files; TIFF files end in one of `tiff.SUFFIXES`.
        pixels: Pixels that are wanted.

    Raises:
        InputError: such files have no such pixels; or a package that reads them is not installed.
    """
    are_tiff = [os.fsdecode(path).lower().endswith(tiff.SUFFIXES) for path in paths]
    if not any(are_tiff):
        check_encoded(pixels)
        return {
            "decode": lambda encoded: decode_image(encoded, pixels),
            "channels": pixels.channels,
        }
    decode_tiff = tiff.Decoder(paths[are_tiff.index(True)], pixels)
    if not all(are_tiff):
        check_encoded(pixels)

    def decode(encoded):
        if all(are_tiff):
            return decode_tiff(encoded)
        return tf.cond(
            tiff.is_tiff(encoded),
            lambda: decode_tiff(encoded),
            lambda: decode_image(encoded, pixels),
        )

    return {"decode": decode, "channels": pixels.channels, "needs_python": True}
