"""Lists of images, as the scene data sets bring them: read, and checked before long work."""

import pathlib
from collections.abc import Iterable, Iterator

from patchvae_tf.errors import InputError

_SHOWN = 3  # of the absent images


def check_layout(folder: pathlib.Path, names: Iterable[str], layout: str) -> None:
    """Raises InputError unless a folder holds all of `names`.

    Args:
        folder: path-like of `etils.epath`.
        names: file and folder names; a folder's ends with a slash.
        layout: str, what belongs there, for the message.
    """
    for name in names:
        path = folder / name
        fits = path.is_dir() if name.endswith("/") else path.exists() and not path.is_dir()
        if not fits:
            found = sorted(child.name for child in folder.iterdir()) if folder.is_dir() else []
            there = f"It holds {', '.join(found[:8])}." if found else "It is empty or not there."
            raise InputError(
                f"{folder} has no {'folder' if name.endswith('/') else 'file'} {name}. {there} "
                f"Expected: {layout}"
            )


def lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Yields (number from 1, text) of a list's lines that are not blank."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.strip()


def check_images(path: pathlib.Path, image_paths: Iterable[pathlib.Path]) -> None:
    """Raises InputError if a list names images that are not there, or none at all.

    Args:
        path: of the list.
        image_paths: iterable of paths; each is looked up once, none is kept.
    """
    absent: list[str] = []
    count = total = 0
    for image_path in image_paths:
        total += 1
        if not image_path.exists():
            count += 1
            if len(absent) < _SHOWN:
                absent.append(str(image_path))
    if not total:
        raise InputError(f"{path} names no image. Get the file anew.")
    if count:
        more = f" and {count - len(absent)} more" if count > len(absent) else ""
        raise InputError(
            f"{path} names {count:,} of {total:,} images that are not there: {', '.join(absent)}"
            f"{more}. Unpack all of the images, or get the list that belongs to them."
        )


def malformed(path: pathlib.Path, number: int, line: str, expected: str) -> InputError:
    """Returns the InputError for a line that is not as expected."""
    return InputError(f"line {number} of {path} is {line[:80]!r}. Expected: {expected}.")
