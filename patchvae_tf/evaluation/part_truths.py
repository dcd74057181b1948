"""Images whose parts are known: the generated `parts`, or an .npz file with masks or points."""

import dataclasses
import pathlib
import zipfile
import zlib

import numpy as np

from patchvae_tf import datasets
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels

_RGB = Pixels()
_ROUNDING = 1e-5
_COVERED = 0.25 - _ROUNDING  # the share of a place that a part covers where the place shows it


@dataclasses.dataclass(frozen=True, eq=False)
class PartTruths:
    """Images, and where their parts are on a model's grid.

    Attributes:
        images: uint8 [n, size, size, channels].
        part_maps: bool [n, size / stride, size / stride, P].
        names: tuple of P str.
        split: str, the part of the data set.
    """

    images: np.ndarray
    part_maps: np.ndarray
    names: tuple[str, ...]
    split: str


def load(
    dataset: str,
    split: str | None,
    *,
    image_size: int,
    stride: int,
    seed: int,
    pixels: Pixels = _RGB,
) -> PartTruths:
    """Reads the images of a data set and their parts.

    Args:
        dataset: str, "parts", or the path of an .npz file with `x_SPLIT` and, each of them also as
            NAME_SPLIT, either `part_maps` (bool [n, h, w, P]: masks of the whole image, of any h
            and w) or `points` (float [n, P, 2]: x and y in pixels of the image, NaN where not
            visible); `part_names` [P] where they have names.
        split: str, "train" or "test"; None for test where there is one, else train.
        image_size: int, pixels of a side of the images that the model takes.
        stride: int, pixels of a side of a place.
        seed: int, of the scenes.
        pixels: Pixels that the model takes.

    Returns:
        `PartTruths`. A place shows a part where that covers at least a quarter of it, and a point
        where its centre is within its own side's length of it. The 8-pixel cells of `parts` are
        repeated on a finer grid; a place of a coarser one shows what any of its cells does.

    Raises:
        InputError: the data is not there, or not as expected.
    """
    if dataset == "parts":
        split = split or "test"
        scenes = datasets.load("parts", split, image_size=image_size, pixels=pixels, seed=seed)
        assert scenes.part_maps is not None  # of generated scenes they are known
        part_maps = scene_maps(scenes.part_maps, image_size // stride)
        return PartTruths(scenes.images, part_maps, datasets.PART_NAMES, split)
    path = pathlib.Path(dataset).expanduser()
    if path.suffix.lower() != ".npz":
        raise InputError(
            f"{dataset!r} does not say where parts are: give `parts`, or an .npz file with "
            "part_maps or points."
        )
    return _of_npz(path, split, image_size, stride, pixels)


def scene_maps(part_maps: np.ndarray, places: int) -> np.ndarray:
    """The part maps of `parts`, bool [n, h, w, P], on a grid of `places` × `places`."""
    return _on_grid(part_maps, part_maps.shape[1:3], places, _ROUNDING)


def _of_npz(path, split, image_size, stride, pixels):
    split, stored, arrays = _read(path, split)
    images = datasets.load(str(path), split, image_size=image_size, pixels=pixels).images
    source = arrays["x"].shape[1:3]
    if ("part_maps" in arrays) == ("points" in arrays):
        raise InputError(
            f"{str(path)!r} holds {', '.join(stored)}: expected, beside the images, either "
            "part_maps (bool [n, height, width, parts]) or points (float [n, parts, 2])."
        )
    if "part_maps" in arrays:
        _check_maps(arrays["part_maps"], len(images), f"part_maps in {str(path)!r}")
        part_maps = _on_grid(arrays["part_maps"], source, image_size // stride, _COVERED)
    else:
        _check_points(arrays["points"], len(images), f"points in {str(path)!r}")
        part_maps = _around_points(arrays["points"], source, image_size, stride)
    count = part_maps.shape[-1]
    names = arrays.get("part_names", [f"part {part}" for part in range(count)])
    if np.shape(names) != (count,):
        raise InputError(
            f"part_names in {str(path)!r} has shape {np.shape(names)}: expected ({count},), a name "
            "for each part."
        )
    shown = part_maps.any((0, 1, 2))
    absent = [str(name) for name, is_shown in zip(names, shown, strict=True) if not is_shown]
    if absent:
        raise InputError(
            f"{str(path)!r}: at no place of the images is {', '.join(absent)}. Leave such parts "
            "out, or give larger masks."
        )
    return PartTruths(images, part_maps, tuple(map(str, names)), split)


def _read(path, split):
    """The split, the names of all stored arrays, and a dict of those wanted of the split."""
    if not path.is_file():
        raise InputError(f"{str(path)!r} does not exist: check the path of the .npz file.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = archive.files
            split = split or ("test" if "x_test" in stored else "train")
            found = {}
            for name in ("x", "part_maps", "points", "part_names"):
                for one in (f"{name}_{split}", name):
                    if one in stored and name not in found:
                        found[name] = archive[one]
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{str(path)!r} cannot be read as plain arrays ({error}): write it with numpy.savez."
        ) from error
    return split, stored, found


def _check_maps(maps, count, where):
    if maps.dtype != bool or maps.ndim != 4 or maps.shape[0] != count or 0 in maps.shape:
        raise InputError(
            f"{where} has dtype {maps.dtype} and shape {maps.shape}: expected bool "
            f"[{count}, height, width, parts], masks for each image. Of other numbers take "
            "`masks > 0`, say."
        )


def _check_points(points, count, where):
    is_float = np.issubdtype(points.dtype, np.floating)
    if not is_float or points.ndim != 3 or points.shape[::2] != (count, 2) or 0 in points.shape:
        raise InputError(
            f"{where} has dtype {points.dtype} and shape {points.shape}: expected floats "
            f"[{count}, parts, 2], x and y in pixels for each image, NaN where not visible."
        )


def _on_grid(maps, source, places, least):
    """Where parts cover more than a share of a place.

    Args:
        maps: bool [n, h, w, P], of whole images.
        source: (height, width) of the images before they were made square.
        places: int, of a side of the grid.
        least: float, the share.

    Returns:
        bool [n, places, places, P].
    """
    rows, columns = (
        _shares(cells, side, min(source), places)
        for cells, side in zip(maps.shape[1:3], source, strict=True)
    )
    shown = np.empty((len(maps), places, places, maps.shape[-1]), bool)
    for index, one in enumerate(maps):  # one by one: masks may be as large as photographs
        covered = np.tensordot(rows, one.astype(np.float32), 1)  # [places, w, P]
        covered = np.tensordot(columns, covered, (1, 1))  # [places (columns), places (rows), P]
        shown[index] = covered.swapaxes(0, 1) > least
    return shown


def _shares(cells, side, shorter, places):
    """How much of each place of the central square lies in each cell, along one axis.

    Args:
        cells: int, of the mask, along the whole image.
        side: int, of the image, in pixels.
        shorter: int, the image's shorter side: that of the square.
        places: int.

    Returns:
        float32 [places, cells]; sums to 1 over the cells.
    """
    edges = (side - shorter) / 2 + shorter * np.arange(places + 1) / places  # [places + 1], pixels
    edges *= cells / side  # in cells
    low, high = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    cell = np.arange(cells)
    shared = np.maximum(np.minimum(high, cell + 1) - np.maximum(low, cell), 0)
    return (shared / (high - low)).astype(np.float32)


def _around_points(points, source, image_size, stride):
    """Where points are within a place's side of its centre: bool [n, places, places, P].

    Args:
        points: float [n, P, 2], x and y in pixels of the images before they were made square.
        source: (height, width) of these.
        image_size: int.
        stride: int.
    """
    height, width = source
    corner = (np.array([width, height]) - min(source)) / 2
    points = (points - corner) * image_size / min(source)  # [n, P, 2]
    centres = stride * (np.arange(image_size // stride) + 0.5)
    across = np.square(centres[:, np.newaxis] - points[:, np.newaxis, :, 0])  # [n, places, P]
    down = np.square(centres[:, np.newaxis] - points[:, np.newaxis, :, 1])
    return down[:, :, np.newaxis] + across[:, np.newaxis] <= stride**2  # NaN is near nothing
