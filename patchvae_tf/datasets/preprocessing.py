"""From an encoded image to a square one, as TensorFlow graph functions.

Training data and the exported model both go through here, so that they see the same pixels.
"""

import tensorflow as tf

from patchvae_tf.datasets import conversion, orientation
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import RGB, Pixels

ENCODED_CHANNELS = (1, 3, 4)  # that files other than TIFF have
MAX_PIXELS = 100_000_000  # of an image; a small file may claim more, and fill the memory
# A header that says 1 x 1, for what looks at JPEG files alone.
_SMALLEST_JPEG = bytes.fromhex("ffd8ffc0000b080001000101011100ffda0008010100003f00")

# No Python here depends on tensors: finding that out would take `tf.data` as long as tracing.
_as_it_is = tf.autograph.experimental.do_not_convert


@_as_it_is
def decode_image(encoded: tf.Tensor, pixels: Pixels = RGB) -> tf.Tensor:
    """Decodes a JPEG, PNG, GIF, BMP or WEBP image, an animation's first frame, by default to RGB.

    Grey and palette images become RGB, 16-bit ones 8-bit; an alpha channel is dropped. An image
    whose EXIF tag says so is turned as viewers turn it. Animated WEBP without alpha, and BMP of 1,
    4 or 16 bits, are not supported.

    Args:
        encoded: scalar string tensor, the bytes of the file.
        pixels: Pixels of 3 channels; of 1, the brightness; or of 4: with alpha, of PNG, BMP and
            WEBP. With a `value_range` all bits of a 16-bit PNG count, else the upper eight.

    Returns:
        uint8 [height, width, channels].

    Raises:
        tf.errors.InvalidArgumentError: if the bytes are no such image, are cut short, or claim
            more than `MAX_PIXELS` (for JPEG, PNG and GIF looked up before decoding; the other
            formats have limits of their own).
    """
    first_two = tf.strings.substr(encoded, 0, 2)
    is_jpeg = first_two == b"\xff\xd8"
    is_common = tf.logical_or(is_jpeg, first_two == b"\x89P")
    if pixels.value_range is not None:  # a PNG may have 16 bits
        is_common = is_jpeg
    return tf.cond(
        tf.logical_and(is_common, tf.logical_not(orientation.may_be_turned(encoded))),
        lambda: _decode_common(encoded, is_jpeg, pixels.channels),
        lambda: _decode_any(encoded, pixels),
    )


def _decode_common(encoded, is_jpeg, channels):
    """Of JPEG or PNG, in as few operations as can be: they take longer than a small image does."""
    jpeg = tf.image.extract_jpeg_shape(tf.where(is_jpeg, encoded, _SMALLEST_JPEG))[:2]
    png = tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False)
    with tf.control_dependencies([_is_small(tf.where(is_jpeg, jpeg, png))]):
        image = _decode(encoded, _decoded_channels(channels))
    return conversion.converted(image, Pixels(channels))


# Not inlined: for a common image each of its operations would be passed over one by one.
@tf.function(autograph=False, experimental_attributes={"_noinline": True})
def _decode_any(encoded, pixels):
    decoded = _decoded_channels(pixels.channels)
    first_two = tf.strings.substr(encoded, 0, 2)
    image = tf.cond(
        tf.logical_or(first_two == b"RI", first_two == b"BM"),
        lambda: _of_8_bits(_decode_webp_or_bmp(encoded, decoded), pixels),
        lambda: _decode_small(encoded, decoded, pixels),
    )
    image = tf.ensure_shape(image, [None, None, decoded])
    image = tf.ensure_shape(orientation.turned(image, encoded), [None, None, decoded])
    plain = Pixels(pixels.channels)
    if pixels.value_range is None:
        return conversion.converted(image, plain)
    return tf.cond(
        _is_16_bit_png(encoded),
        lambda: conversion.converted(image, pixels),
        lambda: conversion.converted(image, plain),
    )


def _decoded_channels(channels):
    return 4 if channels == 4 else 3


def check_encoded(pixels: Pixels) -> None:
    """Raises InputError where `decode_image` gives no such pixels."""
    if pixels.channels not in ENCODED_CHANNELS:
        raise InputError(
            "JPEG, PNG and other images have 1, 3 or 4 channels, and channels is "
            f"{pixels.channels}: give TIFF files, an .npz file or a TFDS data set of arrays."
        )


def _is_16_bit_png(encoded):
    depth = tf.strings.substr(tf.strings.join([encoded, "\0" * 25]), 24, 1)
    return tf.logical_and(tf.strings.substr(encoded, 0, 2) == b"\x89P", depth == b"\x10")


def _of_8_bits(image, pixels):
    return image if pixels.value_range is None else tf.cast(image, tf.uint16) * 257


def _is_small(sides):
    """An operation that fails where rows times columns are too many."""
    area = tf.reduce_prod(tf.cast(sides, tf.int64))
    return tf.Assert(area <= MAX_PIXELS, ["the image has too many pixels"])


def _decode_small(encoded, channels, pixels):
    with tf.control_dependencies([_is_small(_claimed_sides(encoded))]):
        if pixels.value_range is None:
            return _decode(encoded, channels)
        # Asked for 16 bits, TensorFlow makes a JPEG's 255 of 8 bits 65,280, which is not white.
        return tf.cond(
            _is_16_bit_png(encoded),
            lambda: _decode(encoded, channels, tf.uint16),
            lambda: _of_8_bits(_decode(encoded, channels), pixels),
        )


