"""Trainings whose images are read as they are needed, here or by a data service, and disturbed."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from patchvae_tf import InputError
from patchvae_tf.settings import unsupervised_config
from patchvae_tf.unsupervised.images import load_images
from tests import processes
from tests.faults import running
from tests.testing_utils import random_images


def _write_records(folder, count=68, file_format="tfrecord"):
    running.write_records(folder, (random_images(count, 16) * 255).astype("uint8"), file_format)
    return folder


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """64 images to train on, in 4 files: 8 steps an epoch."""
    return _write_records(tmp_path_factory.mktemp("records"))


def _flags(records, *more):
    return (f"--data_dir={records}", "--streamed", "--shuffle_window=16", "--noexport", *more)


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    done = running.run("noise", run_dir, *_flags(records))
    assert done.returncode == 0, done.stderr
    return run_dir


@contextlib.contextmanager
def _service(port):
    """A data service, as its user starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trainers.data_service", f"--port={port}", "--host=localhost"],
        cwd=processes.ROOT,
        env=running.ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line == f"serving input at localhost:{port}; Ctrl-C stops\n", process.stderr.read()
        yield process
    finally:
        process.kill()
        process.communicate()


def _free_port():
    """A port that is free, and the one after it."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as other:
            one.bind(("", 0))
            with contextlib.suppress(OSError):
                other.bind(("", one.getsockname()[1] + 1))
                return one.getsockname()[1]
    raise AssertionError("no two ports are free")


@pytest.mark.slow
def test_a_streamed_run_that_is_killed_goes_on_exactly(whole, records, tmp_path):
    killed = tmp_path / "killed"
    for step in (3, 10):  # within the first and the second epoch
        with running.started("noise", killed, *_flags(records)) as process:
            assert running.wait_for(lambda: running.newest_step(killed) >= step, process)  # noqa: B023
            process.kill()
    done = running.run("noise", killed, *_flags(records))
    assert done.returncode == 0, done.stderr
    running.assert_same_run(whole, killed)


@pytest.mark.slow
def test_two_data_services_make_the_batches_of_one_process(whole, records, tmp_path):
    ports = _free_port(), _free_port()
    with _service(ports[0]), _service(ports[1]):
        services = ",".join(f"localhost:{port}" for port in ports)
        served = tmp_path / "served"
        done = running.run("noise", served, *_flags(records, f"--data_service={services}"))
        assert done.returncode == 0, done.stderr
    running.assert_same_run(whole, served)


@pytest.mark.slow
def test_a_data_service_that_is_lost_ends_the_run_which_then_goes_on(records, tmp_path):
    port, run_dir = _free_port(), tmp_path / "run"
    flags = _flags(records, f"--data_service=localhost:{port}", "--epochs=500")
    with _service(port) as service, running.started("noise", run_dir, *flags) as process:
        assert running.wait_for(lambda: running.newest_step(run_dir) >= 3, process)
        service.kill()
        service.wait()
        with _service(port):
            _, errors = process.communicate(timeout=running.SECONDS)
            assert process.returncode == 1
            assert "error: a data service failed" in errors
            assert "Start it again, then this command" in errors
            assert "Traceback" not in errors
            step = running.newest_step(run_dir)
            with running.started("noise", run_dir, *flags) as again:
                assert running.wait_for(lambda: running.newest_step(run_dir) > step, again)
                again.send_signal(signal.SIGTERM)
                again.communicate(timeout=60)
            assert again.returncode == 128 + signal.SIGTERM


@pytest.mark.slow
def test_a_silent_data_service_ends_the_run_after_a_minute(records, tmp_path):
    port, run_dir = _free_port(), tmp_path / "run"
    flags = _flags(records, f"--data_service=localhost:{port}", "--epochs=99999")
    with _service(port) as service, running.started("noise", run_dir, *flags) as process:
        assert running.wait_for(lambda: running.newest_step(run_dir) >= 3, process)
        service.kill()
        start = time.monotonic()
        _, errors = process.communicate(timeout=running.SECONDS)
        assert time.monotonic() - start < 90
    assert process.returncode == 1
    assert f"error: the data service at localhost:{port} is silent (Connection refused)" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_two_workers_stream_each_its_own_files(records, tmp_path):
    done = running.run("noise", tmp_path / "run", *_flags(records), workers=2)
    assert done.returncode == 0, done.stderr
    assert "2 devices of 2 workers" in done.stdout


def test_files_that_go_while_streaming_end_the_run_with_one_line(tmp_path):
    records = _write_records(tmp_path / "data", 136)  # 128 to train on, 16 steps an epoch
    run_dir = tmp_path / "run"
    flags = _flags(records, "--epochs=500")
    with running.started("noise", run_dir, *flags) as process:
        assert running.wait_for(lambda: running.newest_step(run_dir) >= 3, process)
        shutil.rmtree(records / "noise")
        _, errors = process.communicate(timeout=running.SECONDS)
    assert process.returncode == 1
    assert "WARNING: 'train/" in errors
    assert "cannot be read: another image of its batch takes its place" in errors
    assert "of 136 images cannot be read ('train/" in errors
    assert "more than 1 %" in errors
    assert "Traceback" not in errors


def test_what_cannot_be_streamed_or_served_is_refused(records, tmp_path):
    def load(dataset, services=(), **settings):
        config = unsupervised_config(dataset=dataset, image_size=16, batch_size=8, **settings)
        return load_images(config, services)

    port = _free_port()
    images = running.write_images(tmp_path / "images.npz")
    with pytest.raises(InputError, match="streamed is for folders of images and TFDS data sets"):
        load(str(images), streamed=True)
    with pytest.raises(InputError, match=r"data_service reads.* Set streamed, or leave"):
        load("noise", [f"localhost:{port}"], data_dir=str(records))
    with pytest.raises(InputError, match=f"no data service answers at localhost:{port} .*refused"):
        load("noise", [f"localhost:{port}"], data_dir=str(records), streamed=True)
    _write_records(tmp_path, file_format="array_record")
    with pytest.raises(InputError, match="array_record and TIFF files are read by Python"):
        load("noise", [f"localhost:{port}"], data_dir=str(tmp_path), streamed=True)
    assert load("noise", data_dir=str(records), streamed=True).is_streamed
    assert not load("noise", data_dir=str(records)).is_streamed


def test_a_taken_port_is_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "trainers.data_service", f"--port={port}", "--host=localhost"],
            cwd=processes.ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: port {port} cannot be used (Address already in use)")
