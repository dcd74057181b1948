"""What training sees of an image."""

import dataclasses

from patchvae_tf.errors import InputError
from patchvae_tf.settings.fields import Settings, setting


@dataclasses.dataclass(frozen=True)
class Views(Settings):
    """How a view of an image differs from it; the defaults change nothing, as in the paper.

    `layers.RandomViews` draws them.
    """

    crop_side: float = setting(
        1.0,
        "Views",
        "least side of the random crop that training takes, as a share of the image's; 1: no crop",
        above=0.0,
        maximum=1.0,
    )
    rotation: float = setting(
        0.0,
        "Views",
        "greatest angle in degrees by which what training takes is turned; 0: upright",
        minimum=0.0,
        maximum=180.0,
    )
    scaling: float = setting(
        1.0,
        "Views",
        "greatest factor by which what training takes is made larger or smaller; 1: as it is",
        minimum=1.0,
        maximum=4.0,
    )
    translation: float = setting(
        0.0,
        "Views",
        "greatest shift of what training takes, as a share of the image's side; 0: none",
        minimum=0.0,
        maximum=1.0,
    )
    color_jitter: float = setting(
        0.0,
        "Views",
        "strength of the change of colours in what training sees, not in what it rebuilds",
        minimum=0.0,
        maximum=1.0,
    )
    mask_share: float = setting(
        0.0,
        "Views",
        "share of the blocks that are hidden in what training sees",
        minimum=0.0,
        below=1.0,
    )
    mask_size: int = setting(
        4,
        "Views",
        "side of a hidden block in pixels; divides the views' side",
        minimum=1,
        rare=True,
    )

    def view_size(self, image_size: int, stride: int) -> int:
        """Side of the views in pixels: the images'."""
        del stride
        return image_size

    def check_size(self, view_size: int) -> None:
        """Raises InputError unless blocks of `mask_size` fill a view of `view_size` pixels."""
        if view_size % self.mask_size:
            raise InputError(
                f"mask_size must divide the side of what training sees, {view_size} pixels. "
                f"Received: {self.mask_size}. Use e.g. 4 or 8."
            )


@dataclasses.dataclass(frozen=True)
class ScaledViews(Views):
    """Views that may have fewer pixels than the images: for models that take images of any size."""

    view_scale: float = setting(
        1.0,
        "Views",
        "side in pixels of what training takes, as a share of image_size, about; below 1 a step is "
        "cheaper",
        above=0.0,
        maximum=1.0,
    )

    def view_size(self, image_size: int, stride: int) -> int:
        """Side of the views in pixels: the multiple of `stride` that is next to `view_scale`'s."""
        return max(1, round(self.view_scale * image_size / stride)) * stride
