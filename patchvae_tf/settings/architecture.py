"""The networks: the backbone φ, and the code between it and the decoder."""

import dataclasses

from patchvae_tf import backbones
from patchvae_tf.errors import InputError
from patchvae_tf.settings.fields import Settings, setting


@dataclasses.dataclass(frozen=True)
class Backbone(Settings):
    """φ and the images that it takes."""

    image_size: int = setting(
        32, "Data", "side of the square images in pixels, a multiple of the stride", minimum=8
    )
    channels: int = setting(
        3, "Data", "of the images: 3 for RGB, 1 for grey; of arrays and TIFF any", minimum=1
    )
    backbone: str = setting(
        "resnet9", "Model", "phi, the network that learns to see", choices=backbones.NAMES
    )
    stride: int | None = setting(
        None,
        "Model",
        "of the backbone, pixels per place of its map: 4, 8, 16 or 32; where it is cut "
        "(default: resnet9 and pyramid 8, others 32)",
    )

    def check(self) -> None:
        """The backbone has the stride, and the size fits."""
        check_image_size(self.image_size, self.backbone, self.stride)


@dataclasses.dataclass(frozen=True)
class PartCode(Settings):
    """PatchVAE's code: which parts occur where, and how each looks. Defaults: the paper's."""

    num_parts: int = setting(16, "Model", "N, number of parts", minimum=1)
    appearance_dim: int = setting(6, "Model", "d_p, numbers that describe a part's look", minimum=1)
    occurrence: str = setting(
        "bernoulli",
        "Model",
        "how parts occur: each for itself, one at a location, or (exclusive) one or none",
        choices=("bernoulli", "categorical", "exclusive"),
        rare=True,
    )
    hard_occurrence: bool = setting(
        False, "Model", "0/1 samples with a straight-through gradient", rare=True
    )
    independent_decoders: bool = setting(
        False, "Model", "a decoder of its own for each part, their images summed", rare=True
    )


@dataclasses.dataclass(frozen=True)
class GlobalCode(Settings):
    """The code of the baselines: one for the whole image."""

    latent_dim: int = setting(96, "Model", "width of the global code", minimum=1, rare=True)


def check_image_size(image_size: int | None, backbone: str, stride: int | None) -> None:
    """Raises InputError unless the backbone has the stride (None: its default), and the size fits.

    Args:
        image_size: in pixels, or None: not known yet.
        backbone: one of `backbones.NAMES`.
        stride: pixels per place, or None.
    """
    allowed = backbones.strides(backbone)
    if stride is not None and stride not in allowed:
        raise InputError(
            f"stride of backbone={backbone} must be one of {', '.join(map(str, allowed))}. "
            f"Received: {stride}"
        )
    stride = backbones.checked_stride(backbone, stride)
    if image_size is not None and (image_size < stride or image_size % stride):
        below = max(image_size // stride, 1) * stride
        raise InputError(
            f"image_size must be a positive multiple of the backbone's stride, {stride}. "
            f"Received: {image_size}. Use e.g. {below} or {below + stride}."
        )
