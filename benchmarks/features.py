"""Measures `export.features` against φ's bare speed, from arrays and from JPEG files.

Bare is φ as an export has it, pooled, called on one batch in memory again and again. Beside it
stands reading alone: the same images, read and decoded by as many threads as `export.features`
has for it, half of the cores. All are interleaved, round by round, and medians are shown. `both` is
what is left where φ and reading share the cores, each as fast as alone. Model and images are made
for the purpose.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import statistics
import tempfile
import time

from benchmarks import lists
from patchvae_tf.command_line import console
from patchvae_tf.settings import setting

USAGE = "python -m benchmarks.features [--image_sizes=32,64] [--rounds=3] [--images=8192]"


@dataclasses.dataclass(frozen=True)
class Measured:
    """One image size and source; rates in images/s, `ratio` the median over rounds."""

    image_size: int
    source: str
    bare: float
    read: float
    extracted: float
    ratio: float

    @property
    def both(self):
        """The rate where an image takes the cores' time of both, one after the other."""
        share = max(1, os.cpu_count() // 2) / os.cpu_count()
        return 1 / (1 / self.bare + share / self.read)


def measure(image_size, images, rounds, folder):
    """Returns a list of `Measured`.

    Args:
        image_size: int, pixels.
        images: int, how many are extracted.
        rounds: int.
        folder: pathlib.Path of an empty folder.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    from patchvae_tf import PatchVAE, datasets
    from patchvae_tf.backbones import folding
    from patchvae_tf.features import extraction as features
    from patchvae_tf.saved_models import writing as saved_model

    keras.utils.set_random_seed(0)
    model = PatchVAE(image_size=image_size)
    version = saved_model.export_model(model, folder / "export")
    drawn = datasets.load("parts", "test", image_size=image_size).images
    drawn = drawn[np.arange(images) % len(drawn)]
    np.savez(folder / "arrays.npz", x_train=drawn)
    (folder / "files").mkdir()
    for index, image in enumerate(drawn):
        file = folder / "files" / f"{index:06d}.jpg"
        file.write_bytes(tf.io.encode_jpeg(image, quality=90).numpy())
    backbone = folding.folded(model.backbone)
    batch = tf.image.convert_image_dtype(drawn[:256], tf.float32)
    bare_function = tf.function(lambda: tf.reduce_mean(backbone(batch), [1, 2]), autograph=False)
    bare_function()

    def bare():
        start, calls = time.perf_counter(), max(1, images // len(batch))
        for _ in range(calls):
            bare_function().numpy()
        return calls * len(batch) / (time.perf_counter() - start)

    def read(source):
        stream = datasets.stream(str(source), "train", image_size=image_size)
        batches = stream.batches(len(batch), 0)
        next(batches)  # what traces and begins is not meant
        start = time.perf_counter()
        count = sum(len(indices) for indices, *_ in batches)
        return count / (time.perf_counter() - start)

    def extracted(source):
        output = folder / "features.npz"
        config = features.FeaturesConfig(
            saved_model=str(version), dataset=str(source), output=str(output)
        )
        with contextlib.redirect_stdout(io.StringIO()):
            features.extract(config)
        record = output.with_name("features.npz.json")
        rate = json.loads(record.read_text())["images_per_second"]
        output.unlink()
        record.unlink()
        return rate

    rows = []
    for name, source in {"arrays": "arrays.npz", "JPEG files": "files"}.items():
        path = folder / source
        measured = [(bare(), read(path), extracted(path)) for _ in range(rounds)]
        rows.append(
            Measured(
                image_size=image_size,
                source=name,
                bare=statistics.median(one[0] for one in measured),
                read=statistics.median(one[1] for one in measured),
                extracted=statistics.median(one[2] for one in measured),
                ratio=statistics.median(one[2] / one[0] for one in measured),
            )
        )
    return rows


def table(rows):
    """The measurements as a Markdown table."""
    lines = [
        "| size | from | φ alone, images/s | reading alone | both, in turn (of φ) "
        "| `export.features` (of φ) |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.image_size} | {row.source} | {row.bare:.0f} "
        f"| {row.read:.0f} | {row.both:.0f} ({row.both / row.bare:.0%}) "
        f"| {row.extracted:.0f} ({row.ratio:.0%}) |"
        for row in rows
    ]
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class FeaturesBenchmarkConfig(lists.ImageSizes):
    """Settings of `python -m benchmarks.features`."""

    images: int = setting(8192, "Work", "images extracted", minimum=1)
    rounds: int = setting(3, "Measurement", "measurements of each", minimum=1)


def main(stop_request, config):
    """Measures all sizes asked for and prints the table."""
    del stop_request
    from patchvae_tf.training import devices

    rows = []
    for image_size in config.sizes():
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(image_size, config.images, config.rounds, pathlib.Path(folder))
    print(f"{devices.description()}; {devices.versions()}\n\n{table(rows)}")


if __name__ == "__main__":
    console.run(main, USAGE, FeaturesBenchmarkConfig)
