"""Folders of images, with or without class folders and `train`, `test` folders."""

import os
import pathlib

import tensorflow as tf

from patchvae_tf.datasets import decoding
from patchvae_tf.errors import InputError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")

_SPLIT_FOLDERS = {"train", "test", "val", "validation"}


def folder_examples(root, split):
    """Lists the images below a folder.

    The folder holds either the images of the split "train", or one folder a split (`train`,
    `test`). If all images of a split lie in sub-folders, the first-level ones are the classes;
    labels count the class names of all splits in alphabetical order.

    Args:
        root: `pathlib.Path` of an existing folder.
        split: str.

    Returns:
        `EncodedExamples`; keys are paths within the folder of the split.

    Raises:
        InputError: if the split or the images are missing.
    """
    folders = _split_folders(root)
    if split not in folders:
        raise InputError(
            f"{str(root)!r} has no split {split!r}: it offers {', '.join(sorted(folders))}; the "
            f"images of another split belong in a sub-folder of that name, beside `train`."
        )
    files = {name: _image_files(folder) for name, folder in folders.items()}
    if not files[split]:
        _raise_empty(folders[split])
    classes = sorted(
        {path.parts[0] for paths in files.values() for path in paths if path.parent.parts}
    )
    has_classes = all(path.parent.parts for path in files[split])
    labels = [
        classes.index(path.parts[0]) if has_classes else decoding.NO_LABEL for path in files[split]
    ]
    names = tf.constant([str(folders[split] / path) for path in files[split]])
    labels = tf.constant(labels, tf.int64)
    return decoding.EncodedExamples(
        count=len(files[split]),
        key=lambda index: files[split][index].as_posix(),
        open=lambda start: tf.data.Dataset.from_tensor_slices(names[start:]),
        read=lambda index, name: (tf.io.read_file(name), labels[index]),
        pick=lambda indices: tf.gather(names, indices),
        labelled=has_classes,
        class_names=tuple(classes) if has_classes else None,
    )


def _split_folders(root):
    try:
        folders = {path.name.lower(): path for path in root.iterdir() if path.is_dir()}
    except OSError as error:
        raise InputError(
            f"{str(root)!r} cannot be read ({error.strerror}): mend its permissions."
        ) from error
    splits = {name: folders[name] for name in _SPLIT_FOLDERS & folders.keys()}
    # A class may be called "train" as well, among vehicles say.
    visible = {name for name in folders if name[0] != "."}
    if "train" in splits and (len(splits) > 1 or len(visible) == 1):
        return splits
    return {"train": root}


def _image_files(folder):
    """Paths of the images below `folder`, relative to it and sorted; hidden ones are left out."""
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [
            pathlib.Path(parent, name).relative_to(folder)
            for name in files
            if name[0] != "." and name.lower().endswith(SUFFIXES)
        ]
    return sorted(found)


def _raise_empty(folder):
    if not any(files for _, _, files in os.walk(folder)):
        raise InputError(f"{str(folder)!r} is empty: put images there, or name another folder.")
    raise InputError(
        f"{str(folder)!r} holds files but no images: the accepted suffixes are "
        f"{', '.join(SUFFIXES)}."
    )
