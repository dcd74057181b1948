"""Where the parts of a folder's images are: the same as if masks and points were arrays."""

import numpy as np
import pytest
from PIL import Image

from patchvae_tf import InputError
from patchvae_tf.evaluation import part_truths

RNG = np.random.default_rng(0)
KEYS = ("cat/a.png", "cat/b.jpg", "dog/c.png")
MASKS = RNG.integers(0, 3, (3, 12, 24)).astype(np.uint8).repeat(4, 1).repeat(4, 2)


@pytest.fixture
def folder(tmp_path):
    """Three images of 24 x 48 pixels, for test, and one for train."""
    for key in (*(f"test/{key}" for key in KEYS), "train/cat/a.png"):
        (tmp_path / "images" / key).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (24, 48, 3), np.uint8)).save(tmp_path / "images" / key)
    return tmp_path / "images"


def _load(path, split=None, **kwargs):
    kwargs = {name: str(value) for name, value in kwargs.items()}
    return part_truths.load(str(path), split, image_size=16, stride=8, seed=0, **kwargs)


def _of_arrays(tmp_path, **arrays):
    images = np.zeros((3, 24, 48, 3), np.uint8)
    np.savez(tmp_path / "arrays.npz", x_test=images, **arrays)
    return _load(tmp_path / "arrays.npz").part_maps


@pytest.mark.parametrize("inside", ["", "test"])
@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_are_as_in_arrays(mode, inside, folder, tmp_path):
    masks = tmp_path / "masks"
    for key, mask in zip(KEYS, MASKS, strict=True):
        path = (masks / inside / key).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(mask)
        if mode == "P":
            image = Image.frombytes("P", image.size, image.tobytes())
            image.putpalette(RNG.integers(0, 256, 768).tolist())
        image.save(path)
    expected = _of_arrays(tmp_path, part_maps=MASKS[..., np.newaxis] == [1, 2])
    truths = _load(folder, masks=masks)
    np.testing.assert_array_equal(truths.part_maps, expected)
    assert (truths.names, truths.split) == (("part 1", "part 2"), "test")
    assert truths.images.shape == (3, 16, 16, 3)
    (masks / "part_names.txt").write_text("ear\ntail\n")
    assert _load(folder, masks=masks).names == ("ear", "tail")
    (masks / "part_names.txt").write_text("ear\n")
    with pytest.raises(InputError, match="has 1 lines, and the masks 2 parts"):
        _load(folder, masks=masks)


def test_damaged_test_images_are_not_exchanged_for_those_of_train(folder, tmp_path):
    (folder / "test" / KEYS[0]).write_bytes(b"\x89PNG cut short")
    with pytest.raises(InputError, match="1 of 3 images cannot be read"):
        _load(folder, masks=tmp_path)


def test_points_are_as_in_arrays(folder, tmp_path):
    points = RNG.uniform([12, 0], [36, 24], (3, 2, 2))
    points[1, 0] = np.nan
    rows = ["part,image,x,y"]
    for key, image in zip(KEYS, points, strict=True):
        for part, (x, y) in zip(("ear", "tail"), image, strict=True):
            if not np.isnan(x):
                rows.append(f"{part},{key},{x!r},{y!r}".replace("np.float64(", "").replace(")", ""))
    table = tmp_path / "points.csv"
    table.write_text("\n".join([*rows, "ear,cat/of_another_split.png,1,1"]))
    truths = _load(folder, points=table)
    np.testing.assert_array_equal(truths.part_maps, _of_arrays(tmp_path, points=points))
    assert truths.names == ("ear", "tail")


def test_points_of_an_image_that_is_turned(folder, tmp_path):
    (tmp_path / "turned").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (48, 24)).save(tmp_path / "turned/a.jpg", exif=exif)  # seen as 24 x 48
    table = tmp_path / "points.csv"
    table.write_text("image,part,x,y\na.jpg,nose,2,14\n")  # of the square that begins at y = 12
    maps = _load(tmp_path / "turned", "train", points=table).part_maps
    np.testing.assert_array_equal(maps[0, ..., 0], [[True, False], [False, False]])


WRONG = {
    "nothing": ({}, "say by masks=FOLDER or by points=FILE.csv"),
    "both": ({"masks": "m", "points": "p"}, "say by masks=FOLDER or by points=FILE.csv"),
    "no folder": ({"masks": "nowhere"}, "is not a folder: give one with a PNG for each"),
    "no mask": ({"masks": "empty"}, r"the mask .*a\.png cannot be read .* a PNG for each image"),
    "no table": ({"points": "nowhere"}, "cannot be read .* the columns image, part, x, y"),
    "columns": ({"points": "a,b\n1,2"}, "has the columns a, b: expected image, part, x, y"),
    "numbers": ({"points": "image,part,x,y\na,b,c,1"}, "cannot be read .*, x and y numbers"),
    "rows": ({"points": "image,part,x,y\n"}, "has no points: give a row for each"),
    "images": ({"points": "image,part,x,y\nz.png,b,1,1"}, r"no image of .* e\.g\. 'z\.png'"),
    "far": ({"points": "image,part,x,y\ncat/a.png,b,1,1"}, "at no place of the images is b"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_as_expected_is_said(case, folder, tmp_path):
    given, message = WRONG[case]
    (tmp_path / "empty").mkdir()
    if "," in given.get("points", ""):
        (tmp_path / "points.csv").write_text(given["points"])
        given = {"points": "points.csv"}
    with pytest.raises(InputError, match=message):
        _load(folder, **{name: tmp_path / value for name, value in given.items()})


def test_masks_of_other_forms_are_refused(folder, tmp_path):
    (tmp_path / "masks/cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "masks/cat/a.png")
    with pytest.raises(
        InputError, match=r"uint8 values of shape \(8, 8, 3\): expected one channel"
    ):
        _load(folder, masks=tmp_path / "masks")
    for key in KEYS:
        path = (tmp_path / "masks" / key).with_suffix(".png")
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    with pytest.raises(InputError, match="are 0 everywhere: mark the k-th part by k"):
        _load(folder, masks=tmp_path / "masks")
    with pytest.raises(InputError, match="masks and points are for a folder of images"):
        _load("faces.npz", masks=tmp_path / "masks")
