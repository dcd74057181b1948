"""What a person gives a model: images in the forms that it takes, or one sentence.

Range and values are looked at where tensors have values; inside a graph, in the training loop say,
nothing is computed for it.
"""

import os
import typing

import keras
import numpy as np
import tensorflow as tf

from patchvae_tf.errors import InputError

_TOLERANCE = 1e-3  # beyond [0, 1]: what resizing may leave
_LOOKED_AT = 256  # images of an array that `fit` is given
_CALLED = {1: "grey images, ", 3: "color images, "}  # by their channels


def model_images(
    images: typing.Any, stride: int, channels: int = 3, exact_size: int | None = None
) -> tf.Tensor:
    """Images as the networks take them.

    Args:
        images: uint8, uint16, or floats in [0, 1], [batch, H, W, channels]; or a dict as of TFDS,
            of which `image` is taken.
        stride: H and W are multiples of it.
        channels: of the images.
        exact_size: the only H and W, of models whose layers depend on it; None: any.

    Returns:
        float32 [batch, H, W, channels] in [0, 1].

    Raises:
        InputError: another shape, another range, or a value that is not finite.
    """
    if isinstance(images, dict):
        if "image" not in images:
            raise InputError(
                f"the examples are dicts of {', '.join(map(str, images))}: expected images, or an "
                "entry `image`. Map the data set to its images."
            )
        images = images["image"]
    if isinstance(images, keras.KerasTensor):
        _check_shape(images.shape, stride, channels, exact_size)
        return images
    images = tf.convert_to_tensor(images)
    _check_shape(images.shape, stride, channels, exact_size)
    if images.dtype in (tf.uint8, tf.uint16):
        return tf.image.convert_image_dtype(images, tf.float32)
    if not images.dtype.is_floating:
        raise InputError(
            "images must be uint8, uint16, or floats in [0, 1]. Received: "
            f"{images.dtype.name}. Cast them to uint8."
        )
    images = tf.cast(images, tf.float32)
    if tf.executing_eagerly():
        _check_values(float(tf.reduce_min(images)), float(tf.reduce_max(images)))
    return images


def check_data(
    x: typing.Any, stride: int, channels: int = 3, exact_size: int | None = None
) -> None:
    """Looks at the first images that `fit`, `evaluate` or `predict` is given.

    Args:
        x: an array, a `tf.data.Dataset` of batches, or anything else that Keras takes, which is
            not looked at.
        stride, channels, exact_size: as of `model_images`.

    Raises:
        InputError: as of `model_images`; or it is nothing that images can be taken from.
    """
    if x is None or isinstance(x, str | os.PathLike):
        raise InputError(
            f"images must be an array [n, H, W, {channels}] or a tf.data.Dataset of batches. "
            f"Received: {x}. To train on a folder: patchvae_tf.train(dataset=FOLDER)."
        )
    if isinstance(x, list | tuple):  # Keras would take each for an input of its own
        raise InputError(
            f"images must be one array [n, H, W, {channels}]. Received: a {type(x).__name__} of "
            f"{len(x)}. Put them together: numpy.stack(images)."
        )
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.take(1)), None)
        if batch is None:
            raise InputError("the tf.data.Dataset has no batch: give one with images.")
        images, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        model_images(images, stride, channels, exact_size)
    elif isinstance(x, np.ndarray | tf.Tensor):
        model_images(x[:_LOOKED_AT], stride, channels, exact_size)


def _check_shape(shape, stride, channels, exact_size):
    shape = tuple(shape)
    if len(shape) != 4 or shape[-1] not in (None, channels):
        raise InputError(
            f"images must be a batch of {_CALLED.get(channels, '')}[n, H, W, {channels}]. "
            f"Received: {_shown(shape)}.{_how_to_mend(shape, channels)}"
        )
    if shape[0] == 0:
        raise InputError(f"there are no images. Received: {_shown(shape)}. Give at least one.")
    sides = [side for side in shape[1:3] if side is not None]
    if exact_size is not None and any(side != exact_size for side in sides):
        raise InputError(
            f"this model takes images of {exact_size} x {exact_size} pixels alone. Received: "
            f"{_shown(shape)}. Resize them."
        )
    if any(side < stride or side % stride for side in sides):
        raise InputError(
            f"height and width must be multiples of the backbone's stride, {stride}. Received: "
            f"{_shown(shape)}. Resize or pad the images."
        )


def _shown(shape):
    return f"[{', '.join('n' if side is None else str(side) for side in shape)}]"


def _how_to_mend(shape, channels):
    if len(shape) == 3 and shape[-1] == channels:
        return " One image is a batch of one: images[None]."
    if len(shape) == 4 and shape[1] == channels:
        return " Channels come last: np.moveaxis(images, 1, -1)."
    if len(shape) == 3 and channels == 1:
        return " Give them an axis of channels: images[..., None]."
    if channels == 3 and (len(shape) == 3 or shape[-1] == 1):
        repeated = (
            "np.repeat(images, 3, axis=-1)" if len(shape) == 4 else "np.stack([images] * 3, -1)"
        )
        return f" Grey images take three equal channels, {repeated}; or a model with channels=1."
    if len(shape) == 4:
        return f" Choose {channels} of their channels; or a model with channels={shape[-1]}."
    return ""


def _check_values(least, greatest):
    if not np.isfinite([least, greatest]).all():
        raise InputError(
            "images have values that are not finite (NaN or infinity). Leave them out, or mend "
            "what made them."
        )
    if least < -_TOLERANCE or greatest > 1.0 + _TOLERANCE:
        mend = "x / 255" if least >= 0.0 else "(x + 1) / 2 if they are in [-1, 1]"
        raise InputError(
            f"float images must be in [0, 1]. Received: {least:g} to {greatest:g}. Use uint8, or "
            f"scale them: {mend}."
        )
