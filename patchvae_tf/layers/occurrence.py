"""Sampling which parts occur where: z_occ of the paper, section 3.

Both layers take logits and a seed. Without a seed nothing is random: they return probabilities.
As temperature -> 0 a sample tends to a hard 0/1 choice (and its gradient to 0 or infinity); as
temperature -> infinity it tends to a constant. The KL terms of the loss are those of the discrete
variables; on relaxed samples they no longer bound the likelihood.
"""

import keras
import tensorflow as tf

from patchvae_tf import noise


class _OccurrenceSampling(keras.layers.Layer):
    """What the two relaxations share: the contract, and the straight-through form."""

    def __init__(self, hard=False, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.hard = hard

    def call(self, logits, seed=None, temperature=1.0):
        if seed is None:
            return self._probabilities(logits)
        soft = self._relaxed(logits, seed, temperature)
        if not self.hard:
            return soft
        return soft + tf.stop_gradient(self._hardened(soft) - soft)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "hard": self.hard}


@keras.saving.register_keras_serializable(package="patchvae_tf")
class RelaxedBernoulli(_OccurrenceSampling):
    """Relaxed Bernoulli samples, each part for itself: sigmoid((a + logit(u)) / τ), u ~ U(0, 1).

    Source: Maddison et al., "The Concrete Distribution", ICLR 2017, the paper's reparametrisation.

    Args:
        hard: bool; True gives 0/1 values (1 where a sample is above a half) with the relaxed
            sample's gradient (straight-through).
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        logits: [batch, ..., num_parts].
        seed: int32 [2], or None for the probabilities sigmoid(a).
        temperature: scalar τ > 0.

    Output shape: that of `logits`; float32 in [0, 1].
    """

    def _probabilities(self, logits):
        return tf.sigmoid(logits)

    def _relaxed(self, logits, seed, temperature):
        u = noise.uniform(tf.shape(logits), seed)
        return tf.sigmoid((logits + tf.math.log(u) - tf.math.log1p(-u)) / temperature)

    def _hardened(self, soft):
        return tf.cast(soft > 0.5, soft.dtype)


@keras.saving.register_keras_serializable(package="patchvae_tf")
class RelaxedCategorical(_OccurrenceSampling):
    """Relaxed one-hot samples: one part at each location, softmax((a + g) / τ), g ~ Gumbel(0, 1).

    Source: Jang et al., "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017.

    Args:
        hard: bool; True gives one-hot values with the relaxed sample's gradient.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        logits: [batch, ..., num_parts]; the last axis is the one that the choice is among.
        seed: int32 [2], or None for the probabilities softmax(a).
        temperature: scalar τ > 0.

    Output shape: that of `logits`; float32, sums to 1 over the last axis.
    """

    def _probabilities(self, logits):
        return tf.nn.softmax(logits)

    def _relaxed(self, logits, seed, temperature):
        gumbel = -tf.math.log(-tf.math.log(noise.uniform(tf.shape(logits), seed)))
        return tf.nn.softmax((logits + gumbel) / temperature)

    def _hardened(self, soft):
        return tf.one_hot(tf.argmax(soft, axis=-1), tf.shape(soft)[-1], dtype=soft.dtype)


@keras.saving.register_keras_serializable(package="patchvae_tf")
class RelaxedExclusive(RelaxedCategorical):
    """As `RelaxedCategorical`, with one choice more: that no part is there, whose logit is 0.

    Args:
        hard, **kwargs: as of `RelaxedCategorical`.

    Call arguments:
        logits: [batch, ..., num_parts]; the last axis is the one that the choice is among.
        seed, temperature: as of `RelaxedCategorical`.

    Output shape: that of `logits`; float32, sums to at most 1 over the last axis.
    """

    def call(
        self, logits: tf.Tensor, seed: tf.Tensor | None = None, temperature: float | tf.Tensor = 1.0
    ) -> tf.Tensor:
        nothing = tf.zeros_like(logits[..., :1])
        return super().call(tf.concat([logits, nothing], axis=-1), seed, temperature)[..., :-1]
