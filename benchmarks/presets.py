"""Measures what a preset's features are worth, by pooling and crops, beside those of a random φ.

The package's linear classifier (standardisation, logistic regression) learns from up to 10,000
images of the training part and is scored on the test part; nothing is chosen by the latter.
"""

import json
import os
import pathlib

from absl import app, flags

USAGE = "python -m benchmarks.presets --preset=cifar100 --dataset=cifar100 --data_dir=TFDS_FOLDER"


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


def main(argv):
    """Measures, and prints a Markdown table."""
    del argv
    from patchvae_tf import datasets, noise, pretrained, runs
    from patchvae_tf.evaluation.classifiers import MOST_TRAINING_IMAGES
    from patchvae_tf.models import MODELS
    from patchvae_tf.models.base import UnsupervisedModel
    from patchvae_tf.settings.pixels import Pixels
    from patchvae_tf.training import devices

    given = flags.FLAGS
    trained = UnsupervisedModel.from_preset(given.preset)
    facts = pretrained.read_facts(pretrained.find(given.preset))
    noise.set_first_weights(given.seed)
    untrained = MODELS[facts.model](**facts.arguments)
    size = given.image_size or trained.image_size
    training, test = (
        datasets.load(
            given.dataset,
            split,
            image_size=size,
            pixels=Pixels(trained.channels),
            data_dir=given.data_dir,
        )
        for split in ("train", given.split)
    )
    training = training.sample(MOST_TRAINING_IMAGES, given.seed)
    rows = []
    for pooling in given.poolings:
        for crops in map(int, given.crops):
            settings = {"pooling": pooling, "crops": crops}
            row = {**settings, "random": None}
            row["top1"] = measure(trained, training, test, settings)
            if crops == 1:
                row["random"] = measure(untrained, training, test, settings)
            rows.append(row)
            print(json.dumps(row), flush=True)
    print(
        f"\n{given.preset} on {given.dataset}, {size} pixels: {len(training):,} images to learn "
        f"from, {len(test):,} of {given.split}; {devices.description()}; {devices.versions()}\n\n"
        f"{table(rows)}"
    )
    if given.output:
        runs.write_json(pathlib.Path(given.output), {"dataset": given.dataset, "rows": rows})


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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags.DEFINE_string("preset", None, "name or folder", required=True)
    flags.DEFINE_string("dataset", None, "labelled, with a train and a test part", required=True)
    flags.DEFINE_string("data_dir", None, "folder of prepared TFDS data sets")
    flags.DEFINE_string("split", "test", "the part to score on")
    flags.DEFINE_integer("image_size", None, "pixels (default: the preset's)", lower_bound=8)
    flags.DEFINE_list("poolings", ["mean", "max", "parts"], "mean, max, parts, flat")
    flags.DEFINE_list("crops", ["1", "5"], "numbers of crops")
    flags.DEFINE_integer("seed", 0, "of the images and the random φ", lower_bound=0)
    flags.DEFINE_string("output", None, "JSON file that takes the rows")
    app.run(main)
