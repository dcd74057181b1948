"""Where the parts of a folder's images are: a mask beside each, or a table of points."""

import csv
import pathlib

import numpy as np

from patchvae_tf import datasets
from patchvae_tf.datasets.folder import has_split, split_folder
from patchvae_tf.errors import InputError
from patchvae_tf.evaluation import part_grids
from patchvae_tf.settings.pixels import Pixels

NAMES_FILE = "part_names.txt"
_COLUMNS = ("image", "part", "x", "y")
_ORIENTATION = 0x0112  # EXIF's tag; from 5 on the image lies on its side


def load(
    root: pathlib.Path,
    split: str | None,
    masks: pathlib.Path | None,
    points: pathlib.Path | None,
    *,
    image_size: int,
    stride: int,
    pixels: Pixels,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], str]:
    """Reads the images of a folder and their parts.

    Args:
        root: folder of images, as of `datasets.load`.
        split: "train" or "test"; None for test where there is one, else train.
        masks: folder with a PNG file for each image, of the same name but for the suffix, in the
            same sub-folder, or all that in a sub-folder called as the split: of any size, 0 where
            no part is and k where the k-th is. Its `part_names.txt` may name them, one a line.
        points: CSV file with the columns image (path within the split's folder), part (a name), x
            and y in pixels of the image as viewers turn it. Exactly one of the two is given.
        image_size: pixels of a side of the images that the model takes.
        stride: pixels of a side of a place.
        pixels: Pixels that the model takes.

    Returns:
        (images, part maps, names, split), as of `part_truths.PartTruths`.

    Raises:
        InputError: something is not there, or not as expected.
    """
    split = split or ("test" if has_split(root, "test") else "train")
    images = datasets.load(str(root), split, image_size=image_size, pixels=pixels, progress=True)
    places = image_size // stride
    if masks is not None:
        part_maps, names = _of_masks(masks, split, images.keys, places)
    else:
        assert points is not None
        part_maps, names = _of_points(points, split_folder(root, split), images.keys, places)
    return images.images, part_maps, names, split


def _of_masks(folder, split, keys, places):
    if not folder.is_dir():
        raise InputError(f"masks {folder} is not a folder: give one with a PNG for each image.")
    inside = folder / split if (folder / split).is_dir() else folder
    read = [_read_mask(inside / key) for key in keys]
    count = max(int(mask.max()) for mask in read)
    if not count:
        raise InputError(f"the masks in {inside} are 0 everywhere: mark the k-th part by k.")
    names = _names(folder / NAMES_FILE, count)
    maps = np.empty((len(read), places, places, count), bool)
    for index, mask in enumerate(read):
        parts = mask[..., np.newaxis] == np.arange(1, count + 1)  # [h, w, P]
        maps[index] = part_grids.covered(parts[np.newaxis], mask.shape, places)[0]
    return maps, names


def _read_mask(image):
    from PIL import Image

    path = image.with_suffix(".png")
    try:
        with Image.open(path) as mask:
            values = np.asarray(mask)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the mask {path} cannot be read ({error}): give a PNG for each image."
        ) from error
    if values.ndim != 2 or values.dtype.kind not in "uib":
        raise InputError(
            f"the mask {path} has {values.dtype} values of shape {values.shape}: expected one "
            "channel of whole numbers, or a palette's, 0 where no part is and k where the k-th is."
        )
    return values.astype(np.int64)


def _names(path, count):
    if not path.exists():
        return tuple(f"part {number}" for number in range(1, count + 1))
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    if len(names) != count or not all(names):
        raise InputError(
            f"{path} has {len(names)} lines, and the masks {count} parts: a name for each, one a "
            "line."
        )
    return names


def _of_points(path, folder, keys, places):
    rows = _read_rows(path)
    names = tuple(sorted({part for _, part, _, _ in rows}))
    maps = np.zeros((len(keys), places, places, len(names)), bool)
    row_of = {key: index for index, key in enumerate(keys)}
    unknown = sorted({image for image, *_ in rows} - set(row_of))
    if len(unknown) == len({image for image, *_ in rows}):
        raise InputError(
            f"{path} names no image of {folder}, but e.g. {unknown[0]!r}: give paths within that "
            f"folder, e.g. {keys[0]!r}."
        )
    sizes = {}  # image -> (height, width)
    for image, part, x, y in rows:
        if image not in row_of:  # of another split, or not readable
            continue
        if image not in sizes:
            sizes[image] = _image_size(folder / image)
        near = part_grids.near(np.array([[[x, y]]]), sizes[image], places)
        maps[row_of[image], ..., names.index(part)] |= near[0, ..., 0]
    return maps, names


def _read_rows(path):
    """List of (image, part, x, y)."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = set(_COLUMNS) - set(table.fieldnames or ())
            if missing:
                raise InputError(
                    f"{path} has the columns {', '.join(table.fieldnames or ()) or 'none'}: "
                    f"expected {', '.join(_COLUMNS)}."
                )
            rows = [(row["image"], row["part"], float(row["x"]), float(row["y"])) for row in table]
    except InputError:
        raise
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            f"points {path} cannot be read ({error}): give a CSV file with the columns "
            f"{', '.join(_COLUMNS)}, x and y numbers."
        ) from error
    if not rows:
        raise InputError(f"{path} has no points: give a row for each.")
    return rows


def _image_size(path):
    """(height, width) of an image file as viewers turn it."""
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
        on_its_side = image.getexif().get(_ORIENTATION, 1) >= 5
    return (width, height) if on_its_side else (height, width)
