"""How far φ comes with all labels: what features that were learned without any can be compared to.

φ with its first weights, and one dense layer on its flattened map, learn the classes from crops of
mirrored images in changed colours, which are those of the recipe `agreement`, and by its optimizer
and schedule. Then φ is frozen and measured as `benchmarks.frozen_features` measures every φ. So
what is tested are images of which it saw none, by the same classifiers. One setting, no search: a
longer or better supervised training may come further.
"""

import dataclasses
import json
import pathlib
import time

from benchmarks import frozen_features
from benchmarks.labelled import labelled_parts
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.architecture import check_image_size
from patchvae_tf.settings.fields import data_dir_setting, precision_setting, seed_setting

USAGE = """\
python -m benchmarks.supervised --dataset=cifar100 --data_dir=TFDS_FOLDER
python -m benchmarks.supervised --dataset=FOLDER --image_size=64 --epochs=100
"""


@dataclasses.dataclass(frozen=True)
class SupervisedConfig(Settings):
    """Settings of `python -m benchmarks.supervised`."""

    dataset: str | None = setting(None, "Data", "labelled, as of trainers.unsupervised; needed")
    data_dir: str | None = data_dir_setting()
    image_size: int = setting(32, "Data", "side of the images in pixels", minimum=8)
    validation_examples: int = setting(
        5000, "Data", "images held out of train, scored; 0: the test part is", minimum=0
    )
    epochs: int = setting(30, "Training", "passes over the images", minimum=1)
    batch_size: int = setting(128, "Training", "images a step", minimum=1)
    learning_rate: float = setting(1e-3, "Training", "the highest", above=0.0)
    crop_side: float = setting(
        0.35, "Training", "least side of a crop, as a share of the image's", above=0.0, maximum=1.0
    )
    precision: str = precision_setting()
    seed: int = seed_setting("of first weights, order, views and classifiers")
    output: str = setting("runs/supervised/records.jsonl", "Output", "file of JSON lines")

    def check(self):
        """Raises InputError for a setting that is missing."""
        if not self.dataset:
            raise InputError("dataset is missing. --help shows how it is used.")
        check_image_size(self.image_size, "resnet9", None)


def train(images, config):
    """Learns the classes.

    Args:
        images: labelled `ImageSet`.
        config: SupervisedConfig.

    Returns:
        keras.Model of float32 images [n, H, W, channels] in [0, 1] -> logits; φ is its first layer.
    """
    import keras
    import tensorflow as tf

    from patchvae_tf import backbones, datasets, noise, optimizers
    from patchvae_tf.layers.views import RandomViews
    from patchvae_tf.models.distributed import dtype_policy_scope
    from patchvae_tf.settings import unsupervised_config
    from patchvae_tf.training import devices

    settings = unsupervised_config(
        dataset=config.dataset,
        recipe="agreement",
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        crop_side=config.crop_side,
        view_scale=1.0,
    )
    steps = datasets.steps_per_epoch(len(images), config.batch_size)
    views = RandomViews(settings)

    def seen(step, batch):
        pixels, labels = batch
        pixels = tf.image.convert_image_dtype(pixels, tf.float32)
        return views.first(pixels, noise.step_seed(config.seed, step))[0], labels

    batches = datasets.training_batches(
        images.images,
        labels=images.labels,
        batch_size=config.batch_size,
        seed=config.seed,
        flip=settings.horizontal_flip,
        total_steps=config.epochs * steps,
    )
    noise.set_first_weights(config.seed)
    with dtype_policy_scope(devices.dtype_policy(config.precision)):
        phi = backbones.build(channels=images.images.shape[-1])
    model = keras.Sequential(
        [
            keras.Input(images.images.shape[1:]),
            phi,
            keras.layers.Flatten(),
            keras.layers.Dense(int(images.labels.max()) + 1, dtype="float32"),
        ]
    )
    model.compile(
        optimizers.of_settings(settings, steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sparse_categorical_accuracy"],
    )
    viewed = batches.enumerate().map(seen, tf.data.AUTOTUNE).prefetch(2)
    model.fit(viewed, epochs=config.epochs, steps_per_epoch=steps, shuffle=False, verbose=2)
    return model


def main(stop_request, config):
    """Trains, measures, prints the result and appends it to the output."""
    del stop_request
    import tensorflow as tf

    from patchvae_tf import backbones, datasets
    from patchvae_tf.evaluation import features
    from patchvae_tf.training import devices

    parts = labelled_parts(
        config.dataset,
        config.validation_examples,
        config.seed,
        image_size=config.image_size,
        data_dir=config.data_dir,
    )
    start = time.monotonic()
    model = train(parts.training, config)
    seconds = time.monotonic() - start
    phi, stage = model.layers[0], backbones.stages("resnet9")[-1]
    scored = datasets.evaluation_batches(
        parts.scored.images, labels=parts.scored.labels, batch_size=500
    ).map(lambda pixels, labels: (tf.image.convert_image_dtype(pixels, tf.float32), labels))
    _, accuracy = model.evaluate(scored, verbose=0)
    measured = frozen_features.measure(
        *(
            (features.stage_features(phi, part.images, stage, pooled=False), part.labels)
            for part in (parts.training, parts.scored)
        ),
        seed=config.seed,
    )
    record = {
        **dataclasses.asdict(config),
        "scored_on": parts.description,
        "own_layer": accuracy,
        **measured,
        "minutes_of_training": round(seconds / 60, 1),
        "device": devices.description(),
        "versions": devices.versions(),
    }
    del record["output"], record["data_dir"]
    print(json.dumps(record, indent=2))
    output = pathlib.Path(config.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "a") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    console.run(main, USAGE, SupervisedConfig)
