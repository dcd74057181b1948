"""Numbered versions in a folder, as TF Serving reads them: each is whole or not there."""

import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

from patchvae_tf.errors import InputError

_UNFINISHED = ".export-"


def writable(export_dir: str | os.PathLike) -> pathlib.Path:
    """Returns the folder that takes versions as a path, made and seen to be writable.

    Raises:
        InputError: it cannot be made or written.
    """
    export_dir = pathlib.Path(export_dir).expanduser()
    try:
        export_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=export_dir):
            pass
    except OSError as error:
        raise InputError(
            f"{export_dir} cannot be written: {error.strerror}. Choose another export_dir."
        ) from error
    return export_dir


def write_next(export_dir: pathlib.Path, write: Callable[[pathlib.Path], object]) -> pathlib.Path:
    """Writes the next version; the ones before stay as they are.

    TF Serving takes a folder as soon as its name is an integer: so it is written under another
    name, then renamed. What a killed export left half-written is removed.

    Args:
        export_dir: pathlib.Path, as `writable` returns it.
        write: function that fills the empty folder whose pathlib.Path it is given.

    Returns:
        pathlib.Path of the version, `export_dir` / an integer.
    """
    # Held by one export at a time; the system drops it with the process, however that ends.
    with open(export_dir / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in export_dir.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=export_dir) as temporary:
            folder = pathlib.Path(temporary) / "version"  # readable by all, unlike its parent
            folder.mkdir()
            write(folder)
            version = export_dir / str(max(numbers(export_dir), default=0) + 1)
            os.rename(folder, version)
            return version


def numbers(export_dir: pathlib.Path) -> list[int]:
    """The integers among the names in a folder, as TF Serving counts them."""
    return [int(path.name) for path in export_dir.iterdir() if path.name.isdecimal()]
