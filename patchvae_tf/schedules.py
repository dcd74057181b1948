"""Values that change with the training step. Each is a function of the step alone."""

import tensorflow as tf


def annealed_temperature(
    step: int | tf.Tensor, initial: float, rate: float, interval: int, floor: float
) -> tf.Tensor:
    """τ of the relaxed occurrence: multiplied by exp(−rate · step) every `interval` steps.

    After m = ⌊step / interval⌋ cuts, at steps interval, 2 interval, ..., the product is
    exp(−rate · interval · m (m + 1) / 2).

    Args:
        step: int or scalar integer tensor, finished training steps.
        initial: float, τ at step 0.
        rate: float, per step; 0 keeps τ at `initial`.
        interval: int, steps between two cuts.
        floor: float, τ never goes below it.

    Returns:
        float32 scalar tensor.
    """
    cuts = tf.cast(step // interval, tf.float32)
    return tf.maximum(initial * tf.exp(-rate * interval * cuts * (cuts + 1.0) / 2.0), floor)
