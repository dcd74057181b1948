"""Room for decoded images: in memory while they fit, otherwise in a file without a name."""

import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import psutil

from patchvae_tf.errors import InputError


def allocate(shape: Sequence[int], dtype: npt.DTypeLike = np.uint8) -> np.ndarray:
    """Returns a writable, page-aligned array of zeros.

    It lies in memory if it takes at most half of what is available, otherwise in a temporary file
    that vanishes with the array. TensorFlow can share either without a copy: it wants an aligned
    buffer, which NumPy's own arrays do not promise.

    Raises:
        InputError: if neither memory nor the temporary folder has room.
    """
    count = math.prod(shape)
    size = count * np.dtype(dtype).itemsize
    if size <= psutil.virtual_memory().available // 2:
        buffer = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        buffer = _map_temporary_file(size)
    return np.frombuffer(buffer, dtype, count).reshape(shape)


def _map_temporary_file(size):
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"The images or features take {size / 1e9:.1f} GB, more than half of the available "
            f"memory, and {folder!r} has {free / 1e9:.1f} GB free: choose a smaller image_size, "
            "or set TMPDIR to a folder on a larger disk."
        )
    with tempfile.TemporaryFile() as file:  # Already unlinked; the mapping keeps it alive.
        # Reserved now, because a full disk met later, through the mapping, kills the process.
        os.posix_fallocate(file.fileno(), 0, size)
        return mmap.mmap(file.fileno(), size)
