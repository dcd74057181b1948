import json

import numpy as np
import pytest

from patchvae_tf import PatchVAE
from patchvae_tf.datasets import ImageSet
from patchvae_tf.evaluation import probe
from tests import processes


def _run(*flags):
    return processes.run("trainers.probe", *flags)


def _arrays(count, seed):
    """Dark images of class 0 and bright ones of class 1, in turn."""
    labels = np.arange(count) % 2
    noise = np.random.default_rng(seed).integers(0, 60, (count, 16, 16, 3))
    return (noise + 120 * labels[:, None, None, None]).astype("uint8"), labels


def test_the_command_measures_every_stage(tmp_path):
    PatchVAE(image_size=16).save(tmp_path / "model.keras")
    (x_train, y_train), (x_test, y_test) = _arrays(60, 0), _arrays(20, 1)
    np.savez(tmp_path / "d.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    np.savez(tmp_path / "unlabelled.npz", x_train=x_train, x_test=x_test)
    done = _run(f"--run_dir={tmp_path}", f"--dataset={tmp_path}/d.npz", "--training_images=30")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "probe.json").read_text())
    assert (result["training_images"], result["test_images"], result["split"]) == (30, 20, "test")
    rows = {(row["stage"], row["pooled"]): row for row in result["rows"]}
    assert {key: row["dimensions"] for key, row in rows.items()} == {
        ("conv1", True): 64,
        ("conv1", False): 4 * 4 * 64,
        ("conv1-3", True): 64,
        ("conv1-3", False): 4 * 4 * 64,
        ("conv1-5", True): 128,
        ("conv1-5", False): 2 * 2 * 128,
    }
    for row in result["rows"]:
        for name in ("linear", "nearest_neighbours"):
            assert row[name] == row[f"untrained_{name}"] == 1.0
    assert "| conv1-5 | 512, flattened | 100.0% (100.0%) | 100.0% (100.0%) |" in done.stdout
    for flags, message in (
        ((f"--run_dir={tmp_path}",), "does not say its data set: give dataset"),
        ((f"--run_dir={tmp_path}", f"--dataset={tmp_path}/unlabelled.npz"), "has no labels"),
        ((f"--run_dir={tmp_path}", "--split=train"), "learned by heart"),
        ((), "run_dir is missing"),
    ):
        done = _run(*flags)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_labels_by_chance_score_as_chance():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (400, 16, 16, 3), "uint8")
    labels = rng.integers(0, 2, 400)
    sets = [
        ImageSet(images[part], labels[part], None, ("",) * 200)
        for part in (slice(0, 200), slice(200, 400))
    ]
    rows = probe.measure(PatchVAE(image_size=16), *sets, training_images=200, seed=0)
    for row in rows:
        assert row["linear"] == pytest.approx(0.5, abs=0.15)
        assert row["nearest_neighbours"] == pytest.approx(0.5, abs=0.15)
