"""What a trained model sees in one image: the pictures of the demo."""

import base64
import dataclasses
import io
import typing
from collections.abc import Callable

import numpy as np

from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure

    from patchvae_tf.datasets.stream import ImageStream

OCCURS = 0.5  # the probability from which on a part is taken to occur
_MOST_PIXELS = 50_000_000  # of an upload; a file of a few bytes may stand for more than memory
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")  # Pillow opens more than TensorFlow decodes
_MOST_PARTS = 32  # maps shown
_SEARCHED_PARTS = 4  # of an image, for which the nearest are looked up
_NEAREST = 6


@dataclasses.dataclass(frozen=True, eq=False)
class PartIndex:
    """Parts of the images of a folder, to be searched.

    Attributes:
        stream: `ImageStream`, where the images are read once more when they are shown.
        indices: int64 [n], of the images in the stream.
        peaks: float32 [n, N], the highest probability of each part in each image.
        appearance: float32 [n, N, d_p].
    """

    stream: "ImageStream"
    indices: np.ndarray
    peaks: np.ndarray
    appearance: np.ndarray

    def nearest(self, part: int, appearance: np.ndarray, count: int) -> list[tuple[int, float]]:
        """The images in which a part occurs and looks most like `appearance`, [d_p].

        Distances are the root of the mean squared difference, in standard deviations over the
        images; where no image reaches a probability of 0.5, the tenth nearest to it is searched.

        Returns:
            list of (position, distance), the nearest first.
        """
        peaks, looks = self.peaks[:, part], self.appearance[:, part]
        enough = OCCURS if (peaks >= OCCURS).any() else np.quantile(peaks, 0.9)
        (candidates,) = np.nonzero(peaks >= enough)
        deviation = looks.std(axis=0) + 1e-12
        distances = np.sqrt(np.mean(((looks - appearance) / deviation) ** 2, axis=-1))
        order = candidates[np.argsort(distances[candidates], kind="stable")][:count]
        return [(int(position), float(distances[position])) for position in order]

    def images(self, positions: list[int]) -> np.ndarray:
        """The images at positions, uint8 [n, size, size, 3]."""
        return self.stream.take(self.indices[positions])


def build_index(
    answer: Callable, stream: "ImageStream", batch_size: int = 64, most: int = 10_000
) -> PartIndex:
    """Looks up the parts of a stream's first images.

    Args:
        answer: function of `exported.function` with the outputs `occurrence` and `appearance`.
        stream: `ImageStream`.
        batch_size: int.
        most: int, images at most.

    Returns:
        A `PartIndex`.

    Raises:
        InputError: no image can be read.
    """
    import tqdm

    indices, peaks, appearance, seen = [], [], [], 0
    with tqdm.tqdm(total=min(most, len(stream)), desc="Reading the folder", delay=2) as bar:
        for batch_indices, images, _ in stream.batches(batch_size, 0):
            outputs = answer(images)
            indices.append(batch_indices)
            peaks.append(outputs["occurrence"].numpy().max(axis=(1, 2)))
            appearance.append(outputs["appearance"].numpy())
            seen += len(images)
            bar.update(len(images))
            if seen >= most:
                break
    if not seen:
        raise InputError("the dataset has no image that can be read: give another.")
    return PartIndex(stream, *(np.concatenate(one) for one in (indices, peaks, appearance)))


def read_upload(content: bytes, image_size: int, pixels: Pixels) -> np.ndarray:
    """An uploaded file as the model takes it.

    Args:
        content: bytes, a whole JPEG, PNG, GIF, BMP or WEBP file.
        image_size: int, of a side.
        pixels: Pixels that the model takes.

    Returns:
        uint8 [image_size, image_size, channels].

    Raises:
        InputError: it is no such file, or has more than 50 million pixels.
    """
    import tensorflow as tf
    from PIL import Image

    from patchvae_tf import datasets

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
    except Exception as error:  # PIL raises what it likes
        raise InputError(
            "This file is not an image that can be read. Give a JPEG, PNG, GIF, BMP or WEBP."
        ) from error
    if width * height > _MOST_PIXELS:
        raise InputError(
            f"This image has {width} × {height} pixels: at most 50 million are taken. Make it "
            "smaller."
        )
    try:
        image = datasets.decode_image(tf.constant(content), pixels)
        return datasets.resize_and_crop(image, image_size).numpy()
    except tf.errors.OpError as error:
        raise InputError("This image is broken: it cannot be decoded. Save it anew.") from error


def explain(
    image: np.ndarray,
    outputs: dict[str, np.ndarray],
    reconstruction: np.ndarray,
    index: PartIndex | None = None,
) -> list[tuple]:
    """The pictures of one image.

    Args:
        image: uint8 [H, W, channels].
        outputs: dict of arrays of this image: `occurrence` [h, w, N] and `appearance` [N, d_p]
            where the model has parts.
        reconstruction: [H, W, channels] in [0, 1].
        index: `PartIndex`, or None.

    Returns:
        list of (title, matplotlib figure).
    """
    from patchvae_tf import visualization

    pictures = [
        (
            "What the model rebuilds",
            visualization.picture_table(
                [[image, reconstruction]], tile_dots=160, column_labels=["image", "rebuilt"]
            ),
        )
    ]
    if "occurrence" not in outputs:
        return pictures
    occurrence = outputs["occurrence"]
    peaks = occurrence.max(axis=(0, 1))
    by_peak = np.argsort(-peaks, kind="stable")
    shown = sorted(by_peak[:_MOST_PARTS].tolist())
    pictures.append(("Where each part occurs", visualization.maps_figure(image, occurrence, shown)))
    if index is not None:
        searched = by_peak[:_SEARCHED_PARTS].tolist()
        found = {
            part: index.nearest(part, outputs["appearance"][part], _NEAREST) for part in searched
        }
        # All at once: each reading takes as long as many images.
        images = iter(index.images([position for row in found.values() for position, _ in row]))
        pictures.append(
            (
                "Images whose part looks most like this one's",
                visualization.picture_table(
                    [[next(images) for _ in several] for several in found.values()],
                    tile_dots=80,
                    row_labels=[f"part {part}\nhere {peaks[part]:.2f}" for part in found],
                    captions=[
                        [f"distance {distance:.2f}" for _, distance in several]
                        for several in found.values()
                    ],
                ),
            )
        )
    return pictures


def compare(image: np.ndarray, rebuilt: np.ndarray, changed: np.ndarray) -> "Figure":
    """An image, [H, W, channels], rebuilt, and rebuilt of a changed code, and where they differ."""
    from patchvae_tf import visualization

    difference = np.clip(3 * np.abs(changed - rebuilt), 0, 1)
    return visualization.picture_table(
        [[image, rebuilt, changed, difference]],
        tile_dots=160,
        column_labels=["image", "rebuilt", "changed", "difference × 3"],
    )


def data_url(figure: "Figure") -> str:
    """A figure as an address that holds the whole picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
