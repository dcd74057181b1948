"""What is trained and served can be computed by a GPU, as far as a processor can tell.

Looked at are graphs, with all that they call: training steps, the transfer's, and what is exported,
as Python traces them; training steps also as TensorFlow's optimizers leave them for a GPU. In each

- every operation has a GPU's kernel for its types (32-bit integers have one that computes on the
  host, as shapes are), but for `ON_THE_HOST`, in the signatures that take files;
- none is pinned to a processor, and none is computed by Python;
- only small tensors go from the host's memory to the device's or back: one number, or up to 16
  whole ones, or one whole one for each image (`gpu_placement.Copy.is_small`); of files also the
  images, once, as bytes. So maps, weights and gradients stay on the device.

Whether a kernel is right or fast is not seen here.
"""

import itertools
import types

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import models, optimizers
from patchvae_tf.models import MODELS
from patchvae_tf.saved_models import signatures
from patchvae_tf.settings import recipes, unsupervised_config
from patchvae_tf.transfer import model as transfer_model
from patchvae_tf.transfer.config import TransferConfig, resolved
from tests import absent_gpu, gpu_placement
from tests.export import exporting

SIZE, BATCH = 32, 8
IMAGES = tf.TensorSpec([BATCH, SIZE, SIZE, 3], tf.uint8)
LABELS = tf.TensorSpec([BATCH], tf.int64)
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
    """[(model, recipe, precision), ...]; slow where others say nearly as much: of the models
    that are there to compare with, all recipes but the paper's."""
    trainings = []
    for values in itertools.product(MODELS, recipes.DESCRIPTIONS, precisions):
        model, recipe, _ = values
        is_usual = model == "patchvae" or recipe == recipes.DEFAULTS[model]
        marks = [] if is_usual else [pytest.mark.slow]
        trainings.append(pytest.param(values, marks=marks, id="-".join(values)))
    return trainings


# In bfloat16 a step has the operations in float32 too.
in_bfloat16 = pytest.mark.parametrize("trained", _trainings("mixed_bfloat16"), indirect=True)


@pytest.fixture(scope="module", params=_trainings(*PRECISIONS))
def trained(request):
    """(model, its traced training step): of a recipe."""
    model, recipe, precision = request.param
    small = {"num_parts": 4, "appearance_dim": 2} if model == "patchvae" else {}
    config = unsupervised_config(
        model=model, recipe=recipe, dataset="cifar100", image_size=SIZE, **small
    )
    model = models.from_settings(config, dtype=precision)
    model.compile(optimizers.of_settings(config, steps_per_epoch=10))
    step = tf.function(model.train_step, autograph=False)
    with absent_gpu.seen():
        step.get_concrete_function(IMAGES)
    return model, step


@pytest.fixture
def gpu_seen():
    with absent_gpu.seen():
        yield


def _assert_on_gpu(function):
    """Nothing of a concrete function is misplaced, and what is copied is small."""
    assert not gpu_placement.misplaced(function.graph)
    large = [str(copy) for copy in gpu_placement.copies(function.graph) if not copy.is_small]
    assert not large


def test_a_training_step_is_the_gpus(trained):
    _, step = trained
    function = step.get_concrete_function(IMAGES)
    _assert_on_gpu(function)
    kinds = {op.type for op in function.graph.get_operations()}
    assert {"Conv2D", "Conv2DBackpropFilter", "FusedBatchNormGradV3", "ResourceApplyAdam"} <= kinds


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
    step = tf.function(prepared.compiled(data).train_step, autograph=False)
    inputs = IMAGES if prepared.feature_map is None else maps
    _assert_on_gpu(step.get_concrete_function((inputs, LABELS)))
    if prepared.feature_map is not None:
        _assert_on_gpu(prepared.feature_map.get_concrete_function(IMAGES))


def _assert_served_by_gpu(functions):
    assert set(functions) == set(signatures.NAMES)
    for name, function in functions.items():
        takes_files = name in ("serving_bytes", "serving_examples")
        allowed = ON_THE_HOST if takes_files else {"Const of string"}
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
def test_xla_compiles_a_training_step(trained, gpu_seen):
    """The whole step for the processor; for a GPU all but the variables and the optimizer.

    XLA says its first form (HLO) for a GPU that is not there, but not of functions with variables.
    """
    model, step = trained
    step = tf.function(step, autograph=False, jit_compile=True)
    hlo = step.experimental_get_compiler_ir(IMAGES)(stage="hlo")
    _assert_whole(hlo)
    function, inputs = absent_gpu.without_variables(model, IMAGES)
    hlo = function.experimental_get_compiler_ir(*inputs)(stage="hlo", platform_name="GPU")
    _assert_whole(hlo)


def _assert_whole(hlo):
    assert hlo.startswith("HloModule")
    assert "custom-call" not in hlo  # nothing that XLA hands to others
    assert hlo.count(" convolution(") > 20
    assert " bf16[" in hlo


def test_what_xla_does_not_know_is_found():
    function = tf.function(lambda x: tf.image.resize(x, [4, 4], "area"), jit_compile=True)
    with pytest.raises(ValueError, match="ResizeArea"):
        function.experimental_get_compiler_ir(tf.TensorSpec([1, 8, 8, 3]))(platform_name="GPU")


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
    with absent_gpu.machine() as machine:
        known = absent_gpu.known_to(graph, machine)
        optimized = absent_gpu.optimized(graph, machine)
    # TensorFlow looks kernels up as we do.
    assert len(known) > 1000
    assert all(any("GPU" in device for device in devices) for devices in known.values())
    operations = optimized.get_operations()
    assert len(operations) < 0.8 * len(graph.get_operations())
    assert not gpu_placement.misplaced(optimized)
    # Seeds and conditions, a number each.
    assert sum(copy.to_host for copy in gpu_placement.copies(optimized)) <= 8
    # Channels are last for bfloat16's matrix units, first else.
    layouts = {op.get_attr("data_format") for op in operations if op.type == "Conv2D"}
    assert layouts == {b"NHWC" if model.dtype_policy.name == "mixed_bfloat16" else b"NCHW"}
