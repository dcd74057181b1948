import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from patchvae_tf import datasets
from patchvae_tf.datasets import preprocessing
from patchvae_tf.settings.pixels import Pixels


def random_pixels(height, width, channels=3, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, channels), dtype=np.uint8)


def encode(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def as_rgb(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_in_graph(encoded):
    return datasets.decode_image(encoded)


@pytest.mark.parametrize(
    ("mode", "file_format", "options"),
    [
        *[(mode, "PNG", {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")],
        ("P", "GIF", {}),
        *[(mode, "BMP", {}) for mode in ("RGB", "L", "P")],
        *[(mode, "WEBP", {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")],
    ],
)
def test_lossless_formats_decode_to_the_pixels_that_pillow_reads(mode, file_format, options):
    image = Image.fromarray(random_pixels(7, 10, 4), "RGBA").convert(mode)
    encoded = encode(image, file_format, **options)
    np.testing.assert_array_equal(decode_in_graph(encoded), as_rgb(encoded))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_decodes_to_nearly_the_pixels_that_pillow_reads(mode):
    smooth = Image.fromarray(random_pixels(3, 4)).resize((24, 18), Image.Resampling.BICUBIC)
    encoded = encode(smooth.convert(mode), "JPEG", quality=95)
    difference = np.abs(decode_in_graph(encoded).numpy().astype(int) - as_rgb(encoded))
    assert difference.max() <= 16  # TensorFlow takes the fast inverse DCT.


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_common_files_have_the_pixels_of_the_way_that_takes_any(file_format, channels):
    encoded = encode(Image.fromarray(random_pixels(19, 24)), file_format)
    common = datasets.decode_image(encoded, Pixels(channels))
    for pixels in (Pixels(channels), Pixels(channels, (0.0, 65535.0))):
        any_file = preprocessing._decode_any(tf.constant(encoded), pixels)
        np.testing.assert_array_equal(common, any_file)
        np.testing.assert_array_equal(common, datasets.decode_image(encoded, pixels))


def test_sixteen_bit_png_keeps_the_high_byte():
    values = np.array([[0, 255, 256], [1000, 40_000, 65_535]], np.uint16)
    decoded = decode_in_graph(encode(Image.fromarray(values), "PNG"))
    np.testing.assert_array_equal(decoded, np.repeat((values // 256)[..., None], 3, axis=-1))


def animation(file_format, mode):
    # Not opaque, or Pillow writes no alpha channel.
    red, blue = (Image.new(mode, (4, 3), color) for color in ("#ff000080", "#0000ff80"))
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    return encode(red, file_format, save_all=True, append_images=[blue], **options)


@pytest.mark.parametrize(("file_format", "mode"), [("GIF", "RGB"), ("WEBP", "RGBA")])
def test_animation_gives_its_first_frame(file_format, mode):
    image = decode_in_graph(animation(file_format, mode))
    np.testing.assert_array_equal(image, np.broadcast_to([255, 0, 0], (3, 4, 3)))


def test_opaque_webp_animation_is_refused_and_not_written_out_of_bounds():
    with pytest.raises(tf.errors.InvalidArgumentError, match="channels"):
        decode_in_graph(animation("WEBP", "RGB"))


@pytest.mark.parametrize("encoded", [b"", b"BM", b"no image at all, but long enough to be one"])
def test_other_bytes_raise(encoded):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_in_graph(encoded)


def test_image_of_the_right_size_is_unchanged():
    image = random_pixels(9, 9)
    np.testing.assert_array_equal(datasets.resize_and_crop(image, 9), image)


@pytest.mark.parametrize("transpose", [False, True])
def test_long_image_is_cropped_around_its_centre(transpose):
    image = random_pixels(4, 9)  # Two columns go on the left and three on the right.
    expected = image[:, 2:6]
    if transpose:
        image, expected = image.swapaxes(0, 1), expected.swapaxes(0, 1)
    np.testing.assert_array_equal(datasets.resize_and_crop(image, 4), expected)


def test_halving_weighs_neighbours_as_a_triangle_and_rounds_to_nearest():
    row = np.array([0, 100, 200, 40], np.uint8)
    image = np.broadcast_to(row[None, :, None], (4, 4, 3)).copy()
    # Weights of the triangle of width 4: 3/8, 3/8, 1/8 within the image, scaled to a sum of 1.
    left = (3 * 0 + 3 * 100 + 1 * 200) / 7  # 71.4
    right = (1 * 100 + 3 * 200 + 3 * 40) / 7  # 117.1
    expected = np.broadcast_to(np.array([71, 117])[None, :, None], (2, 2, 3))
    assert (round(left), round(right)) == (71, 117)
    np.testing.assert_array_equal(datasets.resize_and_crop(image, 2), expected)


def test_square_image_is_resized_as_a_whole():
    image = random_pixels(12, 12)
    expected = np.rint(tf.image.resize(image, [8, 8], antialias=True))
    np.testing.assert_array_equal(datasets.resize_and_crop(image, 8), expected)


def test_single_pixel_fills_the_image():
    image = np.array([[[1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(
        datasets.resize_and_crop(image, 5), np.broadcast_to(image, (5, 5, 3))
    )


def test_very_long_image_takes_its_centre():
    image = np.zeros((30_000, 2, 3), np.uint8)
    image[14_999:15_001] = 200
    np.testing.assert_array_equal(datasets.resize_and_crop(image, 64), np.full((64, 64, 3), 200))


def test_batch_is_resized_like_each_image():
    batch = np.stack([random_pixels(10, 6, seed=seed) for seed in range(3)])
    expected = [datasets.resize_and_crop(image, 8) for image in batch]
    np.testing.assert_array_equal(datasets.resize_and_crop(batch, 8), expected)
