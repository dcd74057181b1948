"""The messages of the API, whichever way they came."""

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tests.serving_double.errors import ServingError, invalid, not_served

_VALUES = {
    tf.float32: "float_val",
    tf.bool: "bool_val",
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.string: "string_val",
}


def find(models, spec):
    """The version that a ModelSpec names.

    Args:
        models: dict name -> Versions.
        spec: ModelSpec.

    Raises:
        ServingError: there is no such model or version.
    """
    if not spec.name:
        raise invalid("Missing ModelSpec")
    number = spec.version.value if spec.HasField("version") else None
    if spec.name not in models:
        raise not_served(spec.name, number)
    return models[spec.name].get(number)


def predict(models, request):
    """PredictRequest -> PredictResponse; raises ServingError."""
    version = find(models, request.model_spec)
    signature_name = request.model_spec.signature_name or "serving_default"
    inputs = {}
    for name, message in request.inputs.items():
        try:
            inputs[name] = tf.make_ndarray(message)
        except (TypeError, ValueError) as error:
            raise invalid(f"tensor parsing error: {name}") from error
    outputs = version.predict(signature_name, inputs, request.output_filter)
    response = predict_pb2.PredictResponse()
    _name(response.model_spec, request.model_spec.name, version)
    response.model_spec.signature_name = signature_name
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(_tensor(array))
    return response


def metadata(models, request):
    """GetModelMetadataRequest -> GetModelMetadataResponse; raises ServingError."""
    if list(request.metadata_field) != ["signature_def"]:
        raise invalid("the one metadata_field that is supported is signature_def")
    version = find(models, request.model_spec)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in version.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    _name(response.model_spec, request.model_spec.name, version)
    response.metadata["signature_def"].Pack(signatures)
    return response


def status(models, request):
    """GetModelStatusRequest -> GetModelStatusResponse; raises ServingError."""
    spec = request.model_spec
    statuses = models[spec.name].statuses if spec.name in models else {}
    numbers = [spec.version.value] if spec.HasField("version") else sorted(statuses, reverse=True)
    known = [statuses[number] for number in numbers if number in statuses]
    if not known:
        raise ServingError(
            grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}"
        )
    return get_model_status_pb2.GetModelStatusResponse(model_version_status=known)


def _name(spec, name, version):
    spec.name = name
    spec.version.value = version.number


def _tensor(array):
    """An array as a message with a field for each value, as the server writes it."""
    array = np.asarray(array)
    dtype = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    message = tf.make_tensor_proto([], dtype, [0])
    message.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    getattr(message, _VALUES[dtype]).extend(array.ravel().tolist())
    return message
