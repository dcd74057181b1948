"""What computes, and in how many pieces, does not change what is learned."""

import numpy as np
import pytest

from tests import processes

PROGRAM = "tests.trainers.plain_training"
OTHERS = "agreement,beta_vae,bigan,adversarial"


def _trained(output, models, *options, workers=1):
    launcher = ["trainers.launch", f"--workers={workers}", "--"] if workers > 1 else []
    done = processes.run(*launcher, PROGRAM, output, models, *options)
    assert done.returncode == 0, done.stderr
    return np.load(output)


def _assert_equal(one, other, tolerance):
    assert set(one.files) == set(other.files)
    for name in one.files:
        if name.endswith("validation"):
            assert one[name] == pytest.approx(other[name], rel=1e-5)
        elif not name.endswith(("replicas", "moved")):
            # Relative for values above 1: a moving variance of 10 has steps of 1e-6 in float32.
            error = np.abs(other[name] - one[name]) / np.maximum(1.0, np.abs(one[name]))
            np.testing.assert_array_less(error, tolerance, err_msg=name)


def _assert_moved(run, models):
    for model in models.split(","):
        assert run[f"{model}/moved"] > 1e-4


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return _trained(tmp_path_factory.mktemp("plain") / "plain.npz", "patchvae")


def test_two_workers_learn_what_one_does(plain, tmp_path):
    two = _trained(tmp_path / "two.npz", "patchvae", workers=2)
    assert (plain["replicas"], two["replicas"]) == (1, 2)
    _assert_moved(plain, "patchvae")
    _assert_equal(plain, two, 1e-6)


@pytest.mark.parametrize(
    ("options", "replicas", "tolerance"),
    [
        (["2"], 1, 1e-7),  # 2 does not divide the 3 steps of an epoch
        (["xla"], 1, 1e-6),
        (["cpu:2", "3"], 2, 1e-6),
    ],
)
def test_fused_and_compiled_steps_equal_plain_ones(options, replicas, tolerance, plain, tmp_path):
    other = _trained(tmp_path / "other.npz", "patchvae", *options)
    assert other["replicas"] == replicas
    _assert_equal(plain, other, tolerance)


@pytest.mark.slow
def test_every_other_model_equals_itself_on_two_devices_and_two_workers(tmp_path):
    one = _trained(tmp_path / "one.npz", OTHERS)
    _assert_moved(one, OTHERS)
    for name, options, workers in (
        ("devices", ["cpu:2"], 1),
        ("workers", [], 2),
        ("both", ["2"], 2),
        ("xla", ["xla"], 1),
    ):
        other = _trained(tmp_path / f"{name}.npz", OTHERS, *options, workers=workers)
        _assert_equal(one, other, 1e-6)
