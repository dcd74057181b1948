"""PatchVAE for TensorFlow: part-based image features without labels."""

import importlib
import typing

from patchvae_tf.registration import register_with_keras

if typing.TYPE_CHECKING:
    from patchvae_tf.errors import InputError, RunError
    from patchvae_tf.features.embedding import Embeddings, embed
    from patchvae_tf.features.estimator import FeatureExtractor
    from patchvae_tf.models import (
        BetaVAE,
        BiGAN,
        PatchVAE,
        TransferClassifier,
        load_model,
    )
    from patchvae_tf.models.presets import backbone
    from patchvae_tf.pretrained import presets
    from patchvae_tf.saved_models.writing import export_model
    from patchvae_tf.settings import BetaVAEObjective, PartObjective, ScaledViews, Views
    from patchvae_tf.unsupervised.trainer import train_model as train

__version__ = "0.2.0"

# Public name -> its module and its name there. Loaded on first use: importing TensorFlow takes
# seconds, and whoever wants only the settings (`--help`, say) should not wait for it.
_PUBLIC = {
    "BetaVAE": ("models", "BetaVAE"),
    "BetaVAEObjective": ("settings", "BetaVAEObjective"),
    "BiGAN": ("models", "BiGAN"),
    "Embeddings": ("features.embedding", "Embeddings"),
    "FeatureExtractor": ("features.estimator", "FeatureExtractor"),
    "InputError": ("errors", "InputError"),
    "PartObjective": ("settings", "PartObjective"),
    "PatchVAE": ("models", "PatchVAE"),
    "RunError": ("errors", "RunError"),
    "TransferClassifier": ("models", "TransferClassifier"),
    "ScaledViews": ("settings", "ScaledViews"),
    "Views": ("settings", "Views"),
    "backbone": ("models.presets", "backbone"),
    "embed": ("features.embedding", "embed"),
    "export_model": ("saved_models.writing", "export_model"),
    "load_model": ("models", "load_model"),
    "presets": ("pretrained", "presets"),
    "train": ("unsupervised.trainer", "train_model"),
}

__all__ = [
    "BetaVAE",
    "BetaVAEObjective",
    "BiGAN",
    "Embeddings",
    "FeatureExtractor",
    "InputError",
    "PartObjective",
    "PatchVAE",
    "RunError",
    "ScaledViews",
    "TransferClassifier",
    "Views",
    "__version__",
    "backbone",
    "embed",
    "export_model",
    "load_model",
    "presets",
    "train",
]


def __getattr__(name):
    if name in _PUBLIC:
        module, inside = _PUBLIC[name]
        return getattr(importlib.import_module(f"patchvae_tf.{module}"), inside)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)


register_with_keras()
