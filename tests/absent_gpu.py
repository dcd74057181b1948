"""A GPU that is not there, for what of TensorFlow and of this package can be told of one."""

import contextlib
import re
from collections.abc import Callable, Iterator
from unittest import mock

import keras
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, device_properties_pb2, meta_graph_pb2
from tensorflow.python.grappler import cluster, item, tf_optimizer

_HOST = "/job:localhost/replica:0/task:0"


@contextlib.contextmanager
def seen() -> Iterator[None]:
    """Layers that ask TensorFlow whether it sees a GPU are told that it does."""
    found = tf.config.list_physical_devices
    one = {"GPU": [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]}
    with mock.patch.object(
        tf.config, "list_physical_devices", lambda kind=None: one.get(kind) or found(kind)
    ):
        yield


@contextlib.contextmanager
def machine() -> Iterator[cluster.Cluster]:
    """A processor and a GPU that are not there, as TensorFlow's optimizers know machines."""
    ampere = {"architecture": "8.0", "cuda": "12050", "cudnn": "9000"}
    devices = [
        device_properties_pb2.NamedDevice(
            name=f"{_HOST}/device:{kind}:0",
            properties=device_properties_pb2.DeviceProperties(
                type=kind, frequency=1000, num_cores=4, environment=environment
            ),
        )
        for kind, environment in (("CPU", {}), ("GPU", ampere))
    ]
    imagined = cluster.Cluster(devices=devices)
    yield imagined
    imagined.Shutdown()


def known_to(graph: tf.Graph, on: cluster.Cluster) -> dict[str, list[str]]:
    """The name of each operation of a graph -> the devices that have a kernel for it."""
    return on.GetSupportedDevices(item.Item(_meta_graph(graph), ignore_colocation=True))


def optimized(graph: tf.Graph, on: cluster.Cluster) -> tf.Graph:
    """A graph as TensorFlow's optimizers leave it, all of it on the GPU."""
    definition = tf_optimizer.OptimizeGraph(
        config_pb2.ConfigProto(), _meta_graph(graph), cluster=on
    )
    result = tf.Graph()
    with result.as_default():
        tf.graph_util.import_graph_def(definition, name="")
    return result


def without_variables(
    model: keras.Model, images: tf.TensorSpec
) -> tuple[Callable, tuple[tf.TensorSpec, ...]]:
    """A step's terms, gradients and moving statistics, but for the optimizer.

    Returns:
        (function, specs): a `tf.function` of images and the model's variables as tensors.
    """
    variables = model.variables
    is_trained = [any(each is one for one in model.trainable_variables) for each in variables]
    losses = {"loss", "discriminator_loss"} & set(model.trackers)

    def function(images, *values):
        pairs = list(zip(variables, values, strict=True))
        with (
            keras.StatelessScope(state_mapping=pairs) as scope,
            tf.GradientTape(persistent=True) as tape,
        ):
            tape.watch(values)
            images = tf.image.convert_image_dtype(images, tf.float32)
            step, seed = tf.constant(3, tf.int64), tf.constant([0, 3])
            terms = model.loss_terms(images, step, seed, training=True)
        learned = [value for value, trains in zip(values, is_trained, strict=True) if trains]
        gradients = [
            tape.gradient(terms[name], learned, unconnected_gradients="zero") for name in losses
        ]
        return terms, gradients, [scope.get_current_value(each) for each in variables]

    specs = [tf.TensorSpec(each.shape, each.dtype) for each in variables]
    return tf.function(function, autograph=False, jit_compile=True), (images, *specs)


def _meta_graph(graph):
    """A graph, all of it on the GPU, that is run for what it changes and gives back."""
    definition = graph.as_graph_def()
    for node in definition.node:
        node.device = f"{_HOST}/device:GPU:0"
    meta = meta_graph_pb2.MetaGraphDef(graph_def=definition)
    wanted = [op.name for op in graph.get_operations() if re.match("Assign|ResourceApply", op.type)]
    wanted += [tensor.op.name for tensor in graph.outputs]
    meta.collection_def["train_op"].node_list.value.extend(wanted)
    return meta
