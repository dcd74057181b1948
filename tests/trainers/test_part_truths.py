"""Where parts are on a model's grid, from masks, points and the generated scenes."""

import numpy as np
import pytest

from patchvae_tf import PatchVAE, datasets
from patchvae_tf.errors import InputError
from patchvae_tf.evaluation import part_truths, parts_score


def _load(path, split=None, image_size=16, stride=8):
    return part_truths.load(str(path), split, image_size=image_size, stride=stride, seed=0)


def _write(folder, **arrays):
    path = folder / "faces.npz"
    np.savez(path, **{"x_test": np.zeros((2, 16, 16, 3), "uint8"), **arrays})
    return path


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_scenes_fit_any_grid(stride):
    scenes = datasets.load("parts", "test", image_size=32)
    truths = _load("parts", image_size=32, stride=stride)
    assert (truths.split, truths.names) == ("test", datasets.PART_NAMES)
    expected = scenes.part_maps
    if stride == 4:
        expected = expected.repeat(2, axis=1).repeat(2, axis=2)
    if stride == 16:
        expected = expected.reshape(-1, 2, 2, 2, 2, 12).any((2, 4))
    np.testing.assert_array_equal(truths.part_maps, expected)


def test_a_place_shows_a_mask_that_covers_a_quarter_of_it(tmp_path):
    masks = np.zeros((2, 32, 32, 2), bool)  # two cells of a mask for a pixel
    masks[0, :8, :8, 0] = True  # a quarter of the first place
    masks[1, :8, 16:23, 0] = True  # less
    masks[1, 10:22, :16, 1] = True  # 6 of the upper and 6 of the lower place's 16 rows
    truths = _load(_write(tmp_path, part_maps_test=masks, part_names=np.array(["eye", "mouth"])))
    assert truths.names == ("eye", "mouth")
    assert truths.part_maps.shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(np.argwhere(truths.part_maps[..., 0]), [[0, 0, 0]])
    np.testing.assert_array_equal(np.argwhere(truths.part_maps[..., 1]), [[1, 0, 0], [1, 1, 0]])


def test_masks_are_cut_as_images_are(tmp_path):
    masks = np.zeros((2, 2, 8, 1), bool)  # of images of 16 x 64 pixels: 8 x 8 for a cell
    masks[:, 0, 3] = True  # the square's first column, after 24 pixels
    masks[:, 1, 0] = True  # not in the square
    path = _write(tmp_path, x_test=np.zeros((2, 16, 64, 3), "uint8"), part_maps=masks)
    maps = _load(path).part_maps[..., 0]
    np.testing.assert_array_equal(maps, [[[True, False], [False, False]]] * 2)


def test_a_place_shows_a_point_near_its_centre(tmp_path):
    points = np.full((2, 2, 2), np.nan)
    points[0, 0] = [8, 24]  # x, y of an image of 64 pixels: 2, 6 of one of 16
    points[1, 1] = [32, 16]  # 8, 4
    truths = _load(
        _write(tmp_path, x_train=np.zeros((2, 64, 64, 3), "uint8"), points=points), "train"
    )
    assert (truths.split, truths.names) == ("train", ("part 0", "part 1"))
    # Centres at 4 and 12: of the first (4, 4) and (4, 12) lie within 8 pixels.
    np.testing.assert_array_equal(truths.part_maps[0, ..., 0], [[True, False], [True, False]])
    np.testing.assert_array_equal(truths.part_maps[1, ..., 1], [[True, True], [False, False]])
    assert not truths.part_maps[1, ..., 0].any()


def test_what_is_wrong_is_named(tmp_path):
    masks = np.ones((2, 4, 4, 1), bool)
    points = np.ones((2, 1, 2))
    for arrays, message in (
        ({}, r"holds x_test: expected, beside the images, either part_maps"),
        ({"part_maps": masks, "points": points}, r"holds x_test, part_maps, points: expected"),
        ({"part_maps": masks.astype("uint8")}, r"dtype uint8 and shape .* Of other numbers take"),
        ({"part_maps": masks[:1]}, r"shape \(1, 4, 4, 1\): expected bool \[2, height"),
        ({"points": points.astype(int)}, r"dtype int64 .* expected floats \[2, parts, 2\]"),
        ({"points": points[..., :1]}, r"shape \(2, 1, 1\): expected floats"),
        ({"points": points * np.nan}, r"at no place of the images is part 0. Leave such parts out"),
        (
            {"part_maps": masks, "part_names": np.array(["a", "b"])},
            r"shape \(2,\): expected \(1,\)",
        ),
        ({"part_maps": np.array([None, 1])}, r"cannot be read as plain arrays"),
    ):
        with pytest.raises(InputError, match=message):
            _load(_write(tmp_path, **arrays))
    with pytest.raises(InputError, match=r"does not exist: check the path of the .npz file"):
        _load(tmp_path / "absent.npz")
    with pytest.raises(InputError, match=r"does not say where parts are: give `parts`, an .npz"):
        _load("cifar100")


def test_an_archive_is_scored(tmp_path):
    rng = np.random.default_rng(0)
    path = _write(
        tmp_path,
        x_test=rng.integers(0, 256, (20, 24, 24, 3), "uint8"),
        points=rng.uniform(0, 24, (20, 2, 2)),
        part_names=np.array(["nose", "ear"]),
    )
    truths = _load(path, stride=4)
    result = parts_score.score_truths(PatchVAE(image_size=16, stride=4), truths, seed=0)
    assert (list(result["parts"]), result["images"]) == (["nose", "ear"], 20)
    assert 0.5 < result["weakest_area"] <= result["mean_area"] < 0.8
    assert "| nose |" in parts_score.table(result)


def test_one_image_is_too_few_for_a_score_and_two_are_enough(tmp_path):
    rng = np.random.default_rng(0)
    images, points = rng.integers(0, 256, (2, 16, 16, 3), "uint8"), rng.uniform(0, 16, (2, 2, 2))
    # 8 places in all, fewer than parts.
    model = PatchVAE(image_size=16, num_parts=16)
    one = _load(_write(tmp_path, x_test=images[:1], points=points[:1]))
    with pytest.raises(InputError, match="'test' has too few images .*, 1: expected 2 or more"):
        parts_score.score_truths(model, one, seed=0)
    two = _load(_write(tmp_path, x_test=images, points=points))
    result = parts_score.score_truths(model, two, seed=0)
    assert result["images"] == 2
    assert 0 <= result["nmf_mean_area"] <= 1
