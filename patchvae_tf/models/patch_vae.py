"""PatchVAE (Gupta, Singh, Shrivastava, "PatchVAE: Learning Local Latent Codes for Recognition",
CVPR 2020, arXiv 2004.03623): its section 3, with the architecture of the supplementary, Tables 1-5.

    images -> backbone φ -> heads Q^O, Q^A -> sampling -> latent map -> decoder -> loss

Distance from the paper: none known.
"""

import keras
import tensorflow as tf

from patchvae_tf import backbones, losses, noise, schedules
from patchvae_tf.errors import InputError
from patchvae_tf.layers import (
    AppearancePooling,
    Conv2D,
    GaussianSampling,
    RelaxedBernoulli,
    RelaxedCategorical,
)
from patchvae_tf.models.agreement import PartAgreement
from patchvae_tf.models.autoencoder import Autoencoder
from patchvae_tf.models.base import dtype_policy_scope
from patchvae_tf.models.decoders import independent_decoder, patch_decoder

_OCCURRENCE_LAYERS = {"bernoulli": RelaxedBernoulli, "categorical": RelaxedCategorical}
_OTHER_VIEW_SALT = 21


@keras.saving.register_keras_serializable(package="patchvae_tf")
class PatchVAE(Autoencoder):
    """Learns parts: where each occurs in an image, and how it looks there.

    Args:
        image_size: int, side of the square images in pixels; a multiple of the stride.
        num_parts: int, N.
        appearance_dim: int, d_p, numbers that describe a part's look.
        occurrence: "bernoulli" (each part for itself) or "categorical" (one part a location).
        hard_occurrence: bool, straight-through 0/1 samples instead of relaxed ones.
        occurrence_prior: float p in (0, 1), probability that a part occurs at a location; None
            for 1 / num_parts. The categorical form always has 1 / num_parts.
        occurrence_weight: float, β_occ, of KL(occurrence).
        appearance_weight: float, β_app, of KL(appearance).
        temperature: float, τ at the first step.
        temperature_rate: float, per step; see `schedules.annealed_temperature`.
        temperature_interval: int, steps between two cuts of τ.
        temperature_floor: float, the least τ.
        agreement_weight: float, factor of `PartAgreement` between the parts' codes of two views;
            0 for one view, and nothing to agree.
        independent_decoders: bool, a decoder of its own for each part (grouped convolutions), whose
            images are summed; see `decoders.independent_decoder`.
        part_reconstruction_weight: float, of `losses.part_squared_error`; needs independent
            decoders.
        entropy_across_weight, entropy_within_weight: floats, of `losses.entropy_across_images` and
            `losses.entropy_within_images`, which training raises.
        weighted_reconstruction, adversarial_weight, backbone, stride, seed, **kwargs: as of
            `Autoencoder`.

    Call arguments:
        images: float32 [batch, H, W, 3] in [0, 1]; H and W multiples of the stride, any such size.
        training: bool, whether batch normalisation uses the batch's moments.
        seed: int32 [2] to draw samples; None (default) uses probabilities and means.
        temperature: scalar τ of the samples.

    Returns, from a call, a dict of float32 tensors (h = H / stride, w = W / stride):
        reconstruction: [batch, H, W, 3] in [0, 1].
        occurrence: [batch, h, w, num_parts], probabilities q.
        occurrence_logits: [batch, h, w, num_parts], a.
        appearance_mean, appearance_variance: [batch, num_parts, appearance_dim], μ and σ².
        latent: [batch, h, w, num_parts * appearance_dim], ẑ; channel i * appearance_dim + k
            belongs to part i and is 0 where that part does not occur.
        part_reconstructions: [batch, H, W, num_parts, 3] in [0, 1], what each part makes by itself;
            only with a `part_reconstruction_weight`.

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

    def __init__(
        self,
        image_size=32,
        num_parts=16,
        appearance_dim=6,
        occurrence="bernoulli",
        hard_occurrence=False,
        occurrence_prior=None,
        occurrence_weight=10.0,
        appearance_weight=1.0,
        weighted_reconstruction=True,
        adversarial_weight=0.0,
        temperature=1.0,
        temperature_rate=3e-5,
        temperature_interval=1000,
        temperature_floor=0.1,
        agreement_weight=0.0,
        independent_decoders=False,
        part_reconstruction_weight=0.0,
        entropy_across_weight=0.0,
        entropy_within_weight=0.0,
        backbone="resnet9",
        stride=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(
            image_size,
            weighted_reconstruction,
            adversarial_weight,
            backbone,
            stride,
            seed,
            **kwargs,
        )
        _check_arguments(num_parts, appearance_dim, occurrence, occurrence_prior)
        self.num_parts = num_parts
        self.appearance_dim = appearance_dim
        self.occurrence = occurrence
        self.hard_occurrence = hard_occurrence
        self.occurrence_prior = occurrence_prior
        self.occurrence_weight = occurrence_weight
        self.appearance_weight = appearance_weight
        self.temperature = temperature
        self.temperature_rate = temperature_rate
        self.temperature_interval = temperature_interval
        self.temperature_floor = temperature_floor
        self.agreement_weight = agreement_weight
        self.independent_decoders = independent_decoders
        self.part_reconstruction_weight = part_reconstruction_weight
        self.entropy_across_weight = entropy_across_weight
        self.entropy_within_weight = entropy_within_weight
        if part_reconstruction_weight and not independent_decoders:
            raise InputError(
                "`part_reconstruction_weight` needs `independent_decoders`: one decoder for all "
                f"parts makes no image of a part. Received: {part_reconstruction_weight}"
            )
        for name in ("part_reconstruction", "entropy_across", "entropy_within"):
            if not getattr(self, f"{name}_weight") >= 0.0:
                raise InputError(
                    f"`{name}_weight` must be at least 0. Received: "
                    f"{getattr(self, f'{name}_weight')}"
                )
            if getattr(self, f"{name}_weight"):
                self._track(name)

        with dtype_policy_scope(self.dtype_policy):
            self.backbone = backbones.build(self.backbone_name, self.stride)
            self.occurrence_head = Conv2D(num_parts, 3, padding="same")
            self.appearance_mean_head = Conv2D(num_parts * appearance_dim, 3, padding="same")
            self.appearance_log_variance_head = Conv2D(
                num_parts * appearance_dim, 3, padding="same"
            )
            if independent_decoders:
                self.decoder = independent_decoder(num_parts, appearance_dim, self.stride)
            else:
                self.decoder = patch_decoder(num_parts * appearance_dim, self.stride)
        if part_reconstruction_weight:
            maps = self.decoder.get_layer("part_maps").output
            self.decoder_with_parts = keras.Model(self.decoder.input, [self.decoder.output, maps])
        self.occurrence_sampling = _OCCURRENCE_LAYERS[occurrence](hard=hard_occurrence)
        self.appearance_pooling = AppearancePooling()
        self.appearance_sampling = GaussianSampling()
        if agreement_weight:
            self.agreement = PartAgreement(dtype=self.dtype_policy)
            self._track("agreement")
        self.build((None, image_size, image_size, 3))

    def build(self, input_shape):
        for head in self.heads:
            head.build(self.backbone.output_shape)
        if self.agreement is not None:
            codes = (None, self.num_parts * (1 + self.appearance_dim))
            self.agreement.build(codes, codes)
        self.built = True

    @property
    def heads(self):
        """The three 3×3 convolutions on φ's features."""
        return (self.occurrence_head, self.appearance_mean_head, self.appearance_log_variance_head)

    def encode(self, images, training=False):
        """Q^O and Q^A: the codes of `call`'s dict, without `latent` and `reconstruction`."""
        return self.codes(self.backbone(images, training=training))

    def codes(self, features):
        """The codes from φ's features, [batch, h, w, channels]."""
        logits = tf.cast(self.occurrence_head(features), tf.float32)  # [batch, h, w, num_parts]
        occurrence = self.occurrence_sampling(logits)  # probabilities: no seed
        mean, variance = self.appearance_pooling(  # [batch, num_parts, appearance_dim]
            self.appearance_mean_head(features),
            self.appearance_log_variance_head(features),
            occurrence,
        )
        return {
            "occurrence": occurrence,
            "occurrence_logits": logits,
            "appearance_mean": mean,
            "appearance_variance": variance,
        }

    def latent_map(self, occurrence, appearance):
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

    def call(self, images, training=False, seed=None, temperature=1.0):
        return self.rebuild(self.encode(images, training), training, seed, temperature)

    def rebuild(self, codes, training=False, seed=None, temperature=1.0):
        """`call`'s dict from `encode`'s; the other arguments are those of `call`."""
        occurrence, appearance = codes["occurrence"], codes["appearance_mean"]
        if seed is not None:
            occurrence = self.occurrence_sampling(
                codes["occurrence_logits"], seed=noise.fold_in(seed, 1), temperature=temperature
            )
            appearance = self.appearance_sampling(
                appearance, codes["appearance_variance"], seed=noise.fold_in(seed, 2)
            )
        latent = self.latent_map(occurrence, appearance)
        return {**self._decoded(latent, training), **codes, "latent": latent}

    def _decoded(self, latent, training):
        """The decoder's part of `call`'s dict."""
        if not self.part_reconstruction_weight:
            return {"reconstruction": self.decoder(latent, training=training)}  # [batch, H, W, 3]
        reconstruction, maps = self.decoder_with_parts(latent, training=training)
        parts = 0.5 * tf.tanh(tf.cast(maps, tf.float32)) + 0.5  # [batch, H, W, num_parts, 3]
        return {"reconstruction": reconstruction, "part_reconstructions": parts}

    def loss_terms(self, images, step, seed=None, training=False):
        seen, target = self.view(images, seed)
        if self.agreement is None:
            codes, agreement = self.encode(seen, training), None
        else:
            codes, agreement = self._agreeing_codes(images, seen, seed, training)
        temperature = self.temperature_at(step)
        outputs = self.rebuild(codes, training, seed, temperature)
        terms = self.reconstruction_terms(target, outputs["reconstruction"], training)
        if self.occurrence == "bernoulli":
            prior = self.occurrence_prior or 1.0 / self.num_parts
            kl_occurrence = losses.bernoulli_kl(outputs["occurrence_logits"], prior)
        else:
            kl_occurrence = losses.categorical_kl(outputs["occurrence_logits"])
        kl_appearance = losses.gaussian_kl(
            outputs["appearance_mean"], outputs["appearance_variance"]
        )
        extra_loss, extra_terms = self._extra_terms(target, outputs)
        loss = (
            terms["loss"]
            + self.occurrence_weight * kl_occurrence
            + self.appearance_weight * kl_appearance
            + extra_loss
        )
        terms = {
            **terms,
            **extra_terms,
            "loss": loss,
            "kl_occurrence": kl_occurrence,  # nats per image, before its weight
            "kl_appearance": kl_appearance,
            # Share of (location, part) pairs that are on: near 0 or 1 the parts have collapsed.
            "occurrence_rate": tf.reduce_mean(outputs["occurrence"], axis=[1, 2, 3]),
            "temperature": temperature,
        }
        if agreement is None:
            return terms
        loss += self.agreement_weight * agreement
        return {**terms, "loss": loss, "agreement": agreement}

    def _agreeing_codes(self, images, seen, seed, training):
        """The codes of what is seen, and how far they are from agreeing with another view's.

        The other view hides nothing, so that φ also sees whole images. Without a seed there is no
        other view, and the second value is 0.
        """
        if seed is None:
            return self.encode(seen, training), tf.zeros(tf.shape(images)[:1])
        other_seed = noise.fold_in(seed, _OTHER_VIEW_SALT)
        other = self.random_crop(images, seed=noise.fold_in(other_seed, 1))
        other = self.color_jitter(other, seed=noise.fold_in(other_seed, 2))
        both = self.encode(tf.concat([seen, other], axis=0), training)  # [2 batch, ...]
        batch = tf.shape(images)[0]
        told = tf.concat(
            [
                tf.reshape(both["appearance_mean"], [2 * batch, -1]),
                tf.reduce_mean(both["occurrence_logits"], axis=[1, 2]),
            ],
            axis=1,
        )  # [2 batch, num_parts * (appearance_dim + 1)]
        told = tf.ensure_shape(told, [None, self.num_parts * (1 + self.appearance_dim)])
        codes = {name: value[:batch] for name, value in both.items()}
        return codes, self.agreement(told[:batch], told[batch:], training=training)

    def _extra_terms(self, images, outputs):
        """The options' terms: (their weighted sum, 0.0 without any; dict of them before that)."""
        occurrence = outputs["occurrence"]
        loss, terms = 0.0, {}
        if self.part_reconstruction_weight:
            error = losses.part_squared_error(images, outputs["part_reconstructions"], occurrence)
            terms["part_reconstruction"] = error
            loss += self.part_reconstruction_weight * error
        if self.entropy_across_weight:
            terms["entropy_across"] = losses.entropy_across_images(occurrence)
            loss -= self.entropy_across_weight * terms["entropy_across"]
        if self.entropy_within_weight:
            terms["entropy_within"] = losses.entropy_within_images(occurrence)
            loss -= self.entropy_within_weight * terms["entropy_within"]
        return loss, terms

    def temperature_at(self, step):
        """τ after `step` training steps; a float32 scalar."""
        return schedules.annealed_temperature(
            step,
            self.temperature,
            self.temperature_rate,
            self.temperature_interval,
            self.temperature_floor,
        )

    def get_config(self):
        names = (
            "num_parts",
            "appearance_dim",
            "occurrence",
            "hard_occurrence",
            "occurrence_prior",
            "occurrence_weight",
            "appearance_weight",
            "temperature",
            "temperature_rate",
            "temperature_interval",
            "temperature_floor",
            "agreement_weight",
            "independent_decoders",
            "part_reconstruction_weight",
            "entropy_across_weight",
            "entropy_within_weight",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _check_arguments(num_parts, appearance_dim, occurrence, occurrence_prior):
    for name, value in (("num_parts", num_parts), ("appearance_dim", appearance_dim)):
        if value < 1:
            raise InputError(f"`{name}` must be at least 1. Received: {name}={value}")
    if occurrence not in _OCCURRENCE_LAYERS:
        raise InputError(
            f"`occurrence` must be one of {sorted(_OCCURRENCE_LAYERS)}. Received: {occurrence!r}"
        )
    if occurrence_prior is not None and not 0.0 < occurrence_prior < 1.0:
        raise InputError(
            "`occurrence_prior` must be between 0 and 1, both excluded. "
            f"Received: occurrence_prior={occurrence_prior}"
        )
    if occurrence_prior is None and num_parts == 1:
        raise InputError(
            "`occurrence_prior` is 1 / num_parts = 1 when num_parts=1: give one between 0 and 1."
        )
