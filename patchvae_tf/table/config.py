"""The settings of `python -m trainers.table`, and the jobs that they ask for.

Needs no TensorFlow, so that `--help` and a wrong flag answer at once.
"""

import dataclasses
import pathlib

from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting, unsupervised_config
from patchvae_tf.settings.fields import data_dir_setting, precision_setting
from patchvae_tf.transfer.config import TransferConfig

COLUMNS = {"conv1": "Conv1", "conv1-3": "Conv1-3", "conv1-5": "Conv1-5", "none": "nothing"}
_FROZEN = ("conv1-5", "conv1-3", "conv1")  # the fastest verdict first


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: where φ comes from.

    Attributes:
        label: str, as the paper names it.
        source: str, of `transfer_config.SOURCES`.
        freezes: tuple of column names, in the order in which they are computed.
        settings: dict, what the unsupervised run has of its own; None: there is none.
    """

    label: str
    source: str = "run_dir"
    freezes: tuple[str, ...] = _FROZEN
    settings: dict | None = None


def _trained(label, model, **settings):
    return Row(label, settings={"model": model, **settings})


ROWS = {
    "random": Row("random φ", "untrained"),
    "beta_vae": _trained("β-VAE", "beta_vae", weighted_reconstruction=False),
    "beta_vae_lw": _trained("β-VAE + L_w", "beta_vae"),
    "bigan": _trained("BiGAN", "bigan"),
    "patchvae": _trained("PatchVAE", "patchvae", weighted_reconstruction=False),
    "patchvae_lw": _trained("PatchVAE + L_w", "patchvae"),
    "supervised": Row("supervised from scratch", "untrained", ("none",)),
    "imagenet": Row("ImageNet (ResNet-18)", "weights"),
}
PAPER_ORDER = ("patchvae_lw", "patchvae", "beta_vae", "random")  # claimed, best first


@dataclasses.dataclass(frozen=True)
class TableConfig(Settings):
    """Settings of `python -m trainers.table`. Defaults: those of the two trainers."""

    dataset: str = setting("parts", "Data", "with labels and a test part, as of trainers.transfer")
    data_dir: str | None = data_dir_setting()
    image_size: int = setting(
        32, "Data", "side of the square images in pixels, a multiple of 8", minimum=8
    )
    labels_per_class: int | None = setting(
        None, "Data", "labelled images of each class for the classifiers (default: all)", minimum=1
    )

    seeds: int = setting(
        3, "Table", "how often everything is trained, with the seeds 0, 1, ...", minimum=1
    )
    weights: str | None = setting(
        None,
        "Table",
        "adds the ImageNet row: weights of ResNet-18, a local .safetensors or .npz with "
        "torchvision's names",
    )

    epochs: int | None = setting(
        None, "Training", "of the models without labels (default: the trainer's)", minimum=1
    )
    transfer_epochs: int = setting(
        90,
        "Training",
        "of the classifiers; their learning rate is cut by 10 after each third",
        minimum=1,
    )
    transfer_batch_size: int | None = setting(
        None,
        "Training",
        "of the classifiers (default: 256, or all where there are fewer)",
        minimum=1,
    )
    transfer_learning_rate: float = setting(0.1, "Training", "of the classifiers' SGD", above=0.0)
    precision: str = precision_setting()

    def check(self) -> None:
        """Raises InputError for a setting that is missing or wrong, in any job."""
        if not self.dataset:
            raise InputError(
                "dataset is missing. Give a folder, an .npz or a TFDS name, with labels."
            )
        jobs(self, pathlib.Path())


@dataclasses.dataclass(frozen=True)
class TableTraining:
    """One training.

    Attributes:
        row: str, a key of `ROWS`.
        seed: int.
        freeze: str, a key of `COLUMNS`; None for the unsupervised training that a row begins with.
        config: of `settings.unsupervised.CONFIGS`, or TransferConfig, not resolved.
        folder: pathlib.Path, where it keeps its record.
    """

    row: str
    seed: int
    freeze: str | None
    config: object
    folder: pathlib.Path

    def __str__(self):
        what = "without labels" if self.freeze is None else f"frozen: {COLUMNS[self.freeze]}"
        return f"{ROWS[self.row].label}, seed {self.seed}, {what}"


def jobs(config: TableConfig, table_dir: pathlib.Path) -> list["TableTraining"]:
    """Every training that a table needs, a seed after the other, each after what it needs.

    Args:
        config: TableConfig.
        table_dir: pathlib.Path.

    Raises:
        InputError: a setting is wrong.
    """
    rows = {key: row for key, row in ROWS.items() if row.source != "weights" or config.weights}
    return [
        job
        for seed in range(config.seeds)
        for key, row in rows.items()
        for job in _jobs_of_row(config, key, row, seed, table_dir / key / f"seed{seed}")
    ]


def _jobs_of_row(config, key, row, seed, folder):
    shared = {
        "dataset": config.dataset,
        "data_dir": config.data_dir,
        "image_size": config.image_size,
        "seed": seed,
        "precision": config.precision,
    }
    if row.settings is not None:
        run_config = unsupervised_config(
            **shared, **row.settings, recipe="paper", epochs=config.epochs
        )
        yield TableTraining(key, seed, None, run_config, folder / "run")
    source = {"run_dir": str(folder / "run"), "weights": config.weights, "untrained": True}
    for freeze in row.freezes:
        transfer_config = TransferConfig(
            **shared,
            **{row.source: source[row.source]},
            freeze=freeze,
            labels_per_class=config.labels_per_class,
            epochs=config.transfer_epochs,
            cut_epochs=max(config.transfer_epochs // 3, 1),
            batch_size=config.transfer_batch_size,
            learning_rate=config.transfer_learning_rate,
        )
        yield TableTraining(key, seed, freeze, transfer_config, folder / freeze)
