"""Images of other than three channels and 8 bits, from every kind of source."""

import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import tifffile
from PIL import Image

from patchvae_tf import datasets, extras
from patchvae_tf.datasets import tiff
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels, parsed_channels, parsed_range
from tests.datasets.test_prepared_tfds import prepare

RNG = np.random.default_rng(0)
BANDS = RNG.integers(0, 4096, (5, 8, 8, 13)).astype(np.uint16)  # 12 bits
RANGE = (100.0, 3000.0)
RESCALED = np.rint(255 * np.clip((BANDS.astype(np.float32) - 100) / 2900, 0, 1)).astype(np.uint8)
RGB = RNG.integers(0, 256, (5, 8, 8, 3), np.uint8)
GREY = np.rint(RGB @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., np.newaxis]


def _load(path, pixels=None, **kwargs):
    return datasets.load(str(path), image_size=8, pixels=pixels or Pixels(), **kwargs)


@pytest.fixture
def npz(tmp_path):
    def save(x_train):
        np.savez(tmp_path / "data.npz", x_train=x_train)
        return tmp_path / "data.npz"

    return save


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_arrays_of_any_channels_in_a_stated_range(npz, dtype):
    images = _load(npz(BANDS.astype(dtype)), Pixels(13, RANGE)).images
    np.testing.assert_array_equal(images, RESCALED)
    assert images.dtype == np.uint8


def test_without_a_range_all_16_bits_count(npz):
    expected = np.rint(BANDS / np.float32(65535) * 255)
    np.testing.assert_array_equal(_load(npz(BANDS), Pixels(13)).images, expected)


def test_a_range_leaves_8_bits_alone(npz):
    np.testing.assert_array_equal(_load(npz(RGB), Pixels(3, (0.0, 9.0))).images, RGB)


def test_grey_of_color_is_its_brightness_and_color_of_grey_is_grey(npz, tmp_path):
    np.testing.assert_array_equal(_load(npz(RGB), Pixels(1)).images, GREY)
    np.testing.assert_array_equal(_load(npz(GREY)).images, GREY.repeat(3, -1))
    np.testing.assert_array_equal(_load(npz(GREY[..., 0]), Pixels(1)).images, GREY)
    Image.fromarray(RGB[0]).save(tmp_path / "0.png")
    Image.fromarray(GREY[1, ..., 0]).save(tmp_path / "1.png")
    np.testing.assert_array_equal(_load(tmp_path, Pixels(1)).images, GREY[:2])


