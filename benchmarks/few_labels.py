"""Measures what frozen features are worth where few images have labels.

scikit-learn's ridge regression on φ's flattened features, standardised; its penalty is chosen by
leave-one-out on the labelled images themselves. The images that have labels are drawn anew with
each seed.
"""

import dataclasses
import functools
import json
import pathlib

from benchmarks import lists
from benchmarks.labelled import LabelledData, labelled_parts
from patchvae_tf import extras
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError
from patchvae_tf.settings import setting

USAGE = """\
python -m benchmarks.few_labels --model=cifar100 --dataset=cifar100 --data_dir=TFDS_FOLDER
python -m benchmarks.few_labels --model=RUN --dataset=FOLDER --labels_per_class=5 --crops=5
"""

_PENALTIES = tuple(10.0 ** (0.5 * power) for power in range(4, 11))  # 100 to 100,000


def fitted(features, labels):
    """A scikit-learn pipeline that has learned from few examples.

    Args:
        features: float32 [n, dimensions].
        labels: int64 [n].
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeClassifierCV(_PENALTIES)).fit(features, labels)


@dataclasses.dataclass(frozen=True)
class FewLabelsConfig(LabelledData):
    """Settings of `python -m benchmarks.few_labels`."""

    model: str | None = setting(None, "Model", "a finished run, a preset or an export; needed")
    labels_per_class: str = setting("10,50", "Data", "numbers of labels, with commas between")
    seeds: int = setting(2, "Data", "drawings of the labelled images, from seed 0 on", minimum=1)
    crops: str = setting("1,5", "Features", "numbers of crops, with commas between")
    output: str | None = setting(None, "Output", "JSON file that takes the rows")

    def check(self):
        """Raises InputError for a setting that is missing or wrong."""
        super().check()
        if not self.model:
            raise InputError("model is missing. --help shows how it is used.")
        for name in ("labels_per_class", "crops"):
            lists.multiples(name, getattr(self, name))


def main(stop_request, config):
    """Measures, and prints a Markdown table."""
    del stop_request
    extras.require("sklearn", "benchmarks.few_labels")
    import patchvae_tf
    from patchvae_tf import datasets, runs
    from patchvae_tf.features import computing, sources
    from patchvae_tf.settings.pixels import Pixels
    from patchvae_tf.training import devices

    source = sources.find(config.model)
    size = computing.checked_size(config.image_size, source)
    parts = labelled_parts(
        config.dataset,
        config.validation_examples,
        holdout_seed=0,
        image_size=size,
        pixels=Pixels.of(source.channels, source.value_range),
        data_dir=config.data_dir,
    )
    training, scored = parts.training, parts.scored
    classes = int(training.labels.max()) + 1
    rows = []
    for crops in lists.multiples("crops", config.crops):
        embed = functools.partial(
            patchvae_tf.embed, model=config.model, pooling="flat", crops=crops, image_size=size
        )
        scored_features = embed(scored.images).features
        for count in lists.multiples("labels_per_class", config.labels_per_class):
            accuracies = []
            for seed in range(config.seeds):
                few = datasets.balanced_subset(training, count, classes, seed)
                pipeline = fitted(embed(few.images).features, few.labels)
                accuracies.append(float(pipeline.score(scored_features, scored.labels)))
            rows.append({"labels_per_class": count, "crops": crops, "top1": accuracies})
            print(json.dumps(rows[-1]), flush=True)
    facts = {
        "model": config.model,
        "dataset": config.dataset,
        "image_size": size,
        "scored_on": parts.description,
        "test_images": len(scored),
        "device": devices.description(),
        "versions": devices.versions(),
    }
    print(
        f"\n{config.model} on {config.dataset}, {size} pixels: {len(scored):,} images of "
        f"{parts.description}; {facts['device']}; {facts['versions']}\n\n{table(rows)}"
    )
    if config.output:
        runs.write_json(pathlib.Path(config.output), {**facts, "rows": rows})


def table(rows):
    """The measurements as a Markdown table, the means over the seeds."""
    lines = ["| labels a class | crops | top-1 | of each seed |", "|---|---|---|---|"]
    for row in rows:
        each = row["top1"]
        lines.append(
            f"| {row['labels_per_class']} | {row['crops']} | {sum(each) / len(each):.1%} | "
            f"{', '.join(format(one, '.1%') for one in each)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    console.run(main, USAGE, FewLabelsConfig)
