"""Compares with plain PyTorch: the same network and step, the same images, on this machine.

Every contender has a process of its own, so that no thread pool disturbs another's, and waits
while another works. They take turns, A B C A B C; the first turn warms up. Shown are medians and
spread of the turns, the ratios to PyTorch's eager float32 and to PyTorch's best, and the peak
memory of each process. The other side is `benchmarks.plain_torch`.
"""

import dataclasses
import json
import math
import multiprocessing
import pathlib
import re
import statistics
import time

from benchmarks import lists
from patchvae_tf import extras
from patchvae_tf.command_line import console
from patchvae_tf.errors import RunError
from patchvae_tf.settings import setting

USAGE = """\
pip install -e '.[compare]'
python -m benchmarks.compare                           32, 64 and 224, both precisions
python -m benchmarks.compare --image_sizes=32 --contenders=tensorflow_float32,torch_float32
"""

# Images a step. The larger the images the fewer fit a processor's patience.
_BATCH_SIZES = {32: 128, 64: 64, 224: 8}


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to do the job.

    Attributes:
        library: "tensorflow" (this package) or "torch".
        bfloat16: bool, mixed precision; else float32.
        channels_last: bool, PyTorch's memory format.
        compiled: bool, `torch.compile`.
    """

    library: str
    bfloat16: bool = False
    channels_last: bool = False
    compiled: bool = False


CONTENDERS = {
    "tensorflow_float32": Contender("tensorflow"),
    "tensorflow_bfloat16": Contender("tensorflow", bfloat16=True),
    "torch_float32": Contender("torch"),
    "torch_float32_channels_last": Contender("torch", channels_last=True),
    "torch_float32_compiled": Contender("torch", channels_last=True, compiled=True),
    "torch_bfloat16": Contender("torch", bfloat16=True),
    "torch_bfloat16_channels_last": Contender("torch", bfloat16=True, channels_last=True),
    "torch_bfloat16_compiled": Contender("torch", bfloat16=True, channels_last=True, compiled=True),
}
_EAGER = "torch_float32"


def _images(image_size, batch_size):
    import numpy as np

    shape = (batch_size, image_size, image_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _tensorflow_jobs(contender, image_size, batch_size):
    """{"training", "features": a function that does it on one batch and waits for the result}."""
    import keras
    import tensorflow as tf

    from patchvae_tf import PatchVAE
    from patchvae_tf.backbones import folding
    from patchvae_tf.optimizers import FusedAdam

    keras.utils.set_random_seed(0)
    policy = "mixed_bfloat16" if contender.bfloat16 else "float32"
    model = PatchVAE(image_size=image_size, dtype=policy)
    model.compile(optimizer=FusedAdam(1e-4, beta_1=0.5))
    images = tf.constant(_images(image_size, batch_size))
    step = tf.function(model.train_step, autograph=False)
    backbone = folding.folded(model.backbone)

    @tf.function(autograph=False)
    def extract():
        features = backbone(tf.image.convert_image_dtype(images, tf.float32), training=False)
        return tf.cast(features, tf.float32)

    return {
        "training": lambda: step(images)["loss"].numpy(),
        "features": lambda: extract().numpy(),
    }


def _torch_jobs(contender, image_size, batch_size):
    """As `_tensorflow_jobs`."""
    import copy

    import torch

    from benchmarks import plain_torch

    torch.manual_seed(0)
    layout = torch.channels_last if contender.channels_last else torch.contiguous_format
    model = plain_torch.PlainPatchVAE().to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.5, 0.999))
    images = torch.from_numpy(_images(image_size, batch_size))
    backbone = copy.deepcopy(model.backbone).eval()
    compiled = torch.compile if contender.compiled else lambda function: function
    loss_terms, features = compiled(model.loss_terms), compiled(backbone)
    precision = {"dtype": torch.bfloat16, "enabled": contender.bfloat16}

    def to_input():
        return plain_torch.to_signed(images).contiguous(memory_format=layout)

    def train():
        optimizer.zero_grad()
        with torch.autocast("cpu", **precision):
            loss = loss_terms(to_input())["loss"].mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    def extract():
        with torch.inference_mode(), torch.autocast("cpu", **precision):
            return features(to_input()).float().numpy()

    return {"training": train, "features": extract}


def _work(contender, image_size, batch_size, connection):
    """A contender's process: takes (job, seconds), answers its rate; None ends it."""
    make = _tensorflow_jobs if contender.library == "tensorflow" else _torch_jobs
    jobs = make(contender, image_size, batch_size)
    for job in jobs.values():
        job()
    connection.send("ready")
    while (asked := connection.recv()) is not None:
        kind, seconds = asked
        if kind == "memory":
            connection.send(_peak_memory())
            continue
        jobs[kind]()  # the caches are another's
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            jobs[kind]()
            count += 1
        connection.send(count * batch_size / spent)


