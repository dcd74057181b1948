"""What an exported model answers: the functions of the SavedModel, and the checks on their input.

Every function takes any batch, also one of 0 rows; every output is float32 with the batch as first
axis, but for `valid`. (n images, h = H / stride, w = W / stride, c channels of φ, N parts, d_p
numbers for a part's look, C channels of the images; the stages shown are Resnet-9's, whose stride
is 8, and c 128)

| signature | input | outputs |
|---|---|---|
| serving_default | `images` [n, H, W, C] | `features` [n, c], `feature_map` [n, h, w, c]; |
| | | PatchVAE: `occurrence` [n, h, w, N], `appearance` [n, N, d_p] |
| serving_bytes | `image_bytes` [n] | as above, at the trained size, and `valid` [n], bool |
| serving_examples | `examples` [n] | as `serving_bytes` |
| stages | `images` [n, H, W, C] | `conv1`, `conv1_3`, `conv1_5`: maps of `backbones.stages` |
| reconstruct | `images` [n, H, W, C] | `reconstruction` [n, H, W, C] |
| decode | `latent`, as in the model's own outputs | `images` [n, H, W, C] |

Images are in [0, 1], RGB where C is 3, H and W any multiples of the stride. Only the `reconstruct`
and `decode` of β-VAE and BiGAN keep to the trained size, because one code describes a square of
that size. The images of `serving_bytes` are whole files, each made square as in training; where
one cannot be read, `valid` is False and the row is that of a black image. Those of
`serving_examples` are serialized `tf.train.Example`s, as TFX's BulkInferrer sends them, with such
a file in `image/encoded` or, as TFDS writes them, in `image`. Files have 1, 3 or 4 channels: of a
model for images of others there are neither of the two.
"""

import collections.abc
import types
import typing

import keras
import tensorflow as tf

from patchvae_tf import PatchVAE
from patchvae_tf.backbones import folding
from patchvae_tf.datasets.preprocessing import ENCODED_CHANNELS, decode_image, resize_and_crop
from patchvae_tf.settings.pixels import Pixels

if typing.TYPE_CHECKING:
    import numpy as np

NAMES = (
    "serving_default",
    "serving_bytes",
    "serving_examples",
    "stages",
    "reconstruct",
    "decode",
)
EXAMPLE_IMAGES = ("image/encoded", "image")  # features that may hold the file, the first first

_TOLERANCE = 1e-3  # beyond [0, 1]: what rounding and resizing may leave
_IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")
_OF_FILES = ("serving_bytes", "serving_examples")
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")


def exported_parts(
    model: keras.Model, precision: str = "float32", value_range: str | None = None
) -> tuple[tf.Module, dict]:
    """Returns what `tf.saved_model.save` takes.

    Args:
        model: PatchVAE, BetaVAE or BiGAN; left as it is.
        precision: str, dtype policy of φ in the signatures that give features and codes,
            `serving_...`: "float32" or "mixed_bfloat16".
        value_range: str, of the files of `serving_bytes`, as of the setting.

    Returns:
        (root, signatures): the root is a reusable SavedModel of φ, `root(images, training=False)`
        -> float32 [n, c], whose `variables` and `trainable_variables` are φ's; signatures is a
        dict name -> concrete function. In those that give features and codes φ's batch
        normalisation is folded into its convolutions, which have weights of their own.
    """
    folded = folding.folded(with_policy(model, precision).backbone)
    model = with_policy(model, "float32")
    functions, backbone = _Functions(model, folded, value_range), model.backbone

    @tf.function(autograph=False)
    def features(images, training=False):
        return functions.features(images, training)

    for training in (False, True):
        features.get_concrete_function(functions.images, training=training)
    root = tf.train.Checkpoint(__call__=features)  # of a tf.Module the lists would not be saved
    root.variables = [weight.value for weight in backbone.weights]
    root.trainable_variables = [weight.value for weight in backbone.trainable_weights]
    root.regularization_losses = []
    root.all_variables = _variables(model)  # of heads and decoder too
    root.folded_variables = [weight.value for weight in folded.weights]
    return root, {name: functions.concrete(name) for name in names(model)}


def inference(model: keras.Model) -> types.SimpleNamespace:
    """What an exported model is to whoever wants features and codes, without the export.

    Args:
        model: PatchVAE, BetaVAE or BiGAN; left as it is.

    Returns:
        An object with `signatures`: name -> concrete function, traced when it is asked for.
    """
    model = with_policy(model, "float32")
    functions = _Functions(model, folding.folded(model.backbone))
    return types.SimpleNamespace(signatures=_Traced(functions, names(model)))


