"""Runs that are killed, again and again, at any moment."""

import random
import signal
import time

import psutil
import pytest

from tests.faults import running

KILLS_IN_TRAINING, KILLS_IN_SAVING, KILLS_AFTERWARDS = 7, 7, 6


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    images = running.write_images(tmp_path / "images.npz", 164)  # 20 steps an epoch
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert running.run(images, whole).returncode == 0
    chance = random.Random(time.time_ns())
    moments = ["step"] * KILLS_IN_TRAINING + ["saving"] * KILLS_IN_SAVING
    chance.shuffle(moments)
    for moment in moments + ["exporting"] * KILLS_AFTERWARDS:
        before = running.newest_step(killed)
        with running.started(images, killed) as process:
            assert running.wait_for(lambda: _has_come(moment, killed, before), process), moment  # noqa: B023
            time.sleep(chance.random() * {"step": 0.4, "saving": 0.01, "exporting": 1.0}[moment])
            process.kill()
            process.wait()
        assert not (killed / "result.json").exists()
        print(f"killed ({moment}) after step {running.newest_step(killed)}", flush=True)
    done = running.run(images, killed)
    assert done.returncode == 0, done.stderr
    running.assert_same_run(whole, killed)
    assert [path.name for path in (killed / "export").iterdir() if path.name.isdigit()] == ["1"]
    assert not list(killed.rglob("*_temp"))


def _has_come(moment, run_dir, before):
    if moment == "step":
        return running.newest_step(run_dir) > before
    if moment == "saving":  # TensorFlow writes there first
        written = (run_dir / "checkpoints").glob("step-*_temp*")
        return running.newest_step(run_dir) > before and any(written)
    return (run_dir / "export").is_dir()


@pytest.mark.slow
def test_a_lost_worker_stops_the_others_and_all_go_on_exactly(tmp_path):
    images = running.write_images(tmp_path / "images.npz")
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    flags = ("--noexport",)
    assert running.run(images, whole, *flags, workers=2).returncode == 0
    with running.started(images, disturbed, *flags, workers=2) as launcher:
        assert running.wait_for(lambda: running.newest_step(disturbed) >= 3, launcher)
        start = time.monotonic()
        _worker(launcher.pid, 1).kill()
        _, errors = launcher.communicate(timeout=90)
    assert time.monotonic() - start < 30
    assert launcher.returncode == 128 + signal.SIGKILL
    assert "worker 1 was ended by SIGKILL" in errors
    assert "error: worker 1 (127.0.0.1:" in errors
    assert "Start all workers again" in errors
    assert "Traceback" not in errors
    again = running.run(images, disturbed, *flags, workers=2)
    assert again.returncode == 0, again.stderr
    assert "resuming after step" in again.stdout
    running.assert_same_run(whole, disturbed, record_tolerance=1e-6)


@pytest.mark.slow
def test_one_worker_s_sigterm_saves_and_stops_all_after_the_same_step(tmp_path):
    images = running.write_images(tmp_path / "images.npz")
    run_dir = tmp_path / "run"
    with running.started(images, run_dir, "--noexport", workers=2) as launcher:
        assert running.wait_for(lambda: running.newest_step(run_dir) >= 3, launcher)
        step = running.newest_step(run_dir)
        _worker(launcher.pid, 1).terminate()
        _, errors = launcher.communicate(timeout=90)
    assert launcher.returncode == 128 + signal.SIGTERM
    assert f"stopped with another worker after step {running.newest_step(run_dir)}" in errors
    # The step under way, the one that carries the wish, and the one that is begun meanwhile.
    assert running.newest_step(run_dir) <= step + 3
    again = running.run(images, run_dir, "--noexport")  # on one machine
    assert again.returncode == 0, again.stderr


def test_sigterm_saves_within_a_step(tmp_path):
    images = running.write_images(tmp_path / "images.npz")
    run_dir = tmp_path / "run"
    # No checkpoint but the first would be due before the epoch's end.
    with running.started(
        images, run_dir, "--noexport", "--checkpoint_minutes=60", "--epochs=999"
    ) as process:
        assert running.wait_for(lambda: (run_dir / "metrics.jsonl").exists(), process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"stopped by SIGTERM after step {running.newest_step(run_dir)}, all saved" in errors


def _worker(launcher, index):
    """The process of a worker, a psutil.Process."""
    for process in psutil.Process(launcher).children():
        if f'"index": {index}' in process.environ().get("TF_CONFIG", ""):
            return process
    raise AssertionError("no such worker")
