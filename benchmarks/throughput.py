"""Measures images/s: the training step, the input pipeline, both together, features from φ.

Beside each rate stands its share of the machine's matrix-product rate: the multiply-adds that the
network needs, done at that rate, over those that a large square matrix product does in the same
time, both measured in this run. All are interleaved, round by round, and medians are shown.
"""

import dataclasses
import json
import statistics
import time

from benchmarks import lists
from patchvae_tf.command_line import console
from patchvae_tf.settings import setting

_INPUT_STEPS = 20  # batches of the input alone for each step: more than are made ahead
USAGE = "python -m benchmarks.throughput [--image_sizes=32,64] [--rounds=5] [--json=FILE]"


@dataclasses.dataclass(frozen=True)
class Measured:
    """Medians of one image size and precision; rates in images/s."""

    image_size: int
    dtype: str
    batch_size: int
    matrix_gflops: float
    step: float
    input: float
    pipeline: float
    features: float
    step_share: float
    features_share: float


def multiply_adds(model, image_size):
    """Multiply-adds of one image's way through every convolution, forward: (whole model, φ)."""
    import keras

    sizes = {}
    for part in (model.backbone, model.decoder):
        side = image_size if part is model.backbone else image_size // model.stride
        channels = part.input_shape[-1]
        # The maps' sizes come from a run on zeros, so that no rule is written twice.
        convolutions = [
            layer
            for layer in part.layers
            if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose)
        ]
        shapes = keras.Model(part.input, [(layer.input, layer.output) for layer in convolutions])
        maps = shapes(keras.ops.zeros((1, side, side, channels)))
        sizes[part] = sum(
            _convolution_cost(layer, inputs.shape, outputs.shape)
            for layer, (inputs, outputs) in zip(convolutions, maps, strict=True)
        )
    grid = (image_size // model.stride) ** 2
    heads = sum(grid * head.kernel.shape.num_elements() for head in model.heads)
    return sizes[model.backbone] + heads + sizes[model.decoder], sizes[model.backbone]


def _convolution_cost(layer, input_shape, output_shape):
    import keras

    transposed = isinstance(layer, keras.layers.Conv2DTranspose)
    _, rows, cols, _ = input_shape if transposed else output_shape
    return rows * cols * layer.kernel.shape.num_elements()


def matrix_rate(dtype, side=2048):
    """A function that runs one product of two square matrices, and its multiply-adds."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.stateless_normal([side, side], [1, 2]), dtype)
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    return lambda: product().numpy(), side**3


def measure(image_size, dtype, batch_size, rounds, steps):
    """Returns `Measured` for one image size and precision ("float32" or "bfloat16")."""
    import keras
    import tensorflow as tf

    from patchvae_tf import PatchVAE, datasets
    from patchvae_tf.optimizers import FusedAdam

    policy = "float32" if dtype == "float32" else "mixed_bfloat16"
    keras.utils.set_random_seed(0)
    model = PatchVAE(image_size=image_size, dtype=policy)
    model.compile(optimizer=FusedAdam(1e-4, beta_1=0.5))
    images = datasets.load("parts", "test", image_size=image_size).images
    fixed = tf.constant(images[:batch_size])
    repeats = {
        **{"matrix": 5, "step": steps, "input": _INPUT_STEPS * steps},
        **{"pipeline": steps, "features": 3 * steps},
    }

    def batches_for(job):
        total_steps = (rounds + 1) * repeats[job]
        return iter(
            datasets.training_batches(
                images, batch_size=batch_size, seed=0, flip=True, total_steps=total_steps
            )
        )

    batches, input_alone = batches_for("pipeline"), batches_for("input")
    train_step = tf.function(model.train_step)
    train_step_with_pipeline = tf.function(lambda batches: model.train_step(next(batches)))
    extract = tf.function(
        lambda images: model.backbone(
            tf.image.convert_image_dtype(images, tf.float32), training=False
        )
    )
    product, product_cost = matrix_rate(dtype)
    jobs = {
        "matrix": lambda: product(),
        "step": lambda: train_step(fixed)["loss"].numpy(),
        "input": lambda: next(input_alone),
        "pipeline": lambda: train_step_with_pipeline(batches)["loss"].numpy(),
        "features": lambda: extract(fixed).numpy(),
    }
    seconds = {name: [] for name in jobs}
    for round_index in range(rounds + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                job()
            if round_index:  # the first round warms up
                seconds[name].append((time.perf_counter() - start) / repeats[name])
    median = {name: statistics.median(values) for name, values in seconds.items()}
    whole, backbone = multiply_adds(model, image_size)
    matrix = product_cost / median["matrix"]  # multiply-adds a second
    rates = {name: batch_size / median[name] for name in jobs if name != "matrix"}
    return Measured(
        image_size=image_size,
        dtype=dtype,
        batch_size=batch_size,
        matrix_gflops=2 * matrix / 1e9,
        **rates,
        # Training does three times the forward pass: forward, by the weights, by the inputs.
        step_share=rates["step"] * 3 * whole / matrix,
        features_share=rates["features"] * backbone / matrix,
    )


def table(rows):
    """The measurements as a Markdown table."""
    lines = [
        "| size | precision | matrix GFLOP/s | step images/s (share) | input alone (of step) "
        "| with input (of step) | features images/s (share) |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.image_size} | {row.dtype} | {row.matrix_gflops:.0f} "
        f"| {row.step:.0f} ({row.step_share:.0%}) "
        f"| {row.input:.0f} ({row.input / row.step:.1f} x) "
        f"| {row.pipeline:.0f} ({row.pipeline / row.step:.1%}) "
        f"| {row.features:.0f} ({row.features_share:.0%}) |"
        for row in rows
    ]
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class ThroughputConfig(lists.ImageSizes):
    """Settings of `python -m benchmarks.throughput`."""

    precisions: str = setting("float32,bfloat16", "Work", "of the arithmetic, with commas between")
    batch_size: int = setting(128, "Work", "images a step", minimum=1)
    rounds: int = setting(5, "Measurement", "rounds that count; one more warms up", minimum=1)
    steps: int = setting(5, "Measurement", "steps a round", minimum=1)
    json: str | None = setting(None, "Output", "file that takes the measurements")

    def check(self):
        """Raises InputError for a list with something wrong in it."""
        self.dtypes()

    def dtypes(self):
        """The precisions asked for."""
        return lists.words("precisions", self.precisions, ("float32", "bfloat16"))


def main(stop_request, config):
    """Measures all combinations asked for and prints the table."""
    del stop_request
    from patchvae_tf.training import devices

    rows = []
    for image_size in config.sizes():
        for dtype in config.dtypes():
            rows.append(measure(image_size, dtype, config.batch_size, config.rounds, config.steps))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(f"\n{devices.description()}; batch {config.batch_size}, {devices.versions()}\n")
    print(table(rows))
    if config.json:
        with open(config.json, "w") as file:
            json.dump([dataclasses.asdict(row) for row in rows], file, indent=2)


if __name__ == "__main__":
    console.run(main, USAGE, ThroughputConfig)
