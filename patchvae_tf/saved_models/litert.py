"""The encoder for small devices: LiteRT (TensorFlow Lite) files in float32 and int8."""

import collections
import contextlib
import dataclasses
import math
import pathlib
import typing
import warnings

import numpy as np
import tensorflow as tf

from patchvae_tf import extras
from patchvae_tf.saved_models import model_card, signatures, versions

if typing.TYPE_CHECKING:
    import keras

    from patchvae_tf.datasets import ImageSet

FILES = {"float32": "float32.tflite", "int8": "int8.tflite"}

_CALIBRATION_IMAGES = 256
_BATCH = 64
_MOST_TEST_IMAGES = 1000

# Probabilities and what is divided by their sum need more than 256 values.
_KEPT_FLOAT_OPS = ["LOGISTIC", "SOFTMAX"]


def export_litert(
    model: "keras.Model",
    export_dir: pathlib.Path,
    training: "ImageSet",
    test: "ImageSet | None",
    record: dict | None = None,
) -> tuple[pathlib.Path, dict]:
    """Writes the encoder as the next version: `float32.tflite`, `int8.tflite` and a model card.

    Both take `images` float32 [n, size, size, 3] in [0, 1], unchecked, at the trained size alone,
    and answer as `serving_default` does (their one signature). In int8 are the weights and maps
    of φ and the heads; pooling stays in float32.

    Args:
        model: PatchVAE, BetaVAE or BiGAN.
        export_dir: pathlib.Path, as `versions.writable` returns it.
        training: ImageSet; up to 256 of its images calibrate int8, and with its
            labels a classifier is trained that tells what int8 costs.
        test: ImageSet of images that training did not see, or None: then nothing is classified.
        record: dict as `runs.read_record` returns it, for the model card.

    Returns:
        (version, costs): pathlib.Path, and a dict precision -> `Cost`.
    """
    model = signatures.with_policy(model, "float32")
    root, function = signatures.encoder(model, model.image_size)

    def converter():  # each converts once
        return tf.lite.TFLiteConverter.from_concrete_functions([function], root)

    files = {"float32": converter().convert()}
    files["int8"] = _quantized(converter(), files["float32"], _calibration(training), model)
    costs = _costs(function, model, files, training, test)

    def write(folder):
        for precision, content in files.items():
            (folder / FILES[precision]).write_bytes(content)
        facts = model_card.facts(model, {"serving_default": function}, record)
        facts["litert"] = {name: dataclasses.asdict(cost) for name, cost in costs.items()}
        model_card.write(folder, facts, _card_section(costs))

    return versions.write_next(export_dir, write), costs


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a file costs.

    Attributes:
        size: bytes.
        relative_errors: dict output -> |file - SavedModel| / |SavedModel|, of all test images.
        top1: accuracy on the test images of a linear classifier that was trained on the
            SavedModel's `features`, when the file's are given to it; None without labels or
            scikit-learn.
        saved_model_top1: the same with the SavedModel's.
    """

    size: int
    relative_errors: dict
    top1: float | None
    saved_model_top1: float | None


def _calibration(training):
    images = training.sample(_CALIBRATION_IMAGES, seed=0).images
    images = tf.image.convert_image_dtype(images, tf.float32)
    return lambda: ([image[tf.newaxis]] for image in images)


def _quantized(converter, float_content, calibration, model):
    pooling = getattr(model, "appearance_pooling", None)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    with _quiet():
        tensors = tf.lite.Interpreter(model_content=float_content).get_tensor_details()
        names = [tensor["name"] for tensor in tensors]
        # The one public way to leave operations in float32.
        options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=_KEPT_FLOAT_OPS,
            denylisted_nodes=[name for name in names if pooling and pooling.name in name],
        )
        quantizer = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=calibration, debug_options=options
        )
        return quantizer.get_nondebug_quantized_model()


def _costs(function, model, files, training, test):
    shown = training.sample(_MOST_TEST_IMAGES, seed=0) if test is None else test
    shown = shown.images[:_MOST_TEST_IMAGES]
    classifier = _classifier(model, training, test)

    def top1(vectors):
        if classifier is None:
            return None
        return float(classifier.score(np.concatenate(vectors), test.labels[: len(shown)]))

    costs = {}
    for precision, content in files.items():
        with _quiet():
            run = tf.lite.Interpreter(model_content=content).get_signature_runner()
        squared_error, squared = collections.Counter(), collections.Counter()
        own_features, saved_model_features = [], []
        for start in range(0, len(shown), _BATCH):
            images = tf.image.convert_image_dtype(shown[start : start + _BATCH], tf.float32)
            outputs, expected = run(images=images), function(images=images)
            for name, output in outputs.items():
                squared_error[name] += float(np.sum(np.square(output - expected[name])))
                squared[name] += float(np.sum(np.square(expected[name])))
            own_features.append(outputs["features"])
            saved_model_features.append(expected["features"])
        costs[precision] = Cost(
            size=len(content),
            relative_errors={
                name: math.sqrt(squared_error[name] / squared[name]) for name in sorted(squared)
            },
            top1=top1(own_features),
            saved_model_top1=top1(saved_model_features),
        )
    return costs


def _classifier(model, training, test):
    """Of φ's features in training; None without labels, images held out or scikit-learn."""
    if test is None or extras.missing("sklearn"):
        return None
    from patchvae_tf.evaluation import classifiers, features

    part = training.sample(classifiers.MOST_TRAINING_IMAGES, seed=0)
    if not classifiers.can_classify(part, test):
        return None
    return classifiers.classifier(
        features.pooled_features(model.backbone, part.images), part.labels
    )


def summary(cost: Cost) -> str:
    """One line that says what a file costs."""
    error = max(cost.relative_errors.values())
    accuracy = "accuracy not measured: no labels, no images held out, or no scikit-learn"
    if cost.top1 is not None:
        accuracy = f"linear probe {cost.top1:.1%} (SavedModel: {cost.saved_model_top1:.1%})"
    return f"{cost.size:,} bytes; {accuracy}; largest relative error of an output {error:.1e}"


def _card_section(costs):
    return "\n".join(
        [
            "## Files",
            "In `int8.tflite` the weights and maps of φ and the heads are int8; input and output "
            "are float32 in both.",
            "",
            *(f"- `{FILES[precision]}`: {summary(cost)}." for precision, cost in costs.items()),
            "",
        ]
    )


@contextlib.contextmanager
def _quiet():
    """TensorFlow's own quantizer uses the interpreter that TensorFlow warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"\s*Warning: tf\.lite\.Interpreter is deprecated"
        )
        yield
