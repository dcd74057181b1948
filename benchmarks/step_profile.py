"""Profiles the training step: which operations take the time, by TensorFlow's own profiler.

Shown is each operation's time from its start to its end, added up: operations run side by side, so
the sum is more than the step takes. Convolutions are told apart by direction: forward, gradient by
the weights, gradient by the maps (a transposed convolution's forward is one of those, and the
gradient of its maps a forward convolution).
"""

import collections
import os
import pathlib
import tempfile
import time

from absl import app, flags

USAGE = "python -m benchmarks.step_profile [--image_size=32] [--precision=mixed_bfloat16]"

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


def main(argv):
    """Profiles and prints a table."""
    del argv
    import keras
    import numpy as np
    import tensorflow as tf

    from patchvae_tf import PatchVAE
    from patchvae_tf.optimizers import FusedAdam
    from patchvae_tf.training import devices

    given = flags.FLAGS
    keras.utils.set_random_seed(0)
    model = PatchVAE(image_size=given.image_size, dtype=given.precision)
    model.compile(optimizer=FusedAdam(1e-4, beta_1=0.5))
    shape = (given.batch_size, given.image_size, given.image_size, 3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    step = tf.function(model.train_step, autograph=False)
    for _ in range(3):
        step(images)["loss"].numpy()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        start = time.perf_counter()
        for _ in range(given.steps):
            step(images)["loss"].numpy()
        wall = (time.perf_counter() - start) / given.steps
        tf.profiler.experimental.stop()
        seconds = operation_time(folder)
    kinds = grouped({name: value / given.steps for name, value in seconds.items()})
    total = sum(kinds.values())
    print(f"{devices.description()}; {given.precision}, {given.batch_size} images of")
    print(f"{given.image_size} x {given.image_size}: a step takes {1e3 * wall:.0f} ms\n")
    print("| operation | ms a step | share |\n|---|---|---|")
    for kind, value in kinds.most_common(given.rows):
        print(f"| {kind} | {1e3 * value:.1f} | {value / total:.1%} |")
    print(f"| all | {1e3 * total:.1f} | |")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags.DEFINE_integer("image_size", 32, "side in pixels, a multiple of 8")
    flags.DEFINE_integer("batch_size", 128, "images a step")
    flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "of the arithmetic")
    flags.DEFINE_integer("steps", 10, "that are profiled", lower_bound=1)
    flags.DEFINE_integer("rows", 20, "of the table", lower_bound=1)
    app.run(main)
