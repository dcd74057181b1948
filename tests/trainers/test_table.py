"""The table of results: its jobs, what it writes, and what a failure or a stop leaves."""

import json
import pathlib
from unittest import mock

import numpy as np
import pytest

from patchvae_tf import InputError, RunError, extras
from patchvae_tf.table import making as table
from patchvae_tf.table.config import ROWS, TableConfig, jobs
from tests import processes

CONFIG = TableConfig(dataset="scenes", seeds=2, epochs=3, transfer_epochs=6)
TOP1 = {  # of seed 0; seed 1 has 0.02 more
    "random": 0.10,
    "beta_vae": 0.20,
    "beta_vae_lw": 0.25,
    "bigan": 0.15,
    "patchvae": 0.30,
    "patchvae_lw": 0.40,
    "supervised": 0.50,
}
MACHINE = {"device": "a machine", "dtype_policy": "float32", "versions": {}}


class Trainers:
    """Stands in for both trainers: writes the record that a training would."""

    def __init__(self, failing=(), stop_after=None):
        self.trained, self._failing, self._stop_after = [], failing, stop_after

    def __enter__(self):
        self._patches = [
            mock.patch("patchvae_tf.unsupervised.trainer.train", self._train),
            mock.patch("patchvae_tf.transfer.trainer.train", self._train),
            mock.patch("patchvae_tf.transfer.config.resolved", lambda config: config),
            mock.patch("patchvae_tf.table.making._check_data"),
            mock.patch("keras.backend.clear_session"),  # a second for nothing
        ]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *args):
        for patch in self._patches:
            patch.stop()

    def _train(self, config, options, *args):
        folder = getattr(options, "run_dir", None) or options.transfer_dir
        folder = pathlib.Path(folder)
        if self._stop_after == len(self.trained):
            raise KeyboardInterrupt
        row, seed, what = folder.parts[-3:]
        if (row, what) in self._failing:
            raise RunError("the loss is not finite\nmore of it")
        self.trained.append((row, seed, what))
        top1 = TOP1[row] + 0.02 * config.seed
        result = {"test_top1": top1, "test_top5": 2 * top1, "classes": 10, "test_images": 1000}
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({**result, **MACHINE}))


def _make(config, folder):
    table.make(config, table.Options(table_dir=str(folder)), None)


def _report(folder):
    return json.loads((folder / "table.json").read_text())


def test_every_row_and_column_is_trained_after_what_it_needs(tmp_path):
    with Trainers() as trainers:
        _make(CONFIG, tmp_path)
    assert len(trainers.trained) == len(set(trainers.trained)) == 2 * (5 + 6 * 3 + 1)
    for row in ("beta_vae", "beta_vae_lw", "bigan", "patchvae", "patchvae_lw"):
        places = [trainers.trained.index((row, "seed1", what)) for what in ("run", "conv1")]
        assert places == sorted(places)
    assert ("random", "seed0", "run") not in trainers.trained


def test_what_its_chart_needs_is_asked_for_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(extras.MODULES, "report", ("no_such_module",))
    with Trainers() as trainers, pytest.raises(InputError, match="the table needs the extra `repo"):
        _make(CONFIG, tmp_path / "table")
    assert not trainers.trained
    assert not (tmp_path / "table").exists()


def test_settings_of_the_jobs():
    config = TableConfig(dataset="cifar100", epochs=3, transfer_epochs=6, labels_per_class=10)
    by_name = {(job.row, job.seed, job.freeze): job for job in jobs(config, pathlib.Path("t"))}
    run = by_name["beta_vae", 2, None].config
    assert (run.model, run.weighted_reconstruction, run.seed) == ("beta_vae", False, 2)
    assert (run.epochs, run.horizontal_flip, run.batch_size) == (3, False, 128)
    assert by_name["patchvae_lw", 0, None].config.weighted_reconstruction
    transfer = by_name["bigan", 1, "conv1-3"].config
    assert (transfer.run_dir, transfer.freeze) == ("t/bigan/seed1/run", "conv1-3")
    assert (transfer.epochs, transfer.cut_epochs, transfer.labels_per_class) == (6, 2, 10)
    assert by_name["supervised", 0, "none"].config.untrained
    assert "imagenet" not in {job.row for job in by_name.values()}
    with_weights = jobs(TableConfig(weights="r18.npz"), pathlib.Path("t"))
    assert [job.config.weights for job in with_weights if job.row == "imagenet"] == ["r18.npz"] * 9


