"""Backbones: networks φ that turn an image into a grid of features.

An architecture is a list of stages, the depths at which transfer may freeze it and at which maps
are exported; it may be cut at any of its strides. What is known of one without building it stands
here and needs no TensorFlow.
"""

import dataclasses
import importlib
import typing

from patchvae_tf.errors import InputError

if typing.TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Stage:
    """A depth of a backbone.

    Attributes:
        name: str, e.g. "conv1-3".
        layer: str, name of the layer that it ends with.
        stride: int, pixels of the image per place of the map.
        channels: int, of the map.
    """

    name: str
    layer: str
    stride: int
    channels: int


@dataclasses.dataclass(frozen=True)
class _Architecture:
    """Where it is built, at which stride by default, and its stages, in order."""

    module: str
    default_stride: int
    stages: tuple[Stage, ...]


# Of Resnet-9 they are Table 5's and those of the paper's tables of results.
_RESNET18_STAGES = (
    Stage("conv1", "conv1_pool", 4, 64),
    Stage("conv1-3", "conv3_out", 4, 64),
    Stage("conv1-5", "conv5_out", 8, 128),
    Stage("conv1-7", "conv7_out", 16, 256),
    Stage("conv1-9", "conv9_out", 32, 512),
)
_RESNET50_STAGES = (
    Stage("conv1", "conv1_pool", 4, 64),
    Stage("conv1-4", "conv4_out", 4, 256),
    Stage("conv1-8", "conv8_out", 8, 512),
    Stage("conv1-14", "conv14_out", 16, 1024),
    Stage("conv1-17", "conv17_out", 32, 2048),
)
_ALEXNET_STAGES = (
    Stage("conv1", "conv1_relu", 4, 64),
    Stage("conv1-2", "conv2_relu", 8, 192),
    Stage("conv1-5", "conv5_relu", 16, 256),
    Stage("pool5", "conv5_pool", 32, 256),
)
_PYRAMID_STAGES = (
    Stage("conv1", "conv1_relu", 2, 64),
    Stage("conv1-2", "conv2_relu", 4, 128),
    Stage("conv1-3", "conv3_relu", 8, 256),
    Stage("conv1-4", "conv4_relu", 16, 512),
    Stage("conv1-5", "conv5_relu", 32, 1024),
)

_ARCHITECTURES = {
    "resnet9": _Architecture("resnet", 8, _RESNET18_STAGES[:3]),
    "resnet18": _Architecture("resnet", 32, _RESNET18_STAGES),
    "resnet50": _Architecture("resnet", 32, _RESNET50_STAGES),
    "alexnet": _Architecture("alexnet", 32, _ALEXNET_STAGES),
    "pyramid": _Architecture("pyramid", 8, _PYRAMID_STAGES),
}

NAMES = tuple(_ARCHITECTURES)
STRIDES = (4, 8, 16, 32)
STAGE_NAMES = frozenset(stage.name for known in _ARCHITECTURES.values() for stage in known.stages)


def strides(name: str) -> tuple[int, ...]:
    """The strides at which a backbone may be cut, in order."""
    return tuple(sorted({stage.stride for stage in _ARCHITECTURES[name].stages} & set(STRIDES)))


def checked_stride(name: str, stride: int | None = None) -> int:
    """Returns `stride`, or for None the backbone's default.

    Raises:
        InputError: there is no such backbone, or it has no such stride.
    """
    if name not in _ARCHITECTURES:
        raise InputError(f"`backbone` must be one of {', '.join(NAMES)}. Received: {name!r}")
    if stride is None:
        return _ARCHITECTURES[name].default_stride
    if stride not in strides(name):
        raise InputError(
            f"the stride of {name} must be one of {', '.join(map(str, strides(name)))}. "
            f"Received: {stride}"
        )
    return stride


def stages(name: str, stride: int | None = None) -> tuple[Stage, ...]:
    """The stages of a backbone cut at `stride` (None: its default), the last one all of it."""
    stride = checked_stride(name, stride)
    return tuple(stage for stage in _ARCHITECTURES[name].stages if stage.stride <= stride)


def build(name: str = "resnet9", stride: int | None = None, channels: int = 3) -> "keras.Model":
    """Builds φ as a functional `keras.Model`, with its first weights.

    Args:
        name: str, one of `NAMES`.
        stride: int, one of `strides(name)`, or None for the default.
        channels: int, of the images.

    Returns:
        A model, float32 [batch, H, W, channels] in [0, 1], H and W multiples of the stride ->
        features, [batch, H/stride, W/stride, c]; `stages` names the layers at other depths.

    Raises:
        InputError: there is no such backbone, or it has no such stride.
    """
    stride = checked_stride(name, stride)
    module = importlib.import_module(f"{__name__}.{_ARCHITECTURES[name].module}")
    return getattr(module, name)(stride, channels)
