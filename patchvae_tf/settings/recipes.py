"""Recipes: what `recipe` stands for, each a set of values over the same code.

The settings' own defaults are the paper's, those of `recipe=paper`: a recipe lists what it does
otherwise, and what it does otherwise on one data set.
"""

import types
from collections.abc import Mapping

from patchvae_tf.settings import paper_datasets

DESCRIPTIONS = {
    "agreement": "two views of an image have to agree in their parts and maps, for features",
    "masked": "whole images rebuilt from half-hidden ones, for features from one view",
    "parts": "parts are found first, then taught, for occurrence that tells where each is",
    "paper": "the original implementation's settings",
}
# model -> recipe. The other models are there to compare with, as the paper trained them.
DEFAULTS = {"patchvae": "agreement", "beta_vae": "paper", "bigan": "paper"}

_DEFAULT_ON = {("patchvae", "parts"): "parts"}

# A first run is to take minutes, in which the occurrence would only collapse.
_FIRST_RUN = {
    "occurrence_weight": 0.1,
    "appearance_weight": 0.1,
    "epochs": 1,
    "batch_size": 32,
    "learning_rate": 1e-3,
}
_FEATURES = {
    "num_parts": 32,
    "appearance_dim": 8,
    "color_jitter": 1.0,
    "weighted_reconstruction": False,
    "occurrence_weight": 0.05,
    "appearance_weight": 0.05,
    "temperature": 0.66,
    "temperature_rate": 0.0,
    "least_steps": 2000,
    "learning_rate": 1e-3,
    "learning_rate_schedule": "cosine",
    "warmup_epochs": 0.5,
    "adam_beta_1": 0.9,
    "adam_beta_2": 0.99,
    "weight_decay": 1e-4,
}
_PARTS = {
    "occurrence": "exclusive",
    "teaching_weight": 100.0,
    "weighted_reconstruction": False,
    "horizontal_flip": False,
}
# A part is what is found again: wherever it stands, and from what stands around it.
_FROM_ELSEWHERE = {
    "num_parts": 64,
    "rotation": 30.0,
    "scaling": 1.67,
    "translation": 0.25,
    "mask_share": 0.5,
    "mask_size": 8,
}
_VALUES = {
    "agreement": {
        **_FEATURES,
        "crop_side": 0.35,
        "color_jitter": 0.5,
        "view_scale": 0.75,
        "agreement_weight": 150.0,
        "map_agreement_weight": 150.0,
        "learning_rate": 3e-3,
    },
    "masked": {**_FEATURES, "mask_share": 0.5, "batch_size": 32},
    "parts": {**_FEATURES, **_PARTS, **_FROM_ELSEWHERE, "batch_size": 32},
    "paper": {},
}
# recipe -> data set -> what takes the place of the recipe's values there.
_ON_DATASET: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    # Flat colours: with colours changed little is left to learn in a run of minutes.
    "agreement": {"parts": _FIRST_RUN},
    "masked": {"parts": _FIRST_RUN},
    "parts": {"parts": {**_FIRST_RUN, **_PARTS}},
    "paper": {"parts": _FIRST_RUN, "cifar100": {"horizontal_flip": False}},
}


def default(model: str, dataset: str) -> str:
    """The recipe of whom names none."""
    return _DEFAULT_ON.get((model, paper_datasets.bare_name(dataset)), DEFAULTS[model])


def values(recipe: str, dataset: str = "") -> Mapping[str, object]:
    """What a recipe says on a data set, where it is not the settings' own default.

    Args:
        recipe: a key of `DESCRIPTIONS`.
        dataset: as the setting `dataset`.
    """
    name = paper_datasets.bare_name(dataset)
    own = _ON_DATASET[recipe].get(name)
    if own is None:
        return types.MappingProxyType(_VALUES[recipe])
    # A data set of its own begins from the paper's settings.
    return types.MappingProxyType(own)


def shown(name: str, default: object) -> str:
    """What the recipes say of one setting, in words: "masked 3; paper 1, `parts` 2"."""
    said = []
    for recipe in DESCRIPTIONS:
        usual = _VALUES[recipe].get(name, default)
        there = {
            dataset: values.get(name, default) for dataset, values in _ON_DATASET[recipe].items()
        }
        others = [f"{key} {_text(value)}" for key, value in there.items() if value != usual]
        said.append(f"{recipe} {', '.join([_text(usual), *others])}")
    return "; ".join(said)


def varies(name: str, default: object) -> bool:
    """Whether a recipe has another value than the settings' own default."""
    layers = [*_VALUES.values(), *(own for by in _ON_DATASET.values() for own in by.values())]
    return any(layer.get(name, default) != default for layer in layers)


def _text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:g}"
