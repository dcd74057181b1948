"""ImageNet weights of ResNet-18 for φ, from a local file with torchvision's names.

φ takes another scale than torchvision's network: s = 2 x - 1, of x in [0, 1], where that one takes
(x - mean) / std of each colour. So the first convolution's kernel is divided by 2 std, and the
constant that is left goes into the moving mean of the batch normalisation behind it; in training
that takes it away with the batch's mean, as it would have been. That is exact but for one thing:
both convolutions pad with zeros, which is ImageNet's mean colour there and mid-grey here, so that
outputs within 3 pixels of the border are those of an image in a grey frame.

Needs no TensorFlow, so that a wrong file is named at once.
"""

import json
import math
import os
import pathlib
import typing
import zipfile
import zlib

import numpy as np

from patchvae_tf.errors import InputError

if typing.TYPE_CHECKING:
    import keras

# Of the weights' training, RGB in [0, 1]. Source: torchvision's transforms for ResNet-18.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_CHANNELS = {"layer1.0": 64, "layer1.1": 64, "layer2.0": 128, "layer2.1": 128}
_BLOCKS = {"layer1.0": "conv2", "layer1.1": "conv3", "layer2.0": "conv4", "layer2.1": "conv5"}
_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")  # in the order of Keras' weights
_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}


def _layers():
    """φ's layer -> (torchvision's layer, shape of its kernel; of the scale for a normalisation)."""
    layers = {"conv1_conv": ("conv1", (64, 3, 7, 7)), "conv1_bn": ("bn1", (64,))}
    channels_before = 64
    for block, channels in _CHANNELS.items():
        name = _BLOCKS[block]
        for letter, before in (("a", channels_before), ("b", channels)):
            number = "ab".index(letter) + 1
            kernel = (channels, before, 3, 3)
            layers[f"{name}{letter}_conv"] = (f"{block}.conv{number}", kernel)
            layers[f"{name}{letter}_bn"] = (f"{block}.bn{number}", (channels,))
        if channels != channels_before:
            kernel = (channels, channels_before, 1, 1)
            layers[f"{name}_shortcut_conv"] = (f"{block}.downsample.0", kernel)
            layers[f"{name}_shortcut_bn"] = (f"{block}.downsample.1", (channels,))
        channels_before = channels
    return layers


LAYERS = _layers()


def read(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """Reads the tensors of φ; what else the file holds (deeper layers, say) is left.

    Args:
        path: of a `.safetensors` or `.npz` file.

    Returns:
        dict: φ's layer -> list of float32 arrays, for `set_weights`.

    Raises:
        InputError: the file is not there or not whole, or a tensor is missing, has another shape,
            or a value that is not finite.
    """
    path = pathlib.Path(path).expanduser()
    if path.suffix not in (".safetensors", ".npz"):
        raise InputError(f"weights must end in .safetensors or .npz. Received: {path}")
    if not path.is_file():
        raise InputError(f"weights {path} does not exist. Give a local file of ResNet-18's.")
    wanted = _shapes()
    try:
        reader = _read_npz if path.suffix == ".npz" else _read_safetensors
        tensors = reader(path, wanted)
    except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise InputError(
            f"weights {path} has no {missing[0]}"
            + (f" (and {len(missing) - 1} more are missing)" if missing[1:] else "")
            + ". Give ResNet-18's weights, named as in torchvision."
        )
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise InputError(
                f"weights {path}: {name} has shape {tensors[name].shape}, expected {shape}. "
                "Give ResNet-18's weights, named as in torchvision."
            )
        if not np.isfinite(tensors[name]).all():
            raise InputError(
                f"weights {path}: {name} holds values that are not finite. Get the file anew."
            )
    return _for_backbone(tensors)


def _shapes():
    """Name of each tensor that φ needs -> its shape."""
    shapes = {}
    for source, shape in LAYERS.values():
        parts = ("weight",) if len(shape) == 4 else _NORM_PARTS
        shapes.update({f"{source}.{part}": shape for part in parts})
    return shapes


def _unreadable(path, error):
    return InputError(
        f"weights {path} cannot be read as {path.suffix} ({str(error).splitlines()[0][:200]}). "
        "Get the file anew."
    )


def _read_npz(path, wanted):
    with np.load(path, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name], np.float32) for name in wanted if name in archive}


def _read_safetensors(path, wanted):
    """Source of the format: the safetensors project's documentation."""
    content = np.memmap(path, np.uint8, mode="r")
    if len(content) < 8:
        raise ValueError("it is shorter than a header")
    header_end = 8 + int.from_bytes(content[:8].tobytes(), "little")
    if header_end > len(content):
        raise ValueError("its header is cut short")
    header = json.loads(content[8:header_end].tobytes())
    tensors = {}
    for name in wanted:
        if name not in header:
            continue
        entry = header[name]
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{name} is of type {entry['dtype']}, not of floats")
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        begin, end = (header_end + offset for offset in entry["data_offsets"])
        size = math.prod(entry["shape"]) * dtype.itemsize
        if not header_end <= begin <= end <= len(content) or end - begin != size:
            raise ValueError(f"{name} is not whole")
        values = np.frombuffer(content[begin:end].tobytes(), dtype).reshape(entry["shape"])
        if entry["dtype"] == "BF16":  # the upper half of a float32
            values = (values.astype("<u4") << 16).view("<f4")
        tensors[name] = values.astype(np.float32)
    return tensors


def _for_backbone(tensors):
    weights = {}
    for layer, (source, shape) in LAYERS.items():
        if len(shape) == 4:
            kernel = tensors[f"{source}.weight"].transpose(2, 3, 1, 0)  # rows, cols, in, out
            weights[layer] = [kernel]
        else:
            weights[layer] = [tensors[f"{source}.{part}"] for part in _NORM_PARTS]
    mean, std = np.array(MEAN), np.array(STD)
    (kernel,) = weights["conv1_conv"]
    # (x - mean) / std = s / (2 std) + (0.5 - mean) / std
    constant = np.einsum("rcio,i->o", kernel.astype(np.float64), (0.5 - mean) / std)
    weights["conv1_conv"] = [(kernel / (2.0 * std)[:, np.newaxis]).astype(np.float32)]
    weights["conv1_bn"][2] = (weights["conv1_bn"][2] - constant).astype(np.float32)
    return weights


def assign(backbone: "keras.Model", weights: dict[str, list[np.ndarray]]) -> None:
    """Gives φ the weights that `read` returned.

    Args:
        backbone: a model of `backbones.build`.
        weights: dict: φ's layer -> list of arrays.
    """
    for layer, values in weights.items():
        backbone.get_layer(layer).set_weights(values)
