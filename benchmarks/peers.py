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
import math
import pathlib
import time

from benchmarks.peer_recipes import PEERS
from patchvae_tf import extras
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError, RunError
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting

USAGE = """\
pip install -e '.[peers]'
python -m benchmarks.peers --dataset=cifar100 --data_dir=TFDS_FOLDER --seeds=2
python -m benchmarks.peers --dataset=FOLDER --peers=simclr,vicreg --learning_rate=0.003
python -m benchmarks.peers --dataset=cifar100 --view_passes=3000000 --split=test
"""

_WARMUP = 0.1  # share of the steps in which the learning rate rises from 0
_MOMENTUM = 0.9
_DECAY = {"adamw": 1e-4, "sgd": 5e-4, "lars": 1e-4}


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
        None, "Training", f"which of {', '.join(PEERS)}, with commas (default: all)"
    )
    view_passes: int = setting(
        180_000, "Training", "views of images that go through φ in training", minimum=1
    )
    batch_views: int = setting(
        256, "Training", "views a step: of 128 images where each has two", minimum=16
    )
    optimizer: str | None = setting(
        None, "Training", "(default: the peer's)", choices=("adamw", "sgd", "lars")
    )
    learning_rate: float | None = setting(
        None, "Training", "the highest (default: the peer's)", above=0.0
    )
    seeds: int = setting(1, "Training", "of each peer", minimum=1)
    first_seed: int = setting(0, "Training", "the others follow", minimum=0)
    output: str = setting("runs/peers/records.jsonl", "Output", "file of JSON lines, a peer each")

    def check(self):
        """Raises InputError for a setting that is missing or wrong."""
        if not self.dataset:
            raise InputError("dataset is missing. --help shows how it is used.")
        for name in self.names:
            if name not in PEERS:
                raise InputError(f"peers must be of {', '.join(PEERS)}. Received: {name}")

    @property
    def names(self):
        """The peers asked for."""
        return tuple(self.peers.split(",") if self.peers else PEERS)


def load_parts(config, seed):
    """(training, measured on): two `ImageSet`s, split as `benchmarks.recipes` splits them.

    Raises:
        InputError: the data is not there or cannot be read, or has no labels.
    """
    from patchvae_tf import datasets

    def load(split):
        return datasets.load(
            config.dataset, split, image_size=config.image_size, data_dir=config.data_dir, seed=seed
        )

    everything = load("train")
    if everything.labels is None:
        raise InputError(f"{config.dataset} has no labels, which the classifiers need.")
    if config.split == "test":
        parts = everything, load(datasets.test_split(config.dataset))
    else:
        parts = datasets.split_validation(everything, config.validation_examples, seed)
    if 2 * len(parts[0]) < config.batch_views:
        raise InputError(
            f"batch_views must be at most twice the {len(parts[0])} images to learn from. "
            f"Received: {config.batch_views}"
        )
    return parts


def image_batches(images, batch_size, generator):
    """Endless batches, float32 [batch, 3, H, W] in [0, 1]: each epoch in an order of its own.

    Args:
        images: uint8 [n, H, W, 3], n at least the batch.
        batch_size: int.
        generator: torch.Generator.
    """
    import torch

    while True:
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(order) - batch_size + 1, batch_size):
            rows = images[order[start : start + batch_size].numpy()]
            yield torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 255


