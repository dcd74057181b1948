"""The models: subclassed `keras.Model`s over one base class."""

from patchvae_tf.models.beta_vae import BetaVAE
from patchvae_tf.models.loading import load_model
from patchvae_tf.models.patch_vae import PatchVAE

__all__ = ["BetaVAE", "PatchVAE", "load_model"]