def _decode(encoded, channels, dtype=tf.uint8):
    image = tf.io.decode_image(encoded, channels=channels, dtype=dtype, expand_animations=False)
    return tf.ensure_shape(image, [None, None, channels])


def _claimed_sides(encoded):
    """Rows and columns by the header, in any order, int32 [2]; 0 for formats not known here."""

    def sides(position, dtype, little_endian):
        encoded_sides = tf.strings.substr(encoded, position, 2 * dtype.size)
        found = tf.io.decode_raw(encoded_sides, dtype, little_endian=little_endian)
        return tf.cast(found, tf.int32)

    first, length = tf.strings.substr(encoded, 0, 2), tf.strings.length(encoded)
    return tf.case(
        [
            (
                first == b"\xff\xd8",  # JPEG
                lambda: tf.image.extract_jpeg_shape(encoded)[:2],
            ),
            (
                tf.logical_and(first == b"\x89P", length >= 24),  # PNG
                lambda: sides(16, tf.int32, False),
            ),
            (
                tf.logical_and(first == b"GI", length >= 10),  # GIF
                lambda: sides(6, tf.uint16, True),
            ),
        ],
        default=lambda: tf.zeros([2], tf.int32),
    )


def _decode_webp_or_bmp(encoded, channels):
    # A substring may not start behind the end, and the bytes may be fewer than a header's.
    header = tf.strings.join([tf.strings.substr(encoded, 0, 30), "\0" * 30])
    is_webp = tf.logical_and(
        tf.strings.substr(header, 0, 4) == "RIFF", tf.strings.substr(header, 8, 4) == "WEBP"
    )
    is_palette_bmp = tf.logical_and(
        tf.strings.substr(header, 0, 2) == "BM",
        tf.strings.substr(header, 28, 2) == b"\x08\x00",  # Bits per pixel.
    )
    return tf.case(
        [
            # tf.io.decode_image cannot drop the alpha channel of WEBP ...
            (is_webp, lambda: _decode_webp(encoded, header, channels)),
            # ... and takes palette indices of BMP for grey.
            (is_palette_bmp, lambda: _decode_palette_bmp(encoded, channels)),
        ],
        default=lambda: _decode(encoded, channels),
    )


def _decode_webp(encoded, header, channels):
    flags = tf.io.decode_raw(tf.strings.substr(header, 20, 1), tf.uint8)[0]
    is_animation = tf.logical_and(
        tf.strings.substr(header, 12, 4) == "VP8X", tf.bitwise.bitwise_and(flags, 2) != 0
    )
    # TensorFlow 2.21 writes four channels for an animation whatever the file has, and so beyond the
    # end of the tensor for three: asking for four makes it refuse those.
    frames = tf.cond(
        is_animation,
        lambda: tf.io.decode_webp(encoded, channels=4),
        lambda: tf.io.decode_webp(encoded),
    )
    return _three_or_four(frames[0], channels)


def _decode_palette_bmp(encoded, channels):
    def integer_at(position):
        return tf.io.decode_raw(tf.strings.substr(encoded, position, 4), tf.int32)[0]

    pixels_start, palette_start = integer_at(10), 14 + integer_at(14)
    entries = tf.strings.substr(encoded, palette_start, pixels_start - palette_start)
    palette = tf.reshape(tf.io.decode_raw(entries, tf.uint8), [-1, 4])[:, 2::-1]  # BGR0 to RGB
    indices = tf.io.decode_bmp(encoded)[:, :, 0]  # [height, width]
    image = tf.gather(palette, tf.cast(indices, tf.int32))  # [height, width, 3]
    return _three_or_four(image, channels)


def _three_or_four(image, channels):
    """The first channels of an image of three or four, an opaque one added where it has none."""
    if channels == 3:
        return image[..., :3]
    return tf.concat([image, 255 * tf.ones_like(image[..., :1])], -1)[..., :4]


@_as_it_is
def resize_and_crop(image: tf.Tensor, size: int) -> tf.Tensor:
    """Makes an image square: shorter side to `size`, then the centre.

    The centre is cropped first, in source pixels, so that no long narrow image is ever enlarged as
    a whole. For a square image, and wherever the side lengths differ by an even number, that is
    the same square; otherwise it lies half a source pixel off. Bilinear, with antialiasing,
    rounded to the nearest integer; an image that has the size already comes back unchanged.

    Args:
        image: uint8 [..., height, width, channels].
        size: int, pixels.

    Returns:
        uint8 [..., size, size, channels].
    """
    height, width = tf.unstack(tf.shape(image)[-3:-1])

    def resize_centre():
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[..., top : top + side, left : left + side, :]
        resized = tf.image.resize(square, [size, size], antialias=True)  # float32
        return tf.cast(tf.round(resized), tf.uint8)

    fits = tf.logical_and(height == size, width == size)
    result = tf.cond(fits, lambda: image, resize_centre)
    return tf.ensure_shape(result, [*image.shape[:-3], size, size, image.shape[-1]])
