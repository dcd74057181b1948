"""Images are turned as viewers turn them, whatever the format and its byte order."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from patchvae_tf import datasets
from patchvae_tf.datasets import orientation
from tests.datasets.test_preprocessing import decode_in_graph, encode

FORMATS = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 95}}


def tags(number, order="<", kind=3, entries=()):
    """EXIF tags in TIFF's layout, the orientation behind other `entries`."""
    value = struct.pack(
        order + ("HH" if kind == 3 else "I"), *((number, 0)[: 2 if kind == 3 else 1])
    )
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    directory = struct.pack(order + "H", 1 + len(entries)) + b"".join(entries) + entry
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + directory + b"\0\0\0\0"


def picture(file_format, exif=b"", **options):
    """An encoded image that is different in each turn, of 24 × 16 pixels."""
    corner = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = Image.fromarray(corner).resize((24, 16), Image.Resampling.NEAREST)
    options = FORMATS[file_format] | options | ({"exif": b"Exif\0\0" + exif} if exif else {})
    return encode(image, file_format, **options)


def as_viewed(encoded):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGB"))


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("file_format", FORMATS)
def test_an_image_is_turned_as_pillow_turns_it(file_format, order, number):
    encoded = picture(file_format, tags(number, order))
    decoded, expected = decode_in_graph(encoded).numpy(), as_viewed(encoded)
    assert decoded.shape == expected.shape == ((24, 16, 3) if number >= 5 else (16, 24, 3))
    difference = np.abs(decoded.astype(int) - expected)
    if file_format != "JPEG":  # TensorFlow takes the fast inverse DCT.
        assert difference.max() == 0
    assert difference.mean() < 3


def in_graph(encoded):
    return int(_orientation(tf.constant(encoded)))


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _orientation(encoded):
    return orientation.orientation(encoded)


def test_the_tag_is_found_behind_other_tags_and_segments():
    other = struct.pack("<HHII", 0x0100, 4, 1, 6)
    plain = picture("JPEG")
    exif = b"Exif\0\0" + tags(6, entries=[other] * 3)
    segments = [
        b"http://ns.adobe.com/xap/1.0/\0 <x/>",
        exif,
        b"another",
    ]
    inserted = b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    encoded = plain[:2] + b"\xff\xfe\0\5abc" + inserted + plain[2:]
    assert in_graph(encoded) == 6
    assert decode_in_graph(encoded).shape == as_viewed(encoded).shape == (24, 16, 3)
    assert in_graph(picture("JPEG", tags(8, ">", kind=4))) == 8


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_is_no_proper_tag_turns_nothing(file_format):
    proper = tags(6)
    for exif in (
        b"",
        tags(0),
        tags(9),
        tags(6, kind=7),
        proper[:4] + b"\xff\xff\xff\xff" + proper[8:],  # the directory lies nowhere
        proper[:4] + b"\xff\xff\xff\x7f" + proper[8:],
        b"XX" + proper[2:],
        proper[:8] + b"\xff\xff",  # more entries than there are
        b"II",
    ):
        encoded = picture(file_format, exif)
        assert in_graph(encoded) == 1
        assert decode_in_graph(encoded).shape == (16, 24, 3)


def test_any_beginning_of_a_file_can_be_looked_at():
    for file_format in FORMATS:
        encoded = picture(file_format, tags(6))
        for end in [*range(80), len(encoded)]:
            assert in_graph(encoded[:end]) in (1, 6)
    assert in_graph(b"\x89PNG\r\n\x1a\n" + b"\xff" * 100) == 1
    assert in_graph(b"\xff\xd8\xff\xe1\0\0" * 9) == 1


def test_training_and_streams_see_the_image_upright(tmp_path):
    (tmp_path / "a.png").write_bytes(picture("PNG", tags(6)))
    upright = datasets.resize_and_crop(as_viewed((tmp_path / "a.png").read_bytes()), 16)
    loaded = datasets.load(str(tmp_path), image_size=16)
    np.testing.assert_array_equal(loaded.images[0], upright)
    _, images, _ = next(datasets.stream(str(tmp_path), image_size=16).batches(1, 0))
    np.testing.assert_array_equal(images[0], upright)
