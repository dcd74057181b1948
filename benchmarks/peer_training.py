"""The training of `benchmarks.peers` and the features that it leaves. Needs PyTorch and lightly."""

import functools
import math
import time

import numpy as np
import torch

from benchmarks import peer_methods, peer_views
from benchmarks.plain_torch import to_signed
from patchvae_tf.errors import RunError

_WARMUP = 0.1  # share of the steps in which the learning rate rises from 0
_OPTIMIZERS = {
    "adamw": functools.partial(torch.optim.AdamW, weight_decay=1e-4),
    "sgd": functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4),
}


def image_batches(images, batch_size, generator):
    """Endless batches, float32 [batch, 3, H, W] in [0, 1]: each epoch in an order of its own.

    Args:
        images: uint8 [n, H, W, 3], n at least the batch.
        batch_size: int.
        generator: torch.Generator.
    """
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


def train(recipe, images, *, view_passes, batch_views, optimizer, learning_rate, seed):
    """Trains a peer.

    Args:
        recipe: peer_recipes.Recipe.
        images: uint8 [n, H, W, 3].
        view_passes: int, views that go through φ.
        batch_views: int, of a step.
        optimizer: "adamw" or "sgd".
        learning_rate: float, the highest.
        seed: int, of first weights, order and views.

    Returns:
        (the module, dict of what happened: steps, seconds, rates, first and last loss).

    Raises:
        RunError: the loss is not finite.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    peer = getattr(peer_methods, recipe.method)()
    peer.backbone.to(memory_format=torch.channels_last)  # the fastest of four on two cores
    weights = [weight for weight in peer.parameters() if weight.requires_grad]
    stepping = _OPTIMIZERS[optimizer](weights, lr=learning_rate)
    steps = max(1, view_passes // batch_views)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        stepping, lambda step: learning_rate_factor(step, steps)
    )
    batch_size = batch_views // recipe.num_views
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
        stepping.zero_grad()
        loss.backward()
        stepping.step()
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
        "view_passes_per_second": round(steps * batch_views / seconds, 1),
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
