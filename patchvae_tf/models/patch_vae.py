"""PatchVAE (Gupta, Singh, Shrivastava, "PatchVAE: Learning Local Latent Codes for Recognition",
CVPR 2020, arXiv 2004.03623): its section 3, with the architecture of the supplementary, Tables 1-5.

    images -> backbone φ -> heads Q^O, Q^A -> sampling -> latent map -> decoder -> loss

Distance from the paper: none known.
"""

import typing
from collections.abc import Callable

import keras
import tensorflow as tf

from patchvae_tf import backbones, noise, schedules
from patchvae_tf.layers import (
    AppearancePooling,
    Conv2D,
    GaussianSampling,
    RelaxedBernoulli,
    RelaxedCategorical,
    RelaxedExclusive,
)
from patchvae_tf.models.autoencoder import Autoencoder
from patchvae_tf.models.decoders import independent_decoder, patch_decoder
from patchvae_tf.models.distributed import dtype_policy_scope
from patchvae_tf.objectives import parts
from patchvae_tf.objectives.reconstruction import reconstruction_terms
from patchvae_tf.parts import discovery
from patchvae_tf.settings import PartCode, PartObjective, ScaledViews

if typing.TYPE_CHECKING:
    import numpy as np

_OCCURRENCE_LAYERS = {
    "bernoulli": RelaxedBernoulli,
    "categorical": RelaxedCategorical,
    "exclusive": RelaxedExclusive,
}


