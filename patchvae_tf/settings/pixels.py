"""What the pixels of images are: how many channels, and which values are dark and light."""

import dataclasses
import math
import typing

from patchvae_tf.errors import InputError
from patchvae_tf.settings.fields import setting


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The pixels that a model takes, made of whatever a data set has.

    Attributes:
        channels: int, of the images.
        value_range: the values that become 0 and 1, of other than 8-bit data; or None: of whole
            numbers 0 and the greatest of their type, 65,535 say; of floats, which must be in
            [0, 1], 0 and 1.
    """

    channels: int = 3
    value_range: tuple[float, float] | None = None

    @classmethod
    def of(cls, channels: int, value_range: str | None = None) -> typing.Self:
        """Of the settings `channels` and `value_range`.

        Raises:
            InputError: the range is not LOW,HIGH.
        """
        return cls(channels, None if value_range is None else parsed_range(value_range))


RGB = Pixels()


def value_range_setting(
    default: str = "0 and the greatest of the type; of floats 0,1",
) -> typing.Any:
    """The setting `value_range` of every command that reads images."""
    return setting(
        None,
        "Data",
        "LOW,HIGH: the values of 16-bit images and of arrays, but for uint8, that become black and "
        f"white, e.g. 0,4095 (default: {default})",
        rare=True,
    )


def parsed_range(text: str) -> tuple[float, float]:
    """(low, high) of "LOW,HIGH"; raises InputError where it is not that."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not (low < high and math.isfinite(high - low)):
        raise InputError(
            f"value_range must be two numbers, the lower first, e.g. 0,4095. Received: {text}"
        )
    return low, high


def parsed_channels(text: str | None, channels: int) -> tuple[int, ...] | None:
    """The three channels of e.g. "3,2,1", each from 0 to below `channels`; None stays None.

    Raises:
        InputError: it is not that.
    """
    if text is None:
        return None
    numbers = tuple(int(number) for number in text.split(",") if number.strip().isdigit())
    if len(numbers) != 3 or len(text.split(",")) != 3 or max(numbers) >= channels:
        raise InputError(
            f"shown_channels must be three of 0 to {channels - 1}, e.g. 2,1,0. Received: {text}"
        )
    return numbers
