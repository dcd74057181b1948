"""Measures what distribution costs: devices on the same cores, and workers.

Every row trains the same model on the same global batch; the input is made beforehand. A worker has
one core, so two workers have two; "1 device" and "2 replicas" share the same two cores. Rows are
taken in turns, round by round, and medians are shown. The processes are those of `scaling_worker`.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile

from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError, RunError
from patchvae_tf.settings import Settings, setting

USAGE = "python -m benchmarks.scaling [--image_size=32] [--batch_size=128] [--rounds=5]"

# Name -> (workers, devices of each, cores of each).
ROWS = {
    "1 device, 2 cores": (1, "cpu:1", 2),
    "2 replicas, 2 cores": (1, "cpu:2", 2),
    "1 worker, 1 core": (1, "cpu:1", 1),
    "2 workers, 1 core each": (2, "cpu:1", 1),
}


def measure(row, image_size, batch_size, steps):
    """Runs one row in processes of its own; returns images/s."""
    workers, asked_for, cores = ROWS[row]
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "rate.json")
        program = [
            *("benchmarks.scaling_worker", f"--devices={asked_for}", f"--cores={cores}"),
            *(f"--image_size={image_size}", f"--batch_size={batch_size}"),
            *(f"--steps={steps}", f"--output={output}"),
        ]
        launcher = ["trainers.launch", f"--workers={workers}", "--"] if workers > 1 else []
        done = subprocess.run(
            [sys.executable, "-m", *launcher, *program], capture_output=True, text=True
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1]
            raise RunError(f"{row}: {last.removeprefix('error: ')}")
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


@dataclasses.dataclass(frozen=True)
class ScalingConfig(Settings):
    """Settings of `python -m benchmarks.scaling`."""

    image_size: int = setting(32, "Work", "side in pixels, a multiple of 8", minimum=8)
    batch_size: int = setting(128, "Work", "images a step, over all devices", minimum=2)
    rounds: int = setting(5, "Measurement", "rounds; medians are shown", minimum=1)
    steps: int = setting(
        10, "Measurement", "steps that are timed, after two that warm up", minimum=1
    )

    def check(self):
        """Raises InputError for a batch that two devices cannot share."""
        if self.batch_size % 2:
            raise InputError(f"batch_size must be even. Received: {self.batch_size}")


def main(stop_request, config):
    """Measures all rows and prints the table."""
    del stop_request
    rates = {row: [] for row in ROWS}
    for _ in range(config.rounds):
        for row, values in rates.items():
            values.append(measure(row, config.image_size, config.batch_size, config.steps))
            print(f"{row}: {values[-1]:.1f} images/s", flush=True)
    print(table(rates))


if __name__ == "__main__":
    console.run(main, USAGE, ScalingConfig)
