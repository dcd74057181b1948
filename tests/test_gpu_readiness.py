"""What is trained and served can be computed by a GPU, as far as a processor can tell.

Looked at are the traced graphs, with all that they call: training steps, the transfer's, and what is
exported. In each

- every operation has a GPU's kernel for its types (32-bit integers have one that computes on the
  host, as shapes are), but for `ON_THE_HOST`, in the signatures that take files;
- none is pinned to a processor, and none is computed by Python;
- only small tensors go from the host's memory to the device's or back: one number, or up to 16 whole
  ones, or one whole one for each image (`gpu_placement.Copy.is_small`); of files also the images, once,
  as bytes.

So maps, weights and gradients stay on the device. The small ones are seeds, shapes and conditions.
The graphs are those that Python traces, before TensorFlow's optimizers, which leave out constants
and put channels first. Whether a kernel is right or fast is not seen here.
"""

import contextlib
import itertools
import re
import types
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, device_properties_pb2, meta_graph_pb2
from tensorflow.python.grappler import cluster, item, tf_optimizer

from patchvae_tf import models, optimizers
from patchvae_tf.models import MODELS
from patchvae_tf.saved_models import signatures
from patchvae_tf.settings import recipes, unsupervised_config
from patchvae_tf.transfer import model as transfer_model
from patchvae_tf.transfer.config import TransferConfig, resolved
from tests import gpu_placement
from tests.export import exporting

SIZE, BATCH = 32, 8
IMAGES = tf.TensorSpec([BATCH, SIZE, SIZE, 3], tf.uint8)
LABELS = tf.TensorSpec([BATCH], tf.int64)
HOST = "/job:localhost/replica:0/task:0"
PRECISIONS = ["float32", "mixed_bfloat16"]

_FILES = "files are read and decoded by tf.data, which runs on processors"
_EXAMPLES = "an Example is text until it is parsed"
ON_THE_HOST = {
    "Const of string": "messages of errors, and an Example's default",
    "Size of string": "how many files there are",
    "TensorSliceDataset": _FILES,
    "RangeDataset": _FILES,
    "ZipDataset": _FILES,
    "RewriteDataset": _FILES,
    "ParallelMapDatasetV2": _FILES,
    "IgnoreErrorsDataset": _FILES,
    "ConcatenateDataset": _FILES,
    "BatchDatasetV2": _FILES,
    "DatasetToSingleElement": _FILES,
    "ParseExampleV2": _EXAMPLES,
    "Reshape of string": _EXAMPLES,
    "Equal of string": _EXAMPLES,
    "SelectV2 of string": _EXAMPLES,
}


def _trainings(*precisions):
    """[(model, recipe, precision), ...]; slow where a model is there to compare with, and the recipe
    is not the paper's."""
    trainings = []
    for values in itertools.product(MODELS, recipes.DESCRIPTIONS, precisions):
        model, recipe, _ = values
        is_usual = model == "patchvae" or recipe == recipes.DEFAULTS[model]
        marks = [] if is_usual else [pytest.mark.slow]
        trainings.append(pytest.param(values, marks=marks, id="-".join(values)))
    return trainings


# In bfloat16 a step has the operations in float32 too.
in_bfloat16 = pytest.mark.parametrize("trained", _trainings("mixed_bfloat16"), indirect=True)


@pytest.fixture(scope="module")
def gpu_seen():
    """TensorFlow sees a GPU, where layers ask for one; it has none."""
    found = tf.config.list_physical_devices
    one = {"GPU": [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]}
    with mock.patch.object(
        tf.config, "list_physical_devices", lambda kind=None: one.get(kind) or found(kind)
    ):
        yield


@pytest.fixture(scope="module", params=_trainings(*PRECISIONS))
def trained(request, gpu_seen):
    """(model, its traced training step): of a recipe."""
    model, recipe, precision = request.param
    small = {"num_parts": 4, "appearance_dim": 2} if model == "patchvae" else {}
    config = unsupervised_config(
        model=model, recipe=recipe, dataset="cifar100", image_size=SIZE, **small
    )
    model = models.from_settings(config, dtype=precision)
    model.compile(optimizers.of_settings(config, steps_per_epoch=10))
    return model, _step(model)


def _step(model):
    return tf.function(model.train_step, autograph=False, jit_compile=True)


