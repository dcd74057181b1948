"""What the run computes on, and in which precision."""

import pathlib
import platform

import keras
import numpy as np
import tensorflow as tf

import patchvae_tf
from patchvae_tf.errors import InputError


def strategy():
    """The default strategy on one device, `MirroredStrategy` on several."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def check_batch(batch_size, replicas):
    """Raises InputError unless the global batch can be shared out evenly."""
    if batch_size % replicas:
        larger = -(-batch_size // replicas) * replicas
        raise InputError(
            f"--batch_size must be a multiple of the {replicas} devices it is shared out to. "
            f"Received: {batch_size}. Use e.g. {larger}."
        )


def multiply_bfloat16():
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


def dtype_policy(precision):
    """The Keras dtype policy for `--precision`."""
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if multiply_bfloat16() else "float32"


def description():
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


def versions():
    """Versions of the packages that a result depends on."""
    modules = (patchvae_tf, tf, keras, np)
    return {module.__name__: module.__version__ for module in modules}
