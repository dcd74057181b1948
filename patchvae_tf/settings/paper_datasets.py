"""The paper's data sets: what `paper_dataset` stands for."""

import types
from collections.abc import Mapping

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


def values(paper_dataset: str | None) -> Mapping[str, object]:
    """The settings of one of `NAMES`, or none for None."""
    return types.MappingProxyType(_VALUES[paper_dataset] if paper_dataset else {})


def bare_name(dataset: str) -> str:
    """`name` of TFDS's `name/config:version`; a path stays as it is."""
    return dataset.partition(":")[0]
