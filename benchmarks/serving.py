"""Measures a SavedModel as a server runs it: loading, latency, and images/s beside the bare model.

Everything happens in this process, without a network: what is measured is the export, not a
server. The bare model is the same Keras model, called in a `tf.function` for the same outputs; it,
the two signatures and the ONNX file (by ONNX Runtime) are interleaved, round by round, and medians
are shown.
"""

import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import lists
from patchvae_tf import extras
from patchvae_tf.command_line import console
from patchvae_tf.settings import setting

USAGE = "python -m benchmarks.serving [--image_sizes=32,64] [--rounds=7] [--json=FILE]"

_LOAD = """
import sys, time
import tensorflow as tf
start = time.perf_counter()
tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
print(time.perf_counter() - start)
"""


@dataclasses.dataclass(frozen=True)
class Start:
    """Seconds until a version answers, at one image size.

    Attributes:
        load: of `tf.saved_model.load`, in a new process.
        warm_up: of all its warm-up requests.
        first: of the first request after that, one image.
    """

    image_size: int
    load: float
    warm_up: float
    first: float


@dataclasses.dataclass(frozen=True)
class Rates:
    """One image size and batch size.

    Attributes:
        keras, floats, files, onnx: images/s of the bare model, `serving_default`, `serving_bytes`,
            and the ONNX file for the same outputs as `serving_default`.
        ratio: median over rounds of `serving_default`'s rate over the bare model's.
        onnx_ratio: the same of the ONNX file's rate over `serving_default`'s.
        p50, p99: dict "floats" and "files" -> milliseconds of a request.
    """

    image_size: int
    batch_size: int
    keras: float
    floats: float
    files: float
    onnx: float
    ratio: float
    onnx_ratio: float
    p50: dict
    p99: dict


def measure(image_size, batch_sizes, rounds, seconds):
    """Returns (Start, list of Rates) for a new PatchVAE, exported to a temporary folder.

    Args:
        image_size: pixels of a side.
        batch_sizes: images of a request.
        rounds: that count; as many loads, but at most 3.
        seconds: of each job in a round.
    """
    import keras
    import onnxruntime
    import tensorflow as tf

    from patchvae_tf import PatchVAE
    from patchvae_tf.saved_models import onnx_writing, versions
    from patchvae_tf.saved_models import writing as saved_model

    keras.utils.set_random_seed(0)
    model = PatchVAE(image_size=image_size)
    images = _images(image_size, max(batch_sizes))
    with tempfile.TemporaryDirectory() as folder:
        version = saved_model.export_model(model, folder)
        start, loaded = _start(version, image_size, loads=min(rounds, 3))
        onnx, _ = onnx_writing.export_onnx(model, versions.writable(f"{folder}/onnx"), images)
        session = onnxruntime.InferenceSession(onnx / onnx_writing.FILE)
    files = [tf.io.encode_jpeg(image).numpy() for image in images]
    images = tf.image.convert_image_dtype(images, tf.float32)

    @tf.function(autograph=False)
    def bare(images):
        feature_map = model.backbone(images)
        codes = model.codes(feature_map)
        features = tf.reduce_mean(feature_map, axis=[1, 2])
        return features, feature_map, codes["occurrence"], codes["appearance_mean"]

    signatures = loaded.signatures
    rates = []
    for batch_size in batch_sizes:
        batch, encoded = images[:batch_size], tf.constant(files[:batch_size])
        array = batch.numpy()
        jobs = {
            "keras": lambda batch=batch: bare(batch)[0].numpy(),
            "floats": lambda batch=batch: _answer(signatures["serving_default"], images=batch),
            "files": lambda encoded=encoded: _answer(
                signatures["serving_bytes"], image_bytes=encoded
            ),
            "onnx": lambda array=array: session.run(None, {"images": array}),
        }
        rates.append(_rates(image_size, batch_size, jobs, rounds, seconds))
    return start, rates


def _images(image_size, count):
    """So many scenes, uint8; where there are fewer, the same ones over again."""
    from patchvae_tf import datasets

    scenes = datasets.load("parts", "test", image_size=image_size).images
    return np.resize(scenes, (count, *scenes.shape[1:]))


def _answer(signature, **inputs):
    return signature(**inputs)["features"].numpy()


