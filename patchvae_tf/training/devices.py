"""What the run computes on, and in which precision."""

import pathlib
import platform

import keras
import numpy as np
import tensorflow as tf

import patchvae_tf
from patchvae_tf.cluster.workers import Cluster
from patchvae_tf.errors import InputError

_ALONE = Cluster()


def strategy(asked_for: str | None = None, cluster: Cluster = _ALONE) -> tf.distribute.Strategy:
    """`MirroredStrategy` on several devices, `OneDeviceStrategy` on one GPU, else the default one.

    The first two bring batches to the devices while these compute the step before. On several
    machines `MultiWorkerMirroredStrategy`, which waits until all workers are there. It must come
    before any other work of TensorFlow.

    Args:
        asked_for: "cpu:N", "gpu:N", or None for every GPU, else the processor.
        cluster: Cluster.

    Raises:
        InputError: there are not as many devices.
    """
    if asked_for:
        kind, count = asked_for.split(":")
        _restrict(kind.upper(), int(count))
    if cluster.workers > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    devices = gpus or [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.OneDeviceStrategy(gpus[0]) if gpus else tf.distribute.get_strategy()


def _restrict(kind, count):
    """Makes TensorFlow see `count` devices of a kind, and no GPU where processors compute."""
    found = tf.config.list_physical_devices(kind)
    if kind == "CPU":
        tf.config.set_visible_devices([], "GPU")
        pieces = [tf.config.LogicalDeviceConfiguration()] * count
        if tf.config.get_logical_device_configuration(found[0]) != pieces:
            tf.config.set_logical_device_configuration(found[0], pieces)
    elif count > len(found):
        raise InputError(
            f"devices=gpu:{count} is more than the {len(found)} GPUs that TensorFlow sees. "
            f"Use {f'gpu:{len(found)}' if found else 'cpu:1'}, or leave it out."
        )
    else:
        tf.config.set_visible_devices(found[:count], "GPU")


def check_batch(batch_size: int, replicas: int) -> None:
    """Raises InputError unless the global batch can be shared out evenly."""
    if batch_size % replicas:
        larger = -(-batch_size // replicas) * replicas
        raise InputError(
            f"batch_size must be a multiple of the {replicas} devices it is shared out to. "
            f"Received: {batch_size}. Use e.g. {larger}."
        )


def check_xla(xla: bool, replicas: int) -> None:
    """Raises InputError where XLA is asked for on several devices."""
    if xla and replicas > 1:
        raise InputError(
            f"xla is for one device, and {replicas} compute: TensorFlow cannot compile a step "
            "that meets other devices inside. Leave it out, or use devices=gpu:1 or cpu:1."
        )


def multiply_bfloat16() -> bool:
    """Whether there are GPUs, and all of them multiply bfloat16 natively.

    Not asked of processors: where one does (AVX-512 BF16), a training step in bfloat16 took 1.6
    times as long as in float32.
    """
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in gpus
    ]
    return bool(gpus) and min(capabilities) >= (8, 0)


def dtype_policy(precision: str) -> str:
    """The Keras dtype policy for `precision`."""
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if multiply_bfloat16() else "float32"


def description() -> str:
    """One line for records: the devices that compute."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        names = [
            tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus
        ]
        return ", ".join(names)
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    if models:
        return f"{models[0]}, {len(models)} cores"
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    modules = (patchvae_tf, tf, keras, np)
    return {module.__name__: module.__version__ for module in modules}
