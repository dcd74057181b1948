"""Settings that hold several values in one text, with commas between."""

import csv
import dataclasses
from collections.abc import Collection

from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting


def words(name: str, text: str | None, known: Collection[str]) -> tuple[str, ...]:
    """The words of a setting; one that holds a comma itself stands in quotation marks.

    Args:
        name: of the setting.
        text: its value; None or empty: all that are known.
        known: what the words may be.

    Raises:
        InputError: a word is not known.
    """
    found = _split(text) if text else tuple(known)
    for word in found:
        if word not in known:
            shown = ", ".join(f'"{one}"' if "," in one else one for one in known)
            raise InputError(f"{name} must be of {shown}. Received: {word!r}")
    return found


def multiples(name: str, text: str, of: int = 1) -> tuple[int, ...]:
    """The whole numbers of a setting.

    Args:
        name: of the setting.
        text: its value.
        of: what they must be positive multiples of.

    Raises:
        InputError: one of them is not.
    """
    wanted = "whole numbers above 0" if of == 1 else f"positive multiples of {of}"
    found = _split(text)
    for word in found:
        if not (word.isascii() and word.isdigit() and int(word) % of == 0 < int(word)):
            raise InputError(f"{name} must be {wanted}, with commas between. Received: {word!r}")
    return tuple(map(int, found))


def _split(text):
    (row,) = csv.reader([text], skipinitialspace=True)
    return tuple(word.strip() for word in row) or ("",)


@dataclasses.dataclass(frozen=True)
class ImageSizes(Settings):
    """What benchmarks share that measure at several sizes of images."""

    image_sizes: str = setting(
        "32,64", "Work", "sides in pixels, multiples of 8, with commas between"
    )

    def check(self):
        """Raises InputError for a size that is none."""
        self.sizes()

    def sizes(self) -> tuple[int, ...]:
        """The sides asked for, in pixels."""
        return multiples("image_sizes", self.image_sizes, of=8)
