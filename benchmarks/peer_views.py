"""The views of images that the peers of `benchmarks.peers` learn from, made for a batch at once.

They are torchvision's transforms of the same names (random resized crop, flip, colour jitter, grey,
solarisation) as tensor operations, so that making views costs the same for every peer and little
beside a step. Each image has its draws for itself; the four changes of colour come in an order that
is drawn once for a batch. Blur is left out: at 32 pixels the sources of the settings switch it off.
Needs PyTorch.
"""

import math

import torch
from torch.nn import functional

_GREY = (0.299, 0.587, 0.114)  # ITU-R 601, as of torchvision


def make(images, views, generator):
    """One view of each image.

    Args:
        images: float32 [batch, 3, H, W] in [0, 1].
        views: Views.
        generator: torch.Generator that all draws come from.

    Returns:
        float32 [batch, 3, H, W] in [0, 1].
    """
    batch = len(images)

    def happens(probability):  # bool [batch, 1, 1, 1]
        return torch.rand(batch, 1, 1, 1, generator=generator) < probability

    def uniform(low, high):  # [batch, 1, 1, 1]
        return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator)

    x = cropped(images, views, generator)
    brightness, contrast, saturation, hue = views.jitter
    changes = (
        lambda x: blended(
            x, torch.zeros_like(x), uniform(max(0.0, 1 - brightness), 1 + brightness)
        ),
        lambda x: blended(
            x, grey(x).mean((1, 2, 3), keepdim=True), uniform(max(0.0, 1 - contrast), 1 + contrast)
        ),
        lambda x: blended(x, grey(x), uniform(max(0.0, 1 - saturation), 1 + saturation)),
        lambda x: hue_turned(x, uniform(-hue, hue)),
    )
    changed = x
    for index in torch.randperm(4, generator=generator).tolist():
        changed = changes[index](changed)
    x = torch.where(happens(views.jitter_probability), changed, x)
    x = torch.where(happens(views.grey), grey(x), x)
    if views.solarized:
        x = torch.where(happens(views.solarized), solarized(x), x)
    return x


def cropped(images, views, generator):
    """A random crop of each image, resized to the image's size, flipped or not.

    A side longer than the image is cut to it; torchvision draws anew, up to ten times.

    Args:
        images: float32 [batch, 3, H, W].
        views: Views.
        generator: torch.Generator.
    """

    def uniform(low, high):  # [batch]
        return low + (high - low) * torch.rand(len(images), generator=generator)

    area = uniform(*views.area)
    ratio = uniform(-math.log(views.ratio), math.log(views.ratio)).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    left, top = uniform(0, 1) * (1 - width), uniform(0, 1) * (1 - height)
    mirrored = torch.where(uniform(0, 1) < views.flip, -1.0, 1.0)
    return windows(images, left, top, width, height, mirrored)


def windows(images, left, top, width, height, mirrored):
    """A window of each image by bilinear interpolation, at the image's size.

    Args:
        images: float32 [batch, 3, H, W].
        left, top, width, height: float32 [batch], in [0, 1] of the image's sides.
        mirrored: float32 [batch], -1 where left and right are exchanged, else 1.
    """
    zero = torch.zeros_like(left)
    theta = (
        torch.stack(  # [batch, 2, 3]: from places in the window to places in the image, in [-1, 1]
            [
                torch.stack([width * mirrored, zero, 2 * left + width - 1], dim=1),
                torch.stack([zero, height, 2 * top + height - 1], dim=1),
            ],
            dim=1,
        )
    )
    places = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, places, padding_mode="border", align_corners=False)


def blended(x, other, factor):
    """other + factor (x - other) in [0, 1]: brightness, contrast and saturation are such."""
    return (other + factor * (x - other)).clamp(0, 1)


def grey(x):
    """[batch, 3, H, W] -> the same shape, three equal channels."""
    weights = torch.tensor(_GREY).view(1, 3, 1, 1)
    return (x * weights).sum(dim=1, keepdim=True).expand_as(x)


def solarized(x):
    """Values of a half and more are inverted."""
    return torch.where(x >= 0.5, 1 - x, x)


def hue_turned(x, turns):
    """The hue turned, saturation and value of HSV kept.

    Args:
        x: float32 [batch, 3, H, W] in [0, 1].
        turns: float32 [batch, 1, 1, 1], 1 a whole turn.
    """
    value, least = x.amax(dim=1), x.amin(dim=1)  # [batch, H, W]
    chroma = value - least
    red, green, blue = x.unbind(dim=1)
    divisor = chroma.clamp(min=1e-12)
    sector = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    sector = sector[:, None] + 6 * turns  # [batch, 1, H, W]
    # Channel n of HSV: value - chroma · clamp(min(k, 4 - k), 0, 1), k = (n + sector) mod 6.
    k = (torch.tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1) + sector) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)
