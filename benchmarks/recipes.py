"""Compares recipes: trains each variant for the same epochs, and measures its frozen φ.

A variant is a recipe with some settings changed. 5,000 images (`--validation_examples`) of the
training part are held out; the rest trains φ without labels, and then, with labels, the classifiers
of `benchmarks.frozen_features`; those are tested on the images held out. The test part is not read.
One line of JSON a variant and seed goes to `--output`; what stands there is not done again, and a
training that was stopped goes on.
"""

import dataclasses
import json
import pathlib
import time

from benchmarks import lists
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting, precision_setting

USAGE = """\
python -m benchmarks.recipes --dataset=cifar100 --data_dir=TFDS_FOLDER --epochs=6 --seeds=2
python -m benchmarks.recipes --dataset=FOLDER --variants=paper,masked,agreement
python -m benchmarks.recipes --dataset=FOLDER --settings='{"mask_share": 0.25}'
"""


def _changed(**settings):
    """The recipe `agreement` with something changed."""
    return {"recipe": "agreement", **settings}


# Name -> settings beside `dataset`, `epochs` and `seed`.
VARIANTS = {
    "paper": {"recipe": "paper"},
    "masked": {"recipe": "masked"},
    "agreement": {"recipe": "agreement"},
    "no_agreement": _changed(agreement_weight=0.0, map_agreement_weight=0.0),
    "no_map_agreement": _changed(agreement_weight=300.0, map_agreement_weight=0.0),
    "agreement_temperature_0.2": _changed(agreement_temperature=0.2),
    "strong_agreement": _changed(agreement_weight=1500.0, map_agreement_weight=1500.0),
    "whole_views": _changed(view_scale=1.0),
    "no_crop": _changed(crop_side=1.0),
    "no_jitter": _changed(color_jitter=0.0),
    "strong_jitter": _changed(color_jitter=1.0),
    "no_flip": _changed(horizontal_flip=False),
    "mask": _changed(mask_share=0.5),
    "batch_32": _changed(batch_size=32),
    "weighted_reconstruction": _changed(weighted_reconstruction=True),
    "constant_learning_rate": _changed(learning_rate_schedule="constant"),
    "falling_temperature": _changed(temperature=1.0, temperature_rate=3e-5),
    "paper_weights": _changed(occurrence_weight=10.0, appearance_weight=1.0),
    "paper_code": _changed(num_parts=16, appearance_dim=6),
    "paper_adam": _changed(adam_beta_1=0.5, adam_beta_2=0.999, weight_decay=0.0),
}


def run(name, settings, folder, stop_request):
    """Trains a variant, or goes on with it, and measures it; returns its record.

    Args:
        name: str.
        settings: dict for `unsupervised_config`.
        folder: pathlib.Path of the run.
        stop_request: interruption.StopRequest.

    Raises:
        interruption.Stop: stopped on request, all saved.
    """
    from patchvae_tf.settings import unsupervised_config
    from patchvae_tf.training.execution import Execution
    from patchvae_tf.unsupervised import trainer

    config = unsupervised_config(**settings)
    options = trainer.Options(run_dir=str(folder), export=False, report=False)
    trainer.train(config, options, Execution(), stop_request)
    import keras

    import patchvae_tf
    from benchmarks import frozen_features
    from patchvae_tf.evaluation import features
    from patchvae_tf.unsupervised.images import load_images

    model = patchvae_tf.load_model(folder)
    stage = model.stages[-1]
    images = load_images(config)
    parts = [
        (features.stage_features(model.backbone, part.images, stage, pooled=False), part.labels)
        for part in (images.training, images.validation)
    ]
    accuracy = frozen_features.measure(*parts, seed=config.seed)
    trained = json.loads((folder / "result.json").read_text())
    keras.backend.clear_session()
    return {
        **identity(name, settings),
        **accuracy,
        "images_per_second": trained["images_per_second"],
        "occurrence_rate": trained.get("val_occurrence_rate"),
        "reconstruction": trained.get("val_reconstruction"),
        "device": trained["device"],
        "versions": trained["versions"],
    }


def identity(name, settings):
    """What tells a record from others: a dict. `settings` as of `run`."""
    from patchvae_tf.settings import unsupervised_config

    said = unsupervised_config(**settings).to_json()
    del said["data_dir"]  # where the images lie changes nothing
    return {"variant": name, "seed": said["seed"], "settings": said}


@dataclasses.dataclass(frozen=True)
class RecipesConfig(Settings):
    """Settings of `python -m benchmarks.recipes`."""

    dataset: str | None = setting(None, "Data", "labelled, as of trainers.unsupervised; needed")
    data_dir: str | None = data_dir_setting()
    image_size: int = setting(32, "Data", "side of the images in pixels", minimum=8)
    validation_examples: int = setting(5000, "Data", "images held out of train", minimum=1)
    epochs: int = setting(6, "Training", "of each variant", minimum=1)
    precision: str = precision_setting()
    seeds: int = setting(1, "Variants", "of each variant", minimum=1)
    first_seed: int = setting(0, "Variants", "the others follow", minimum=0)
    variants: str | None = setting(
        None, "Variants", "which of them, with commas between (default: all)"
    )
    settings: str | None = setting(
        None, "Variants", "JSON: one variant of your own, by its settings"
    )
    runs_dir: str = setting("runs/recipes", "Output", "folder of the trainings")
    output: str = setting(
        "runs/recipes/records.jsonl", "Output", "file of JSON lines, a variant each"
    )

    def check(self):
        """Raises InputError for a setting that is missing or wrong."""
        if not self.dataset:
            raise InputError("dataset is missing. --help shows how it is used.")
        self.names()

    def names(self):
        """The variants asked for."""
        return lists.words("variants", self.variants, VARIANTS)


def main(stop_request, given):
    """Runs the variants that are not in the output yet."""
    variants = {name: VARIANTS[name] for name in given.names()}
    if given.settings:
        variants = {given.settings: json.loads(given.settings)}
    output = pathlib.Path(given.output)
    lines = output.read_text().splitlines() if output.exists() else []
    records = [json.loads(line) for line in lines]
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name, changed in variants.items():
            settings = {
                "dataset": given.dataset,
                "data_dir": given.data_dir,
                "image_size": given.image_size,
                "epochs": given.epochs,
                "validation_examples": given.validation_examples,
                "precision": given.precision,
                "seed": seed,
                **changed,
            }
            asked_for = identity(name, settings)
            if any(asked_for.items() <= record.items() for record in records):
                continue
            label = "".join(c if c.isalnum() else "_" for c in name)[:80]
            folder = pathlib.Path(given.runs_dir) / f"{label}-seed{seed}"
            start = time.monotonic()
            record = run(name, settings, folder, stop_request)
            record["minutes"] = round((time.monotonic() - start) / 60, 1)
            output.parent.mkdir(parents=True, exist_ok=True)
            with open(output, "a") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{name}, seed {seed}: linear {record['linear']:.2%}, fc {record['fc']:.2%}")


if __name__ == "__main__":
    console.run(main, USAGE, RecipesConfig)