def test_parts_are_grey_too():
    color, grey = (
        datasets.load("parts", "test", image_size=32, pixels=Pixels(channels)).images[:9]
        for channels in (3, 1)
    )
    expected = np.rint(color.astype(np.float32) @ np.float32([0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(grey[..., 0], expected)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp"])
def test_a_fourth_channel_of_files_is_their_alpha(suffix, tmp_path):
    alpha = RNG.integers(1, 256, (8, 8, 4), np.uint8)
    Image.fromarray(alpha).save(tmp_path / f"a.{suffix}", lossless=True, exact=True)
    np.testing.assert_array_equal(_load(tmp_path, Pixels(4)).images[0], alpha)
    Image.fromarray(RGB[0]).save(tmp_path / f"b.{suffix}", lossless=True)
    opaque = np.concatenate([RGB[0], np.full((8, 8, 1), 255)], -1)
    np.testing.assert_array_equal(_load(tmp_path, Pixels(4)).images[1], opaque)


def test_16_bit_png_in_a_stated_range(tmp_path):
    encoded = tf.io.encode_png(BANDS[0, ..., :3])
    (tmp_path / "0.png").write_bytes(encoded.numpy())
    Image.fromarray(RGB[0]).save(tmp_path / "1.png")
    found = _load(tmp_path, Pixels(3, RANGE)).images
    np.testing.assert_array_equal(found, [RESCALED[0, ..., :3], RGB[0]])


def _tiff(values, **kwargs):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **kwargs)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        _tiff(np.moveaxis(BANDS[0], -1, 0)),  # a page for each channel
        _tiff(BANDS[0], photometric="minisblack", planarconfig="contig"),
        _tiff(np.moveaxis(BANDS[0], -1, 0), photometric="minisblack", planarconfig="separate"),
        _tiff(np.moveaxis(BANDS[0], -1, 0).astype(np.float32), byteorder=">"),
    ],
    ids=["pages", "interleaved", "planes", "big-endian floats"],
)
def test_tiff_of_any_channels(content, tmp_path):
    for name in ("a/0.tif", "b/1.TIFF"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    loaded = _load(tmp_path, Pixels(13, RANGE))
    np.testing.assert_array_equal(loaded.images, [RESCALED[0]] * 2)
    assert loaded.class_names == ("a", "b")


def test_tiff_beside_other_files(tmp_path):
    (tmp_path / "0.tif").write_bytes(_tiff(RGB[0]))
    Image.fromarray(RGB[1]).save(tmp_path / "1.png")
    np.testing.assert_array_equal(_load(tmp_path).images, RGB[:2])
    stream = datasets.stream(str(tmp_path), image_size=8)
    ((indices, images, _),) = stream.batches(4, 0)
    np.testing.assert_array_equal(images[indices], RGB[:2])
    one = datasets.stream_files([tmp_path / "0.tif"], 8, Pixels(1))
    np.testing.assert_array_equal(one.take(np.arange(1)), GREY[:1])


def test_a_broken_tiff_among_many_is_left_out(tmp_path):
    for number in range(100):
        (tmp_path / f"{number:03}.tif").write_bytes(_tiff(RGB[0]))
    whole = _tiff(RGB[1])
    (tmp_path / "050.tif").write_bytes(whole[: len(whole) // 2])
    loaded = _load(tmp_path)
    assert (len(loaded), loaded.skipped) == (99, ("050.tif",))


def test_tfds_tensors(tmp_path, no_network):
    features = {
        "label": tfds.features.ClassLabel(num_classes=2),
        "sentinel": tfds.features.Tensor(shape=(8, 8, 13), dtype=np.float32),
    }
    rows = [{"label": i % 2, "sentinel": bands.astype(np.float32)} for i, bands in enumerate(BANDS)]
    prepare(tmp_path, "bands", features, {"train": rows})
    loaded = _load("bands", Pixels(13, RANGE), data_dir=str(tmp_path))
    np.testing.assert_array_equal(loaded.images, RESCALED)
    np.testing.assert_array_equal(loaded.labels, [0, 1, 0, 1, 0])
    with pytest.raises(InputError, match="sentinel of 'bands' holds float32: say by value_range="):
        _load("bands", Pixels(13), data_dir=str(tmp_path))
    with pytest.raises(InputError, match="sentinel of 'bands' has 13 channels, and 3 are wanted"):
        _load("bands", data_dir=str(tmp_path))


def test_a_streamed_folder_has_its_channels(tmp_path):
    for number in range(12):
        (tmp_path / f"{number:02}.tif").write_bytes(_tiff(np.moveaxis(BANDS[number % 5], -1, 0)))
    examples = datasets.load(str(tmp_path), image_size=8, pixels=Pixels(13, RANGE), most_bytes=0)
    training, validation = datasets.streamed_split(
        examples, 4, image_size=8, shuffle_window=8, seed=0
    )
    batch = next(iter(training.batches(batch_size=8, seed=0, flip=False, total_steps=1)))
    assert batch.shape == (8, 8, 8, 13)
    known = {image.tobytes() for image in RESCALED}
    assert {image.tobytes() for image in [*batch.numpy(), *validation.images]} == known


WRONG = {
    "channels of an array": (BANDS, Pixels(4), "has 13 channels, and 4 are wanted: choose 4 of"),
    "alpha in an array": (RGB[..., [0, 1, 2, 2]], Pixels(), r"\(x\[..., :3\]\), or .* channels=4"),
    "no number": (BANDS.astype(np.float32) * np.nan, Pixels(13, RANGE), "NaN or infinity"),
    "floats of no range": (BANDS / 1.0, Pixels(13), "floats from 0 to 4095: .* value_range=LOW"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_arrays_are_refused(case, npz):
    values, pixels, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        _load(npz(values), pixels)


def test_other_files_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.tif").write_bytes(_tiff(RGB[0]))
    with pytest.raises(InputError, match=r"a\.tif has 3 channels, and 13 are wanted"):
        _load(tmp_path, Pixels(13))
    (tmp_path / "a.tif").write_bytes(_tiff(RGB[0] * 1.5))
    with pytest.raises(InputError, match=r"floats from .*: say by value_range=LOW,HIGH"):
        _load(tmp_path)
    (tmp_path / "a.tif").write_bytes(b"II*\0nothing")
    with pytest.raises(InputError, match=r"a\.tif cannot be read \(no TIFF image: "):
        _load(tmp_path)
    monkeypatch.setitem(extras.MODULES, "tiff", ("no_such_module",))
    with pytest.raises(
        InputError, match=r"reading TIFF needs the extra `tiff`: .*patchvae-tf\[tif"
    ):
        _load(tmp_path)
    Image.fromarray(RGB[0]).save(tmp_path / "a.tif", format="png")
    np.testing.assert_array_equal(_load(tmp_path).images, RGB[:1])  # told by its bytes
    with pytest.raises(InputError, match="other images have 1, 3 or 4 channels, and channels is 2"):
        _load(tmp_path, Pixels(2))


def test_a_tiff_that_claims_too_much_is_not_opened(monkeypatch):
    monkeypatch.setattr(tiff, "_MOST_VALUES", 8 * 8 * 3 - 1)
    with pytest.raises(ValueError, match="it claims 192 values"):
        tiff._values(_tiff(RGB[0]))


def test_axes_of_tiff():
    with pytest.raises(ValueError, match="expected height, width and channels"):
        tiff._values(
            _tiff(np.zeros((2, 3, 8, 8), np.uint8), imagej=True, metadata={"axes": "TZYX"})
        )


@pytest.mark.parametrize("text", ["", "1", "2,1", "0,1,2", "a,b", "0,inf", "nan,1"])
def test_ranges_that_are_none(text):
    with pytest.raises(InputError, match=f"the lower first, e.g. 0,4095. Received: {text}"):
        parsed_range(text)


def test_channels_that_pictures_show():
    assert parsed_channels("3,2,1", 4) == (3, 2, 1)
    assert parsed_channels(None, 4) is None
    for text in ("4,2,1", "1,2", "1,2,x", "-1,0,1"):
        with pytest.raises(InputError, match="must be three of 0 to 3, e.g. 2,1,0. Received: "):
            parsed_channels(text, 4)
