"""A full disk, a broken checkpoint, and two runs that want one folder."""

import shutil
import subprocess
import sys

import pytest

from tests import processes
from tests.faults import running

UNSHARE = ["unshare", "--map-root-user", "--mount"]


def _on_small_disk(folder, megabytes, script, *flags):
    """Runs a shell script with "$@" the command of a run, `folder` being a disk of its own."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*UNSHARE, "true"], check=False).returncode
    ):
        pytest.skip("needs `unshare` and user namespaces to mount a small disk")
    folder.mkdir()
    images = running.write_images(folder.parent / "images.npz")
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs {folder} && {script}"
    words = running.words(images, folder / "run", "--noexport", *flags)
    return subprocess.run(
        [*UNSHARE, "bash", "-c", mount, "-", sys.executable, "-m", *words],
        cwd=processes.ROOT,
        env=running.ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=2 * running.SECONDS,
    )


# A checkpoint takes 16.5 MB: the first two fit, the third does not. Then there is room again.
STOP = 'd={d}; "$@"; echo code $?; ls $d/run/checkpoints; mount -o remount,size=200m $d; "$@"'


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(tmp_path):
    disk = tmp_path / "disk"
    done = _on_small_disk(disk, 45, STOP.format(d=disk))
    assert "code 1" in done.stdout
    assert "error: the checkpoint of step 2 cannot be written to" in done.stderr
    assert "The last good one is" in done.stderr
    assert "step-1.index" in done.stdout
    assert "_temp" not in done.stdout
    assert "resuming after step 1 of 16" in done.stdout
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_full_disk_may_be_waited_out(tmp_path):
    disk, log = tmp_path / "disk", tmp_path / "log"
    script = f'"$@" 2>{log} & '
    script += f"until grep -q 'Training goes on' {log} || ! kill -0 $!; do sleep .1; done; "
    script += f"mount -o remount,size=200m {disk}; wait $!; code=$?; cat {log} >&2; exit $code"
    done = _on_small_disk(disk, 45, script, "--on_save_error=continue")
    assert done.returncode == 0, done.stderr
    assert "Training goes on; make room for the next." in done.stderr
    assert "done: 2 epochs, 16 steps" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_second_run_in_the_folder_is_refused_and_the_first_goes_on(tmp_path):
    images = running.write_images(tmp_path / "images.npz")
    flags = (images, tmp_path / "run", "--noexport")
    with running.started(*flags) as first:
        assert running.wait_for(lambda: (tmp_path / "run/.lock").exists(), first)
        second = running.run(*flags)
        assert second.returncode == 1
        assert "another process runs in" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
        _, errors = first.communicate(timeout=running.SECONDS)
    assert first.returncode == 0, errors


@pytest.mark.slow
def test_broken_checkpoints_give_way_to_the_last_good_one_and_nothing_is_lost(tmp_path):
    images = running.write_images(tmp_path / "images.npz")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert running.run(images, whole, "--noexport").returncode == 0
    with running.started(images, broken, "--noexport") as process:
        assert running.wait_for(lambda: running.newest_step(broken) >= 6, process)
        process.kill()
        process.wait()
    newest = sorted((broken / "checkpoints").glob("*.data*"), key=lambda p: p.stat().st_mtime_ns)
    content = newest[-1].read_bytes()
    newest[-1].write_bytes(content[: len(content) // 3])  # cut short
    content = bytearray(newest[-2].read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    newest[-2].write_bytes(content)
    again = running.run(images, broken, "--noexport")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("trying the one before") == 2
    running.assert_same_run(whole, broken)
