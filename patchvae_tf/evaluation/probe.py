"""A fast verdict on a run's features: linear and nearest-neighbour accuracy at each stage of φ."""

import dataclasses
import typing

from patchvae_tf import extras, runs, startup
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting
from patchvae_tf.settings.pixels import Pixels

if typing.TYPE_CHECKING:
    import keras

    from patchvae_tf.datasets import ImageSet


@dataclasses.dataclass(frozen=True)
class ProbeConfig(Settings):
    """Settings of `python -m trainers.probe`."""

    run_dir: str | None = setting(None, "Probe", "folder of a finished run; needed")
    dataset: str | None = setting(
        None, "Probe", "a data set with labels, as of the trainer (default: the run's)"
    )
    data_dir: str | None = data_dir_setting("the run's")
    split: str | None = setting(
        None,
        "Probe",
        "the part to score on; the classifiers learn from train (default: test, or what takes its "
        "place)",
    )
    training_images: int = setting(
        10_000, "Probe", "the most images of train to learn from", minimum=1
    )

    def check(self) -> None:
        """Raises InputError for a setting that is missing or wrong."""
        if not self.run_dir:
            raise InputError("run_dir is missing. Give the folder of a finished run.")
        if self.split == "train":
            raise InputError("split=train would score what was learned by heart. Give another.")


def probe_run(config: ProbeConfig) -> None:
    """Measures a finished run; writes `probe.json` into its folder, and prints the table.

    Args:
        config: ProbeConfig.

    Raises:
        InputError: no such run, or a data set without labels.
    """
    extras.require("report", "the probe")
    run_dir = runs.finished(config.run_dir)
    settings = (runs.read_record(run_dir) or {"settings": {}})["settings"]
    dataset = config.dataset or settings.get("dataset")
    if dataset is None:
        raise InputError(f"{run_dir} does not say its data set: give dataset.")

    startup.import_tensorflow()
    import patchvae_tf
    from patchvae_tf import datasets
    from patchvae_tf.evaluation import classifiers

    model = patchvae_tf.load_model(run_dir)
    scored_on = config.split or datasets.test_split(dataset)
    training, test = (
        datasets.load(
            dataset,
            split,
            image_size=model.image_size,
            pixels=Pixels.of(model.channels, settings.get("value_range")),
            data_dir=config.data_dir or settings.get("data_dir"),
            seed=settings.get("seed", 0),
            progress=True,
        )
        for split in ("train", scored_on)
    )
    if not classifiers.can_classify(training, test):
        raise InputError(
            f"{dataset} has no labels, or of one class only: a probe needs classes. Give a folder "
            "with a sub-folder for each class, say."
        )
    rows = measure(model, training, test, config.training_images, settings.get("seed", 0))
    images = min(len(training), config.training_images)
    result = {
        "dataset": dataset,
        "split": scored_on,
        "training_images": images,
        "test_images": len(test),
        "rows": rows,
    }
    runs.write_json(run_dir / "probe.json", result)
    print(f"top-1 on {len(test):,} images ({scored_on}), learned from {images:,}\n\n{table(rows)}")


def measure(
    model: "keras.Model", training: "ImageSet", test: "ImageSet", training_images: int, seed: int
) -> list[dict]:
    """Accuracies of classifiers on the frozen features.

    Args:
        model: `UnsupervisedModel`.
        training, test: labelled `ImageSet`s.
        training_images: int, the most to learn from.
        seed: int, of the images learned from and the untrained backbone.

    Returns:
        list of dicts: `stage`, `pooled`, `dimensions`, and in [0, 1] `linear`,
        `nearest_neighbours`, `untrained_linear`, `untrained_nearest_neighbours`.
    """
    import tqdm

    from patchvae_tf import noise
    from patchvae_tf.evaluation import classifiers, features

    noise.set_first_weights(seed)
    trained_and_not = {"": model.backbone, "untrained_": classifiers.untrained_backbone(model)}
    fits = {
        "linear": classifiers.classifier,
        "nearest_neighbours": classifiers.nearest_neighbours,
    }
    part = training.sample(training_images, seed)
    assert part.labels is not None  # they are labelled
    rows = []
    total = len(model.stages) * 2 * len(trained_and_not)
    with tqdm.tqdm(total=total, desc="Probing", unit=" features") as bar:
        for stage in model.stages:
            for pooled in (True, False):
                row = {"stage": stage.name, "pooled": pooled}
                for prefix, backbone in trained_and_not.items():
                    learned_from, scored_on = (
                        features.stage_features(backbone, images, stage, pooled)
                        for images in (part.images, test.images)
                    )
                    row["dimensions"] = learned_from.shape[1]
                    for name, fit in fits.items():
                        fitted = fit(learned_from, part.labels)
                        row[prefix + name] = float(fitted.score(scored_on, test.labels))
                    bar.update()
                rows.append(row)
    return rows


def table(rows: list[dict]) -> str:
    """The result as a Markdown table."""
    lines = [
        "| stage | features | linear (untrained φ) | nearest neighbours (untrained φ) |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['stage']} | {row['dimensions']:,}, {'pooled' if row['pooled'] else 'flattened'} "
        f"| {row['linear']:.1%} ({row['untrained_linear']:.1%}) "
        f"| {row['nearest_neighbours']:.1%} ({row['untrained_nearest_neighbours']:.1%}) |"
        for row in rows
    ]
    return "\n".join(lines)