def test_table_has_mean_and_spread_over_seeds(tmp_path):
    with Trainers():
        _make(CONFIG, tmp_path)
    report = _report(tmp_path)
    top1 = report["rows"]["patchvae"]["columns"]["conv1-5"]["top1"]
    assert top1["mean"] == pytest.approx(0.31)
    assert top1["spread"] == pytest.approx(0.02 / 2**0.5)
    assert top1["values"] == {"0": pytest.approx(0.30), "1": pytest.approx(0.32)}
    assert report["rows"]["random"]["columns"]["conv1"]["top5"]["mean"] == pytest.approx(0.22)
    assert "data_dir" not in report["settings"]
    text = (tmp_path / "table.md").read_text()
    assert "| PatchVAE | 31.0 ± 1.4 | 31.0 ± 1.4 | 31.0 ± 1.4 |  |" in text
    assert "| supervised from scratch |  |  |  | 51.0 ± 1.4 |" in text
    assert "holds here: PatchVAE + L_w 41.0 > PatchVAE 31.0 > β-VAE 21.0 > random φ 11.0." in text
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")


def test_an_order_that_does_not_hold_is_said(tmp_path):
    with mock.patch.dict(TOP1, random=0.35), Trainers():
        _make(CONFIG, tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "does not hold here: PatchVAE + L_w 41.0 > random φ 36.0 > PatchVAE 31.0" in text


def test_a_failure_is_marked_and_the_rest_goes_on_and_is_not_done_again(tmp_path):
    failing = [("bigan", "run"), ("beta_vae", "conv1")]
    with Trainers(failing) as trainers, pytest.raises(RunError, match="10 trainings failed"):
        _make(CONFIG, tmp_path)
    assert len(trainers.trained) == 2 * (24 - 1 - 3 - 1)
    text = (tmp_path / "table.md").read_text()
    assert "| BiGAN | failed | failed | failed |  |" in text
    assert "| β-VAE | failed | 21.0 ± 1.4 | 21.0 ± 1.4 |  |" in text
    assert "- β-VAE, Conv1 frozen, seed 1: the loss is not finite\n" in text
    with Trainers() as again:
        _make(CONFIG, tmp_path)
    assert len(again.trained) == 10
    assert "failed" not in (tmp_path / "table.md").read_text()
    with Trainers() as third:
        _make(CONFIG, tmp_path)
    assert third.trained == []


def test_a_stopped_table_goes_on(tmp_path):
    with Trainers(stop_after=5), pytest.raises(KeyboardInterrupt):
        _make(CONFIG, tmp_path)
    assert "| PatchVAE | … | … | … |  |" in (tmp_path / "table.md").read_text()
    with Trainers() as trainers:
        _make(CONFIG, tmp_path)
    assert len(trainers.trained) == 48 - 5


def test_more_seeds_add_to_a_table_and_other_settings_are_refused(tmp_path):
    one_seed = TableConfig(dataset="scenes", seeds=1, epochs=3, transfer_epochs=6)
    with Trainers():
        _make(one_seed, tmp_path)
    assert "| PatchVAE | 30.0 |" in (tmp_path / "table.md").read_text()
    with Trainers() as trainers:
        _make(CONFIG, tmp_path)
    assert {seed for _, seed, _ in trainers.trained} == {"seed1"}
    other = TableConfig(dataset="scenes", seeds=2, epochs=4, transfer_epochs=6)
    with Trainers(), pytest.raises(InputError, match="epochs is 3 there and 4 now"):
        _make(other, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"image_size": 20}, "image_size must be a positive multiple"),
        ({"dataset": ""}, "dataset is missing. Give a folder, an .npz or a TFDS name"),
        ({"transfer_learning_rate": -1.0}, "transfer_learning_rate must be above 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TableConfig(**settings)


def _command(*flags):
    return processes.run("trainers.table", *flags)


def test_data_without_labels_is_refused_before_any_training(tmp_path):
    images = np.zeros((40, 16, 16, 3), "uint8")
    np.savez(tmp_path / "images.npz", x_train=images, x_test=images)
    done = _command(
        f"--dataset={tmp_path / 'images.npz'}", "--image_size=16", f"--table_dir={tmp_path / 't'}"
    )
    assert done.returncode == 1
    assert "has no labels" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "t").exists()


@pytest.mark.slow
def test_a_real_table(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 4
    images = rng.integers(0, 60, (160, 16, 16, 3)) + 45 * labels[:, None, None, None]
    split = {"x_train": images[:120], "x_test": images[120:]}
    np.savez(
        tmp_path / "images.npz",
        **{name: part.astype("uint8") for name, part in split.items()},
        y_train=labels[:120],
        y_test=labels[120:],
    )
    flags = (
        f"--dataset={tmp_path / 'images.npz'}",
        "--image_size=16",
        "--seeds=1",
        "--epochs=1",
        "--transfer_epochs=3",
        "--transfer_batch_size=20",
        "--transfer_learning_rate=0.01",
        f"--table_dir={tmp_path / 'table'}",
    )
    first = _command(*flags)
    assert first.returncode == 0, first.stderr[-2000:]
    report = _report(tmp_path / "table")
    for key, row in report["rows"].items():
        assert sorted(row["columns"]) == sorted(ROWS[key].freezes)
        for cell in row["columns"].values():
            assert 0.25 <= cell["top1"]["mean"] <= 1.0
    second = _command(*flags)
    assert second.returncode == 0
    assert "24 trainings, 24 of them done" in second.stdout
    assert _report(tmp_path / "table") == report
