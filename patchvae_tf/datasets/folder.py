"""Folders of images, with or without class folders and `train`, `test` folders."""

import collections
import logging
import os
import pathlib
from collections.abc import Iterable, Mapping

import tensorflow as tf

from patchvae_tf.datasets import decoding, folder_listing
from patchvae_tf.datasets.image_files import files_decoding
from patchvae_tf.errors import InputError
from patchvae_tf.settings.pixels import Pixels

# Split -> what its folder may be called, in any case.
_SPELLINGS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
_MOST_STRAY = 0.1  # share of the images, beside class folders, that are left out


def folder_examples(root: pathlib.Path, split: str, pixels: Pixels) -> decoding.EncodedExamples:
    """Lists the images below a folder.

    The folder holds either the images of the split "train", or one folder a split (`train` or
    `training`; `val`, `valid`, `validation`, `dev` or `eval`; `test` or `testing`; in any case).
    If the images of a split lie in sub-folders, the first-level ones are the classes; labels count
    the class names of all splits in alphabetical order. A few images beside class folders are left
    out. What was found is logged.

    Args:
        root: `pathlib.Path` of an existing folder.
        split: str, in any of the spellings.
        pixels: Pixels that are wanted.

    Returns:
        `EncodedExamples`; keys are paths within the folder of the split.

    Raises:
        InputError: if the split or the images are missing, or two folders are one split.
    """
    try:
        folders = _split_folders(root)
        name = _split_of(split)
        if name not in folders:
            offered = ", ".join(
                sorted(
                    folder_listing.shown(_name(path, root, one)) for one, path in folders.items()
                )
            )
            raise InputError(
                f"{str(root)!r} has no split {split!r}: it offers {offered}; the images of another "
                "split belong in a sub-folder of that name, beside `train`."
            )
        listings = {one: folder_listing.listed(folder) for one, folder in folders.items()}
    except OSError as error:
        raise InputError(
            f"{error.filename or str(root)!r} cannot be read ({error.strerror}): mend its "
            "permissions."
        ) from error
    files = {one: listing.images for one, listing in listings.items()}
    if not files[name]:
        _raise_empty(folders[name], listings[name].left_out)
    classes = sorted(
        {path.split("/")[0] for paths in files.values() for path in paths if "/" in path}
    )
    kept, stray = _without_stray(files[name])
    has_classes = all("/" in path for path in kept)
    label_of = {name: label for label, name in enumerate(classes)}
    labels = [label_of[class_of(path)] if has_classes else decoding.NO_LABEL for path in kept]
    _tell(root, folders, files, listings[name].left_out)
    _tell_of_classes(root, name, files, stray, has_classes)
    # Bytes, not text: a name need not be UTF-8.
    paths = [os.fsencode(os.path.join(folders[name], path)) for path in kept]
    names = tf.constant(paths)
    labels = tf.constant(labels, tf.int64)
    return decoding.EncodedExamples(
        count=len(kept),
        key=lambda index: folder_listing.shown(kept[index]),
        open=lambda start: tf.data.Dataset.from_tensor_slices(names[start:]),
        read=lambda index, name: (tf.io.read_file(name), labels[index]),
        **files_decoding(paths, pixels),
        pick=lambda indices: tf.gather(names, indices),
        labelled=has_classes,
        class_names=tuple(map(folder_listing.shown, classes)) if has_classes else None,
    )


def split_folder(root: pathlib.Path, split: str) -> pathlib.Path:
    """The folder that holds the images of a split that `folder_examples` knows."""
    return _split_folders(root)[_split_of(split)]


def has_split(root: pathlib.Path, split: str) -> bool:
    """Whether a folder holds a split, by any of its names."""
    return _split_of(split) in _split_folders(root)


def are_splits(names: Iterable[str]) -> bool:
    """Whether the folders of these names, side by side, are splits and not classes.

    A class may be called "train" as well, among vehicles say.
    """
    found = {_split_of(name) for name in names}
    known = found & set(_SPELLINGS)
    signs = ("train" in known, len(known) > 1, known == found)
    return sum(signs) > 1


def _split_of(name):
    """The split that a name means; the name itself where it means none."""
    lower = name.lower()
    return next((split for split, names in _SPELLINGS.items() if lower in names), name)


def _name(path, root, split):
    """What a split's folder is called."""
    return split if path == root else path.name


