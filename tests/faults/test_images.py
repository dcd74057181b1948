"""Images that are broken, tiny, wide, or made to do harm."""

import io
import shutil
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from patchvae_tf import InputError, datasets
from patchvae_tf.datasets.preprocessing import decode_image
from tests.testing_utils import random_images


def _encoded(width, height, file_format):
    file = io.BytesIO()
    pixels = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    Image.fromarray(pixels).save(file, file_format)
    return file.getvalue()


def _png_bomb(side):
    """A PNG of a few kilobytes whose header claims side × side pixels."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000, 9)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _jpeg_bomb():
    content = bytearray(_encoded(16, 16, "JPEG"))
    frame = content.index(b"\xff\xc0")  # then length, precision, rows, columns
    content[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(content)


def _gif_bomb():
    content = bytearray(_encoded(16, 16, "GIF"))
    content[6:10] = struct.pack("<HH", 60_000, 60_000)
    return bytes(content)


def _write_images(folder, count):
    for index, pixels in enumerate((random_images(count, 16) * 255).astype("uint8")):
        tf.io.write_file(str(folder / f"{index:03}.png"), tf.io.encode_png(pixels))


@pytest.mark.parametrize("bomb", [_png_bomb(12_000), _jpeg_bomb(), _gif_bomb()])
def test_a_bomb_is_refused_by_its_header(bomb):
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many pixels"):
        decode_image(tf.constant(bomb))
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many pixels"):
        tf.function(decode_image)(tf.constant(bomb))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF"])
def test_an_image_of_any_shape_is_read(file_format):
    for width, height in ((1, 1), (30_000, 3), (3, 30_000)):
        image = decode_image(tf.constant(_encoded(width, height, file_format)))
        assert image.shape == (height, width, 3)


def test_bad_images_of_a_folder_are_named_counted_and_skipped(tmp_path, caplog):
    _write_images(tmp_path, 396)
    (tmp_path / "a-bomb.png").write_bytes(_png_bomb(40_000))
    (tmp_path / "b-cut.jpg").write_bytes(_encoded(64, 64, "JPEG")[:300])
    (tmp_path / "c-gone.png").symlink_to(tmp_path / "not there")  # listed, then not to be opened
    (tmp_path / "d-pixel.png").write_bytes(_encoded(1, 1, "PNG"))
    (tmp_path / "e-wide.png").write_bytes(_encoded(30_000, 2, "PNG"))
    images = datasets.load(str(tmp_path), image_size=16)
    assert images.skipped == ("a-bomb.png", "b-cut.jpg", "c-gone.png")
    assert len(images) == 398
    assert "3 of 401 images cannot be read ('a-bomb.png', 'b-cut.jpg', 'c-gone.png')" in caplog.text
    (tmp_path / "f-cut.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "g-cut.png").write_bytes(_encoded(16, 16, "PNG")[:20])
    with pytest.raises(InputError, match="5 of 403 images cannot be read .* more than 1 %"):
        datasets.load(str(tmp_path), image_size=16)


def test_nan_in_the_data_is_refused_before_training(tmp_path):
    pixels = random_images(8, 16)
    pixels[3, 2, 1, 0] = np.nan
    np.savez(tmp_path / "images.npz", x_train=pixels)
    with pytest.raises(InputError, match="holds floats from nan to nan.*without NaN"):
        datasets.load(str(tmp_path / "images.npz"), image_size=16)


def test_a_file_that_vanishes_while_images_are_read_is_passed_over(tmp_path):
    _write_images(tmp_path, 300)
    stream = datasets.stream(str(tmp_path), "train", image_size=16)
    batches = stream.batches(20, 0)
    found = list(next(batches)[0])
    for index in (298, 299):
        (tmp_path / stream.key(index)).unlink()
    for indices, images, _ in batches:
        assert len(images) == len(indices)
        found += list(indices)
    assert found == list(range(298))


def test_files_that_vanish_while_training_change_nothing(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    _write_images(folder, 20)

    def batches():
        images = datasets.load(str(folder), "train", image_size=16).images
        return iter(
            datasets.training_batches(images, batch_size=4, seed=0, flip=True, total_steps=40)
        )

    undisturbed, disturbed = batches(), batches()
    next(disturbed)
    shutil.rmtree(folder)
    next(undisturbed)
    for expected, found in zip(undisturbed, disturbed, strict=True):
        np.testing.assert_array_equal(found, expected)
