"""How bright pixels are."""

import tensorflow as tf

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def brightness(images: tf.Tensor) -> tf.Tensor:
    """The brightness of pixels; of other than three channels it is their mean.

    Args:
        images: float32 [..., channels].

    Returns:
        float32 [..., 1].
    """
    if images.shape[-1] == len(_LUMA):
        return tf.reduce_sum(images * _LUMA, axis=-1, keepdims=True)
    return tf.reduce_mean(images, axis=-1, keepdims=True)
