"""A classifier of images in Keras, with a trained φ in it as a layer.

    pip install tensorflow
    python keras_classifier.py SAVED_MODEL FOLDER [--fine_tune] [--epochs=10]

SAVED_MODEL is a version that was exported, RUN/export/1 say. FOLDER holds a sub-folder of images
for each class, or train/ and test/ with such sub-folders; without test/ a fifth is held out. A
dense layer learns on φ's features; with --fine_tune φ then learns too. Prints the accuracy on the
images that were held out.
"""

import argparse
import json
import os
import pathlib
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

BATCH_SIZE = 64


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("saved_model", metavar="SAVED_MODEL", type=pathlib.Path)
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("--fine_tune", action="store_true", help="let φ learn too, at the end")
    parser.add_argument("--epochs", type=int, default=10, help="of the dense layer, then of φ")
    flags = parser.parse_args()
    phi, image_size = read_model(flags.saved_model)
    train, test, names = read_images(flags.folder, image_size)

    inputs = keras.Input((image_size, image_size, 3))
    standardized = keras.layers.Normalization()
    standardized.adapt(train.map(lambda images, labels: phi(images)["features"]))
    features = standardized(phi(inputs)["features"])  # [n, 128]
    model = keras.Model(inputs, keras.layers.Dense(len(names))(features))

    # TFSMLayer is trainable unless it is told not to be.
    before = [weight.numpy() for weight in phi.weights]
    phi.trainable = False
    learn(model, train, flags.epochs, keras.optimizers.Adam(1e-2))
    print(f"frozen φ ({moved(phi, before)}): {accuracy(model, test)}")
    if flags.fine_tune:
        phi.trainable = True
        # Of the heads, on which `features` do not rest.
        warnings.filterwarnings("ignore", "Gradients do not exist")
        # Not Adam: optimizers that keep moments refuse the names that TFSMLayer gives its weights.
        learn(model, train, flags.epochs, keras.optimizers.SGD(1e-2, global_clipnorm=1.0))
        print(f"fine-tuned φ ({moved(phi, before)}): {accuracy(model, test)}")


def read_model(folder):
    """(φ as a layer, the side in pixels of the images it was trained on)."""
    try:
        image_size = json.loads((folder / "model.json").read_text(encoding="utf-8"))["image_size"]
        return keras.layers.TFSMLayer(folder, call_endpoint="serving_default"), image_size
    except OSError as error:
        sys.exit(f"error: {folder} holds no exported version ({error}). Give RUN/export/1, say.")


def read_images(folder, image_size):
    """(training images, images held out, class names): batches of ([n, H, W, 3] in [0, 1], [n])."""
    options = {
        "image_size": (image_size, image_size),
        "crop_to_aspect_ratio": True,
        "batch_size": BATCH_SIZE,
        "seed": 0,
        "verbose": False,
    }
    read = keras.utils.image_dataset_from_directory
    try:
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            train, test = (read(folder / part, **options) for part in ("train", "test"))
        else:
            train, test = read(folder, validation_split=0.2, subset="both", **options)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {folder} holds no images in folders of their classes: {error}")
    if train.class_names != test.class_names:
        sys.exit(f"error: the classes under {folder}/test are not those under {folder}/train.")

    def scaled(dataset):
        dataset = dataset.map(lambda images, labels: (images / 255.0, labels))
        return dataset.prefetch(tf.data.AUTOTUNE)

    return scaled(train), scaled(test), train.class_names


def learn(model, dataset, epochs, optimizer):
    """Trains what is trainable of the model."""
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(dataset, epochs=epochs, shuffle=False, verbose=0)  # the data set shuffles itself


def accuracy(model, dataset):
    """Top-1 accuracy, as text."""
    return f"top-1 accuracy {model.evaluate(dataset, verbose=0, return_dict=True)['accuracy']:.1%}"


def moved(layer, before):
    """How many of a layer's weights are not what they were, as text."""
    changed = [
        not np.array_equal(weight.numpy(), old)
        for weight, old in zip(layer.weights, before, strict=True)
    ]
    return f"{sum(changed)} of {len(changed)} weights moved"


if __name__ == "__main__":
    main()
