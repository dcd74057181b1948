"""The terms of the loss (the paper, section 3): pure functions, one value for each image.

The model averages over the batch, once; only `entropy_across_images` compares the images of one.
All arithmetic is float32.
"""

import math

import tensorflow as tf

_SMALLEST_PROBABILITY = 1e-7  # the logarithm's guard, as in the original implementation


def squared_error(
    images: tf.Tensor, reconstructions: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Reconstruction loss, L_w of the paper's section 3.4 (plain when there are no weights).

    Formula: Σ over pixels and channels of w (x − x̂)², x and x̂ scaled to [-1, 1]; in terms of the
    [0, 1] images given here that is 4 w (x − x̂)².

    Args:
        images, reconstructions: [batch, H, W, channels] in [0, 1].
        weights: [batch, H, W, channels], or None for 1.

    Returns:
        float32 [batch]; squared units of the [-1, 1] scale, summed.
    """
    error = tf.square(tf.cast(images, tf.float32) - tf.cast(reconstructions, tf.float32))
    if weights is not None:
        error *= tf.cast(weights, tf.float32)
    return 4.0 * tf.reduce_sum(error, axis=[1, 2, 3])


def gaussian_kl(mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
    """KL(N(μ, σ²) ‖ N(0, I)), summed over all but the batch.

    Formula: ½ Σ (μ² + σ² − 1 − log σ²).

    Args:
        mean, variance: [batch, ...]; variance above 0.

    Returns:
        float32 [batch], nats per image.
    """
    mean, variance = tf.cast(mean, tf.float32), tf.cast(variance, tf.float32)
    terms = 0.5 * (tf.square(mean) + variance - 1.0 - tf.math.log(variance))
    return _sum_over_image(terms)


def bernoulli_kl(logits: tf.Tensor, prior: float) -> tf.Tensor:
    """KL(Bern(q) ‖ Bern(p)), q = sigmoid(logits), summed over all but the batch.

    Formula: Σ q log(q / p) + (1 − q) log((1 − q) / (1 − p)), from logits so that it stays finite.

    Args:
        logits: [batch, ...].
        prior: float p in (0, 1).

    Returns:
        float32 [batch], nats per image.
    """
    logits = tf.cast(logits, tf.float32)
    q = tf.sigmoid(logits)
    on = -tf.math.softplus(-logits) - math.log(prior)  # log(q / p)
    off = -tf.math.softplus(logits) - math.log1p(-prior)  # log((1 - q) / (1 - p))
    return _sum_over_image(q * on + (1.0 - q) * off)


def categorical_kl(logits: tf.Tensor) -> tf.Tensor:
    """KL(Cat(q) ‖ uniform), q = softmax(logits) over the last axis, summed over the locations.

    Formula: Σ_l Σ_i q[l,i] log(q[l,i] · N).

    Args:
        logits: [batch, ..., num_parts].

    Returns:
        float32 [batch], nats per image.
    """
    log_q = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    return _sum_over_image(tf.exp(log_q) * (log_q + math.log(logits.shape[-1])))


def exclusive_kl(logits: tf.Tensor) -> tf.Tensor:
    """KL(Cat(q) ‖ uniform) over the parts and "nothing", whose logit is 0, summed over locations.

    Args:
        logits: [batch, ..., num_parts].

    Returns:
        float32 [batch], nats per image.
    """
    return categorical_kl(tf.concat([logits, tf.zeros_like(logits[..., :1])], axis=-1))


def log_sum_exp(values: tf.Tensor) -> tf.Tensor:
    """log Σ exp over the last axis, which stays as one of length 1.

    As `tf.reduce_logsumexp`, to the last bit, but for the scalar that it puts in place of an
    infinite maximum: at that TensorFlow's optimizer of layouts, which puts channels first for a
    GPU's float32 convolutions, gives up the whole step (TF 2.21).

    Args:
        values: [..., n], finite.
    """
    greatest = tf.stop_gradient(tf.reduce_max(values, axis=-1, keepdims=True))
    return greatest + tf.math.log(tf.reduce_sum(tf.exp(values - greatest), axis=-1, keepdims=True))


def teaching_cross_entropy(
    logits: tf.Tensor, shares: tf.Tensor, taught: tf.Tensor, counts: tf.Tensor | bool = True
) -> tf.Tensor:
    """How far occurrence is from what each place is said to show, summed over the locations.

    Formula: −Σ_l Σ_i s[l,i] log q[l,i] − Σ_l (1 − Σ_i s[l,i]) log(1 − Σ_i q[l,i]), i over the parts
    that are taught, q the softmax over all parts and "nothing", whose logit is 0. Which of the
    other parts, or nothing, is where none of these is, stays free.

    Args:
        logits: [batch, h, w, num_parts].
        shares: [batch, h, w, num_parts], s, their sum at most 1; 0 for parts that are not taught.
        taught: bool [num_parts].
        counts: bool, broadcasts to [batch, h, w, 1]: which locations l counts.

    Returns:
        float32 [batch], nats per image.
    """
    logits = tf.cast(logits, tf.float32)
    nothing = tf.zeros_like(logits[..., :1])
    everything = log_sum_exp(tf.concat([logits, nothing], axis=-1))  # [batch, h, w, 1]
    free = tf.where(taught, -1e9, logits)
    log_rest = log_sum_exp(tf.concat([free, nothing], axis=-1))
    rest = 1.0 - tf.reduce_sum(shares, axis=-1, keepdims=True)
    counted = tf.cast(counts, tf.float32)
    return -_sum_over_image(counted * shares * (logits - everything)) - _sum_over_image(
        counted * rest * (log_rest - everything)
    )


def part_squared_error(
    images: tf.Tensor, part_images: tf.Tensor, occurrence: tf.Tensor
) -> tf.Tensor:
    """How far each part by itself is from the image, where it occurs.

    Formula: Σ_i Σ_pixels,channels q[l,i] (x − x̂_i)² / Σ_i Σ_pixels,channels q[l,i], x and x̂_i
    scaled to [-1, 1]; l is the place of the pixel. No gradient flows through q. Source: the
    original implementation; distance: q is the probability, not its sample, and each image has its
    own divisor, so that an image's value does not depend on the batch.

    Args:
        images: [batch, H, W, channels] in [0, 1].
        part_images: [batch, H, W, num_parts, channels] in [0, 1].
        occurrence: [batch, h, w, num_parts], H and W multiples of h and w.

    Returns:
        float32 [batch]; squared units of the [-1, 1] scale, the mean.
    """
    error = tf.cast(images, tf.float32)[..., tf.newaxis, :] - tf.cast(part_images, tf.float32)
    error = tf.reduce_mean(tf.square(error), axis=-1)  # [batch, H, W, num_parts]
    shape, grid = tf.shape(error), tf.shape(occurrence)
    rows, cols = shape[1] // grid[1], shape[2] // grid[2]
    blocks = tf.reshape(error, [shape[0], grid[1], rows, grid[2], cols, shape[3]])
    by_place = tf.reduce_mean(blocks, axis=[2, 4])  # [batch, h, w, num_parts]
    q = tf.stop_gradient(tf.cast(occurrence, tf.float32))
    return 4.0 * tf.math.divide_no_nan(_sum_over_image(q * by_place), _sum_over_image(q))


def entropy_across_images(occurrence: tf.Tensor) -> tf.Tensor:
    """How much images differ in where a part occurs: to be raised.

    Formula: the mean over places and parts of −p log p, p[l,i] = mean over the global batch of
    q[l,i]; greatest at p = 1/e. Source: the original implementation, as its comments say it.

    Args:
        occurrence: [batch, h, w, num_parts], probabilities q.

    Returns:
        float32 [batch], nats, the same for all images of the global batch.
    """
    q = tf.cast(occurrence, tf.float32)
    total, count = tf.reduce_sum(q, axis=0), tf.cast(tf.shape(q)[0], tf.float32)  # [h, w, parts]
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        total, count = context.all_reduce(tf.distribute.ReduceOp.SUM, [total, count])
    entropy = tf.reduce_mean(_entropy_term(total / count))
    return tf.fill(tf.shape(q)[:1], entropy)


def entropy_within_images(occurrence: tf.Tensor) -> tf.Tensor:
    """How much places of an image differ in whether a part occurs: to be raised.

    Formula: the mean over parts of −p log p, p[i] = mean over the image's places of q[l,i]; a part
    that is everywhere has 0, as one that is nowhere. Source: the original implementation.

    Args:
        occurrence: [batch, h, w, num_parts], probabilities q.

    Returns:
        float32 [batch], nats.
    """
    p = tf.reduce_mean(tf.cast(occurrence, tf.float32), axis=[1, 2])  # [batch, num_parts]
    return tf.reduce_mean(_entropy_term(p), axis=-1)


def _entropy_term(p):
    return -p * tf.math.log(p + _SMALLEST_PROBABILITY)


def generator_loss(logits: tf.Tensor) -> tf.Tensor:
    """The generator's non-saturating loss.

    Formula: −log D = softplus(−logit) (Goodfellow et al., NeurIPS 2014, section 3). With the sign
    of the logits turned it is an encoder's in BiGAN, whose pairs are to pass for generated ones.

    Args:
        logits: float32 [batch], the discriminator's, of what is generated.

    Returns:
        float32 [batch], nats.
    """
    return tf.math.softplus(-logits)


def discriminator_loss(real_logits: tf.Tensor, generated_logits: tf.Tensor) -> tf.Tensor:
    """The cross-entropy of a discriminator: −log D(real) − log(1 − D(generated)).

    Args:
        real_logits, generated_logits: float32 [batch].

    Returns:
        float32 [batch], nats.
    """
    return tf.math.softplus(-real_logits) + tf.math.softplus(generated_logits)


def discriminator_rate(real_logits: tf.Tensor, generated_logits: tf.Tensor) -> tf.Tensor:
    """How many of a real and a generated example the discriminator tells rightly.

    Args:
        real_logits, generated_logits: float32 [batch].

    Returns:
        float32 [batch]: 0, 0.5 or 1. On average 0.5 where the sides are even, 1 where the
        discriminator has won, and the other side learns little from it.
    """
    real, generated = real_logits > 0.0, generated_logits <= 0.0
    return 0.5 * (tf.cast(real, tf.float32) + tf.cast(generated, tf.float32))


def _sum_over_image(terms):
    return tf.reduce_sum(terms, axis=list(range(1, terms.shape.rank)))
