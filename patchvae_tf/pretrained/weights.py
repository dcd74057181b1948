"""A model's weights by names that do not change, in a safetensors file."""

import pathlib
from collections.abc import Iterator

import keras
import numpy as np
import safetensors
import safetensors.numpy

from patchvae_tf.errors import InputError

# float16 keeps 11 bits: rounding changes a number by a 2048th at most, and what lies below the
# least normal number, 2^-14, by a 2048th of that.
ROUNDING = 2.0**-11
_LEAST_NORMAL = 2.0**-14


def named(layer: keras.layers.Layer) -> dict[str, keras.Variable]:
    """All weights below a layer by name: attribute or layer, then weight, "backbone/conv1_bn/beta".

    Keras' own names count layers of a kind in the process; these are the same in every process.
    """
    found: dict[int, tuple[str, keras.Variable]] = {}
    for name, weight in _walk(layer, ""):
        found.setdefault(id(weight), (name, weight))  # of several ways to a weight the first
    return dict(found.values())


def _walk(layer, prefix) -> Iterator[tuple[str, keras.Variable]]:
    """Yields (name, weight) of all weights below a layer."""
    if hasattr(layer, "inputs"):  # a network of named layers
        children = {child.name: child for child in layer.layers}
    else:
        children = {
            name: value
            for name, value in vars(layer).items()
            if isinstance(value, keras.layers.Layer)
        }
    for name, child in children.items():
        yield from _walk(child, f"{prefix}{name}/")
    below = {id(weight) for child in children.values() for weight in child.weights}
    for weight in layer.weights:
        if id(weight) not in below:
            yield f"{prefix}{weight.name}", weight


def write(path: pathlib.Path, weights: dict[str, np.ndarray]) -> None:
    """Writes arrays by name; they are read back to the last bit."""
    content = safetensors.numpy.save(
        {name: np.ascontiguousarray(values) for name, values in weights.items()}
    )
    path.write_bytes(content)


def read(path: pathlib.Path, below: str = "") -> dict[str, np.ndarray]:
    """Reads the arrays whose names begin with `below`: name -> array.

    Raises:
        InputError: the file is not there, not whole, or holds values that are not finite.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            names = [name for name in file.keys() if name.startswith(below)]  # noqa: SIM118
            found = {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): it is damaged. Restore it from a copy, or make the "
            "preset anew."
        ) from error
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise InputError(
                f"{path}: {name} holds values that are not finite. Restore it from a copy, or make "
                "the preset anew."
            )
    return found


def compacted(name: str, values: np.ndarray) -> np.ndarray:
    """A kernel in float16 where that rounds no further than `ROUNDING`; all else as it is.

    Scale, offset and statistics of batch normalisation stay in float32: they are few, and small
    variances would lose most of their digits.
    """
    if not name.endswith("/kernel"):
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    allowed = ROUNDING * np.maximum(np.abs(values), _LEAST_NORMAL)
    fits = np.abs(half.astype(np.float32) - values) <= allowed
    return half if fits.all() else values


def assign(variables: dict[str, keras.Variable], arrays: dict[str, np.ndarray]) -> list[str]:
    """Gives variables the arrays of their names where the shapes are the same.

    Returns:
        The names of the variables that stay as they are, in order.
    """
    fitting = {
        name: variable
        for name, variable in variables.items()
        if name in arrays and arrays[name].shape == tuple(variable.shape)
    }
    for name, variable in fitting.items():
        variable.assign(arrays[name].astype(np.float32))
    return [name for name in variables if name not in fitting]
