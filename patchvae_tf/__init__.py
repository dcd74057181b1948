"""PatchVAE for TensorFlow: part-based image features without labels."""

import importlib

__version__ = "0.1.0"

# Public name -> module. Loaded on first use: importing TensorFlow takes seconds, and whoever wants
# only the configuration (`--help`, say) should not wait for it.
_PUBLIC = {
    "BetaVAE": "patchvae_tf.models",
    "BiGAN": "patchvae_tf.models",
    "InputError": "patchvae_tf.errors",
    "RunError": "patchvae_tf.errors",
    "load_model": "patchvae_tf.models",
    "PatchVAE": "patchvae_tf.models",
    "TransferClassifier": "patchvae_tf.models",
}

__all__ = [
    "BetaVAE",
    "BiGAN",
    "InputError",
    "PatchVAE",
    "RunError",
    "TransferClassifier",
    "__version__",
    "load_model",
]


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
