"""What the command says to wrong settings and data, and its help."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import patchvae_tf
from patchvae_tf import InputError
from tests import processes
from tests.trainers import small_runs


def _run_showing_imports(*flags):
    """In a new interpreter, every import is named on stderr."""
    return subprocess.run(
        [sys.executable, "-m", small_runs.COMMAND, *flags],
        cwd=processes.ROOT,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--num_parts=0",), "num_parts must be at least 1. Received: 0"),
        (
            ("--image_size=30",),
            "image_size must be a positive multiple of the backbone's stride, 8",
        ),
        (("--occurrence_prior=1.5",), "occurrence_prior must be below 1. Received: 1.5"),
        (("--num_prts=3",), "Unknown command line flag 'num_prts'"),
        (("cifar100",), "Unexpected argument 'cifar100'"),
        (("--model=gan",), "--model"),
        (("--run_dir=/proc/run",), "cannot be written"),
    ],
)
def test_wrong_flags_get_one_line_before_tensorflow_is_imported(flags, message):
    failed = _run_showing_imports(*flags)
    assert failed.returncode == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "tensorflow" not in failed.stderr


def test_wrong_data_gets_one_line_and_leaves_no_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero.npz").write_bytes(b"")
    np.savez(tmp_path / "wrong.npz", x_test=np.zeros((3, 8, 8, 3), "uint8"))
    np.savez(tmp_path / "few.npz", x_train=np.zeros((3, 32, 32, 3), "uint8"))
    for dataset, message in (
        (tmp_path / "empty", "is empty"),
        (tmp_path / "zero.npz", "cannot be read"),
        (tmp_path / "wrong.npz", "x_train"),
        (f"{tmp_path / 'few.npz'} --batch_size=128", "batch_size is 128"),
        ("cifra100", "cifar100"),
    ):
        failed = processes.run(
            small_runs.COMMAND, f"--run_dir={tmp_path / 'run'}", *f"--dataset={dataset}".split()
        )
        assert failed.returncode == 1
        assert message in failed.stderr.strip().splitlines()[-1]
        assert "Traceback" not in failed.stderr
        assert not (tmp_path / "run").exists()


def test_help_shows_every_flag_without_tensorflow():
    shown = _run_showing_imports("--help")
    assert shown.returncode == 0
    assert "tensorflow" not in shown.stderr
    for heading in ("Data:", "Model:", "Loss:", "Training:", "Run:"):
        assert heading in shown.stdout.splitlines()
    for flag in ("--dataset", "--num_parts", "--recipe", "--run_dir"):
        assert re.search(rf"^  {re.escape(flag)}\b", shown.stdout, re.MULTILINE)
    assert max(map(len, shown.stdout.splitlines())) <= 100


def test_a_reader_that_goes_away_leaves_no_trace():
    command = [sys.executable, "-m", small_runs.COMMAND, "--help"]
    with subprocess.Popen(
        command, cwd=processes.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_a_path_from_python_is_as_good_as_its_text(tmp_path):
    with pytest.raises(InputError, match=f"The path '{tmp_path}/absent' does not exist"):
        patchvae_tf.train(tmp_path / "run", dataset=tmp_path / "absent")
