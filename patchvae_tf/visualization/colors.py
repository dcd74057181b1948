"""Images of any number of channels as red, green and blue, for pictures alone."""

import contextlib
import contextvars
from collections.abc import Iterator

import numpy as np

_FIRST = (0, 1, 2)
_chosen: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("chosen", default=_FIRST)


@contextlib.contextmanager
def channels_shown(channels: tuple[int, ...] | None) -> Iterator[None]:
    """Inside, pictures show these channels, from 0, as red, green and blue; None: the first three.

    Images of fewer than four channels are shown as they are.
    """
    token = _chosen.set(channels or _FIRST)
    try:
        yield
    finally:
        _chosen.reset(token)


def as_rgb(images: np.ndarray) -> np.ndarray:
    """[..., channels] -> [..., 3]: one channel is grey, two are red and green."""
    images = np.asarray(images)
    channels = images.shape[-1]
    if channels == 3:
        return images
    if channels == 1:
        return images.repeat(3, axis=-1)
    if channels == 2:
        return np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1)
    return images[..., list(_chosen.get())]
