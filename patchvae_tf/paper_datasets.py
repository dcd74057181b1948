"""Presets: what `--preset` stands for, the paper's data sets with their settings.

A setting that is given as a flag of its own goes before the preset's, the preset's before the
recipe's, which says the rest. Needs no TensorFlow.
"""

import types

_VALUES = {
    "cifar100": {"dataset": "cifar100", "image_size": 32},
    "indoor67": {"dataset": "indoor67", "image_size": 64},
    "places205": {"dataset": "places205", "image_size": 64},
    # Of the original implementation.
    "imagenet": {
        "recipe": "paper",
        "dataset": "imagenet2012",
        "image_size": 224,
        "backbone": "resnet18",
        "stride": 32,
        "num_parts": 64,
        "appearance_dim": 16,
        "epochs": 140,
        "batch_size": 256,
        "learning_rate": 2e-4,
    },
}
NAMES = tuple(_VALUES)


def values(preset):
    """The settings of a preset.

    Args:
        preset: str, one of `NAMES`, or None for none.

    Returns:
        read-only dict: setting -> value.
    """
    return types.MappingProxyType(_VALUES[preset] if preset else {})