def learning_rate_factor(step, steps):
    """Of the highest learning rate: a straight line from 0, then a cosine to 0."""
    warmup = max(1, round(_WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _optimizer(name, parameters, learning_rate):
    import torch

    decay = {"lr": learning_rate, "weight_decay": _DECAY[name]}
    if name == "adamw":
        return torch.optim.AdamW(parameters, **decay)
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=_MOMENTUM, **decay)
    from lightly.utils.lars import LARS

    return LARS(parameters, momentum=_MOMENTUM, trust_coefficient=0.02, **decay)


def train(recipe, images, config, seed):
    """Trains a peer.

    Args:
        recipe: peer_recipes.Recipe.
        images: uint8 [n, H, W, 3].
        config: PeersConfig.
        seed: int, of first weights, order and views.

    Returns:
        (the module, dict of what happened: steps, seconds, first and last loss).

    Raises:
        RunError: the loss is not finite.
    """
    import torch

    from benchmarks import peer_methods, peer_views

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    peer = getattr(peer_methods, recipe.method)()
    peer.backbone.to(memory_format=torch.channels_last)  # the fastest of four on two cores
    optimizer = _optimizer(
        config.optimizer or recipe.optimizer,
        [weight for weight in peer.parameters() if weight.requires_grad],
        config.learning_rate or recipe.learning_rate,
    )
    batch_size = config.batch_views // recipe.num_views
    steps = max(1, config.view_passes // config.batch_views)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, steps)
    )
    batches = image_batches(images, batch_size, generator)
    making, trace = 0.0, []
    start = time.perf_counter()
    for step in range(steps):
        began = time.perf_counter()
        batch = next(batches)
        views = [
            2 * peer_views.make(batch, recipe.views, generator) - 1 for _ in range(recipe.num_views)
        ]
        making += time.perf_counter() - began
        loss = peer(views)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        trace.append(loss.item())
        if not math.isfinite(trace[-1]):
            raise RunError(f"The loss of step {step} is not finite. Lower learning_rate.")
    seconds = time.perf_counter() - start
    tail = trace[-max(1, steps // 20) :]
    return peer, {
        "steps": steps,
        "seconds": round(seconds, 1),
        "images_per_second": round(steps * batch_size / seconds, 1),
        "view_passes_per_second": round(steps * config.batch_views / seconds, 1),
        "seconds_of_making_views": round(making, 1),
        "first_loss": trace[0],
        "last_loss": sum(tail) / len(tail),
    }


def flat_features(backbone, images, batch_size=250):
    """φ's flattened maps, as `patchvae_tf.evaluation.features` has them.

    Args:
        backbone: φ of `benchmarks.plain_torch`.
        images: uint8 [n, H, W, 3].
        batch_size: int.

    Returns:
        float32 [n, H / 8 * W / 8 * 128].
    """
    import numpy as np
    import torch

    from benchmarks.plain_torch import to_signed

    backbone.eval()
    with torch.inference_mode():
        maps = [
            backbone(to_signed(torch.from_numpy(images[start : start + batch_size])))
            .permute(0, 2, 3, 1)
            .flatten(1)
            .numpy()
            for start in range(0, len(images), batch_size)
        ]
    return np.concatenate(maps)


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

    from benchmarks import frozen_features
    from patchvae_tf.training import devices

    recipe = PEERS[name]
    training, measured_on = parts
    peer, trained = train(recipe, training.images, config, seed)
    labelled = training.sample(config.classifier_examples or len(training), seed)
    measured = frozen_features.measure(
        *(
            (flat_features(peer.backbone, part.images), part.labels)
            for part in (labelled, measured_on)
        ),
        seed=seed,
    )
    return {
        **identity(name, config, seed),
        **measured,
        **trained,
        "dataset": config.dataset,
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
        "peer": name,
        "seed": seed,
        "split": config.split,
        "view_passes": config.view_passes,
        "batch_views": config.batch_views,
        "optimizer": config.optimizer or recipe.optimizer,
        "learning_rate": config.learning_rate or recipe.learning_rate,
        "classifier_examples": config.classifier_examples,
    }


def main(stop_request, config):
    """Runs the peers that are not in the output yet."""
    del stop_request
    extras.require("peers", "benchmarks.peers")
    output = pathlib.Path(config.output)
    lines = output.read_text().splitlines() if output.exists() else []
    records = [json.loads(line) for line in lines]
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        asked_for = {name: identity(name, config, seed) for name in config.names}
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
