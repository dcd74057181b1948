"""Which way up an image file is to be seen: the EXIF tag, read from the bytes, in a graph.

Cameras write pixels as the sensor lies and say in a tag how viewers are to turn them. The tag is
looked for where writers put it: JPEG's APP1 segment, PNG's eXIf chunk, WEBP's EXIF chunk, each
before the pixels but for WEBP's. What is not there, or is no proper tag, turns nothing. The layout
of the tags is TIFF's (CIPA DC-008, "Exif 2.32", 4.5 and 4.6).
"""

import tensorflow as tf

_ORIENTATION = 0x0112  # the tag's number
_HEAD = 2**16  # bytes in which the tags of JPEG and PNG begin
# `\C` is any byte. WEBP has its tags at the end, and says in its header that there are some.
_MAY_HAVE_TAGS = (
    r"(?s)\C*(Exif\x00\x00|eXIf)\C*"
    r"|RIFF\C{4}WEBPVP8X\C{4}[\x08-\x0f\x18-\x1f\x28-\x2f\x38-\x3f]\C*"
)
_MOST_BLOCKS = 64  # segments or chunks that are looked at
_MOST_ENTRIES = 512  # of a directory
_COMMENT, _FIRST_APP, _LAST_APP = 0xFE, 0xE0, 0xEF  # JPEG markers that may come before the pixels


