"""Measures what a wholly frozen φ is worth under one fixed protocol, on all labels of a data set.

φ's flattened output, each dimension standardised by the training part; softmax regression
("linear") and the paper's Table 5 head ("fc": Dropout 0.5, Dense 512, ReLU, Dense) on it; 20 epochs
of SGD, momentum 0.9, weight decay 1e-4, batch 256, the learning rate falling by a cosine from 0.002
(linear) and 0.02 (fc) to 0. The weights begin as PyTorch's do. Nothing is chosen by the test part.
"""

import dataclasses
import itertools
import json
import pathlib

from benchmarks.labelled import LabelledData, labelled_parts
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError
from patchvae_tf.settings import setting
from patchvae_tf.settings.fields import seed_setting

USAGE = """\
python -m benchmarks.frozen_features --model=RUN --dataset=cifar100 --data_dir=TFDS_FOLDER
python -m benchmarks.frozen_features --model=cifar100 --image_size=48 --dataset=cifar100
python -m benchmarks.frozen_features --model=random --dataset=cifar100 --validation_examples=5000
"""

RANDOM = "random"  # in place of a model: φ with its first weights
_EPOCHS, _BATCH_SIZE, _MOMENTUM, _WEIGHT_DECAY = 20, 256, 0.9, 1e-4
_LEARNING_RATES = {"linear": 0.002, "fc": 0.02}
_HIDDEN_UNITS, _DROPOUT = 512, 0.5


def measure(training, test, seed):
    """Top-1 of both classifiers.

    Args:
        training, test: (features, labels), float32 [n, dimensions] and int64 [n].
        seed: int, of first weights, dropout and order.

    Returns:
        dict: `linear` and `fc`, in [0, 1].
    """
    import numpy as np

    features, labels = training
    mean = np.mean(features, axis=0)
    deviation = np.std(features, axis=0, ddof=1) + 1e-3
    standardised = [(part - mean) / deviation for part in (features, test[0])]
    classes = int(labels.max()) + 1
    return {
        kind: _trained_and_tested(kind, standardised, labels, test[1], classes, seed)
        for kind in _LEARNING_RATES
    }


def _trained_and_tested(kind, features, labels, test_labels, classes, seed):
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    training_features, test_features = features
    widths = [training_features.shape[1], *([_HIDDEN_UNITS] if kind == "fc" else []), classes]
    model = keras.Sequential([keras.Input((widths[0],))])
    if kind == "fc":
        model.add(keras.layers.Dropout(_DROPOUT))
    *hidden, last = itertools.pairwise(widths)
    for fan_in, units in hidden:
        model.add(_dense(fan_in, units, "relu"))
    model.add(_dense(*last, None))
    steps = _EPOCHS * (len(labels) // _BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(_LEARNING_RATES[kind], steps)
    model.compile(
        keras.optimizers.SGD(schedule, _MOMENTUM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sparse_categorical_accuracy"],
    )
    # Rows are gathered a batch at a time: `fit` on arrays would take each by itself.
    data = tf.constant(training_features), tf.constant(labels)
    batches = (
        tf.data.Dataset.range(len(labels))
        .shuffle(len(labels), seed=seed)
        .batch(_BATCH_SIZE, drop_remainder=True)
        .map(lambda rows: tuple(tf.gather(part, rows) for part in data), tf.data.AUTOTUNE)
        .prefetch(2)
    )
    model.fit(batches, epochs=_EPOCHS, shuffle=False, verbose=0)
    _, accuracy = model.evaluate(test_features, test_labels, batch_size=1000, verbose=0)
    return accuracy


def _dense(fan_in, units, activation):
    import keras

    limit = fan_in**-0.5

    def uniform():
        return keras.initializers.RandomUniform(-limit, limit)

    def decay():
        # As in PyTorch: weight decay times the weight, added to its gradient.
        return keras.regularizers.L2(_WEIGHT_DECAY / 2)

    return keras.layers.Dense(
        units,
        activation,
        kernel_initializer=uniform(),
        bias_initializer=uniform(),
        kernel_regularizer=decay(),
        bias_regularizer=decay(),
    )


def _phi(given, seed):
    """φ of a run, a preset or `RANDOM`: (Keras model, its last stage, size, channels of images)."""
    import keras

    import patchvae_tf
    from patchvae_tf import backbones, pretrained
    from patchvae_tf.models.base import UnsupervisedModel

    if given == RANDOM:
        keras.utils.set_random_seed(seed)
        return backbones.build(), backbones.stages("resnet9")[-1], 32, 3
    if pretrained.known(given) is not None:
        model = UnsupervisedModel.from_preset(given)
    else:
        model = patchvae_tf.load_model(given)
    return model.backbone, model.stages[-1], model.image_size, model.channels


@dataclasses.dataclass(frozen=True)
class FrozenFeaturesConfig(LabelledData):
    """Settings of `python -m benchmarks.frozen_features`."""

    model: str | None = setting(
        None, "Model", f"a finished run, a preset, or {RANDOM!r}: first weights; needed"
    )
    seed: int = seed_setting("of first weights, dropout and order")

    def check(self):
        """Raises InputError for a setting that is missing."""
        super().check()
        if not self.model:
            raise InputError("model is missing. --help shows how it is used.")


def main(stop_request, config):
    """Computes the features, measures, prints the result and writes it beside the run's."""
    del stop_request
    from patchvae_tf import runs
    from patchvae_tf.evaluation import features
    from patchvae_tf.settings.pixels import Pixels
    from patchvae_tf.training import devices

    backbone, stage, trained_size, channels = _phi(config.model, config.seed)
    size = config.image_size or trained_size
    run_dir = pathlib.Path(config.model)
    settings = (runs.read_record(run_dir) or {"settings": {}})["settings"]
    pixels = Pixels.of(channels, settings.get("value_range"))
    parts = labelled_parts(
        config.dataset,
        config.validation_examples,
        config.seed,
        image_size=size,
        pixels=pixels,
        data_dir=config.data_dir,
    )
    examples = [
        (features.stage_features(backbone, part.images, stage, pooled=False), part.labels)
        for part in (parts.training, parts.scored)
    ]
    result = {
        "dataset": config.dataset,
        "image_size": size,
        "scored_on": parts.description,
        **measure(*examples, seed=config.seed),
        "dimensions": examples[0][0].shape[1],
        "training_images": len(examples[0][1]),
        "test_images": len(examples[1][1]),
        "device": devices.description(),
        "versions": devices.versions(),
    }
    print(json.dumps(result, indent=2))
    if (run_dir / "config.json").exists():
        name = "frozen_features" if size == trained_size else f"frozen_features-{size}"
        runs.write_json(run_dir / f"{name}.json", result)


if __name__ == "__main__":
    console.run(main, USAGE, FrozenFeaturesConfig)
