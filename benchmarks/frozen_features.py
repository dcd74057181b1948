"""Measures what a wholly frozen φ is worth under one fixed protocol, on all labels of a data set.

φ's flattened output, each dimension standardised by the training part; softmax regression
("linear") and the paper's Table 5 head ("fc": Dropout 0.5, Dense 512, ReLU, Dense) on it; 20 epochs
of SGD, momentum 0.9, weight decay 1e-4, batch 256, the learning rate falling by a cosine from 0.002
(linear) and 0.02 (fc) to 0. The weights begin as PyTorch's do. Nothing is chosen by the test part.
"""

import itertools
import json
import os
import pathlib

from absl import app, flags

USAGE = """\
python -m benchmarks.frozen_features --run_dir=RUN --dataset=cifar100 --data_dir=TFDS_FOLDER
python -m benchmarks.frozen_features --untrained --dataset=cifar100 --data_dir=TFDS_FOLDER
"""

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


def main(argv):
    """Computes the features, measures, prints the result and writes it beside the run's."""
    del argv
    import keras

    import patchvae_tf
    from patchvae_tf import backbones, datasets, runs
    from patchvae_tf.evaluation import features
    from patchvae_tf.training import devices

    run_dir = flags.FLAGS.run_dir
    size = flags.FLAGS.image_size
    keras.utils.set_random_seed(flags.FLAGS.seed)
    backbone, stage = backbones.build(), backbones.stages("resnet9")[-1]
    if not flags.FLAGS.untrained:
        model = patchvae_tf.load_model(run_dir)
        backbone, stage, size = model.backbone, model.stages[-1], model.image_size
    parts = []
    for split in ("train", "test"):
        part = datasets.load(
            flags.FLAGS.dataset, split, image_size=size, data_dir=flags.FLAGS.data_dir
        )
        flat = features.stage_features(backbone, part.images, stage, pooled=False)
        parts.append((flat, part.labels))
    result = {
        "dataset": flags.FLAGS.dataset,
        **measure(*parts, seed=flags.FLAGS.seed),
        "dimensions": parts[0][0].shape[1],
        "training_images": len(parts[0][1]),
        "test_images": len(parts[1][1]),
        "device": devices.description(),
        "versions": devices.versions(),
    }
    print(json.dumps(result, indent=2))
    if not flags.FLAGS.untrained:
        runs.write_json(pathlib.Path(run_dir) / "frozen_features.json", result)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags.DEFINE_string("run_dir", None, "folder of a finished run")
    flags.DEFINE_bool("untrained", False, "a φ with its first weights instead of a run's")
    flags.DEFINE_string("dataset", None, "labelled, with a train and a test part", required=True)
    flags.DEFINE_string("data_dir", None, "folder of prepared TFDS data sets")
    flags.DEFINE_integer("image_size", 32, "of --untrained, in pixels", lower_bound=8)
    flags.DEFINE_integer("seed", 0, "of first weights, dropout and order", lower_bound=0)
    flags.register_multi_flags_validator(
        ["run_dir", "untrained"],
        lambda given: bool(given["run_dir"]) != given["untrained"],
        message="give one: --run_dir or --untrained",
    )
    app.run(main)
