"""The features and maps that a trained model gives, for many images at once."""

import keras
import numpy as np
import tensorflow as tf

from patchvae_tf.backbones import Stage

_BATCH = 256


def stage_features(
    backbone: keras.Model, images: np.ndarray, stage: Stage, pooled: bool
) -> np.ndarray:
    """float32 [n, channels] (pooled) or [n, h * w * channels] at a stage of φ, for uint8 images.

    Args:
        backbone: φ.
        images: uint8 [n, H, W, channels].
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


def pooled_features(backbone: keras.Model, images: np.ndarray) -> np.ndarray:
    """float32 [n, channels], φ's mean over the grid, for uint8 images [n, H, W, channels]."""

    def features(batch):
        return tf.reduce_mean(tf.cast(backbone(batch, training=False), tf.float32), axis=[1, 2])

    return _in_batches(features, images)


def feature_maps(backbone: keras.Model, images: np.ndarray) -> np.ndarray:
    """float32 [n, h, w, channels], φ's features, for uint8 images [n, H, W, channels]."""
    return _in_batches(lambda batch: tf.cast(backbone(batch, training=False), tf.float32), images)


def occurrence_maps(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """float32 [n, h, w, N], a PatchVAE's probabilities, for uint8 images [n, H, W, channels]."""
    return _in_batches(lambda batch: model.encode(batch)["occurrence"], images)


def _in_batches(function, images):
    """A function of float images, for all of many uint8 ones."""

    any_count = tf.TensorSpec([None, *images.shape[1:]], images.dtype)  # traced once, not twice

    @tf.function(autograph=False, input_signature=[any_count])
    def converted(batch):
        return function(tf.image.convert_image_dtype(batch, tf.float32))

    starts = range(0, len(images), _BATCH)
    return np.concatenate([converted(images[start : start + _BATCH]) for start in starts])
