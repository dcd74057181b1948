"""Measures the recipes' training steps, beside each other.

A step of each recipe, of as many images as it says, in turns; shown are medians, and the time an
image takes beside one of `paper`.
"""

import dataclasses
import statistics
import time

from patchvae_tf.command_line import console
from patchvae_tf.settings import Settings, setting

USAGE = "python -m benchmarks.recipe_steps [--image_size=32] [--rounds=7]"


def training_step(recipe, image_size, precision, batch_size=None):
    """A recipe's training step, on one batch of noise.

    Args:
        recipe: str.
        image_size: int, pixels, a multiple of 8.
        precision: str, "float32" or "mixed_bfloat16".
        batch_size: int; None for the recipe's.

    Returns:
        (function without arguments that does a step and waits for it, the batch's size).
    """
    import numpy as np
    import tensorflow as tf

    from patchvae_tf import models, noise, optimizers
    from patchvae_tf.settings import unsupervised_config

    config = unsupervised_config(dataset="cifar100", image_size=image_size, recipe=recipe)
    noise.set_first_weights(0)
    model = models.from_settings(config, dtype=precision)
    model.compile(optimizers.of_settings(config, steps_per_epoch=1000))
    batch_size = batch_size or config.batch_size
    shape = (batch_size, image_size, image_size, 3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    step = tf.function(model.train_step, autograph=False)
    return lambda: step(images)["loss"].numpy(), batch_size


def measure(image_size, precision, rounds, steps):
    """Rates of the recipes' steps.

    Args:
        image_size, precision: as of `training_step`.
        rounds: int, turns that count; one more warms up.
        steps: int, of 128 images in a turn; as many more as a recipe's are smaller.

    Returns:
        dict: recipe -> images/s.
    """
    from patchvae_tf.settings import recipes

    def job(recipe):
        step, batch_size = training_step(recipe, image_size, precision)
        count = steps * max(1, 128 // batch_size)

        def rate():
            start = time.perf_counter()
            for _ in range(count):
                step()
            return count * batch_size / (time.perf_counter() - start)

        return rate

    jobs = {recipe: job(recipe) for recipe in recipes.DESCRIPTIONS}
    turns = [{recipe: rate() for recipe, rate in jobs.items()} for _ in range(rounds + 1)][1:]
    return {recipe: statistics.median(turn[recipe] for turn in turns) for recipe in jobs}


def table(rates):
    """The measurements as a Markdown table.

    Args:
        rates: dict: precision -> dict: recipe -> images/s.
    """
    lines = [
        "| recipe | "
        + " | ".join(f"{precision}, images/s | of `paper`'s time" for precision in rates)
        + " |",
        "|---" * (1 + 2 * len(rates)) + "|",
    ]
    for recipe in next(iter(rates.values())):
        cells = [f"{of[recipe]:.0f} | {of['paper'] / of[recipe]:.2f}" for of in rates.values()]
        lines.append(f"| `{recipe}` | {' | '.join(cells)} |")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class RecipeStepsConfig(Settings):
    """Settings of `python -m benchmarks.recipe_steps`."""

    image_size: int = setting(32, "Work", "side in pixels, a multiple of 8", minimum=8)
    rounds: int = setting(7, "Measurement", "turns that count; one more warms up", minimum=1)
    steps: int = setting(10, "Measurement", "of 128 images in a turn", minimum=1)


def main(stop_request, config):
    """Measures both precisions and prints the table."""
    del stop_request
    from patchvae_tf.training import devices

    rates = {
        precision: measure(config.image_size, precision, config.rounds, config.steps)
        for precision in ("float32", "mixed_bfloat16")
    }
    print(f"{devices.description()}; {config.image_size} x {config.image_size}\n\n{table(rates)}")


if __name__ == "__main__":
    console.run(main, USAGE, RecipeStepsConfig)
