import numpy as np
import pytest

from patchvae_tf import datasets
from patchvae_tf.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def load(tmp_path):
    def save_and_load(split="train", image_size=8, **arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return datasets.load(str(tmp_path / "data.npz"), split, image_size=image_size)

    return save_and_load


def test_uint8_images_and_labels_are_read_as_they_are(load):
    loaded = load(x_train=PIXELS, y_train=np.arange(6, dtype=np.int32))
    np.testing.assert_array_equal(loaded.images, PIXELS)
    np.testing.assert_array_equal(loaded.labels, np.arange(6))
    assert loaded.labels.dtype == np.int64
    assert loaded.keys[:2] == ("train/0", "train/1")
    assert (loaded.class_names, loaded.part_maps, loaded.skipped) == (None, None, ())


def test_test_split_has_its_own_arrays(load):
    loaded = load("test", x_train=PIXELS, x_test=PIXELS[:2], y_test=[[3], [4]])
    np.testing.assert_array_equal(loaded.images, PIXELS[:2])
    np.testing.assert_array_equal(loaded.labels, [3, 4])
    assert loaded.keys == ("test/0", "test/1")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_uint8(load, dtype):
    values = np.array([0, 0.1, 0.5, 0.999, 1], dtype)
    pixels = np.broadcast_to(values[:, None, None, None], (5, 8, 8, 3))
    expected = np.array([0, 25 if dtype == np.float16 else 26, 128, 255, 255])
    np.testing.assert_array_equal(load(x_train=pixels).images[:, 0, 0, 0], expected)


@pytest.mark.parametrize("axis", [(), (np.newaxis,)])
def test_grey_fills_all_channels(load, axis):
    loaded = load(x_train=PIXELS[..., 0][..., *axis])
    np.testing.assert_array_equal(loaded.images, np.repeat(PIXELS[..., :1], 3, axis=-1))
    assert loaded.labels is None


def test_images_of_another_size_are_resized_and_cropped(load):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 10, 14, 3), dtype=np.uint8)
    expected = datasets.resize_and_crop(pixels, 8)
    np.testing.assert_array_equal(load(x_train=pixels).images, expected)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_test": PIXELS}, "no array 'x_train'.*it holds: x_test"),
        ({"x_train": PIXELS[0, 0]}, r"shape \(8, 3\): expected \[n, height, width, 3\]"),
        ({"x_train": PIXELS[..., :2]}, "has 2 channels, and 3 are wanted: .* channels=2"),
        ({"x_train": PIXELS[:0]}, r"shape \(0, 8, 8, 3\)"),
        ({"x_train": PIXELS.astype(np.int64)}, "dtype int64: expected uint8, .* value_range="),
        ({"x_train": PIXELS.astype(np.float32)}, r"floats from 0 to 255: .* divide by 255"),
        ({"x_train": PIXELS / 255 - 0.5}, "floats from -0.5 to 0.5"),
        ({"x_train": np.full((2, 8, 8), np.nan)}, "floats from nan to nan: .* without NaN"),
        ({"x_train": np.array([None, 1])}, "cannot be read as plain arrays"),
        ({"x_train": PIXELS, "y_train": np.arange(5)}, r"shape \(5,\): expected .* shape \(6,\)"),
        ({"x_train": PIXELS, "y_train": np.zeros(6)}, "dtype float64 .* expected integers"),
        ({"x_train": PIXELS, "y_train": np.arange(6) - 1}, "the label -1: expected 0 or more"),
    ],
)
def test_unexpected_contents_raise(load, arrays, message):
    with pytest.raises(InputError, match=message) as error:
        load(**arrays)
    assert "\n" not in str(error.value)


def test_missing_file_raises(tmp_path):
    with pytest.raises(InputError, match=r"none\.npz' does not exist"):
        datasets.load(str(tmp_path / "none.npz"), image_size=8)


def test_damaged_file_raises(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="cannot be read as plain arrays"):
        datasets.load(str(tmp_path / "bad.npz"), image_size=8)
