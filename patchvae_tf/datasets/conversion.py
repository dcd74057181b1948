"""From the pixels that a source has to those that a model takes: its channels, in 8 bits."""

import tensorflow as tf

from patchvae_tf.brightness import brightness
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels

_ALPHA = 4  # channels of colour with transparency


def check_channels(found: int, pixels: Pixels, where: str) -> None:
    """Raises InputError where `converted` cannot make of so many channels those wanted."""
    if found == pixels.channels or {found, pixels.channels} == {1, 3}:
        return
    mend = f"choose {pixels.channels} of them"
    if pixels.channels == 3 and found == _ALPHA:
        mend = "leave the fourth out (x[..., :3])"
    raise InputError(
        f"{where} has {found} channels, and {pixels.channels} are wanted: {mend}, or train with "
        f"channels={found}."
    )


def converted(values: tf.Tensor, pixels: Pixels) -> tf.Tensor:
    """Pixels as models take them.

    One grey channel fills all three of RGB; of RGB one grey channel is the brightness.

    Args:
        values: whole numbers or floats, [..., height, width, found], as `check_channels` has it.
        pixels: Pixels.

    Returns:
        uint8 [..., height, width, channels], rounded; what lies outside the range is its end.

    Raises:
        tf.errors.InvalidArgumentError: a value is not finite.
    """
    if values.dtype != tf.uint8:
        values = _as_uint8(values, pixels.value_range)
    found, wanted = values.shape[-1], pixels.channels
    if found == wanted:
        return values
    if wanted == 3:
        return tf.repeat(values, 3, axis=-1)
    return tf.cast(tf.round(brightness(tf.cast(values, tf.float32))), tf.uint8)


def _as_uint8(values, value_range):
    low, high = value_range or (0.0, 1.0 if values.dtype.is_floating else float(values.dtype.max))
    values = tf.debugging.assert_all_finite(tf.cast(values, tf.float32), "pixels are not finite")
    shares = tf.clip_by_value((values - low) / (high - low), 0.0, 1.0)
    return tf.cast(tf.round(shares * 255.0), tf.uint8)
