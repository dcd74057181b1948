"""The models: subclassed `keras.Model`s over one base class."""

import typing

from patchvae_tf import environment  # noqa: F401 (first: it checks how Keras is set)
from patchvae_tf.models.base import UnsupervisedModel
from patchvae_tf.models.beta_vae import BetaVAE
from patchvae_tf.models.bigan import BiGAN
from patchvae_tf.models.loading import load_model
from patchvae_tf.models.patch_vae import PatchVAE
from patchvae_tf.models.transfer_classifier import FeatureClassifier, TransferClassifier
from patchvae_tf.settings.unsupervised import UnsupervisedConfig

MODELS = {model.settings_name: model for model in (PatchVAE, BetaVAE, BiGAN)}


def from_settings(config: UnsupervisedConfig, **kwargs: typing.Any) -> UnsupervisedModel:
    """The untrained model of a training's settings: `MODELS[config.model].from_settings`."""
    return MODELS[config.model].from_settings(config, **kwargs)


__all__ = [
    "MODELS",
    "BetaVAE",
    "BiGAN",
    "FeatureClassifier",
    "PatchVAE",
    "TransferClassifier",
    "from_settings",
    "load_model",
]
