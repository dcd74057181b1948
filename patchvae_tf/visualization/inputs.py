"""What the pictures ask of a model, and the form in which they take images."""

import typing

import keras
import tensorflow as tf

from patchvae_tf.errors import InputError

if typing.TYPE_CHECKING:
    import numpy as np


def as_float(images: "np.ndarray") -> tf.Tensor:
    """Images as a float32 tensor [n, H, W, channels] in [0, 1]; uint8 ones are scaled."""
    return tf.image.convert_image_dtype(tf.convert_to_tensor(images), tf.float32)


def outputs_of(model: keras.Model, images: "np.ndarray") -> "dict[str, np.ndarray]":
    """A model's outputs for a few images, as a dict of NumPy arrays; nothing in it is random."""
    return {name: tensor.numpy() for name, tensor in model(as_float(images)).items()}


def check_has_parts(model: keras.Model) -> None:
    """Raises InputError for a model that knows no parts."""
    if not hasattr(model, "num_parts"):
        raise InputError(
            f"a picture of parts needs a PatchVAE. Received: a {type(model).__name__}, which has "
            "one code for the whole image."
        )


def check_part(model: keras.Model, part: int) -> None:
    """Raises InputError unless `part` is one of the model's."""
    check_has_parts(model)
    if not 0 <= part < model.num_parts:
        raise InputError(f"`part` must be one of 0 ... {model.num_parts - 1}. Received: {part}")
