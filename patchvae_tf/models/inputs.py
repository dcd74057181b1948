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
_CHANNELS = 3


def model_images(images: typing.Any, stride: int, exact_size: int | None = None) -> tf.Tensor:
    """Images as the networks take them.

    Args:
        images: uint8, or floats in [0, 1], [batch, H, W, 3]; or a dict as of TFDS, of which
            `image` is taken.
        stride: H and W are multiples of it.
        exact_size: the only H and W, of models whose layers depend on it; None: any.

    Returns:
        float32 [batch, H, W, 3] in [0, 1].

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
        _check_shape(images.shape, stride, exact_size)
        return images
    images = tf.convert_to_tensor(images)
    _check_shape(images.shape, stride, exact_size)
    if images.dtype == tf.uint8:
        return tf.image.convert_image_dtype(images, tf.float32)
    if not images.dtype.is_floating:
        raise InputError(
            f"images must be uint8, or floats in [0, 1]. Received: {images.dtype.name}. Cast them "
            "to uint8."
        )
    images = tf.cast(images, tf.float32)
    if tf.executing_eagerly():
        _check_values(float(tf.reduce_min(images)), float(tf.reduce_max(images)))
    return images


def check_data(x: typing.Any, stride: int, exact_size: int | None = None) -> None:
    """Looks at the first images that `fit`, `evaluate` or `predict` is given.

    Args:
        x: an array, a `tf.data.Dataset` of batches, or anything else that Keras takes, which is
            not looked at.
        stride, exact_size: as of `model_images`.

    Raises:
        InputError: as of `model_images`; or it is nothing that images can be taken from.
    """
    if x is None or isinstance(x, str | os.PathLike):
        raise InputError(
            f"images must be an array [n, H, W, 3] or a tf.data.Dataset of batches. Received: {x}. "
            "To train on a folder: patchvae_tf.train(dataset=FOLDER)."
        )
    if isinstance(x, list | tuple):  # Keras would take each for an input of its own
        raise InputError(
            f"images must be one array [n, H, W, 3]. Received: a {type(x).__name__} of {len(x)}. "
            "Put them together: numpy.stack(images)."
        )
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.take(1)), None)
        if batch is None:
            raise InputError("the tf.data.Dataset has no batch: give one with images.")
        images, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        model_images(images, stride, exact_size)
    elif isinstance(x, np.ndarray | tf.Tensor):
        model_images(x[:_LOOKED_AT], stride, exact_size)


def _check_shape(shape, stride, exact_size):
    shape = tuple(shape)
    if len(shape) != 4 or shape[-1] not in (None, _CHANNELS):
        raise InputError(
            "images must be a batch in color, [n, H, W, 3]. Received: "
            f"{_shown(shape)}.{_how_to_mend(shape)}"
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


def _how_to_mend(shape):
    if len(shape) == 3 and shape[-1] == _CHANNELS:
        return " One image is a batch of one: images[None]."
    if len(shape) == 4 and shape[-1] == 1:
        return " Grey images take three equal channels: np.repeat(images, 3, axis=-1)."
    if len(shape) == 3:
        return " Grey images take three equal channels: np.stack([images] * 3, axis=-1)."
    if len(shape) == 4 and shape[1] == _CHANNELS:
        return " Channels come last: np.moveaxis(images, 1, -1)."
    if len(shape) == 4 and shape[-1] == 4:
        return " Leave the fourth channel out: images[..., :3]."
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
