"""A process that `benchmarks.scaling` measures: it trains on some cores, and says how fast."""

import dataclasses
import json
import os
import pathlib
import time

from patchvae_tf.command_line import console
from patchvae_tf.settings import Settings, setting

USAGE = "python -m benchmarks.scaling_worker --devices=cpu:2 --cores=2"


def training_step(strategy, image_size, batch_size):
    """A training step under a strategy: a function that returns the loss, a tensor."""
    import keras
    import tensorflow as tf

    from patchvae_tf import PatchVAE
    from patchvae_tf.optimizers import FusedAdam

    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = PatchVAE(image_size=image_size)
        model.compile(optimizer=FusedAdam(1e-4, beta_1=0.5))
    local = batch_size // strategy.num_replicas_in_sync
    images = tf.random.stateless_uniform([local, image_size, image_size, 3], [1, 2])

    @tf.function(autograph=False)
    def step():
        loss = strategy.run(lambda: model.train_step(images)["loss"])
        return strategy.reduce("MEAN", loss, axis=None)

    return step


def train(image_size, batch_size, steps, devices_asked_for):
    """Times `steps` training steps in this process, which may be a worker; returns images/s."""
    from patchvae_tf.cluster import workers as clusters
    from patchvae_tf.training import devices

    cluster = clusters.from_environment()
    strategy = devices.strategy(devices_asked_for, cluster)
    step = training_step(strategy, image_size, batch_size)
    step().numpy()
    step().numpy()
    start = time.perf_counter()
    for _ in range(steps):
        step().numpy()
    rate = steps * batch_size / (time.perf_counter() - start)
    clusters.wait_for_all(cluster, strategy)
    return rate, cluster.is_chief


def _keep_to_cores(count):
    """This process runs on `count` of the cores, a worker's beside those of the one before it."""
    cores = sorted(os.sched_getaffinity(0))
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"] if "TF_CONFIG" in os.environ else 0
    first = index * count % len(cores)
    os.sched_setaffinity(0, cores[first : first + count])


@dataclasses.dataclass(frozen=True)
class ScalingWorkerConfig(Settings):
    """Settings of `python -m benchmarks.scaling_worker`."""

    image_size: int = setting(32, "Work", "side in pixels, a multiple of 8", minimum=8)
    batch_size: int = setting(128, "Work", "images a step, over all devices", minimum=1)
    steps: int = setting(10, "Work", "steps that are timed, after two that warm up", minimum=1)
    devices: str = setting("cpu:1", "Machine", "as of trainers.unsupervised")
    cores: int = setting(1, "Machine", "how many it keeps to", minimum=1)
    output: str = setting("rate.json", "Output", "file that takes images/s, from the first worker")


def main(stop_request, config):
    """Trains and writes the rate."""
    del stop_request
    _keep_to_cores(config.cores)
    rate, is_chief = train(config.image_size, config.batch_size, config.steps, config.devices)
    if is_chief:
        pathlib.Path(config.output).write_text(json.dumps(rate))


if __name__ == "__main__":
    console.run(main, USAGE, ScalingWorkerConfig)
