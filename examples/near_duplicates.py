"""Nearest images and near-duplicates of a folder, as a page and a table.

    pip install numpy pyarrow
    patchvae features --saved_model=parts --dataset=FOLDER --output=features.parquet
    python near_duplicates.py features.parquet FOLDER [--output=duplicates]

Writes OUTPUT.csv, each image with its nearest ones and how like they are, and OUTPUT.html, the
pairs of an image and a nearest one that are most alike, side by side. FEATURES is Parquet or .npz,
by `python -m export.features`.

Likeness is the cosine of the features, each brought to mean 0 and deviation 1 over the images: 1
for the same image. Pairs of at least --threshold are called near-duplicates.
"""

import argparse
import csv
import html
import os
import pathlib
import sys
import urllib.parse
import zipfile

import numpy as np

_COMPARED = 2**23  # likenesses at once: a memory that does not grow with the images


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", metavar="FEATURES", type=pathlib.Path)
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("duplicates"))
    parser.add_argument("--nearest", type=int, default=5, help="nearest images of each")
    parser.add_argument("--threshold", type=float, default=0.95, help="of near-duplicates")
    parser.add_argument("--pairs", type=int, default=200, help="pairs on the page, at most")
    flags = parser.parse_args()
    keys, features = read(flags.features)
    if not (flags.folder / keys[0]).is_file():
        sys.exit(f"error: {flags.folder} has no {keys[0]}: give the folder of {flags.features}.")
    if flags.nearest < 1:
        sys.exit(f"error: --nearest must be at least 1. Received: {flags.nearest}.")
    count = min(flags.nearest, len(keys) - 1)
    indices, likeness, total = nearest(features, count, flags.threshold)
    pairs = near_duplicates(indices, likeness, flags.threshold)
    table, page = (pathlib.Path(f"{flags.output}{end}") for end in (".csv", ".html"))
    write_table(table, keys, indices, likeness)
    page.write_text(
        rendered(keys, pairs[: flags.pairs], flags.folder, page.parent, total),
        encoding="utf-8",
        errors="backslashreplace",
    )
    print(f"{len(keys)} images, {total} pairs of likeness {flags.threshold:g} or more")
    for first, second, value in pairs[:10]:
        print(f"  {value:.3f} {keys[first]} {keys[second]}")
    print(f"wrote {table} and {page}")


def read(path):
    """(keys, features) of a file: list of str, and float32 [n, d]."""
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                columns = {name: arrays[name] for name in ("key", "features") if name in arrays}
        else:
            columns = read_parquet(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(f"error: {path} cannot be read: {str(error).splitlines()[0]}")
    if len(columns) < 2 or len(columns["key"]) < 2:
        sys.exit(f"error: {path} holds no `key` and `features` of two images or more.")
    return [str(key) for key in columns["key"]], columns["features"]


def read_parquet(path):
    """Column name -> array."""
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    wanted = [name for name in ("key", "features") if name in schema.names]
    table = pyarrow.parquet.read_table(path, columns=wanted)
    columns = {}
    if "features" in wanted:
        features = table["features"].combine_chunks()
        columns["features"] = features.flatten().to_numpy().reshape(len(features), -1)
    if "key" in wanted:
        columns["key"] = table["key"].to_pylist()
    return columns


def nearest(features, count, threshold):
    """The images most like each, of those as much alike the first; and how many pairs are alike.

    Each is compared with all others: ten times as many images take a hundred times as long.

    Args:
        features: float32 [n, d].
        count: int, below n.
        threshold: float, the likeness from which on a pair is counted.

    Returns:
        (indices, likeness, total): int [n, count], the most alike first, float32 [n, count], and
        the number of pairs, also of those that are not among the nearest of either image.
    """
    standard = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True) + 1e-12
    indices = np.zeros((len(features), count), int)
    likeness = np.zeros((len(features), count), np.float32)
    total = 0
    at_once = max(1, _COMPARED // len(features))
    for start in range(0, len(features), at_once):
        cosines = standard[start : start + at_once] @ standard.T  # [rows, n]
        total += np.count_nonzero(np.triu(cosines[:, start:] >= threshold, 1))  # each pair once
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf  # not the image itself
        # Those that reach the last one wanted are sorted, not all.
        least = np.partition(cosines, -count, axis=1)[:, -count]
        for row, values, at_least in zip(start + rows, cosines, least, strict=True):
            (reached,) = np.nonzero(values >= at_least)
            order = np.argsort(-values[reached], kind="stable")[:count]
            indices[row] = reached[order]
            likeness[row] = values[indices[row]]
    return indices, likeness, total


def near_duplicates(indices, likeness, threshold):
    """[(first, second, likeness), ...] of the nearest, each pair once, the most alike first."""
    pairs = {}
    for first, row in enumerate(indices):
        for second, value in zip(row, likeness[first], strict=True):
            if value >= threshold:
                pairs[min(first, second), max(first, second)] = float(value)
    return sorted(
        ((int(first), int(second), value) for (first, second), value in pairs.items()),
        key=lambda pair: (-pair[2], pair[:2]),
    )


def write_table(path, keys, indices, likeness):
    """A row an image and a neighbour of it."""
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "rank", "nearest", "likeness"])
        for number, key in enumerate(keys):
            for rank, (other, value) in enumerate(
                zip(indices[number], likeness[number], strict=True), start=1
            ):
                writer.writerow([key, rank, keys[other], f"{value:.4f}"])


def rendered(keys, pairs, folder, beside, total):
    """The page, which shows the images where they lie."""

    def figure(key):
        source = os.path.relpath(folder / key, beside or ".")
        return (
            f'<figure><img src="{html.escape(urllib.parse.quote(source))}" alt="">'
            f"<figcaption>{html.escape(key)}</figcaption></figure>"
        )

    rows = [
        f"<div><b>{value:.3f}</b>{figure(keys[first])}{figure(keys[second])}</div>"
        for first, second, value in pairs
    ]
    return (
        '<!doctype html><meta charset="utf-8"><title>Near-duplicates</title>'
        "<style>body{font:14px sans-serif;margin:2em}div{display:flex;gap:1em;align-items:center}"
        "figure{margin:.4em}img{width:160px;image-rendering:pixelated}</style>"
        f"<h1>{total} pairs of {len(keys)} images</h1>\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