def encoder(
    model: keras.Model, image_size: int | None
) -> tuple[tf.train.Checkpoint, "tf.types.experimental.ConcreteFunction"]:
    """Returns what the converters to LiteRT and ONNX take: `serving_default`, unchecked.

    Args:
        model: PatchVAE, BetaVAE or BiGAN that computes in float32.
        image_size: int, side of the images in pixels; None: any multiples of the stride.

    Returns:
        (root, function): the object that holds the variables and, as `function`, the
        `tf.function`; and its concrete function.
    """
    spec = tf.TensorSpec([None, image_size, image_size, model.channels], tf.float32, name="images")
    # No copy: the converters fold batch normalisation by themselves, and what LiteRT's is to leave
    # in float32 is named by the model's own layers.
    functions = _Functions(model, model.backbone)
    function = tf.function(functions.encode, autograph=False, input_signature=[spec])
    root = tf.train.Checkpoint(function=function, variables=_variables(model))
    return root, function.get_concrete_function()


def names(model: keras.Model) -> list[str]:
    """The signatures that a model has."""
    from_files = model.channels in ENCODED_CHANNELS
    return [name for name in NAMES if from_files or name not in _OF_FILES]


def _variables(model):
    """All of a model's but those that serve training alone."""
    left_out = {id(weight) for part in model.training_parts for weight in part.weights}
    return [weight.value for weight in model.weights if id(weight) not in left_out]


def with_policy(model: keras.Model, policy: str) -> keras.Model:
    """A copy that computes by a dtype policy, without optimizer, metrics and strategy."""
    copy = type(model).from_config({**model.get_config(), "dtype": policy})
    copy.set_weights(model.get_weights())
    return copy


def difference(exact: dict, functions: dict, images: "np.ndarray") -> dict[str, float]:
    """How far one set of signatures' `features` is from another's.

    Args:
        exact, functions: dicts name -> concrete function; `exact`'s are those to compare with.
        images: [n, H, W, C], uint8 or float32 in [0, 1].

    Returns:
        dict: `largest` difference of a number, `largest_feature` (of `exact`, by magnitude), and
        `relative`, |difference| / |exact| of all numbers together.
    """
    images = tf.image.convert_image_dtype(images, tf.float32)
    expected, found = (
        side["serving_default"](images=images)["features"] for side in (exact, functions)
    )
    return {
        "largest": float(tf.reduce_max(tf.abs(found - expected))),
        "largest_feature": float(tf.reduce_max(tf.abs(expected))),
        "relative": float(tf.norm(found - expected) / tf.norm(expected)),
    }


class _Traced(collections.abc.Mapping):
    """Name -> concrete function of `_Functions`, which lives as long: it holds the variables."""

    def __init__(self, functions, names):
        self._functions, self._names, self._traced = functions, names, {}

    def __getitem__(self, name):
        if name not in self._names:
            raise KeyError(name)
        if name not in self._traced:
            self._traced[name] = self._functions.concrete(name)
        return self._traced[name]

    def __iter__(self):
        return iter(self._names)

    def __len__(self):
        return len(self._names)


