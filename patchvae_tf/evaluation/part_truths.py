"""Images whose parts are known: the generated `parts`, or your own with masks or points."""

import dataclasses
import pathlib
import zipfile
import zlib

import numpy as np

from patchvae_tf import datasets
from patchvae_tf.errors import InputError
from patchvae_tf.evaluation import part_folders, part_grids
from patchvae_tf.settings.pixels import RGB, Pixels


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
    pixels: Pixels = RGB,
    masks: str | None = None,
    points: str | None = None,
) -> PartTruths:
    """Reads the images of a data set and their parts.

    Args:
        dataset: str, "parts", or the path of an .npz file with `x_SPLIT` and, each of them also as
            NAME_SPLIT, either `part_maps` (bool [n, h, w, P]: masks of the whole image, of any h
            and w) or `points` (float [n, P, 2]: x and y in pixels of the image, NaN where not
            visible); `part_names` [P] where they have names; or a folder of images.
        split: str, "train" or "test"; None for test where there is one, else train.
        image_size: int, pixels of a side of the images that the model takes.
        stride: int, pixels of a side of a place.
        seed: int, of the scenes.
        pixels: Pixels that the model takes.
        masks, points: of a folder's images, as of `part_folders.load`.

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
    if path.is_dir():
        if (masks is None) == (points is None):
            raise InputError(
                f"{dataset} is a folder: say by masks=FOLDER or by points=FILE.csv where its parts "
                "are."
            )
        found = part_folders.load(
            path,
            split,
            None if masks is None else pathlib.Path(masks).expanduser(),
            None if points is None else pathlib.Path(points).expanduser(),
            image_size=image_size,
            stride=stride,
            pixels=pixels,
        )
        _check_shown(found[1], found[2], dataset)
        return PartTruths(*found)
    if masks is not None or points is not None:
        raise InputError(f"masks and points are for a folder of images. Received: {dataset}")
    if path.suffix.lower() != ".npz":
        raise InputError(
            f"{dataset!r} does not say where parts are: give `parts`, an .npz file with part_maps "
            "or points, or a folder with masks or points."
        )
    return _of_npz(path, split, image_size, stride, pixels)


def scene_maps(part_maps: np.ndarray, places: int) -> np.ndarray:
    """The part maps of `parts`, bool [n, h, w, P], on a grid of `places` × `places`."""
    return part_grids.covered(part_maps, part_maps.shape[1:3], places, part_grids.ROUNDING)


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
        part_maps = part_grids.covered(arrays["part_maps"], source, image_size // stride)
    else:
        _check_points(arrays["points"], len(images), f"points in {str(path)!r}")
        part_maps = part_grids.near(arrays["points"], source, image_size // stride)
    count = part_maps.shape[-1]
    names = arrays.get("part_names", [f"part {part}" for part in range(count)])
    if np.shape(names) != (count,):
        raise InputError(
            f"part_names in {str(path)!r} has shape {np.shape(names)}: expected ({count},), a name "
            "for each part."
        )
    _check_shown(part_maps, names, path)
    return PartTruths(images, part_maps, tuple(map(str, names)), split)


def _check_shown(part_maps, names, path):
    shown = part_maps.any((0, 1, 2))
    absent = [str(name) for name, is_shown in zip(names, shown, strict=True) if not is_shown]
    if absent:
        raise InputError(
            f"{str(path)!r}: at no place of the images is {', '.join(absent)}. Leave such parts "
            "out, or give larger masks."
        )


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
