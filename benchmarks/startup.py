"""Measures how long a user waits: for `--help`, for the import, and for the first training step.

Each in a process of its own, in turns; medians and spread are shown. The first step is timed from
the command to the line of the first epoch, which is one step on a few images. With `--first_run`
it trains as `make train` does, once it is set up, and says what each second goes to.
"""

import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import psutil

from patchvae_tf.command_line import console
from patchvae_tf.errors import RunError
from patchvae_tf.settings import Settings, setting

USAGE = "python -m benchmarks.startup [--rounds=3] [--first_run]"

_BATCH = 32

_PROGRAMS = {
    "--help": ["-m", "trainers.unsupervised", "--help"],
    "import tensorflow": ["-c", "import tensorflow"],
    "from patchvae_tf import PatchVAE": ["-c", "from patchvae_tf import PatchVAE"],
}


# What a training with no settings prints first of all -> what it has done until then.
_STAGES = {
    "patchvae on parts": "Python, settings",
    "19,000 training": "importing TensorFlow, drawing images, building the model",
    "teaching: ": "finding parts",
    "epoch 1/": "tracing, the steps, validation, pictures",
    "linear probe": "linear probe",
    "true parts": "score of the parts",
    "SavedModel": "export",
    "report on": "report",
    "done": "the rest",
}


def first_run():
    """Seconds, of the clock and of the processor's cores together, of a training with no settings.

    Returns:
        dict: a value of `_STAGES` -> float [2].
    """
    stages = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainers.unsupervised", f"--run_dir={folder}/run"]
        before = np.array([time.perf_counter(), 0.0])
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            for line in process.stdout:
                stage = next((words for start, words in _STAGES.items() if start in line), None)
                if stage:
                    used = psutil.Process(process.pid).cpu_times()
                    now = np.array([time.perf_counter(), used.user + used.system])
                    stages[stage], before = now - before, now
    if set(stages) != set(_STAGES.values()):
        missing = [stage for stage in _STAGES.values() if stage not in stages]
        raise RunError(f"the training did not come to: {', '.join(missing)}.")
    return stages


def first_step():
    """Seconds from the command to the first epoch's line, where an epoch is one step."""
    with tempfile.TemporaryDirectory() as folder:
        images = np.random.default_rng(0).integers(0, 256, (_BATCH, 32, 32, 3), np.uint8)
        np.savez(f"{folder}/images.npz", x_train=images)
        command = [
            *(sys.executable, "-m", "trainers.unsupervised", f"--dataset={folder}/images.npz"),
            *(f"--run_dir={folder}/run", f"--batch_size={_BATCH}", "--validation_examples=0"),
        ]
        start = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            lines = iter(process.stdout.readline, "")
            found = any("epoch 1/" in line for line in lines)
            seconds = time.perf_counter() - start
            process.kill()
    if not found:
        raise RunError("the training ended before its first step.")
    return seconds


def run_once(arguments):
    """Seconds that a program takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


@dataclasses.dataclass(frozen=True)
class StartupConfig(Settings):
    """Settings of `python -m benchmarks.startup`."""

    rounds: int = setting(3, "Measurement", "runs of each", minimum=1)
    first_run: bool = setting(
        False, "Measurement", "train with no settings, stage by stage, instead"
    )


def main(stop_request, config):
    """Measures all and prints a table."""
    del stop_request
    os.chdir(pathlib.Path(__file__).parents[1])
    if config.first_run:
        stages = first_run()
        print("| | s | of the processor |\n|---|---|---|")
        for stage, (seconds, used) in {**stages, "all": sum(stages.values())}.items():
            print(f"| {stage} | {seconds:.1f} | {used:.1f} |")
        return
    seconds = {name: [] for name in (*_PROGRAMS, "first step")}
    for _ in range(config.rounds):
        for name, arguments in _PROGRAMS.items():
            seconds[name].append(run_once(arguments))
        seconds["first step"].append(first_step())
    print("| | s (spread) |\n|---|---|")
    for name, found in seconds.items():
        print(f"| {name} | {statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f}) |")


if __name__ == "__main__":
    console.run(main, USAGE, StartupConfig)
