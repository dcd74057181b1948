"""A classifier on image features: logistic regression by scikit-learn.

    pip install scikit-learn pyarrow
    python sklearn_classifier.py TRAIN [TEST]

TRAIN and TEST are files of features with labels, Parquet or .npz, as `python -m export.features`
writes them. Without TEST a fifth of TRAIN is held out. Prints the accuracy on the images that the
classifier has not seen, of every class, and which classes it takes for each other.
"""

import argparse
import json
import pathlib
import sys
import warnings
import zipfile

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", metavar="TRAIN", type=pathlib.Path)
    parser.add_argument("test", metavar="TEST", type=pathlib.Path, nargs="?")
    flags = parser.parse_args()
    features, labels, names = read(flags.train)
    if flags.test:
        test_features, test_labels, test_names = read(flags.test)
        if test_names != names:
            sys.exit(f"error: the classes of {flags.test} are not those of {flags.train}.")
        if test_features.shape[1] != features.shape[1]:
            sys.exit(
                f"error: {flags.train} holds {features.shape[1]} features an image, {flags.test} "
                f"{test_features.shape[1]}: make both with one model."
            )
    else:
        features, test_features, labels, test_labels = held_out(features, labels, flags.train)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    with warnings.catch_warnings():  # not quite converged is good enough
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(features, labels)
    print(f"{len(labels)} images to learn from, {len(test_labels)} to test")
    report(test_labels, classifier.predict(test_features), names)


def read(path):
    """Reads a file of features.

    Returns:
        (features, labels, names): [n, d] float32, [n] int, and a list of str, the classes' names
        by their numbers, or None where the file gives none.
    """
    try:
        if path.suffix == ".npz":
            columns, names = read_npz(path)
        else:
            columns, names = read_parquet(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(f"error: {path} cannot be read: {str(error).splitlines()[0]}")
    if "features" not in columns:
        sys.exit(f"error: {path} holds no `features`.")
    labels = columns.get("label", np.array([]))
    known = labels >= 0  # -1: the image has no label
    if len(np.unique(labels[known])) < 2:
        sys.exit(f"error: {path} holds no labels of two classes or more: a classifier needs them.")
    return columns["features"][known], labels[known], names


def read_npz(path):
    """(column name -> array, class names or None) of an .npz file."""
    with np.load(path) as arrays:
        columns = {name: arrays[name] for name in ("features", "label") if name in arrays}
        return columns, arrays["class_names"].tolist() if "class_names" in arrays else None


def read_parquet(path):
    """(column name -> array, class names or None) of a Parquet file."""
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    wanted = [name for name in ("features", "label") if name in schema.names]
    table = pyarrow.parquet.read_table(path, columns=wanted).combine_chunks()
    columns = {}
    if "features" in wanted:
        features = table["features"].combine_chunks()
        columns["features"] = features.flatten().to_numpy().reshape(len(features), -1)
    if "label" in wanted and table["label"].null_count == 0:
        columns["label"] = table["label"].to_numpy()
    names = (schema.metadata or {}).get(b"class_names")
    return columns, json.loads(names) if names else None


def held_out(features, labels, path):
    """(features, those held out, labels, those held out): a fifth of each class is held out."""
    try:
        return train_test_split(features, labels, test_size=0.2, stratify=labels, random_state=0)
    except ValueError as error:  # a class with a single image
        sys.exit(f"error: no fifth of {path} can be held out: {error} Give a TEST file too.")


def report(labels, predicted, names):
    """Prints the accuracy, a line for each class, and the commonest mistake.

    Args:
        labels, predicted: [n] int, what is so and what the classifier says.
        names: list of str, or None.
    """
    classes = np.union1d(labels, predicted)
    counts = confusion_matrix(labels, predicted, labels=classes)  # [what is so, what it says]
    titles = [names[number] if names else f"class {number}" for number in classes]
    width = max(len(title) for title in titles)
    most_frequent = counts.sum(axis=1).max() / counts.sum()
    print(
        f"top-1 accuracy {counts.trace() / counts.sum():.1%} "
        f"(always the most frequent class: {most_frequent:.1%})"
    )
    for index, title in enumerate(titles):
        images = counts[index].sum()
        share = f"{counts[index, index] / images:7.1%}" if images else "      -"
        print(f"  {title:{width}} {share} of {images}")
    np.fill_diagonal(counts, 0)
    if counts.any():
        so, said = np.unravel_index(counts.argmax(), counts.shape)
        print(f"most often mistaken: {titles[so]} for {titles[said]}, {counts[so, said]} times")


if __name__ == "__main__":
    main()
