"""Measures what distribution costs: devices on the same cores, and workers.

Every row trains the same model on the same global batch; the input is made beforehand. A worker has
one core, so two workers have two; "1 device" and "2 replicas" share the same two cores. Rows are
taken in turns, round by round, and medians are shown.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags

USAGE = "python -m benchmarks.scaling [--image_size=32] [--batch_size=128] [--rounds=5]"

# Name -> (workers, devices of each, cores of each).
ROWS = {
    "1 device, 2 cores": (1, "cpu:1", 2),
    "2 replicas, 2 cores": (1, "cpu:2", 2),
    "1 worker, 1 core": (1, "cpu:1", 1),
    "2 workers, 1 core each": (2, "cpu:1", 1),
}


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


def measure(row, image_size, batch_size, steps):
    """Runs one row in processes of its own; returns images/s."""
    workers, asked_for, cores = ROWS[row]
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "rate.json")
        program = [
            *("benchmarks.scaling", "--worker", f"--devices={asked_for}", f"--output={output}"),
            *(f"--cores={cores}", f"--image_size={image_size}"),
            *(f"--batch_size={batch_size}", f"--steps={steps}"),
        ]
        launcher = ["trainers.launch", f"--workers={workers}", "--"] if workers > 1 else []
        done = subprocess.run(
            [sys.executable, "-m", *launcher, *program], capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{row}: {done.stderr}")
        with open(output) as file:
            return json.load(file)


def table(rates):
    """The medians as a Markdown table."""
    medians = {row: statistics.median(values) for row, values in rates.items()}
    base = {1: "1 worker, 1 core", 2: "1 device, 2 cores"}
    lines = ["| | images/s | of one device on as many cores | of one core |", "|---|---|---|---|"]
    for row, median in medians.items():
        workers, _, cores = ROWS[row]
        alike = medians[base[workers * cores]]
        lines.append(
            f"| {row} | {median:.1f} | {median / alike:.1%} | {median / medians[base[1]]:.2f} x |"
        )
    return "\n".join(lines)


def _work():
    cores = sorted(os.sched_getaffinity(0))
    count = flags.FLAGS.cores
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"] if "TF_CONFIG" in os.environ else 0
    first = index * count % len(cores)
    os.sched_setaffinity(0, cores[first : first + count])
    rate, is_chief = train(
        flags.FLAGS.image_size, flags.FLAGS.batch_size, flags.FLAGS.steps, flags.FLAGS.devices
    )
    if is_chief:
        with open(flags.FLAGS.output, "w") as file:
            json.dump(rate, file)


def main(argv):
    """Measures all rows and prints the table."""
    del argv
    if flags.FLAGS.worker:
        _work()
        return
    rates = {row: [] for row in ROWS}
    for _ in range(flags.FLAGS.rounds):
        for row, values in rates.items():
            values.append(
                measure(row, flags.FLAGS.image_size, flags.FLAGS.batch_size, flags.FLAGS.steps)
            )
            print(f"{row}: {values[-1]:.1f} images/s", flush=True)
    print(table(rates))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags.DEFINE_integer("image_size", 32, "side in pixels")
    flags.DEFINE_integer("batch_size", 128, "images a step, over all devices")
    flags.DEFINE_integer("rounds", 5, "rounds; medians are shown", lower_bound=1)
    flags.DEFINE_integer("steps", 10, "steps that are timed, after two that warm up", lower_bound=1)
    flags.DEFINE_bool("worker", False, "be one of the processes that are measured")
    flags.DEFINE_string("devices", "cpu:1", "of a process that is measured")
    flags.DEFINE_string("output", None, "of a process that is measured")
    flags.DEFINE_integer("cores", 1, "of a process that is measured")
    app.run(main)