def _assert_on_gpu(function):
    """Nothing of a concrete function is misplaced, and what is copied is small."""
    assert not gpu_placement.misplaced(function.graph)
    large = [str(copy) for copy in gpu_placement.copies(function.graph) if not copy.is_small]
    assert not large


def test_a_training_step_is_the_gpus(trained):
    model, step = trained
    graph = step.get_concrete_function(IMAGES).graph
    kinds = {
        op.type for _, inner, _ in gpu_placement.graphs(graph) for op in inner.get_operations()
    }
    assert {"Conv2D", "Conv2DBackpropFilter", "ResourceApplyAdam", "FusedBatchNormGradV3"} <= kinds
    _assert_on_gpu(step.get_concrete_function(IMAGES))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("freeze", ["none", "conv1-3", "conv1-5"])
def test_a_step_of_a_transfer_is_the_gpus(freeze, precision, gpu_seen):
    config = resolved(TransferConfig(dataset="parts", untrained=True, freeze=freeze))
    maps = tf.TensorSpec([BATCH, SIZE // 8, SIZE // 8, 128], tf.float32)
    data = types.SimpleNamespace(
        num_classes=6,
        steps_per_epoch=10,
        training=types.SimpleNamespace(inputs=np.zeros([1, *maps.shape[1:]])),
    )
    prepared = transfer_model.prepare(config, data, precision, tf.distribute.get_strategy())
    step = _step(prepared.compiled(data))
    inputs = IMAGES if prepared.feature_map is None else maps
    _assert_on_gpu(step.get_concrete_function((inputs, LABELS)))
    if prepared.feature_map is not None:
        _assert_on_gpu(prepared.feature_map.get_concrete_function(IMAGES))


def _assert_served_by_gpu(functions):
    assert set(functions) == set(signatures.NAMES)
    for name, function in functions.items():
        takes_files = name in ("serving_bytes", "serving_examples")
        texts = {key for key in ON_THE_HOST if key == "Const of string"}
        allowed = ON_THE_HOST if takes_files else texts
        assert not gpu_placement.misplaced(function.graph, allowed), name
        large = [
            copy for copy in gpu_placement.copies(function.graph, allowed) if not copy.is_small
        ]
        images = [copy for copy in large if copy.maker == "DatasetToSingleElement"]
        assert [str(copy) for copy in large if copy not in images] == [], name
        assert [copy.dtype for copy in images] == [tf.uint8] * takes_files


@pytest.mark.parametrize("fixture", ["exported", "exported_beta_vae"])
def test_an_exported_model_is_served_by_a_gpu(fixture, request):
    _, version = request.getfixturevalue(fixture)
    _assert_served_by_gpu(dict(tf.saved_model.load(version).signatures))


@pytest.mark.parametrize("make", [exporting.patch_vae, exporting.bigan])
def test_a_model_in_bfloat16_is_served_by_a_gpu(make, gpu_seen):
    _, functions = signatures.exported_parts(make(), "mixed_bfloat16")
    _assert_served_by_gpu(functions)


@in_bfloat16
def test_xla_compiles_a_training_step(trained):
    """The whole step for the processor; for a GPU all but the variables and the optimizer.

    XLA says its first form (HLO) for a GPU that is not there, but not of functions with variables.
    """
    model, step = trained
    hlo = step.experimental_get_compiler_ir(IMAGES)(stage="hlo")
    _assert_whole(hlo)
    function, inputs = _without_variables(model)
    hlo = function.experimental_get_compiler_ir(*inputs)(stage="hlo", platform_name="GPU")
    _assert_whole(hlo)


def _assert_whole(hlo):
    assert hlo.startswith("HloModule")
    assert "custom-call" not in hlo  # nothing that XLA hands to others
    assert hlo.count(" convolution(") > 20
    assert " bf16[" in hlo


def _without_variables(model):
    """The terms, gradients and moving statistics as a function of the images and all variables."""
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
    return tf.function(function, autograph=False, jit_compile=True), (IMAGES, *specs)


def _function(function, *specs):
    return tf.function(function, autograph=False).get_concrete_function(*specs)


FLOATS = tf.TensorSpec([BATCH, 64], tf.float32)


def _pinned(x):
    with tf.device("/CPU:0"):
        return tf.nn.relu(x)


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (lambda x: tf.numpy_function(np.sin, [x], tf.float32), r"PyFunc.* is computed by Python"),
        (lambda x: tf.py_function(tf.sin, [x], tf.float32), r"EagerPyFunc.* computed by Python"),
        (_pinned, r"Relu.* is pinned to /device:CPU:0"),
        (lambda x: tf.strings.length(tf.strings.as_string(x)), r"AsString.* no kernel of a GPU"),
        (lambda x: tf.image.resize(x[..., None, None], [4, 4], "area"), r"ResizeArea.* no kernel"),
        (lambda x: tf.nn.softplus(tf.cast(x, tf.bfloat16)), r"Softplus.* no kernel.*bfloat16"),
    ],
)
def test_what_no_gpu_computes_is_found_however_deep(function, fault):
    def nested(x):
        called = tf.function(lambda x: tf.cast(function(x), tf.float32), autograph=False)

        def loop():
            return tf.while_loop(
                lambda y: y < 3.0, lambda y: [y + tf.reduce_sum(called(x))], [x[0, 0]]
            )[0]

        return tf.cond(x[0, 0] > 0.0, loop, lambda: 0.0)

    for each in (function, nested):
        with pytest.raises(AssertionError, match=fault):
            _assert_on_gpu(_function(each, FLOATS))
    _assert_on_gpu(_function(tf.nn.softplus, FLOATS))


