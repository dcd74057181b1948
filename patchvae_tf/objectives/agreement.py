"""Agreement between two views of an image, by a code of each. It serves training alone."""

import keras
import numpy as np
import tensorflow as tf

from patchvae_tf.errors import InputError
from patchvae_tf.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="patchvae_tf")
class ViewAgreement(keras.layers.Layer):
    """How hard it is to tell, by a code of each, which two views are of the same image.

    The codes of all views go through an expander and are brought to length 1; by their inner
    products, each view has to find the other one of its image among all other views of the global
    batch. Of the parts' codes: an image's parts then have to be found, and to look alike, under
    another crop and other colours, and to differ from other images'. Of φ's maps: so have its
    features, in their places.

    Formula, for view v of image i: −log softmax over (w, j) ≠ (v, i) of z[v, i] · z[w, j] / t, at
    (1 − v, i); the mean of both views. Source: NT-Xent of Chen et al., "A Simple Framework for
    Contrastive Learning of Visual Representations", ICML 2020, section 2; parts' codes and maps in
    place of pooled features are ours.

    Args:
        width: int, of the expander's two layers.
        temperature: float, t above; small ones look at the nearest other images alone.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        first, second: float32 [local batch, d], the codes of two views of the same images.
        training: bool, whether batch normalisation uses the batch's moments.

    Output: float32 [local batch], nats.
    """

    def __init__(self, width=512, temperature=0.1, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.temperature = temperature
        self.hidden = keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy)
        self.normalization = BatchNormalization(dtype=self.dtype_policy)
        self.expanded = keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy)

    def build(self, first_shape, second_shape=None):
        maps = (None, 1, 1, self.width)
        self.hidden.build((None, 1, 1, first_shape[-1]))
        self.normalization.build(maps)
        self.expanded.build(maps)
        self.built = True

    def call(self, first: tf.Tensor, second: tf.Tensor, training: bool = False) -> tf.Tensor:
        batch = tf.shape(first)[0]
        # Maps of one place, because batch normalisation takes maps.
        x = tf.concat([first, second], axis=0)[:, tf.newaxis, tf.newaxis]  # [2 batch, 1, 1, d]
        x = tf.nn.relu(self.normalization(self.hidden(x), training=training))
        x = tf.reshape(tf.cast(self.expanded(x), tf.float32), [2, batch, self.width])
        return contrast(tf.math.l2_normalize(x, axis=-1), self.temperature)

    def get_config(self):
        return {**super().get_config(), "width": self.width, "temperature": self.temperature}

    def compute_output_shape(self, first_shape, second_shape=None):
        return first_shape[:1]


def places(features: tf.Tensor, side: int) -> tf.Tensor:
    """φ's map as one code: the means of `side` × `side` equal fields of it, one after the other.

    Args:
        features: [batch, h, w, channels]; h and w of at least `side`, static.
        side: int.

    Returns:
        [batch, side * side * channels].

    Raises:
        InputError: h or w is not known when the step is traced.
    """
    if None in features.shape[1:3]:
        raise InputError(
            "to compare φ's maps of two views, images of known height and width are needed. "
            f"Received: a map of shape {tuple(features.shape)}. Resize the images, or say their "
            "shape by tf.ensure_shape; or leave it out with map_agreement_weight=0."
        )
    height, width = (_fields(length, side) for length in features.shape[1:3])
    # b batch, h rows, w columns, c channels; i and j fields
    fields = tf.einsum(
        "ih,bhwc,jw->bijc",
        tf.cast(height, features.dtype),
        features,
        tf.cast(width, features.dtype),
    )
    return tf.reshape(fields, [tf.shape(features)[0], side * side * features.shape[-1]])


def _fields(length, side):
    """Shares by which `length` places make the means of `side` fields, [side, length]."""
    begin = np.arange(side)[:, np.newaxis] * length / side
    end, place = begin + length / side, np.arange(length)
    overlap = np.minimum(end, place + 1) - np.maximum(begin, place)
    return np.maximum(overlap, 0.0) * side / length


def contrast(views: tf.Tensor, temperature: float) -> tf.Tensor:
    """The formula of `ViewAgreement`.

    Args:
        views: float32 [2, local batch, width], of length 1.
        temperature: float.

    Returns:
        float32 [local batch].
    """
    batch = tf.shape(views)[1]
    all_views, start = _global_views(views)  # [2, global batch, width], []
    total = tf.shape(all_views)[1]
    # v, w views; i, j images; d width
    similarity = tf.einsum("vid,wjd->viwj", views, all_views) / temperature
    similarity = tf.reshape(similarity, [2, batch, 2 * total])
    own = tf.range(start, start + batch) + total * tf.constant([[0], [1]])  # [2, batch]
    other = tf.reverse(own, [0])
    similarity -= 1e9 * tf.one_hot(own, 2 * total)  # no view is compared with itself
    error = tf.nn.sparse_softmax_cross_entropy_with_logits(other, similarity)  # [2, batch]
    return tf.reduce_mean(error, axis=0)


def _global_views(views):
    """All replicas' views along axis 1, in order, and where this replica's begin."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return views, 0
    batch, replicas = tf.shape(views)[1], context.num_replicas_in_sync
    start = batch * tf.cast(context.replica_id_in_sync_group, tf.int32)
    # As a sum, each replica's among zeros: its gradient is summed over the replicas as well.
    after = (replicas - 1) * batch - start
    padded = tf.pad(views, [[0, 0], [start, after], [0, 0]])
    return context.all_reduce(tf.distribute.ReduceOp.SUM, padded), start