def _peak_memory():
    """The most this process ever held, in MB; NaN where the system does not tell."""
    # Not `resource.getrusage`: its peak is handed down from the process that started this one.
    status = pathlib.Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else math.nan


class _Process:
    """A contender in a process of its own."""

    def __init__(self, contender, image_size, batch_size):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (contender, image_size, batch_size, theirs)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        try:
            self.connection.recv()
        except EOFError:
            raise RunError(f"the process of {contender} ended: see what it says above.") from None

    def ask(self, *question):
        self.connection.send(question)
        return self.connection.recv()

    def end(self):
        self.connection.send(None)
        self.process.join()


def measure(names, image_size, batch_size, rounds, seconds):
    """Rates of each contender at one image size.

    Args:
        names: keys of `CONTENDERS`.
        image_size, batch_size, rounds: ints.
        seconds: float, of each turn.

    Returns:
        dict: name -> {"training": [images/s of each turn], "features": the same, "memory": MB}.
    """
    processes = {name: _Process(CONTENDERS[name], image_size, batch_size) for name in names}
    found = {name: {"training": [], "features": []} for name in names}
    for round_index in range(rounds + 1):
        for kind in ("training", "features"):
            for name, process in processes.items():
                rate = process.ask(kind, seconds)
                if round_index:
                    found[name][kind].append(rate)
    for name, process in processes.items():
        found[name]["memory"] = process.ask("memory", None)
        process.end()
    return found


def table(found, image_size, batch_size):
    """The measurements of one size as a Markdown table."""
    kinds = ("training", "features")
    medians = {
        name: {kind: statistics.median(rates[kind]) for kind in kinds}
        for name, rates in found.items()
    }
    torch = [name for name in found if CONTENDERS[name].library == "torch"]
    bases = [("eager", {kind: medians[_EAGER][kind] for kind in kinds})] if _EAGER in found else []
    if torch:
        bases.append(("best", {kind: max(medians[n][kind] for n in torch) for kind in kinds}))
    heads = [f"{kind}, images/s (spread)" for kind in kinds]
    ratios = [f"{kind} / PyTorch {base}" for kind in kinds for base, _ in bases]
    lines = [
        f"{image_size} × {image_size}, batch {batch_size}:\n",
        f"| | {' | '.join([*heads, *ratios])} | peak memory MB |",
        "|---" * (2 + len(heads) + len(ratios)) + "|",
    ]
    for name, rates in found.items():
        cells = [
            f"{medians[name][kind]:.0f} ({min(rates[kind]):.0f}-{max(rates[kind]):.0f})"
            for kind in kinds
        ]
        cells += [f"{medians[name][kind] / base[kind]:.2f}" for kind in kinds for _, base in bases]
        lines.append(f"| {name} | {' | '.join(cells)} | {rates['memory']:.0f} |")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class CompareConfig(lists.ImageSizes):
    """Settings of `python -m benchmarks.compare`."""

    image_sizes: str = setting(
        "32,64,224", "Work", "sides in pixels, multiples of 8, with commas between"
    )
    contenders: str | None = setting(
        None, "Work", f"which of {', '.join(CONTENDERS)}, with commas between (default: all)"
    )
    batch_size: int | None = setting(
        None, "Work", "images a step (default: 128, 64, 8 by size; 32 for others)", minimum=1
    )
    rounds: int = setting(5, "Measurement", "turns that count; one more warms up", minimum=1)
    seconds: float = setting(3.0, "Measurement", "of a turn, at least", minimum=0.1)
    json: str | None = setting(None, "Output", "file that takes the measurements")

    def check(self):
        """Raises InputError for a list with something wrong in it."""
        self.names()

    def names(self):
        """The contenders asked for."""
        return lists.words("contenders", self.contenders, CONTENDERS)


def main(stop_request, config):
    """Measures all sizes asked for and prints the tables."""
    del stop_request
    extras.require("compare", "benchmarks.compare")
    import torch

    from patchvae_tf.training import devices

    records = {}
    for image_size in config.sizes():
        batch_size = config.batch_size or _BATCH_SIZES.get(image_size, 32)
        found = measure(config.names(), image_size, batch_size, config.rounds, config.seconds)
        records[image_size] = {"batch_size": batch_size, "contenders": found}
        print(table(found, image_size, batch_size) + "\n", flush=True)
    versions = {**devices.versions(), "torch": torch.__version__}
    print(
        f"{devices.description()}; {versions}; {config.rounds} turns of {config.seconds:g} s each"
    )
    if config.json:
        with open(config.json, "w") as file:
            json.dump({"device": devices.description(), "versions": versions, **records}, file)


if __name__ == "__main__":
    console.run(main, USAGE, CompareConfig)
