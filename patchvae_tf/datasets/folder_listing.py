"""Which files below a folder are images, and which are left out and why.

A name with an image's suffix is taken at its word, since what a file is shows when it is decoded
(by its bytes alone): to open each of 100,000s of files for it would take minutes on a disk far
away. Only files of other names are opened, for their first bytes.
"""

import collections
import dataclasses
import os

# As TensorFlow decodes them, and what else JPEG's files are called.
SUFFIXES = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp"),
    *(".tif", ".tiff"),  # by a package that is an extra
)

# Not opened: there may be one for each image.
_OTHERS = (
    ".cfg .csv .db .gz .htm .html .ini .json .jsonl .log .mat .md .mov .mp4 .npy .npz .py .tar .tsv"
    " .txt .url .xml .yaml .yml .zip"
)
NO_IMAGES = frozenset(_OTHERS.split())
# What systems and tools leave among images; names that begin with a dot are passed over anyway.
_LEFT_BEHIND = frozenset(
    {"__macosx", "__pycache__", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin"}
    | {"lost+found", "recycler", "system volume information", "thumbs.db", "desktop.ini"}
)
# Folders that hold all of one of these are our own runs and tables: their pictures are of images.
_OUR_OWN = ({"config.json", "data.json"}, {"table.json", "table.md"})
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files below a folder.

    Attributes:
        images: list of str, paths within the folder, sorted by their parts.
        left_out: dict suffix ("" for none) -> number of files that are no images as TensorFlow
            reads them.
    """

    images: list[str]
    left_out: dict[str, int]


def listed(folder: str | os.PathLike[str]) -> Listing:
    """Returns the `Listing` of all that is below a folder.

    Folders of our own runs are passed over. Links are followed; a folder that can be reached in
    several ways is read once, where it is itself if that is below `folder`. Folders that cannot be
    read raise OSError.
    """
    images: list[str] = []
    left_out: collections.Counter[str] = collections.Counter()
    seen, folders = {_identity(folder)}, [(str(folder), "")]
    links: list[tuple[str, str]] = []
    while folders or links:
        if folders:
            path, inside = folders.pop()
        else:  # only now: nothing that is below `folder` itself is read by another name
            path, inside = links.pop(0)
            if _identity(path) in seen:
                continue
            seen.add(_identity(path))
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
            if inside and _is_our_own(entries):
                continue
            for entry in entries:
                if is_left_behind(entry.name):
                    continue
                within = f"{inside}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    identity = _identity(entry.path)
                    if identity not in seen:
                        seen.add(identity)
                        folders.append((entry.path, f"{within}/"))
                elif entry.is_dir():
                    links.append((entry.path, f"{within}/"))
                elif entry.is_file() or not os.path.exists(entry.path):  # a link to what is gone
                    if is_image(entry.path):
                        images.append(within)
                    else:
                        left_out[os.path.splitext(entry.name)[1].lower()] += 1
    return Listing(sorted(images, key=lambda path: path.split("/")), dict(left_out))


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a trace of some system or tool."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def holds_runs_alone(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is a run of ours, or holds nothing but such, or nothing."""
    with os.scandir(path) as found:
        entries = [entry for entry in found if not is_left_behind(entry.name)]
    return _is_our_own(entries) or all(
        entry.is_dir(follow_symlinks=False) and holds_runs_alone(entry.path) for entry in entries
    )


def _is_our_own(entries):
    names = {entry.name for entry in entries}
    return any(own <= names for own in _OUR_OWN)


def is_image(path: str | os.PathLike) -> bool:
    """Whether a file is an image by its suffix or else by its first bytes."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in SUFFIXES:
        return True
    if suffix in NO_IMAGES:
        return False
    try:
        with open(path, "rb") as file:
            return begins_as_image(file.read(18))
    except OSError:
        return False


def begins_as_image(first: bytes) -> bool:
    """Whether a file's first 18 bytes are those of a JPEG, PNG, GIF, BMP or WEBP."""
    is_bmp = first[:2] == b"BM" and int.from_bytes(first[14:18], "little") in _BMP_HEADERS
    is_webp = first[:4] == b"RIFF" and first[8:12] == b"WEBP"
    return is_bmp or is_webp or first.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8"))


def counted(left_out: dict[str, int]) -> str:
    """E.g. "9 .tif, 1 without suffix", the most first."""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in ordered)


def shown(path: str | os.PathLike) -> str:
    """A path as text that can be printed and written anywhere: what is not UTF-8 is escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _identity(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino
