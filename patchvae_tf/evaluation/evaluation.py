"""What frozen features are worth to a classifier, and occurrence maps as finders of parts."""

import dataclasses
import warnings

import keras
import numpy as np
import tensorflow as tf
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from patchvae_tf import backbones, noise

_BATCH = 256
MOST_TRAINING_IMAGES = 10_000  # more take minutes where there are many classes
_ITERATIONS = 100


def linear_probe(model, training, test, seed):
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
    if not can_classify(part, test):
        return None
    noise.set_first_weights(seed)
    accuracies = [
        classifier(pooled_features(backbone, part.images), part.labels).score(
            pooled_features(backbone, test.images), test.labels
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


def untrained_backbone(model):
    """A φ of the same architecture as an `UnsupervisedModel`'s, with its first weights."""
    return backbones.build(model.backbone_name, model.stride)


def can_classify(training, test):
    """Whether both `ImageSet`s (`test` may be None) have labels, and of more than one class."""
    labelled = test is not None and training.labels is not None and test.labels is not None
    return labelled and len(np.unique(training.labels)) > 1


def nearest_neighbours(features, labels, count=20):
    """A fitted scikit-learn pipeline: standardisation, then the nearest by cosine, who vote."""
    count = min(count, len(labels))
    voters = KNeighborsClassifier(count, metric="cosine", algorithm="brute")
    return make_pipeline(StandardScaler(), voters).fit(features, labels)


def stage_features(backbone, images, stage, pooled):
    """float32 [n, channels] (pooled) or [n, h * w * channels] at a stage of φ, for uint8 images.

    Args:
        backbone: φ.
        images: uint8 [n, H, W, 3].
        stage: `backbones.Stage`.
        pooled: bool.
    """
    to_stage = keras.Model(backbone.input, backbone.get_layer(stage.layer).output)
    if pooled:
        return pooled_features(to_stage, images)

    def features(batch):
        feature_map = tf.cast(to_stage(batch, training=False), tf.float32)  # [n, h, w, channels]
        return tf.reshape(feature_map, [tf.shape(batch)[0], -1])

    return _in_batches(features, images)


def pooled_features(backbone, images):
    """float32 [n, channels], φ's mean over the grid, for uint8 images [n, H, W, 3]."""

    def features(batch):
        return tf.reduce_mean(tf.cast(backbone(batch, training=False), tf.float32), axis=[1, 2])

    return _in_batches(features, images)


def occurrence_maps(model, images):
    """float32 [n, h, w, N], a PatchVAE's probabilities, for uint8 images [n, H, W, 3]."""
    return _in_batches(lambda batch: model.encode(batch)["occurrence"], images)


def _in_batches(function, images):
    """A function of float images, for all of many uint8 ones."""

    @tf.function(autograph=False, reduce_retracing=True)
    def converted(batch):
        return function(tf.image.convert_image_dtype(batch, tf.float32))

    starts = range(0, len(images), _BATCH)
    return np.concatenate([converted(images[start : start + _BATCH]) for start in starts])


def classifier(features, labels):
    """A fitted scikit-learn pipeline: standardisation, then multinomial logistic regression."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS))
    with warnings.catch_warnings():
        # What is left to gain after so many iterations no longer shows in the accuracy.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(features, labels)


@dataclasses.dataclass(frozen=True)
class PartMatch:
    """The learned part that finds a true one best, when each may stand for one only.

    Attributes:
        learned: int, number of the learned part; None where there are fewer than true ones.
        area: area under the ROC curve in [0, 1], over the places of all images; 0.5: by chance.
    """

    learned: int | None
    area: float


def match_parts(occurrence, part_maps):
    """Matches learned parts with true ones, one to one, for the greatest sum of areas.

    Args:
        occurrence: float [n, h, w, N], how probable a learned part is at a place.
        part_maps: bool [n, h, w, P], where the true parts are; each is somewhere, none everywhere.

    Returns:
        list of P `PartMatch`es.
    """
    areas = areas_under_roc(
        np.reshape(occurrence, [-1, occurrence.shape[-1]]),
        np.reshape(part_maps, [-1, part_maps.shape[-1]]),
    )  # [N, P]
    matched = dict(zip(*reversed(linear_sum_assignment(areas, maximize=True)), strict=True))
    return [
        PartMatch(int(matched[true]), float(areas[matched[true], true]))
        if true in matched
        else PartMatch(None, 0.5)
        for true in range(areas.shape[1])
    ]


def areas_under_roc(scores, truths):
    """Area under the ROC curve of every score for every truth, by the Mann-Whitney statistic.

    Args:
        scores: [m, N]; equal ones count half.
        truths: bool [m, P], each with both values.

    Returns:
        float64 [N, P] in [0, 1].
    """
    ranks = rankdata(scores, axis=0)  # [m, N]
    positive = np.sum(truths, axis=0)  # [P]
    negative = len(truths) - positive
    rank_sums = ranks.T @ truths.astype(np.float64)  # [N, P]
    return (rank_sums - positive * (positive + 1) / 2) / (positive * negative)