def _start(version, image_size, loads):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    load_times = [
        float(subprocess.check_output([sys.executable, "-c", _LOAD, version])) for _ in range(loads)
    ]
    loaded = tf.saved_model.load(version)
    path = pathlib.Path(version, "assets.extra", "tf_serving_warmup_requests")
    requests = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        requests.append((loaded.signatures[request.model_spec.signature_name], inputs))
    begin = time.perf_counter()
    for signature, inputs in requests:
        signature(**inputs)
    warm_up = time.perf_counter() - begin
    image = tf.fill([1, image_size, image_size, 3], 0.25)
    begin = time.perf_counter()
    _answer(loaded.signatures["serving_default"], images=image)
    first = time.perf_counter() - begin
    return Start(image_size, statistics.median(load_times), warm_up, first), loaded


def _rates(image_size, batch_size, jobs, rounds, seconds):
    latencies = {name: [] for name in jobs}
    medians = {name: [] for name in jobs}  # of each round
    for round_index in range(rounds + 1):
        for name, job in jobs.items():
            times, begin = [], time.perf_counter()
            while time.perf_counter() - begin < seconds or len(times) < 3:
                start = time.perf_counter()
                job()
                times.append(time.perf_counter() - start)
            if round_index:  # the first round warms up
                latencies[name] += times
                medians[name].append(statistics.median(times))
    rate = {name: batch_size / statistics.median(values) for name, values in medians.items()}
    percentiles = {
        name: statistics.quantiles(values, n=100, method="inclusive")
        for name, values in latencies.items()
    }
    return Rates(
        image_size=image_size,
        batch_size=batch_size,
        **rate,
        ratio=statistics.median(
            keras / floats
            for keras, floats in zip(medians["keras"], medians["floats"], strict=True)
        ),
        onnx_ratio=statistics.median(
            floats / onnx for floats, onnx in zip(medians["floats"], medians["onnx"], strict=True)
        ),
        p50={name: 1000 * percentiles[name][49] for name in ("floats", "files")},
        p99={name: 1000 * percentiles[name][98] for name in ("floats", "files")},
    )


def tables(starts, rates):
    """The measurements as two Markdown tables."""
    lines = ["| size | load s | warm-up s | first request ms |", "|---|---|---|---|"]
    lines += [
        f"| {row.image_size} | {row.load:.2f} | {row.warm_up:.1f} | {1000 * row.first:.1f} |"
        for row in starts
    ]
    lines += [
        "",
        "| size | batch | bare model images/s | `serving_default` (of bare) | p50, p99 ms "
        "| `serving_bytes` | p50, p99 ms | ONNX Runtime (of `serving_default`) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.image_size} | {row.batch_size} | {row.keras:.0f} "
        f"| {row.floats:.0f} ({row.ratio:.1%}) | {row.p50['floats']:.1f}, {row.p99['floats']:.1f} "
        f"| {row.files:.0f} | {row.p50['files']:.1f}, {row.p99['files']:.1f} "
        f"| {row.onnx:.0f} ({row.onnx_ratio:.1%}) |"
        for row in rates
    ]
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class ServingConfig(lists.ImageSizes):
    """Settings of `python -m benchmarks.serving`."""

    batch_sizes: str = setting("1,32,256", "Work", "images a request, with commas between")
    rounds: int = setting(7, "Measurement", "rounds that count; one more warms up", minimum=1)
    seconds: float = setting(1.0, "Measurement", "of each job in a round", minimum=0.0)
    json: str | None = setting(None, "Output", "file that takes the measurements")

    def check(self):
        """Raises InputError for a list with something wrong in it."""
        self.requests()

    def requests(self):
        """How many images requests have, ints."""
        return lists.multiples("batch_sizes", self.batch_sizes)


def main(stop_request, config):
    """Measures all sizes asked for and prints the tables."""
    del stop_request
    for extra in ("onnx", "serving"):
        extras.require(extra, "benchmarks.serving")
    from patchvae_tf.training import devices

    starts, rates = [], []
    for image_size in config.sizes():
        start, more = measure(image_size, config.requests(), config.rounds, config.seconds)
        starts.append(start)
        rates += more
    print(f"{devices.description()}; {devices.versions()}\n\n{tables(starts, rates)}")
    if config.json:
        rows = [dataclasses.asdict(row) for row in starts + rates]
        pathlib.Path(config.json).write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    console.run(main, USAGE, ServingConfig)
