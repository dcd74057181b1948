"""What frozen features are worth to a classifier: a linear probe that takes seconds."""

import warnings

import keras
import numpy as np
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from patchvae_tf import backbones

_BATCH = 256
_MOST_TRAINING_IMAGES = 10_000  # more take minutes where there are many classes
_ITERATIONS = 100


def linear_probe(model, training, test, seed):
    """Accuracy of a linear classifier on φ's pooled features, beside that on an untrained φ's.

    Args:
        model: `UnsupervisedModel`; its backbone is run in inference mode.
        training: labelled `ImageSet`; up to 10,000 images of it, spread evenly, are used.
        test: labelled `ImageSet` of images that training did not see.
        seed: int, of the untrained φ's weights.

    Returns:
        dict: `top1` and `random_backbone_top1` in [0, 1], `classes`, `training_images`,
        `test_images`; or None where there is nothing to classify: labels are missing, or all the
        same.
    """
    if not can_classify(training, test):
        return None
    images, labels = training_part(training)
    keras.utils.set_random_seed(seed)
    accuracies = [
        classifier(pooled_features(backbone, images), labels).score(
            pooled_features(backbone, test.images), test.labels
        )
        for backbone in (model.backbone, backbones.resnet9())
    ]
    return {
        "top1": accuracies[0],
        "random_backbone_top1": accuracies[1],
        "classes": len(np.unique(labels)),
        "training_images": len(images),
        "test_images": len(test),
    }


def can_classify(training, test):
    """Whether both `ImageSet`s (`test` may be None) have labels, and of more than one class."""
    labelled = test is not None and training.labels is not None and test.labels is not None
    return labelled and len(np.unique(training.labels)) > 1


def training_part(training):
    """(images, labels) of up to 10,000 examples of an `ImageSet`, spread evenly."""
    step = -(-len(training) // _MOST_TRAINING_IMAGES)
    return training.images[::step], training.labels[::step]


def pooled_features(backbone, images):
    """float32 [n, 128], φ's mean over the grid, for uint8 images [n, H, W, 3]."""

    @tf.function(autograph=False, reduce_retracing=True)
    def features(batch):
        batch = tf.image.convert_image_dtype(batch, tf.float32)
        return tf.reduce_mean(tf.cast(backbone(batch, training=False), tf.float32), axis=[1, 2])

    starts = range(0, len(images), _BATCH)
    return np.concatenate([features(images[start : start + _BATCH]) for start in starts])


def classifier(features, labels):
    """A fitted scikit-learn pipeline: standardisation, then multinomial logistic regression."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS))
    with warnings.catch_warnings():
        # What is left to gain after so many iterations no longer shows in the accuracy.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(features, labels)
