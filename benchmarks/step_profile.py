"""Profiles the training step: which operations take the time, by TensorFlow's own profiler.

Shown is each operation's time from its start to its end, added up: operations run side by side, so
the sum is more than the step takes. Convolutions are told apart by direction: forward, gradient by
the weights, gradient by the maps (a transposed convolution's forward is one of those, and the
gradient of its maps a forward convolution).
"""

import collections
import dataclasses
import pathlib
import tempfile
import time

from benchmarks import recipe_steps
from patchvae_tf.command_line import console
from patchvae_tf.settings import Settings, recipes, setting

USAGE = "python -m benchmarks.step_profile [--recipe=agreement] [--precision=mixed_bfloat16]"

_PRODUCTS = "products of matrices: crops, codes compared"
# Start of a kernel's name -> what it is called here; the first that fits.
_KINDS = {
    "_MklNativeConv2DBackpropFilter": "convolution: gradient by the weights",
    "_MklNativeConv2DBackpropInput": "convolution: gradient by the maps, and transposed",
    "_MklNativeConv2D": "convolution: forward, and gradient of transposed",
    "_MklNativeFusedConv2D": "convolution: forward, and gradient of transposed",
    "Conv2DBackpropFilter": "convolution: gradient by the weights",
    "Conv2DBackpropInput": "convolution: gradient by the maps, and transposed",
    "Conv2D": "convolution: forward, and gradient of transposed",
    "_FusedConv2D": "convolution: forward, and gradient of transposed",
    "_MklNativeFusedBatchNorm": "batch normalisation, both ways",
    "_FusedBatchNorm": "batch normalisation, both ways",
    "FusedBatchNorm": "batch normalisation, both ways",
    "_MklFusedBatchNorm": "batch normalisation, both ways",
    "ResourceApplyAdam": "optimizer",
    "AssignSubVariableOp": "optimizer",
    "_MklNativeMaxPool": "max pooling, both ways",
    "MaxPool": "max pooling, both ways",
    "_MklEinsum": _PRODUCTS,
    "_MklMatMul": _PRODUCTS,
    "_MklBatchMatMul": _PRODUCTS,
    "Cast": "casts",
    "StatelessRandom": "noise",
}


def operation_time(folder):
    """Time of each operation in a profile.

    Args:
        folder: path that `tf.profiler.experimental.start` was given.

    Returns:
        collections.Counter: operation -> seconds.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    found = collections.Counter()
    for plane in space.planes:
        if plane.name != "/host:CPU":
            continue
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                kind = name.rpartition(":")[2]
                # An operation: "path/in/the/graph:Type"; the whole step is a function.
                if ":" in name and "::" not in name and "__inference" not in kind:
                    found[kind] += event.duration_ps / 1e12
    return found


def grouped(seconds):
    """Sums operations by `_KINDS`; the rest keep their names."""
    kinds = collections.Counter()
    for operation, value in seconds.items():
        kind = next((kind for start, kind in _KINDS.items() if operation.startswith(start)), None)
        kinds[kind or operation] += value
    return kinds


@dataclasses.dataclass(frozen=True)
class StepProfileConfig(Settings):
    """Settings of `python -m benchmarks.step_profile`."""

    recipe: str = setting("paper", "Work", "whose step", choices=tuple(recipes.DESCRIPTIONS))
    image_size: int = setting(32, "Work", "side in pixels, a multiple of 8", minimum=8)
    batch_size: int = setting(128, "Work", "images a step", minimum=1)
    precision: str = setting(
        "float32", "Work", "of the arithmetic", choices=("float32", "mixed_bfloat16")
    )
    steps: int = setting(10, "Measurement", "that are profiled", minimum=1)
    rows: int = setting(20, "Output", "of the table", minimum=1)


def main(stop_request, config):
    """Profiles and prints a table."""
    del stop_request
    import tensorflow as tf

    from patchvae_tf.training import devices

    step, _ = recipe_steps.training_step(
        config.recipe, config.image_size, config.precision, config.batch_size
    )
    for _ in range(3):
        step()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        start = time.perf_counter()
        for _ in range(config.steps):
            step()
        wall = (time.perf_counter() - start) / config.steps
        tf.profiler.experimental.stop()
        seconds = operation_time(folder)
    kinds = grouped({name: value / config.steps for name, value in seconds.items()})
    total = sum(kinds.values())
    size = f"{config.image_size} x {config.image_size}"
    print(
        f"{devices.description()}; {config.precision}; a step of {config.recipe}, "
        f"{config.batch_size} images of {size}: {1e3 * wall:.0f} ms\n"
    )
    print("| operation | ms a step | share |\n|---|---|---|")
    for kind, value in kinds.most_common(config.rows):
        print(f"| {kind} | {1e3 * value:.1f} | {value / total:.1%} |")
    print(f"| all | {1e3 * total:.1f} | |")


if __name__ == "__main__":
    console.run(main, USAGE, StepProfileConfig)
