"""What training makes small: the terms of the loss and their weights.

The terms themselves are in `patchvae_tf.objectives`, the formulas in `patchvae_tf.losses`.
"""

import dataclasses
import typing

from patchvae_tf.errors import InputError
from patchvae_tf.settings.fields import Settings, setting

if typing.TYPE_CHECKING:
    from patchvae_tf.settings.architecture import PartCode
    from patchvae_tf.settings.views import ScaledViews


@dataclasses.dataclass(frozen=True)
class Reconstruction(Settings):
    """How a reconstruction is compared with its image."""

    weighted_reconstruction: bool = setting(
        True, "Loss", "weigh the squared error by the image's Laplacian (L_w)", rare=True
    )
    adversarial_weight: float = setting(
        0.0,
        "Loss",
        "factor of the GAN loss on reconstructions; 0: no discriminator",
        minimum=0.0,
        rare=True,
    )


@dataclasses.dataclass(frozen=True)
class PartObjective(Reconstruction):
    """PatchVAE's objective. Defaults: the paper's."""

    occurrence_prior: float | None = setting(
        None,
        "Loss",
        "p, probability that a part occurs at a location (default: 1 / num_parts)",
        above=0.0,
        below=1.0,
        rare=True,
    )
    occurrence_weight: float = setting(
        10.0, "Loss", "beta_occ, factor of the occurrence KL in nats", minimum=0.0
    )
    appearance_weight: float = setting(
        1.0, "Loss", "beta_app, factor of the appearance KL in nats", minimum=0.0
    )
    agreement_weight: float = setting(
        0.0,
        "Loss",
        "factor of the agreement between the parts' codes of two views; 0: one view",
        minimum=0.0,
    )
    map_agreement_weight: float = setting(
        0.0,
        "Loss",
        "factor of the agreement between the backbone's maps of two views, in their places",
        minimum=0.0,
    )
    agreement_width: int = setting(
        512, "Loss", "width of the layers that compare two views", minimum=1, rare=True
    )
    agreement_temperature: float = setting(
        0.1, "Loss", "tau of the softmax over other images' views", above=0.0, rare=True
    )
    teaching_weight: float = setting(
        0.0,
        "Loss",
        "factor of how far occurrence is from where parts, found beforehand, are; 0: none is found",
        minimum=0.0,
    )
    template_steps: int = setting(
        300,
        "Loss",
        "steps in which the parts that were found teach; from then on what is learned of them",
        minimum=0,
        rare=True,
    )
    part_side: float = setting(
        0.45,
        "Loss",
        "side of a part, about, as a share of the image's; for teaching_weight",
        minimum=0.05,
        maximum=1.0,
    )
    part_reconstruction_weight: float = setting(
        0.0,
        "Loss",
        "factor of each part's own error where it occurs; needs independent_decoders",
        minimum=0.0,
        rare=True,
    )
    entropy_across_weight: float = setting(
        0.0,
        "Loss",
        "factor of the entropy across images, raised so that they use different parts",
        minimum=0.0,
        rare=True,
    )
    entropy_within_weight: float = setting(
        0.0,
        "Loss",
        "factor of the entropy within images, raised so that no part is everywhere",
        minimum=0.0,
        rare=True,
    )
    temperature: float = setting(
        1.0, "Loss", "tau of the relaxed occurrence at the first step", above=0.0, rare=True
    )
    temperature_rate: float = setting(
        3e-5, "Loss", "tau falls by exp(-rate * step), 1/steps; 0: constant", minimum=0.0, rare=True
    )
    temperature_interval: int = setting(
        1000, "Loss", "steps between two cuts of tau", minimum=1, rare=True
    )
    temperature_floor: float = setting(0.1, "Loss", "the least tau", above=0.0, rare=True)

    def check(self) -> None:
        """τ does not begin below its floor."""
        if self.temperature < self.temperature_floor:
            raise InputError(
                "temperature must not be below temperature_floor. "
                f"Received: {self.temperature} and {self.temperature_floor}"
            )

    def check_code(self, code: "PartCode") -> None:
        """Raises InputError where the objective does not go with a `PartCode`."""
        if code.occurrence != "bernoulli" and self.occurrence_prior is not None:
            raise InputError(
                f"occurrence_prior is for occurrence=bernoulli: with {code.occurrence} all choices "
                f"are as probable. Received: {self.occurrence_prior}. Leave it out."
            )
        if code.num_parts == 1 and code.occurrence == "bernoulli" and self.occurrence_prior is None:
            raise InputError(
                "num_parts=1 makes the prior 1 / num_parts = 1: give occurrence_prior, between 0 "
                "and 1."
            )
        if self.teaching_weight and code.occurrence != "exclusive":
            raise InputError(
                "teaching_weight needs occurrence=exclusive: a place shows one part or none. "
                f"Received: occurrence={code.occurrence}. Leave it out, or take another recipe."
            )
        if self.part_reconstruction_weight and not code.independent_decoders:
            raise InputError(
                "part_reconstruction_weight needs independent_decoders: one decoder for all parts "
                f"makes no image of a part. Received: {self.part_reconstruction_weight}"
            )

    def check_views(self, views: "ScaledViews") -> None:
        """Raises InputError where the objective does not go with the views."""
        if self.teaching_weight and views.view_scale != 1.0:
            raise InputError(
                "with teaching_weight parts are looked for in one size: view_scale must be 1. "
                f"Received: {views.view_scale}. Leave it out."
            )


@dataclasses.dataclass(frozen=True)
class BetaVAEObjective(Reconstruction):
    """β-VAE's objective."""

    kl_weight: float = setting(
        1.0, "Loss", "beta, factor of the KL in nats", minimum=0.0, rare=True
    )
