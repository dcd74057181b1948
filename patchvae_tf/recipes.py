"""Recipes: what `--recipe` stands for, each a set of values over the same code.

A setting that is given as a flag of its own goes before the recipe's. Needs no TensorFlow.
"""

import types

DESCRIPTIONS = {
    "agreement": "the parts of two views of an image have to agree, for features",
    "masked": "whole images rebuilt from half-hidden ones, for features from one view",
    "paper": "the original implementation's settings",
}
# model -> recipe. The other models are there to compare with, as the paper trained them.
DEFAULTS = {"patchvae": "agreement", "beta_vae": "paper", "bigan": "paper"}

# recipe -> "" for any data set, or a data set's name -> setting -> value.
_PAPER = {
    "": {
        "num_parts": 16,
        "appearance_dim": 6,
        "horizontal_flip": True,
        "crop_side": 1.0,
        "color_jitter": 0.0,
        "mask_share": 0.0,
        "weighted_reconstruction": True,
        "occurrence_weight": 10.0,
        "appearance_weight": 1.0,
        "agreement_weight": 0.0,
        "temperature": 1.0,
        "temperature_rate": 3e-5,
        "epochs": 30,
        "least_steps": 0,
        "batch_size": 128,
        "learning_rate": 1e-4,
        "learning_rate_schedule": "constant",
        "warmup_epochs": 0.0,
        "adam_beta_1": 0.5,
        "adam_beta_2": 0.999,
        "weight_decay": 0.0,
    },
    "cifar100": {"horizontal_flip": False},
    # A first run is to take minutes, in which the occurrence would only collapse.
    "parts": {
        "occurrence_weight": 0.1,
        "appearance_weight": 0.1,
        "epochs": 1,
        "batch_size": 32,
        "learning_rate": 1e-3,
    },
}

_AGREEMENT = {
    "": {
        "num_parts": 32,
        "appearance_dim": 8,
        "horizontal_flip": True,
        "crop_side": 0.35,
        "color_jitter": 1.0,
        "mask_share": 0.0,
        "weighted_reconstruction": False,
        "occurrence_weight": 0.05,
        "appearance_weight": 0.05,
        "agreement_weight": 300.0,
        "temperature": 0.66,
        "temperature_rate": 0.0,
        "epochs": 30,
        "least_steps": 2000,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "learning_rate_schedule": "cosine",
        "warmup_epochs": 0.5,
        "adam_beta_1": 0.9,
        "adam_beta_2": 0.99,
        "weight_decay": 1e-4,
    },
    # A first run of minutes on flat colours: with colours changed little is left to learn in it.
    "parts": {**_PAPER[""], **_PAPER["parts"]},
}
_MASKED = {
    "": {
        **_AGREEMENT[""],
        "crop_side": 1.0,
        "mask_share": 0.5,
        "agreement_weight": 0.0,
        "batch_size": 32,
    },
    "parts": _AGREEMENT["parts"],
}

_VALUES = {"agreement": _AGREEMENT, "masked": _MASKED, "paper": _PAPER}


def values(recipe, dataset):
    """The settings of a recipe on a data set.

    Args:
        recipe: str, a key of `DESCRIPTIONS`.
        dataset: str, as the setting `dataset`.

    Returns:
        read-only dict: setting -> value.
    """
    own = _VALUES[recipe]
    name = dataset.partition(":")[0]  # of a TFDS data set, without its version
    return types.MappingProxyType({**own[""], **(own.get(name, {}) if name else {})})


def shown(setting):
    """What the recipes say of one setting, in words: "masked 3; paper 1, `parts` 2"."""
    return "; ".join(
        f"{recipe} "
        + ", ".join(
            f"{f'{name} ' if name else ''}{_text(by_name[setting])}"
            for name, by_name in by_dataset.items()
            if setting in by_name
        )
        for recipe, by_dataset in _VALUES.items()
    )


def _text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:g}"