@pytest.mark.parametrize(
    ("function", "copied"),
    [
        # 32-bit integers are added up on the host.
        (lambda x: tf.cast(tf.cast(x, tf.int32) + 1, tf.float32), "device to host for AddV2"),
        (lambda x: tf.one_hot(tf.range(tf.size(x)), 3), "host to device for OneHot"),
    ],
)
def test_what_goes_through_the_host_is_found(function, copied):
    with pytest.raises(AssertionError, match=copied):
        _assert_on_gpu(_function(function, FLOATS))


def test_tensorflows_optimizers_keep_a_step_on_the_gpu(trained):
    """As a machine with a GPU would run it, which TensorFlow's optimizers are told of."""
    model, step = trained
    graph = step.get_concrete_function(IMAGES).graph
    with _machine() as machine:
        known = machine.GetSupportedDevices(_item(graph))
        optimized = tf.Graph()
        with optimized.as_default():
            tf.graph_util.import_graph_def(_optimized(graph, machine), name="")
    # TensorFlow looks kernels up as we do.
    assert len(known) > 1000
    assert all(any("GPU" in device for device in devices) for devices in known.values())
    operations = optimized.get_operations()
    assert len(operations) < 0.8 * len(graph.get_operations())
    assert not gpu_placement.misplaced(optimized)
    # Seeds and conditions, a number each.
    assert sum(copy.to_host for copy in gpu_placement.copies(optimized)) <= 16
    # Channels are last for bfloat16's matrix units, first else.
    layouts = {op.get_attr("data_format") for op in operations if op.type == "Conv2D"}
    assert layouts == {b"NHWC" if model.dtype_policy.name == "mixed_bfloat16" else b"NCHW"}


@contextlib.contextmanager
def _machine():
    """A processor and a GPU that are not there, as TensorFlow's optimizers know machines."""
    ampere = {"architecture": "8.0", "cuda": "12050", "cudnn": "9000"}
    devices = [
        device_properties_pb2.NamedDevice(
            name=f"{HOST}/device:{kind}:0",
            properties=device_properties_pb2.DeviceProperties(
                type=kind, frequency=1000, num_cores=4, environment=environment
            ),
        )
        for kind, environment in (("CPU", {}), ("GPU", ampere))
    ]
    machine = cluster.Cluster(devices=devices)
    yield machine
    machine.Shutdown()


def _meta_graph(graph):
    """A graph, all of it on the GPU, that is run for what it changes and gives back."""
    definition = graph.as_graph_def()
    for node in definition.node:
        node.device = f"{HOST}/device:GPU:0"
    meta = meta_graph_pb2.MetaGraphDef(graph_def=definition)
    wanted = [op.name for op in graph.get_operations() if re.match("Assign|ResourceApply", op.type)]
    wanted += [tensor.op.name for tensor in graph.outputs]
    meta.collection_def["train_op"].node_list.value.extend(wanted)
    return meta


def _item(graph):
    return item.Item(_meta_graph(graph), ignore_colocation=True)


def _optimized(graph, machine):
    config = config_pb2.ConfigProto()
    return tf_optimizer.OptimizeGraph(config, _meta_graph(graph), cluster=machine)
