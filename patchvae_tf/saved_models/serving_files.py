"""What TF Serving wants beside a SavedModel: its settings, and requests to warm up with."""

import pathlib

import tensorflow as tf

from patchvae_tf import runs
from patchvae_tf.saved_models.signatures import EXAMPLE_IMAGES

MODEL_NAME = "patchvae"
BATCH_SIZES = (1, 4, 16, 64)  # that are warmed up

_MODELS_CONFIG = f"""\
# tensorflow_model_server --model_config_file=/models/{MODEL_NAME}/models.config
model_config_list {{
  config {{
    name: "{MODEL_NAME}"
    base_path: "/models/{MODEL_NAME}"  # this folder, as the server sees it
    model_platform: "tensorflow"
    # The newest version alone is served. To keep others: model_version_policy {{ all {{}} }}
  }}
}}
"""

_BATCHING = """\
# --enable_batching --batching_parameters_file=/models/{model}/{name}
# A server does not batch unless these flags are given, and then joins requests that come together.
# Leave them out where several clients share the server: requests that are joined share their fate,
# and one with another image size, or with a value out of range, fails those it is joined with. With
# them, let clients ask `serving_bytes` alone: files may have any size, and one that cannot be read
# is marked in `valid` and fails nobody. A request of no rows waits until another of its signature
# comes: do not send any. One of more than `max_batch_size` rows is refused.
{device}
max_batch_size {{ value: 64 }}
batch_timeout_micros {{ value: {microseconds} }}  # how long a request waits for others
num_batch_threads {{ value: {threads} }}
max_enqueued_batches {{ value: 100 }}
# No allowed_batch_sizes: batches would be filled up to them, which costs a processor twice the time
# (17 rows: 63 ms for 27), and a joined request of no rows then ends TF Serving 2.21's process.
"""

_SETTINGS = {
    "models.config": _MODELS_CONFIG,
    "batching.config": _BATCHING.format(
        model=MODEL_NAME,
        name="batching.config",
        device="# For processors, on which it seldom pays: 32 rows took 38 ms with it, 31 without.",
        microseconds=2000,
        threads="4",
    ),
    "batching-gpu.config": _BATCHING.format(
        model=MODEL_NAME,
        name="batching-gpu.config",
        device="# For a GPU, on which it pays once many clients send few images each. NOT TRIED.",
        microseconds=5000,
        threads="2",
    ),
}


def write_settings(export_dir: pathlib.Path) -> None:
    """Writes `models.config`, `batching.config` and `batching-gpu.config`.

    What is there stays: it may be edited.
    """
    for name, text in _SETTINGS.items():
        path = export_dir / name
        if not path.exists():
            with runs.replaced_when_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


def write_warm_up(folder: pathlib.Path, signatures: dict, image_size: int, stride: int) -> None:
    """Writes the requests that TF Serving sends to a version itself, before it takes others.

    One for each signature and batch size, so that no user waits for what a first call of a shape
    sets up. They lie in `assets.extra/tf_serving_warmup_requests`.

    Args:
        folder: pathlib.Path of the version.
        signatures: dict name -> concrete function.
        image_size: int, pixels of a side.
        stride: int, pixels of a side that one place of a map stands for.
    """
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    sides = {"images": image_size, "latent": image_size // stride}
    encoded = _grey_file(image_size, signatures["serving_default"])
    example = tf.train.Example()
    example.features.feature[EXAMPLE_IMAGES[0]].bytes_list.value.append(encoded)
    strings = {"image_bytes": encoded, "examples": example.SerializeToString()}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in signatures.items():
            ((spec,), _) = signature.structured_input_signature
            for batch_size in BATCH_SIZES:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = MODEL_NAME
                request.model_spec.signature_name = name
                if spec.dtype == tf.string:
                    value = tf.make_tensor_proto([strings[spec.name]] * batch_size)
                else:
                    value = _constant_tensor([batch_size, *spec.shape[1:]], sides[spec.name])
                request.inputs[spec.name].CopyFrom(value)
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())


def _grey_file(size, signature):
    """The bytes of a grey image: JPEG, or PNG where the model takes four channels."""
    ((spec,), _) = signature.structured_input_signature
    has_alpha = spec.shape[-1] == 4
    image = tf.fill([size, size, 4 if has_alpha else 3], tf.constant(128, tf.uint8))
    return (tf.io.encode_png(image) if has_alpha else tf.io.encode_jpeg(image)).numpy()


def _constant_tensor(shape, side):
    """A tensor of 0.5, as a message; sides left open in `shape` are `side`."""
    message = tf.make_tensor_proto(0.5, tf.float32)  # one value stands for all: small files
    shape = [side if length is None else length for length in shape]
    message.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return message