class _Functions:
    """One method for each row of the table above, and `features` for the root.

    Args:
        model: PatchVAE, BetaVAE or BiGAN that computes in float32.
        backbone: its φ as `serving_default` and `serving_bytes` are to compute it.
        value_range: str, of files; None: of their type.
    """

    def __init__(self, model, backbone, value_range=None):
        self._model = model
        self._backbone = backbone
        # Not the folded φ: TensorFlow fuses its convolutions with the sum after them, and where the
        # other side of the sum is an output as well, calls at the same time share the kernel's
        # memory (oneDNN's, TF 2.21): they get each other's numbers, or the process ends.
        maps = {
            stage.name.replace("-", "_"): model.backbone.get_layer(stage.layer).output
            for stage in model.stages
        }
        self._stages = keras.Model(model.backbone.input, maps)
        self._pixels = Pixels.of(model.channels, value_range)
        self.images = tf.TensorSpec([None, None, None, model.channels], tf.float32, name="images")
        self._latent = tf.TensorSpec(model.decoder.input_shape, tf.float32, name="latent")
        code_is_map = self._latent.shape.rank == 4
        self._reconstructed_size = None if code_is_map else model.image_size

    def concrete(self, name):
        """The concrete function of a signature."""
        others = {
            "serving_bytes": _IMAGE_BYTES,
            "serving_examples": _EXAMPLES,
            "decode": self._latent,
        }
        inputs = others.get(name, self.images)
        return tf.function(getattr(self, name), autograph=False).get_concrete_function(inputs)

    def features(self, images, training):
        def pooled(images):
            return tf.reduce_mean(self._model.backbone(images, training=training), axis=[1, 2])

        return _with_a_row(pooled, self._checked(images))

    def serving_default(self, images):
        return _with_a_row(self.encode, self._checked(images))

    def serving_bytes(self, image_bytes):
        image_bytes = tf.ensure_shape(image_bytes, _IMAGE_BYTES.shape)
        images, valid = decode_images(image_bytes, self._model.image_size, self._pixels)
        images = tf.image.convert_image_dtype(images, tf.float32)  # [n, size, size, C]
        return {**_with_a_row(self.encode, images), "valid": valid}

    def serving_examples(self, examples):
        examples = tf.ensure_shape(examples, _EXAMPLES.shape)
        absent = tf.io.FixedLenFeature([], tf.string, default_value="")
        parsed = tf.io.parse_example(examples, dict.fromkeys(EXAMPLE_IMAGES, absent))
        first, second = (parsed[name] for name in EXAMPLE_IMAGES)  # [n] each
        return self.serving_bytes(tf.where(first == "", second, first))

    def stages(self, images):
        return _with_a_row(self._stages, self._checked(images))

    def reconstruct(self, images):
        def reconstruction(images):
            return {"reconstruction": self._model(images)["reconstruction"]}

        return _with_a_row(reconstruction, self._checked(images, self._reconstructed_size))

    def decode(self, latent):
        # oneDNN ends the process where the rank is wrong.
        latent = tf.ensure_shape(latent, self._latent.shape)
        # REST would write NaN as it is, which is not JSON.
        message = "`latent` must hold finite numbers, no NaN: send a code as the model gives it."
        finite = tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(latent)), [message])
        with tf.control_dependencies([finite]):
            latent = tf.identity(latent)
        images = _with_a_row(self._model.decoder, latent)
        message = "`latent` is too large: its image is not finite. Send a code of the prior's size."
        finite = tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(images)), [message])
        with tf.control_dependencies([finite]):
            return {"images": tf.identity(images)}

    def encode(self, images):
        feature_map = tf.cast(self._backbone(images), tf.float32)  # [n, h, w, c]
        outputs = {"features": tf.reduce_mean(feature_map, axis=[1, 2]), "feature_map": feature_map}
        if isinstance(self._model, PatchVAE):
            codes = self._model.codes(feature_map)
            outputs["occurrence"] = codes["occurrence"]
            outputs["appearance"] = codes["appearance_mean"]
        return outputs

    def _checked(self, images, image_size=None):
        """`images`, [n, H, W, C], after their shape and values are seen to be right."""
        # A server does not hold requests to the signature's shape.
        images = tf.ensure_shape(images, self.images.shape)
        shape = tf.shape(images)
        if image_size is None:
            stride = self._model.stride
            fits = tf.reduce_all((shape[1:3] % stride == 0) & (shape[1:3] > 0))
            wanted = f"that are multiples of {stride}"
        else:
            fits = tf.reduce_all(shape[1:3] == image_size)
            wanted = f"{image_size}, as in training"
        # False for NaN as well.
        in_range = tf.reduce_all((images >= -_TOLERANCE) & (images <= 1.0 + _TOLERANCE))
        size_message = f"`images` must have height and width {wanted}: resize them. Received shape:"
        range_message = (
            "`images` must hold values in [0, 1] and no NaN: divide 8-bit values by 255. "
            "Received least and greatest value:"
        )
        extremes = tf.reduce_min(images), tf.reduce_max(images)
        checks = [
            tf.debugging.Assert(fits, [size_message, shape], summarize=4),
            tf.debugging.Assert(in_range, [range_message, *extremes]),
        ]
        with tf.control_dependencies(checks):
            return tf.identity(images)


def decode_images(image_bytes: tf.Tensor, size: int, pixels: Pixels) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes images as training data are, and goes on where one cannot be read.

    Args:
        image_bytes: string [n], whole image files.
        size: int, side of the square images in pixels.
        pixels: Pixels that are wanted.

    Returns:
        (images, valid): uint8 [n, size, size, channels], black where `valid`, bool [n], is False.
    """

    def decode(index, encoded):
        return index, resize_and_crop(decode_image(encoded, pixels), size)

    count = tf.size(image_bytes, out_type=tf.int64)
    # A decoder's error fails the whole graph; in tf.data it can be ignored, and costs its element.
    readable = (
        tf.data.Dataset.from_tensor_slices(image_bytes)
        .enumerate()
        .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors(log_warning=False)
    )
    # A last element, dropped below, so that the one batch exists even if nothing is readable.
    black = tf.zeros([1, size, size, pixels.channels], tf.uint8)
    last = tf.data.Dataset.from_tensor_slices((count[tf.newaxis], black))
    indices, images = readable.concatenate(last).batch(count + 1).get_single_element()
    indices, images = indices[:-1, tf.newaxis], images[:-1]  # [k, 1], [k, size, size, channels]
    images = tf.scatter_nd(indices, images, tf.stack([count, size, size, pixels.channels]))
    valid = tf.scatter_nd(indices, tf.ones_like(indices[:, 0], tf.int32), count[tf.newaxis]) > 0
    return tf.ensure_shape(images, [None, size, size, pixels.channels]), tf.ensure_shape(
        valid, [None]
    )


def _with_a_row(function, batch):
    """`function` of `batch`; for 0 rows a row of zeros stands in, and is cut off again.

    Some of oneDNN's kernels refuse 0 rows, and in training their moments are NaN for ever after.
    """
    count = tf.shape(batch)[0]
    missing = tf.concat([[tf.maximum(1 - count, 0)], tf.shape(batch)[1:]], axis=0)
    # Not `tf.pad`: TFLiteConverter would no longer know the channels.
    padded = tf.concat([batch, tf.zeros(missing, batch.dtype)], axis=0)
    return tf.nest.map_structure(lambda output: output[:count], function(padded))
