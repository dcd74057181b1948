"""Versions are whole or not there, however an export ends."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from patchvae_tf.saved_models import versions
from tests.export.exporting import ROOT


def _write(folder, text="whole"):
    (folder / "saved_model.pb").write_text(text)


def test_versions_count_up_and_old_ones_stay(tmp_path):
    export_dir = versions.writable(tmp_path / "new" / "export")
    assert versions.write_next(export_dir, _write) == export_dir / "1"
    (export_dir / "20-notes").mkdir()
    assert versions.write_next(export_dir, lambda folder: _write(folder, "other")).name == "2"
    (export_dir / "9").mkdir()
    assert versions.write_next(export_dir, _write).name == "10"
    assert (export_dir / "1" / "saved_model.pb").read_text() == "whole"
    assert not any((export_dir / "9").iterdir())
    names = {path.name for path in export_dir.iterdir()}
    assert names == {"1", "2", "9", "10", "20-notes", ".lock"}
    # Whoever may enter the folder may read the version, TF Serving's user too.
    assert (export_dir / "1").stat().st_mode & 0o777 == export_dir.stat().st_mode & 0o777


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_version_that_breaks_off_does_not_appear(tmp_path, raised):
    def broken(folder):
        _write(folder)
        raise raised

    with pytest.raises(type(raised)):
        versions.write_next(tmp_path, broken)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_exports_into_one_folder_wait_for_each_other(tmp_path):
    def slow(folder):
        time.sleep(0.05)
        _write(folder)

    threads = [threading.Thread(target=versions.write_next, args=(tmp_path, slow)) for _ in "123"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions.numbers(tmp_path)) == [1, 2, 3]


_ENDLESS = """
import pathlib, sys, time
from patchvae_tf.saved_models import versions

def write(folder):
    (folder / "saved_model.pb").write_text("half")
    print("writing", flush=True)
    time.sleep(600)

versions.write_next(pathlib.Path(sys.argv[1]), write)
"""


def test_a_killed_export_leaves_no_version_and_the_next_one_clears_up(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, tmp_path], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = [path.name for path in tmp_path.iterdir() if path.name != ".lock"]
    assert len(left) == 1
    assert not left[0].isdecimal()
    assert versions.write_next(tmp_path, _write).name == "1"
    assert {path.name for path in tmp_path.iterdir()} == {"1", ".lock"}
