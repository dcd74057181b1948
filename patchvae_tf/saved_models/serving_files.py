"""What TF Serving wants beside a SavedModel: its settings, and requests to warm up with."""

import tensorflow as tf

from patchvae_tf import runs

MODEL_NAME = "patchvae"
BATCH_SIZES = (1, 4, 16, 64)  # to which a batching server fills up, and which are warmed up

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

_BATCHING_CONFIG = f"""\
# --enable_batching --batching_parameters_file=/models/{MODEL_NAME}/batching.config
# Requests that arrive together are computed together. They must then agree in height and width,
# and an image out of range fails those it was joined with: check before you send, or send files.
max_batch_size {{ value: {BATCH_SIZES[-1]} }}
batch_timeout_micros {{ value: 2000 }}
num_batch_threads {{ value: 4 }}  # the server's processor cores
max_enqueued_batches {{ value: 100 }}
{"".join(f"allowed_batch_sizes: {size}{chr(10)}" for size in BATCH_SIZES)}"""


def write_settings(export_dir):
    """Writes `models.config` and `batching.config`, unless they are there: they may be edited."""
    for name, text in (("models.config", _MODELS_CONFIG), ("batching.config", _BATCHING_CONFIG)):
        path = export_dir / name
        if not path.exists():
            with runs.replaced_when_whole(path) as temporary:
                temporary.write_text(text)


def write_warm_up(folder, signatures, image_size, stride):
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
    jpeg = tf.io.encode_jpeg(tf.fill([image_size, image_size, 3], tf.constant(128, tf.uint8)))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in signatures.items():
            ((spec,), _) = signature.structured_input_signature
            for batch_size in BATCH_SIZES:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = MODEL_NAME
                request.model_spec.signature_name = name
                if spec.dtype == tf.string:
                    value = tf.make_tensor_proto([jpeg.numpy()] * batch_size)
                else:
                    value = _constant_tensor([batch_size, *spec.shape[1:]], sides[spec.name])
                request.inputs[spec.name].CopyFrom(value)
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())


def _constant_tensor(shape, side):
    """A tensor of 0.5, as a message; sides left open in `shape` are `side`."""
    message = tf.make_tensor_proto(0.5, tf.float32)  # one value stands for all: small files
    shape = [side if length is None else length for length in shape]
    message.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return message
