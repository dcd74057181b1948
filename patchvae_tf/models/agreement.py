"""Agreement between the codes of two views of an image. It serves training alone."""

import keras
import tensorflow as tf

from patchvae_tf.layers.batch_normalization import BatchNormalization

_WIDTH = 512
_TEMPERATURE = 0.2


@keras.saving.register_keras_serializable(package="patchvae_tf")
class PartAgreement(keras.layers.Layer):
    """How hard it is to tell, by the parts' codes, which two views are of the same image.

    The codes of all views go through an expander and are brought to length 1; by their inner
    products, each view has to find the other one of its image among all other views of the global
    batch. An image's parts then have to be found, and to look alike, under another crop and other
    colours, and to differ from other images'.

    Formula, for view v of image i: −log softmax over (w, j) ≠ (v, i) of z[v, i] · z[w, j] / 0.2, at
    (1 − v, i); the mean of both views. Source: NT-Xent of Chen et al., "A Simple Framework for
    Contrastive Learning of Visual Representations", ICML 2020, section 2; parts' codes in place of
    pooled features are ours.

    Args:
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        first, second: float32 [local batch, d], the codes of two views of the same images.
        training: bool, whether batch normalisation uses the batch's moments.

    Output: float32 [local batch], nats.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Of maps of one place, because batch normalisation takes maps.
        self.expander = [
            keras.layers.Dense(_WIDTH, use_bias=False, dtype=self.dtype_policy),
            BatchNormalization(dtype=self.dtype_policy),
            keras.layers.ReLU(dtype=self.dtype_policy),
            keras.layers.Dense(_WIDTH, use_bias=False, dtype=self.dtype_policy),
        ]

    def build(self, first_shape, second_shape=None):
        shape = (None, 1, 1, first_shape[-1])
        for layer in self.expander:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, first, second, training=False):
        batch = tf.shape(first)[0]
        x = tf.concat([first, second], axis=0)[:, tf.newaxis, tf.newaxis]  # [2 batch, 1, 1, d]
        for layer in self.expander:
            x = layer(x, training=training) if "normal" in layer.name else layer(x)
        x = tf.reshape(tf.cast(x, tf.float32), [2, batch, _WIDTH])
        return contrast(tf.math.l2_normalize(x, axis=-1))

    def compute_output_shape(self, first_shape, second_shape=None):
        return first_shape[:1]


def contrast(views):
    """The formula of `PartAgreement`.

    Args:
        views: float32 [2, local batch, width], of length 1.

    Returns:
        float32 [local batch].
    """
    batch = tf.shape(views)[1]
    everywhere, start = _everywhere(views)  # [2, global batch, width], []
    total = tf.shape(everywhere)[1]
    # v, w views; i, j images; d width
    likeness = tf.einsum("vid,wjd->viwj", views, everywhere) / _TEMPERATURE
    likeness = tf.reshape(likeness, [2, batch, 2 * total])
    own = tf.range(start, start + batch) + total * tf.constant([[0], [1]])  # [2, batch]
    other = tf.reverse(own, [0])
    likeness -= 1e9 * tf.one_hot(own, 2 * total)  # no view is compared with itself
    error = tf.nn.sparse_softmax_cross_entropy_with_logits(other, likeness)  # [2, batch]
    return tf.reduce_mean(error, axis=0)


def _everywhere(views):
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