@keras.saving.register_keras_serializable(package="patchvae_tf")
class PatchVAE(Autoencoder):
    """Learns parts: where each occurs in an image, and how it looks there.

    Args:
        image_size: int, side of the square images in pixels; a multiple of the stride.
        num_parts: int, N.
        appearance_dim: int, d_p, numbers that describe a part's look.
        occurrence: "bernoulli" (each part for itself), "categorical" (one part a location) or
            "exclusive" (one part or none).
        hard_occurrence: bool, straight-through 0/1 samples instead of relaxed ones.
        independent_decoders: bool, a decoder of its own for each part (grouped convolutions), whose
            images are summed; see `decoders.independent_decoder`.
        objective: settings.PartObjective; None for the paper's.
        backbone, stride, channels, views, seed, **kwargs: as of `Autoencoder`.

    The defaults are the paper's; `PatchVAE.from_recipe` gives what learns better features.

    Call arguments:
        images: float32 [batch, H, W, channels] in [0, 1]; H and W multiples of the stride, any
            such size.
        training: bool, whether batch normalisation uses the batch's moments.
        seed: int32 [2] to draw samples; None (default) uses probabilities and means.
        temperature: scalar τ of the samples.

    Returns, from a call, a dict of float32 tensors (h = H / stride, w = W / stride):
        reconstruction: [batch, H, W, channels] in [0, 1].
        features: [batch, h, w, backbone's channels], φ's map, of the layers' dtype.
        occurrence: [batch, h, w, num_parts], probabilities q.
        occurrence_logits: [batch, h, w, num_parts], a.
        appearance_mean, appearance_variance: [batch, num_parts, appearance_dim], μ and σ².
        latent: [batch, h, w, num_parts * appearance_dim], ẑ; channel i * appearance_dim + k
            belongs to part i and is 0 where that part does not occur.
        part_reconstructions: [batch, H, W, num_parts, channels] in [0, 1], what each part makes by
            itself; only with a `part_reconstruction_weight`.

    Raises:
        InputError: an argument out of range.
    """

    term_names = (
        "loss",
        "reconstruction",
        "kl_occurrence",
        "kl_appearance",
        "occurrence_rate",
        "temperature",
    )
    settings_name = "patchvae"
    code_class = PartCode
    objective_class = PartObjective
    views_class = ScaledViews
    any_size = True

    def __init__(
        self,
        image_size=32,
        num_parts=16,
        appearance_dim=6,
        occurrence="bernoulli",
        hard_occurrence=False,
        independent_decoders=False,
        backbone="resnet9",
        stride=None,
        channels=3,
        objective=None,
        views=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(image_size, backbone, stride, channels, objective, views, seed, **kwargs)
        code = PartCode(
            num_parts, appearance_dim, occurrence, hard_occurrence, independent_decoders
        )
        self.objective.check_code(code)
        self.objective.check_views(self.views)
        self.num_parts = num_parts
        self.appearance_dim = appearance_dim
        self.occurrence = occurrence
        self.hard_occurrence = hard_occurrence
        self.independent_decoders = independent_decoders
        self._terms = parts.active_terms(self.objective)
        self._track(*(term.name for term in self._terms if not term.always))

        with dtype_policy_scope(self.dtype_policy):
            self.backbone = backbones.build(self.backbone_name, self.stride, channels)
            self.occurrence_head = Conv2D(num_parts, 3, padding="same")
            self.appearance_mean_head = Conv2D(num_parts * appearance_dim, 3, padding="same")
            self.appearance_log_variance_head = Conv2D(
                num_parts * appearance_dim, 3, padding="same"
            )
            if independent_decoders:
                self.decoder = independent_decoder(num_parts, appearance_dim, self.stride, channels)
            else:
                self.decoder = patch_decoder(num_parts * appearance_dim, self.stride, channels)
        if self.objective.part_reconstruction_weight:
            maps = self.decoder.get_layer("part_maps").output
            self.decoder_with_parts = keras.Model(self.decoder.input, [self.decoder.output, maps])
        self.occurrence_sampling = _OCCURRENCE_LAYERS[occurrence](hard=hard_occurrence)
        self.appearance_pooling = AppearancePooling()
        self.appearance_sampling = GaussianSampling()
        for term in self._terms:
            if term.layer is not None:
                setattr(self, term.name, term.layer(self))
        self.build((None, image_size, image_size, channels))

    def build(self, input_shape):
        for head in self.heads:
            head.build(self.backbone.output_shape)
        self.built = True

    @property
    def training_parts(self) -> list[keras.layers.Layer]:
        own = [getattr(self, term.name) for term in self._terms if term.layer is not None]
        return [*super().training_parts, *own]

    def begin_from(
        self, sample: "Callable[[int], np.ndarray]", progress: bool = True
    ) -> dict[str, int]:
        found = [term for term in self._terms if term.begin is not None]
        if not found:
            return {}
        images = sample(discovery.MOST_IMAGES)
        return {term.name: term.begin(self, images, progress) for term in found}

    @property
    def occurrence_prior(self) -> float:
        """float, the probability that a part occurs at a place."""
        return self.objective.occurrence_prior or 1.0 / self.num_parts

    @property
    def heads(self) -> tuple[keras.layers.Layer, ...]:
        """The three 3×3 convolutions on φ's features."""
        return (self.occurrence_head, self.appearance_mean_head, self.appearance_log_variance_head)

    def encode(self, images: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """Q^O and Q^A: the codes of `call`'s dict, without `latent` and `reconstruction`."""
        return self.codes(self.backbone(images, training=training))

    def codes(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        """The codes from φ's features, [batch, h, w, channels]."""
        logits = tf.cast(self.occurrence_head(features), tf.float32)  # [batch, h, w, num_parts]
        occurrence = self.occurrence_sampling(logits)  # probabilities: no seed
        mean, variance = self.appearance_pooling(  # [batch, num_parts, appearance_dim]
            self.appearance_mean_head(features),
            self.appearance_log_variance_head(features),
            occurrence,
        )
        return {
            "features": features,
            "occurrence": occurrence,
            "occurrence_logits": logits,
            "appearance_mean": mean,
            "appearance_variance": variance,
        }

    def latent_map(self, occurrence: tf.Tensor, appearance: tf.Tensor) -> tf.Tensor:
        """ẑ[l, i] = z_occ[l, i] · z_app[i].

        Args:
            occurrence: [batch, h, w, num_parts].
            appearance: [batch, num_parts, appearance_dim].

        Returns:
            [batch, h, w, num_parts * appearance_dim].
        """
        # b batch, h rows, w columns, k parts, d appearance size
        latent = occurrence[..., tf.newaxis] * appearance[:, tf.newaxis, tf.newaxis]  # [b,h,w,k,d]
        channels = self.num_parts * self.appearance_dim
        return tf.reshape(latent, tf.concat([tf.shape(occurrence)[:-1], [channels]], axis=0))

    def call(
        self,
        images: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        temperature: float | tf.Tensor = 1.0,
    ) -> dict[str, tf.Tensor]:
        return self.rebuild(self.encode(images, training), training, seed, temperature)

    def rebuild(
        self,
        codes: dict[str, tf.Tensor],
        training: bool = False,
        seed: tf.Tensor | None = None,
        temperature: float | tf.Tensor = 1.0,
    ) -> dict[str, tf.Tensor]:
        """`call`'s dict from `encode`'s; the other arguments are those of `call`."""
        occurrence, appearance = codes["occurrence"], codes["appearance_mean"]
        if seed is not None:
            occurrence = self.occurrence_sampling(
                codes["occurrence_logits"],
                seed=noise.fold_in(seed, noise.Purpose.OCCURRENCE),
                temperature=temperature,
            )
            appearance = self.appearance_sampling(
                appearance,
                codes["appearance_variance"],
                seed=noise.fold_in(seed, noise.Purpose.APPEARANCE),
            )
        latent = self.latent_map(occurrence, appearance)
        return {**self._decoded(latent, training), **codes, "latent": latent}

    def _decoded(self, latent, training):
        """The decoder's part of `call`'s dict."""
        if not self.objective.part_reconstruction_weight:
            return {
                "reconstruction": self.decoder(latent, training=training)
            }  # [batch, H, W, channels]
        reconstruction, maps = self.decoder_with_parts(latent, training=training)
        parts = 0.5 * tf.tanh(tf.cast(maps, tf.float32)) + 0.5  # [batch, H, W, num_parts, channels]
        return {"reconstruction": reconstruction, "part_reconstructions": parts}

    def loss_terms(
        self,
        images: tf.Tensor,
        step: tf.Tensor,
        seed: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        seen, target = self.random_views.first(images, seed)
        codes, other_codes = self._codes_of_views(images, seen, seed, training)
        temperature = self.temperature_at(step)
        outputs = self.rebuild(codes, training, seed, temperature)
        terms = reconstruction_terms(self, target, outputs["reconstruction"], training)
        batch = parts.Batch(images, target, outputs, other_codes, training, step, seed)
        values = {term.name: term.value(self, batch) for term in self._terms}
        return {
            **terms,
            **values,
            "loss": parts.total(terms["loss"], self.objective, values),
            # Share of (location, part) pairs that are on: near 0 or 1 the parts have collapsed.
            "occurrence_rate": tf.reduce_mean(outputs["occurrence"], axis=[1, 2, 3]),
            "temperature": temperature,
        }

    def _codes_of_views(self, images, seen, seed, training):
        """The codes of what is seen, and those of another view where a term compares the two.

        The other view hides nothing, so that φ also sees whole images. There is none without a
        seed.
        """
        if seed is None or not any(term.needs_other_view for term in self._terms):
            return self.encode(seen, training), None
        other = self.random_views.second(images, seed)
        features = self.backbone(tf.concat([seen, other], axis=0), training=training)
        first, second = tf.split(features, 2)  # [batch, h, w, channels] each
        # Each for itself: what nobody asks of the other view is then not computed.
        return self.codes(first), self.codes(second)

    def temperature_at(self, step: int | tf.Tensor) -> tf.Tensor:
        """τ after `step` training steps; a float32 scalar."""
        objective = self.objective
        return schedules.annealed_temperature(
            step,
            objective.temperature,
            objective.temperature_rate,
            objective.temperature_interval,
            objective.temperature_floor,
        )
