"""What you would train instead: other ways to learn the same φ without labels, at equal cost.

Each peer of `benchmarks.peer_methods` trains φ of Table 5 in PyTorch on the images that a run of
`benchmarks.recipes` has, with as many passes of a view through φ (by default those of two views of
45,000 images in two epochs); the classifiers of `benchmarks.frozen_features` then measure the
frozen φ. They are tested on 5,000 images held out of train, as there; with `--split=test` all of
train is learned from and the test part is read: for last figures alone. One line of JSON a peer
and seed goes to `--output`; what stands there is not done again.
"""

import dataclasses
import json
import pathlib

from benchmarks import lists
from benchmarks.labelled import labelled_parts
from benchmarks.peer_recipes import PEERS
from patchvae_tf import extras
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting

USAGE = """\
pip install -e '.[peers]'
python -m benchmarks.peers --dataset=cifar100 --data_dir=TFDS_FOLDER --seeds=2
python -m benchmarks.peers --dataset=FOLDER --peers=simclr,vicreg --learning_rate=0.003
python -m benchmarks.peers --dataset=cifar100 --view_passes=3000000 --split=test
"""


@dataclasses.dataclass(frozen=True)
class PeersConfig(Settings):
    """Settings of `python -m benchmarks.peers`."""

    dataset: str | None = setting(None, "Data", "labelled, as of trainers.unsupervised; needed")
    data_dir: str | None = data_dir_setting()
    image_size: int = setting(32, "Data", "side of the images in pixels", minimum=8)
    validation_examples: int = setting(5000, "Data", "images held out of train", minimum=1)
    split: str = setting(
        "validation", "Data", "what is measured on", choices=("validation", "test")
    )
    classifier_examples: int | None = setting(
        None, "Data", "images the classifiers learn from, to search (default: all)", minimum=256
    )
    peers: str | None = setting(
        None, "Training", f"which of {', '.join(PEERS)}, with commas between (default: all)"
    )
    view_passes: int = setting(
        180_000, "Training", "views of images that go through φ in training", minimum=1
    )
    batch_views: int = setting(
        256, "Training", "views a step: of 128 images where each has two", minimum=16
    )
    optimizer: str | None = setting(
        None, "Training", "(default: the peer's)", choices=("adamw", "sgd")
    )
    learning_rate: float | None = setting(
        None, "Training", "the highest (default: the peer's)", above=0.0
    )
    least_area: float | None = setting(
        None,
        "Training",
        "of an image, that a crop has (default: the peer's)",
        above=0.0,
        maximum=1.0,
    )
    color_jitter: float = setting(
        1.0,
        "Training",
        "how far and how often colours change, as a share of the peer's",
        minimum=0.0,
        maximum=1.0,
    )
    seeds: int = setting(1, "Training", "of each peer", minimum=1)
    first_seed: int = setting(0, "Training", "the others follow", minimum=0)
    output: str = setting("runs/peers/records.jsonl", "Output", "file of JSON lines, a peer each")

    def check(self):
        """Raises InputError for a setting that is missing or wrong."""
        if not self.dataset:
            raise InputError("dataset is missing. --help shows how it is used.")
        self.names()

    def names(self):
        """The peers asked for."""
        return lists.words("peers", self.peers, PEERS)


def load_parts(config, seed):
    """(training, measured on): two `ImageSet`s, split as `benchmarks.recipes` splits them.

    Raises:
        InputError: the data is not there or cannot be read, or has no labels.
    """
    loaded = labelled_parts(
        config.dataset,
        0 if config.split == "test" else config.validation_examples,
        seed,
        image_size=config.image_size,
        data_dir=config.data_dir,
        seed=seed,
    )
    parts = loaded.training, loaded.scored
    if 2 * len(parts[0]) < config.batch_views:
        raise InputError(
            f"batch_views must be at most twice the {len(parts[0])} images to learn from. "
            f"Received: {config.batch_views}"
        )
    return parts


def run(name, parts, config, seed):
    """Trains and measures a peer; returns its record.

    Args:
        name: one of `PEERS`.
        parts: of `load_parts`.
        config: PeersConfig.
        seed: int.
    """
    import lightly
    import torch

    from benchmarks import frozen_features, peer_training
    from patchvae_tf.training import devices

    training, measured_on = parts
    asked_for = identity(name, config, seed)
    recipe = PEERS[name].changed(asked_for["least_area"], asked_for["color_jitter"])
    peer, trained = peer_training.train(
        recipe,
        training.images,
        seed=seed,
        **{
            key: asked_for[key]
            for key in ("view_passes", "batch_views", "optimizer", "learning_rate")
        },
    )
    labelled = training.sample(config.classifier_examples or len(training), seed)
    measured = frozen_features.measure(
        *(
            (peer_training.flat_features(peer.backbone, part.images), part.labels)
            for part in (labelled, measured_on)
        ),
        seed=seed,
    )
    return {
        **asked_for,
        **measured,
        **trained,
        "views": {"of_each_image": recipe.num_views, **dataclasses.asdict(recipe.views)},
        "device": devices.description(),
        "threads": torch.get_num_threads(),
        "versions": {
            **devices.versions(),
            "torch": torch.__version__,
            "lightly": lightly.__version__,
        },
    }


def identity(name, config, seed):
    """What tells a record from others: a dict."""
    recipe = PEERS[name]
    return {
        "dataset": config.dataset,
        "image_size": config.image_size,
        "peer": name,
        "seed": seed,
        "split": config.split,
        "validation_examples": config.validation_examples if config.split == "validation" else None,
        "view_passes": config.view_passes,
        "batch_views": config.batch_views,
        "optimizer": config.optimizer or recipe.optimizer,
        "learning_rate": config.learning_rate or recipe.learning_rate,
        "least_area": config.least_area or recipe.views.area[0],
        "color_jitter": config.color_jitter,
        "classifier_examples": config.classifier_examples,
    }


def main(stop_request, config):
    """Runs the peers that are not in the output yet."""
    del stop_request
    extras.require("peers", "benchmarks.peers")
    # Before TensorFlow: each brings an LLVM, and that of PyTorch's build for GPUs (in Triton)
    # crashes where it comes second.
    import lightly.loss  # noqa: F401

    output = pathlib.Path(config.output)
    lines = output.read_text().splitlines() if output.exists() else []
    records = [json.loads(line) for line in lines]
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        asked_for = {name: identity(name, config, seed) for name in config.names()}
        left = [
            name
            for name, one in asked_for.items()
            if not any(one.items() <= record.items() for record in records)
        ]
        parts = load_parts(config, seed) if left else None
        for name in left:
            record = run(name, parts, config, seed)
            output.parent.mkdir(parents=True, exist_ok=True)
            with open(output, "a") as file:
                file.write(json.dumps(record) + "\n")
            print(
                f"{name}, seed {seed}: linear {record['linear']:.2%}, fc {record['fc']:.2%}, "
                f"{record['seconds']:.0f} s"
            )


if __name__ == "__main__":
    console.run(main, USAGE, PeersConfig)