def _split_folders(root):
    """Split -> folder; `root` itself is "train" where there are no folders of splits."""
    with os.scandir(root) as found:  # which knows folders: to ask for each of many files takes long
        visible = sorted(
            pathlib.Path(entry.path)
            for entry in found
            if not folder_listing.is_left_behind(entry.name) and entry.is_dir()
        )
    splits, others = {}, []
    for path in visible:
        split = _split_of(path.name)
        if split in _SPELLINGS:
            splits.setdefault(split, []).append(path)
        else:
            others.append(path)
    if not are_splits(path.name for path in visible) and not (
        are_splits(splits) and all(map(folder_listing.holds_runs_alone, others))
    ):
        return {"train": root}
    for split, paths in splits.items():
        if len(paths) > 1:
            raise InputError(
                f"{str(root)!r} has {' and '.join(path.name for path in paths)}, which are one "
                f"split, {split}: keep one of them, or move the images together."
            )
    return {split: paths[0] for split, paths in splits.items()}


def _without_stray(paths):
    """(paths, number left out): without the few that lie beside two class folders or more."""
    counts = collections.Counter(map(class_of, paths))
    if are_left_out(counts):
        return [path for path in paths if class_of(path)], counts[""]
    return paths, 0


def class_of(key: str) -> str:
    """The class of an image by its path within the folder of its split; "" for one beside them."""
    return key.split("/")[0] if "/" in key else ""


def are_left_out(counts: Mapping[str, int]) -> bool:
    """Whether the images of the class "" are few beside those of two classes or more.

    Args:
        counts: class as `class_of` gives it -> number of images.
    """
    stray = counts.get("", 0)
    inside = sum(counts.values()) - stray
    is_few = stray <= max(1, _MOST_STRAY * (stray + inside)) and stray < inside
    return is_few and len(set(counts) - {""}) > 1


def _tell(root, folders, files, left_out):
    """Logs what was found, and what of it is not used."""
    log = logging.getLogger("patchvae_tf")
    place = repr(folder_listing.shown(root))
    if set(folders.values()) != {root}:
        found = ", ".join(
            f"{folder_listing.shown(path.name)} ({len(files[split]):,} images)"
            for split, path in folders.items()
        )
        log.info("%s holds the splits %s.", place, found)
        beside = sum(path.suffix.lower() in folder_listing.SUFFIXES for path in root.iterdir())
        if beside:
            log.warning("%s: left out %d image(s) beside the splits' folders.", place, beside)
    if left_out:
        images = any(suffix not in folder_listing.NO_IMAGES for suffix in left_out)
        log.log(
            logging.WARNING if images else logging.DEBUG,
            "%s: left out %s. JPEG, PNG, GIF, BMP and WEBP are read: convert other images to one "
            "of them.",
            place,
            folder_listing.counted(left_out),
        )


def _tell_of_classes(root, split, files, stray, has_classes):
    """Logs what of the images keeps them from having labels, or the labels from being of use."""
    log = logging.getLogger("patchvae_tf")
    place = repr(folder_listing.shown(root))
    classes = {
        one: {path.split("/")[0] for path in paths if "/" in path} for one, paths in files.items()
    }
    if stray:
        log.warning(
            "%s: left out %d image(s) beside the class folders. Move them into a class, or all "
            "images into one folder if they have none.",
            place,
            stray,
        )
    elif classes[split] and not has_classes:
        log.warning(
            "%s has images beside its folders, so that the folders are not taken for classes and "
            "there are no labels. Move each image into the folder of its class to have them.",
            place,
        )
    elif any(classes.values()) and not has_classes:
        log.warning(
            "%s has classes, but in no folder of its split %s, whose images have no labels. Move "
            "each image into the folder of its class to have them.",
            place,
            split,
        )
    unseen = sorted(classes[split] - classes.get("train", classes[split]))
    if has_classes and unseen:
        log.warning(
            "%s: the split %s has classes that train has not (%s), which no classifier can learn. "
            "Call the folders of a class alike, or add images of it to train.",
            place,
            split,
            ", ".join(map(folder_listing.shown, unseen[:5])) + (", ..." if unseen[5:] else ""),
        )


def _raise_empty(folder, left_out):
    place = repr(folder_listing.shown(folder))
    if not left_out:
        raise InputError(f"{place} is empty: put images there, or name another folder.")
    raise InputError(
        f"{place} holds files but no images ({folder_listing.counted(left_out)}): JPEG, PNG, GIF, "
        "BMP and WEBP are read, by the suffixes "
        f"{', '.join(folder_listing.SUFFIXES)} or by their first bytes. Convert other images."
    )
