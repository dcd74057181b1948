import numpy as np

from patchvae_tf import visualization


def test_tiles_stand_in_order_with_white_between():
    images = [np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    picture = visualization.tile([images[:2], images[2:]])
    assert picture.shape == (2 + 2 + 2, 3 + 2 + 3, 3)
    assert (picture[:2, :3] == 10).all()
    assert (picture[:2, 5:] == 20).all()
    assert (picture[4:, :3] == 30).all()
    assert (picture[4:, 5:] == 40).all()
    assert (picture[2:4] == 255).all()
    assert (picture[:, 3:5] == 255).all()


def test_scale_repeats_pixels():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    picture = visualization.tile([[image]], scale=3)
    assert picture.shape == (6, 6, 3)
    np.testing.assert_array_equal(picture[::3, ::3], image)
    np.testing.assert_array_equal(picture[2::3, 1::3], image)


def test_reconstructions_stand_below_their_images():
    images = np.stack([np.full((8, 8, 3), value, "float32") for value in (0.0, 1.0)])
    picture = visualization.reconstruction_grid(images, 0.2 * images, scale=1)
    assert picture.shape == (18, 18, 3)
    assert (picture[:8, :8] == 0).all()
    assert (picture[:8, 10:] == 255).all()
    assert (picture[10:, 10:] == 51).all()


def test_occurrence_lights_the_image_where_the_part_is():
    images = np.full((1, 16, 16, 3), 0.8, "float32")
    occurrence = np.zeros((1, 2, 2, 3), "float32")
    occurrence[0, 0, 1, 2] = 1.0  # part 2, upper right
    occurrence[0, 1, 0, 0] = 0.5  # part 0, lower left, half sure
    picture = visualization.occurrence_grid(images, occurrence, scale=1)
    assert picture.shape == (16, 4 * 16 + 3 * 2, 3)
    image, part_0, part_1, part_2 = (picture[:, 18 * i : 18 * i + 16] for i in range(4))
    assert (image == 204).all()
    assert (part_0[8:, :8] == 102).all()
    assert part_0.sum() == 102 * 64 * 3
    assert part_1.sum() == 0
    assert (part_2[:8, 8:] == 204).all()
    assert part_2.sum() == 204 * 64 * 3