def turned(image: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Turns a decoded image as its file's EXIF tag says.

    Args:
        image: [height, width, channels], the pixels as they are in the file.
        encoded: scalar string tensor, the bytes of the file.

    Returns:
        `image`, or [width, height, channels] where it lay on its side.
    """
    return tf.cond(may_be_turned(encoded), lambda: _turned(image, encoded), lambda: image)


def may_be_turned(encoded: tf.Tensor) -> tf.Tensor:
    """Whether a file, a scalar string tensor, can have a tag at all."""
    # Following the blocks takes as long as a small image; a search by one operation costs nothing.
    head = tf.strings.substr(encoded, 0, _HEAD)
    return tf.strings.regex_full_match(head, _MAY_HAVE_TAGS)


# Traced once in a process, and not inlined: each of its operations would be passed over one by one
# where there is no tag.
@tf.function(autograph=False, experimental_attributes={"_noinline": True})
def _turned(image, encoded):
    number = orientation(encoded)
    upright = tf.cond(number >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    # By number, from 1: the steps in which rows and columns are read.
    steps = tf.constant([[1, 1], [1, -1], [-1, -1], [-1, 1]] * 2)
    row, column = tf.unstack(tf.gather(steps, number - 1))
    return upright[::row, ::column]


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of an image file.

    Args:
        encoded: scalar string tensor, the bytes of the file.

    Returns:
        int32 scalar from 1 (as it is) to 8; 1 where there is no tag, or none that is valid.
    """
    first = tf.strings.substr(encoded, 0, 2)
    start = tf.case(
        [
            (tf.equal(first, b"\xff\xd8"), lambda: _start_in_jpeg(encoded)),
            (tf.equal(first, b"\x89P"), lambda: _start_in_png(encoded)),
            (tf.equal(first, b"RI"), lambda: _start_in_webp(encoded)),
        ],
        default=lambda: tf.constant(0),
    )
    return tf.cond(start > 0, lambda: _of_tags(encoded, start), lambda: tf.constant(1))


def _start_in_jpeg(encoded):
    def look(position):
        """(position of the next segment, start of the tags or 0, whether to go on)."""
        header = _bytes(encoded, position, 10)
        marker = header[1]
        length = 2 + 256 * header[2] + header[3]
        is_exif = (marker == 0xE1) & tf.reduce_all(header[4:] == [69, 120, 105, 102, 0, 0])
        passes = ((marker >= _FIRST_APP) & (marker <= _LAST_APP)) | (marker == _COMMENT)
        start = tf.where(is_exif, position + 10, 0)
        return position + length, start, (header[0] == 0xFF) & passes & (length >= 4)

    return _searched(encoded, 2, look)


def _start_in_png(encoded):
    def look(position):
        header = _bytes(encoded, position, 8)
        length = _integer(header[:4], False)
        is_exif = tf.reduce_all(header[4:] == list(b"eXIf"))
        is_pixels = tf.reduce_all(header[4:] == list(b"IDAT"))
        start = tf.where(is_exif, position + 8, 0)
        return position + 12 + length, start, ~is_pixels & (header[4] > 0)

    return _searched(encoded, 8, look)


def _start_in_webp(encoded):
    def look(position):
        header = _bytes(encoded, position, 14)
        length = _integer(header[4:8], True)
        is_exif = tf.reduce_all(header[:4] == list(b"EXIF"))
        # Some writers put JPEG's prefix before the tags.
        prefixed = tf.reduce_all(header[8:] == [69, 120, 105, 102, 0, 0])
        start = tf.where(is_exif, position + tf.where(prefixed, 14, 8), 0)
        return position + 8 + length + length % 2, start, header[0] > 0

    # Only the extended form can have tags, and says so.
    header = _bytes(encoded, 12, 9)
    has_tags = tf.reduce_all(header[:4] == list(b"VP8X")) & (header[8] // 8 % 2 == 1)
    return tf.cond(has_tags, lambda: _searched(encoded, 12, look), lambda: tf.constant(0))


def _searched(encoded, first, look):
    """Follows blocks from position `first` until `look` finds the tags; their start, or 0."""
    size = tf.strings.length(encoded)

    def goes_on(count, position, start, more):
        return more & (start == 0) & (position < size) & (position > 0) & (count < _MOST_BLOCKS)

    def step(count, position, start, more):
        position, start, more = look(position)
        return count + 1, position, start, more

    begin = (tf.constant(0), tf.constant(first), tf.constant(0), tf.constant(True))
    _, _, start, _ = tf.while_loop(goes_on, step, begin, parallel_iterations=1)
    return start


def _of_tags(encoded, start):
    """The orientation in the first directory of the tags that begin at `start`."""
    header = _bytes(encoded, start, 8)
    is_little = tf.reduce_all(header[:4] == list(b"II*\0"))
    is_big = tf.reduce_all(header[:4] == list(b"MM\0*"))
    directory = start + _integer(header[4:], is_little)
    count = tf.clip_by_value(_integer(_bytes(encoded, directory, 2), is_little), 0, _MOST_ENTRIES)
    entries = tf.reshape(_bytes(encoded, directory + 2, 12 * count), [-1, 12])
    tag, kind = _integer(entries[:, :2], is_little), _integer(entries[:, 2:4], is_little)
    short, long = _integer(entries[:, 8:10], is_little), _integer(entries[:, 8:], is_little)
    value = tf.where(kind == 3, short, tf.where(kind == 4, long, 0))
    is_valid = (tag == _ORIENTATION) & (value >= 1) & (value <= 8) & (is_little | is_big)
    return tf.reduce_max(tf.concat([[1], tf.where(is_valid, value, 1)], 0))


def _bytes(encoded, position, count):
    """int32 [count], the bytes from `position` on; 0 behind the file's end."""
    # A substring may not start behind the end.
    position = tf.clip_by_value(position, 0, tf.strings.length(encoded))
    found = tf.io.decode_raw(tf.strings.substr(encoded, position, count), tf.uint8)
    padded = tf.pad(tf.cast(found, tf.int32), [[0, count - tf.size(found)]])
    return tf.ensure_shape(padded, [count if isinstance(count, int) else None])


def _integer(values, is_little):
    """The integer that the bytes of the last axis, int32, write; negative from 2^31 on."""
    values = tf.where(is_little, values, values[..., ::-1])
    return tf.reduce_sum(values * 256 ** tf.range(values.shape[-1]), axis=-1)
