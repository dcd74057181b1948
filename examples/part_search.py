"""Part search: given a patch of an image, the images whose part there looks most like it.

    pip install tensorflow pyarrow
    python part_search.py SAVED_MODEL FEATURES IMAGE ROW COLUMN [PART] [--count=10]

SAVED_MODEL is a PatchVAE that was exported, RUN/export/1 say. FEATURES is a file about the images
to search in, Parquet or .npz, by `python -m export.features ... --outputs=occurrence,appearance`.
ROW and COLUMN, from 0, name a place on the grid that the part maps are: 4 × 4 for 32 pixels.

The part is PART, or the one that most probably occurs in that place. Images in which it occurs are
ranked by how far their part's appearance is from the patch's: the root of the mean squared
difference, in standard deviations over the images.
"""

import argparse
import json
import os
import pathlib
import sys
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

OCCURS = 0.5  # the probability from which on a part is taken to occur in an image


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("saved_model", metavar="SAVED_MODEL", type=pathlib.Path)
    parser.add_argument("features", metavar="FEATURES", type=pathlib.Path)
    parser.add_argument("image", metavar="IMAGE", type=pathlib.Path)
    parser.add_argument("row", metavar="ROW", type=int)
    parser.add_argument("column", metavar="COLUMN", type=int)
    parser.add_argument("part", metavar="PART", type=int, nargs="?")
    parser.add_argument("--count", type=int, default=10, help="images to show")
    flags = parser.parse_args()
    keys, occurrences, appearances = read_features(flags.features)
    occurrence, appearance = describe(flags.saved_model, flags.image)
    if occurrence.shape != occurrences.shape[1:] or appearance.shape != appearances.shape[1:]:
        sys.exit(
            f"error: {flags.features} is of a model with maps {occurrences.shape[1:]}, "
            f"{flags.saved_model} makes {occurrence.shape}: take one model for both."
        )
    rows, columns, parts = occurrence.shape
    inside(flags.row, rows, "ROW")
    inside(flags.column, columns, "COLUMN")
    if flags.part is None:
        part = int(occurrence[flags.row, flags.column].argmax())
    else:
        part = inside(flags.part, parts, "PART")
    print(
        f"part {part} occurs at row {flags.row}, column {flags.column} of {flags.image} with "
        f"probability {occurrence[flags.row, flags.column, part]:.2f}"
    )
    found = search(
        occurrences[..., part], appearances[:, part], occurrence[..., part], appearance[part]
    )
    for index, distance in found[: flags.count]:
        probabilities = occurrences[index, :, :, part]
        row, column = np.unravel_index(probabilities.argmax(), probabilities.shape)
        print(
            f"{keys[index]}: distance {distance:.2f}, probability {probabilities.max():.2f} "
            f"at row {row}, column {column}"
        )


def search(occurrences, appearances, occurrence, appearance):
    """Ranks the images in which a part occurs.

    Args:
        occurrences: [n, rows, columns], the part's probabilities in the images searched.
        appearances: [n, d], how it looks there.
        occurrence: [rows, columns], its probabilities in the image asked about.
        appearance: [d], how it looks there.

    Returns:
        list of (index, distance), the nearest first.
    """
    highest = occurrences.max(axis=(1, 2))  # [n]
    # Where no image reaches OCCURS, the tenth that is nearest to it. Never stricter than the
    # image asked about is itself: if it is among those searched, it is found.
    enough = OCCURS if (highest >= OCCURS).any() else np.quantile(highest, 0.9)
    (candidates,) = np.nonzero(highest >= min(enough, occurrence.max() - 1e-3))
    deviation = appearances.std(axis=0) + 1e-12
    distances = np.sqrt(np.mean(((appearances - appearance) / deviation) ** 2, axis=1))
    order = candidates[np.argsort(distances[candidates], kind="stable")]
    return [(index, distances[index]) for index in order]


def describe(saved_model, image):
    """(occurrence [rows, columns, parts], appearance [parts, d]) of an image file."""
    import tensorflow as tf

    try:
        content = image.read_bytes()
        signature = tf.saved_model.load(saved_model).signatures["serving_bytes"]
    except OSError as error:
        sys.exit(f"error: {str(error).splitlines()[0]}")
    outputs = signature(image_bytes=tf.constant([content]))
    if not outputs["valid"][0]:
        sys.exit(f"error: {image} is not an image that can be read.")
    if "occurrence" not in outputs:
        sys.exit(f"error: {saved_model} knows no parts: it is no PatchVAE.")
    return outputs["occurrence"][0].numpy(), outputs["appearance"][0].numpy()


def read_features(path):
    """(keys [n], occurrence [n, rows, columns, parts], appearance [n, parts, d]) of a file."""
    names = ("key", "occurrence", "appearance")
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                found = {name: arrays[name] for name in names if name in arrays}
        else:
            found = read_parquet(path, names)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(f"error: {path} cannot be read: {str(error).splitlines()[0]}")
    missing = [name for name in names if name not in found]
    if missing:
        sys.exit(
            f"error: {path} holds no `{missing[0]}`: make it of a PatchVAE with "
            "--outputs=occurrence,appearance."
        )
    return tuple(found[name] for name in names)


def read_parquet(path, names):
    """Column name -> array; a field's metadata says the shape that its lists stand for."""
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    names = [name for name in names if name in schema.names]
    table = pyarrow.parquet.read_table(path, columns=names)
    arrays = {}
    for name in names:
        column = table[name].combine_chunks()
        metadata = schema.field(name).metadata or {}
        if b"shape" in metadata:
            shape = json.loads(metadata[b"shape"])
            arrays[name] = column.flatten().to_numpy().reshape(len(column), *shape)
        else:
            arrays[name] = column.to_numpy(zero_copy_only=False)
    return arrays


def inside(number, count, name):
    """`number`, seen to be one of 0 ... count - 1."""
    if not 0 <= number < count:
        sys.exit(f"error: {name} must be one of 0 ... {count - 1}. Received: {number}.")
    return number


if __name__ == "__main__":
    main()
