"""Measures what a preset's features are worth, by pooling and crops, beside those of a random φ.

The package's linear classifier (standardisation, logistic regression) learns from up to 10,000
images of the training part and is scored on the test part; nothing is chosen by the latter.
"""

import dataclasses
import json
import pathlib

from benchmarks import lists
from patchvae_tf import extras
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting, seed_setting

USAGE = "python -m benchmarks.presets --preset=cifar100 --dataset=cifar100 --data_dir=TFDS_FOLDER"

_POOLINGS = ("mean", "max", "flat", "parts")


def measure(model, training, test, settings):
    """Top-1 of one pooling.

    Args:
        model: as of `patchvae_tf.embed`.
        training, test: labelled `ImageSet`s.
        settings: dict, `pooling` and `crops`.

    Returns:
        float in [0, 1].
    """
    import patchvae_tf
    from patchvae_tf.evaluation import classifiers

    learned_from, scored_on = (
        patchvae_tf.embed(part.images, model, image_size=part.images.shape[1], **settings).features
        for part in (training, test)
    )
    return float(
        classifiers.classifier(learned_from, training.labels).score(scored_on, test.labels)
    )


@dataclasses.dataclass(frozen=True)
class PresetsConfig(Settings):
    """Settings of `python -m benchmarks.presets`."""

    preset: str | None = setting(None, "Model", "name or folder; needed")
    dataset: str | None = setting(None, "Data", "labelled, with a train and a test part; needed")
    data_dir: str | None = data_dir_setting()
    split: str = setting("test", "Data", "the part to score on")
    image_size: int | None = setting(None, "Data", "pixels (default: the preset's)", minimum=8)
    poolings: str = setting(
        "mean,max,parts", "Features", f"of {', '.join(_POOLINGS)}, with commas between"
    )
    crops: str = setting("1,5", "Features", "numbers of crops, with commas between")
    seed: int = seed_setting("of the images and the random φ")
    output: str | None = setting(None, "Output", "JSON file that takes the rows")

    def check(self):
        """Raises InputError for a setting that is missing or wrong."""
        for name in ("preset", "dataset"):
            if not getattr(self, name):
                raise InputError(f"{name} is missing. --help shows how it is used.")
        self.settings()

    def settings(self):
        """How features are made, of each row: a list of dicts, `pooling` and `crops`."""
        return [
            {"pooling": pooling, "crops": crops}
            for pooling in lists.words("poolings", self.poolings, _POOLINGS)
            for crops in lists.multiples("crops", self.crops)
        ]


def main(stop_request, config):
    """Measures, and prints a Markdown table."""
    del stop_request
    extras.require("sklearn", "benchmarks.presets")
    from patchvae_tf import datasets, noise, pretrained, runs
    from patchvae_tf.evaluation.classifiers import MOST_TRAINING_IMAGES
    from patchvae_tf.models import MODELS
    from patchvae_tf.models.base import UnsupervisedModel
    from patchvae_tf.settings.pixels import Pixels
    from patchvae_tf.training import devices

    trained = UnsupervisedModel.from_preset(config.preset)
    facts = pretrained.read_facts(pretrained.find(config.preset))
    noise.set_first_weights(config.seed)
    untrained = MODELS[facts.model](**facts.arguments)
    size = config.image_size or trained.image_size
    training, test = (
        datasets.load(
            config.dataset,
            split,
            image_size=size,
            pixels=Pixels(trained.channels),
            data_dir=config.data_dir,
        )
        for split in ("train", config.split)
    )
    training = training.sample(MOST_TRAINING_IMAGES, config.seed)
    rows = []
    for settings in config.settings():
        row = {**settings, "random": None}
        row["top1"] = measure(trained, training, test, settings)
        if settings["crops"] == 1:
            row["random"] = measure(untrained, training, test, settings)
        rows.append(row)
        print(json.dumps(row), flush=True)
    print(
        f"\n{config.preset} on {config.dataset}, {size} pixels: {len(training):,} images to learn "
        f"from, {len(test):,} of {config.split}; {devices.description()}; {devices.versions()}\n\n"
        f"{table(rows)}"
    )
    if config.output:
        runs.write_json(pathlib.Path(config.output), {"dataset": config.dataset, "rows": rows})


def table(rows):
    """The measurements as a Markdown table."""
    lines = ["| pooling | crops | linear, top-1 | random φ |", "|---|---|---|---|"]
    lines += [
        f"| {row['pooling']} | {row['crops']} | {row['top1']:.1%} | "
        f"{'' if row['random'] is None else format(row['random'], '.1%')} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    console.run(main, USAGE, PresetsConfig)
