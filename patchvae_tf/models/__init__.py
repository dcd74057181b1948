"""The models: subclassed `keras.Model`s over one base class."""

from patchvae_tf.models.beta_vae import BetaVAE
from patchvae_tf.models.bigan import BiGAN
from patchvae_tf.models.loading import load_model
from patchvae_tf.models.patch_vae import PatchVAE
from patchvae_tf.models.transfer_classifier import FeatureClassifier, TransferClassifier

__all__ = [
    "BetaVAE",
    "BiGAN",
    "FeatureClassifier",
    "PatchVAE",
    "TransferClassifier",
    "load_model",
]
