import shutil

import numpy as np
import psutil
import pytest

from patchvae_tf.datasets import storage
from patchvae_tf.errors import InputError


@pytest.fixture
def no_memory(monkeypatch):
    memory = psutil.virtual_memory()._replace(available=0)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


def check_usable(array):
    assert array.dtype == np.uint8
    assert array.ctypes.data % 64 == 0
    assert array.shape == (5, 8, 8, 3)
    assert not array.any()
    array[2] = 9
    assert array.sum() == 9 * 8 * 8 * 3


def test_memory_holds_a_small_array():
    check_usable(storage.allocate((5, 8, 8, 3)))


def test_a_temporary_file_holds_what_memory_cannot(no_memory, monkeypatch, tmp_path):
    monkeypatch.setattr(storage.tempfile, "tempdir", str(tmp_path))
    opened = []
    original = storage.tempfile.TemporaryFile
    monkeypatch.setattr(
        storage.tempfile, "TemporaryFile", lambda: opened.append(original()) or opened[0]
    )
    check_usable(storage.allocate((5, 8, 8, 3)))
    assert len(opened) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_raises(no_memory, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match=r"take 3\.0 GB.*1\.0 GB free.*image_size.*TMPDIR"):
        storage.allocate((1000, 1000, 1000, 3))


def test_an_empty_array_is_possible():
    assert storage.allocate((0, 8, 8, 3)).shape == (0, 8, 8, 3)
