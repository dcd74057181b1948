"""What frozen features are worth to a classifier."""

import typing
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from patchvae_tf import backbones, noise
from patchvae_tf.evaluation import features

if typing.TYPE_CHECKING:
    import keras

    from patchvae_tf.datasets import ImageSet, StreamedSet

MOST_TRAINING_IMAGES = 10_000  # more take minutes where there are many classes
_ITERATIONS = 100


def linear_probe(
    model: "keras.Model", training: "ImageSet | StreamedSet", test: "ImageSet | None", seed: int
) -> dict | None:
    """Accuracy of a linear classifier on φ's pooled features, beside that on an untrained φ's.

    Args:
        model: `UnsupervisedModel`; its backbone is run in inference mode.
        training: labelled `ImageSet` or `StreamedSet`; up to 10,000 images of it are used.
        test: labelled `ImageSet` of images that training did not see.
        seed: int, of the images drawn and the untrained φ's weights.

    Returns:
        dict: `top1` and `random_backbone_top1` in [0, 1], `classes`, `training_images`,
        `test_images`; or None where there is nothing to classify: labels are missing, or all the
        same.
    """
    if test is None or test.labels is None:
        return None
    part = training.sample(MOST_TRAINING_IMAGES, seed)
    if part.labels is None or not can_classify(part, test):
        return None
    noise.set_first_weights(seed)
    accuracies = [
        classifier(features.pooled_features(backbone, part.images), part.labels).score(
            features.pooled_features(backbone, test.images), test.labels
        )
        for backbone in (model.backbone, untrained_backbone(model))
    ]
    return {
        "top1": accuracies[0],
        "random_backbone_top1": accuracies[1],
        "classes": len(np.unique(part.labels)),
        "training_images": len(part),
        "test_images": len(test),
    }


def untrained_backbone(model: "keras.Model") -> "keras.Model":
    """A φ of the same architecture as an `UnsupervisedModel`'s, with its first weights."""
    return backbones.build(model.backbone_name, model.stride, model.channels)


def can_classify(training: "ImageSet", test: "ImageSet | None") -> bool:
    """Whether both `ImageSet`s (`test` may be None) have labels, and of more than one class."""
    if test is None or training.labels is None or test.labels is None:
        return False
    return len(np.unique(training.labels)) > 1


def nearest_neighbours(vectors: np.ndarray, labels: np.ndarray, count: int = 20) -> Pipeline:
    """A fitted scikit-learn pipeline: standardisation, then the nearest by cosine, who vote."""
    count = min(count, len(labels))
    voters = KNeighborsClassifier(count, metric="cosine", algorithm="brute")
    return make_pipeline(StandardScaler(), voters).fit(vectors, labels)


def classifier(vectors: np.ndarray, labels: np.ndarray) -> Pipeline:
    """A fitted scikit-learn pipeline: standardisation, then multinomial logistic regression."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS))
    with warnings.catch_warnings():
        # What is left to gain after so many iterations no longer shows in the accuracy.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(vectors, labels)
