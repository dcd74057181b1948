"""What can be set: frozen dataclasses that check themselves. Nothing here needs TensorFlow.

`fields.setting` makes a field that knows its help text and its range; a class of them is a part of
what can be set (`Views`, `PartObjective`, ...), and the settings of a training are made of such
parts (`unsupervised_config`).
"""

from patchvae_tf.settings.architecture import GlobalCode, PartCode
from patchvae_tf.settings.fields import Settings, setting
from patchvae_tf.settings.objectives import BetaVAEObjective, PartObjective
from patchvae_tf.settings.unsupervised import unsupervised_config
from patchvae_tf.settings.views import ScaledViews, Views

__all__ = [
    "BetaVAEObjective",
    "GlobalCode",
    "PartCode",
    "PartObjective",
    "ScaledViews",
    "Settings",
    "Views",
    "setting",
    "unsupervised_config",
]
