"""TIFF images, of any number of channels and bits, which TensorFlow does not decode."""

import functools
import io
import os

import numpy as np
import tensorflow as tf

from patchvae_tf import extras
from patchvae_tf.datasets import conversion
from patchvae_tf.datasets.preprocessing import MAX_PIXELS
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels

SUFFIXES = (".tif", ".tiff")

_CHANNEL_AXES = frozenset("SCQI")  # of tifffile: samples, channels, unknown ones, pages
_MOST_VALUES = 4 * MAX_PIXELS  # of a file: a small one may claim more, and fill the memory
_MARKS = (b"II", b"MM")  # how such files begin


class Decoder:
    """Decodes TIFF files that have as many channels as a first one, in this process alone.

    Args:
        path: of the first one.
        pixels: Pixels that are wanted.

    Raises:
        InputError: it cannot be read or brought to `pixels`, or the package that reads it is not
            installed.
    """

    def __init__(self, path: str | bytes, pixels: Pixels):
        extras.require("tiff", "reading TIFF")
        shown = os.fsdecode(path)
        try:
            with open(path, "rb") as file:
                first = _values(file.read())
            _shares(first, pixels.value_range)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{shown} cannot be read ({error}). Mend it, or leave it out."
            ) from error
        self._channels, self._pixels = first.shape[-1], pixels
        conversion.check_channels(self._channels, pixels, shown)

    def __call__(self, encoded: tf.Tensor) -> tf.Tensor:
        """The first image of a file; several pages of one size are its channels.

        Args:
            encoded: scalar string tensor, the bytes of the file.

        Returns:
            uint8 [height, width, pixels.channels].

        Raises:
            tf.errors.InvalidArgumentError: the bytes are no such image.
        """
        read = functools.partial(_read, value_range=self._pixels.value_range)
        shares = tf.numpy_function(read, [encoded], tf.float32)
        shares = tf.ensure_shape(shares, [None, None, self._channels])
        return conversion.converted(shares, Pixels(self._pixels.channels))


def is_tiff_file(path: str | bytes) -> bool:
    """Whether a file can be read, and begins as a TIFF file does."""
    try:
        with open(path, "rb") as file:
            return file.read(2) in _MARKS
    except OSError:
        return False


def is_tiff(encoded: tf.Tensor) -> tf.Tensor:
    """Whether the bytes of a file, a scalar string tensor, begin as a TIFF file's do."""
    first = tf.strings.substr(encoded, 0, 2)
    return tf.logical_or(first == _MARKS[0], first == _MARKS[1])


def _read(encoded, value_range):
    return _shares(_values(encoded), value_range)


def _values(encoded):
    """Array [height, width, channels] of a file's bytes; raises ValueError where there is none."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(encoded)) as file:
            series = file.series[0]
            if series.size > _MOST_VALUES:
                raise ValueError(f"it claims {series.size:,} values")
            values, axes = series.asarray(), series.axes
    except Exception as error:  # of many kinds: whatever a damaged file leads the decoder to
        raise ValueError(f"no TIFF image: {error}") from error
    others = [axis for axis in axes if axis not in "YX"]
    if len(axes) != 2 + len(others) or len(others) > 1 or set(others) - _CHANNEL_AXES:
        raise ValueError(f"TIFF of the axes {axes}: expected height, width and channels")
    if not others:
        return values[..., np.newaxis]
    return np.moveaxis(values, axes.index(others[0]), -1)


def _shares(values, value_range):
    """float32, 0 and 1 at the ends of the range; raises ValueError for floats that have none."""
    if value_range is not None and values.dtype != np.uint8:
        low, high = value_range
    elif values.dtype.kind in "ui":
        low, high = 0.0, float(np.iinfo(values.dtype).max)
    else:
        low, high = 0.0, 1.0
        if not (values.min() >= low and values.max() <= high):  # false for NaN too
            raise ValueError(
                f"floats from {values.min():g} to {values.max():g}: say by value_range=LOW,HIGH "
                "which become 0 and 1"
            )
    return ((values.astype(np.float32) - low) / (high - low)).astype(np.float32)
