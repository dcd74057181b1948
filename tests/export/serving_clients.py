"""Clients of a server, real or double: the official stubs over gRPC, and plain HTTP."""

import base64
import dataclasses
import json
import urllib.error
import urllib.request

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

_TIMEOUT = 60  # seconds
_NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclasses.dataclass
class Server:
    """Where a server is, and what its answers can be held against.

    Attributes:
        rest, grpc: str, addresses "host:port".
        model: str, its name.
        image_size: int, pixels of a side.
        local: the SavedModel that is served, loaded here; None: only the server has it.
    """

    rest: str
    grpc: str
    model: str
    image_size: int
    local: object = None

    def __post_init__(self):
        self.channel = grpc.insecure_channel(self.grpc, options=_NO_LIMIT)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def expected(self, signature, batch):
        """What a signature answers: by the SavedModel itself, or else by the server, row by row."""
        if self.local is not None:
            outputs = self.local.signatures[signature](tensor(batch))
            return {name: value.numpy() for name, value in outputs.items()}
        rows = [self.predict(signature, batch[index : index + 1]) for index in range(len(batch))]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def request(self, signature, batch, **fields):
        """A PredictRequest; `fields` are set over what it has."""
        fields = {"name": self.model, "inputs": None, "output_filter": (), "version": None} | fields
        request = predict_pb2.PredictRequest(output_filter=fields["output_filter"])
        request.model_spec.name = fields["name"]
        request.model_spec.signature_name = signature
        if fields["version"] is not None:
            request.model_spec.version.value = fields["version"]
        inputs = fields["inputs"] if fields["inputs"] is not None else {input_of(signature): batch}
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return request

    def predict(self, signature, batch, **fields):
        """Outputs over gRPC, dict name -> array; raises grpc.RpcError."""
        response = self.predictions.Predict(self.request(signature, batch, **fields), _TIMEOUT)
        assert response.model_spec.name == self.model
        assert response.model_spec.signature_name == signature
        assert response.model_spec.version.value > 0
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def refusal(self, signature, batch, **fields):
        """(status code, message) of a request over gRPC that is refused."""
        try:
            self.predict(signature, batch, **fields)
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError("the request was answered")

    def metadata(self):
        """Signature name -> SignatureDef, over gRPC."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.model
        response = self.predictions.GetModelMetadata(request, _TIMEOUT)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert response.metadata["signature_def"].Unpack(signatures)
        return dict(signatures.signature_def)

    def states(self):
        """Version -> name of its state, over gRPC."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.model
        state = get_model_status_pb2.ModelVersionStatus.State
        response = self.models.GetModelStatus(request, _TIMEOUT)
        return {
            status.version: state.Name(status.state) for status in response.model_version_status
        }

    def http(self, path, body=None):
        """(status, JSON) of a GET, or of a POST of `body`: bytes, or what JSON is made of."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.rest}{path}", body)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def http_predict(self, body, model=None, version=None):
        """(status, JSON) of a prediction over REST."""
        version = "" if version is None else f"/versions/{version}"
        return self.http(f"/v1/models/{model or self.model}{version}:predict", body)


def input_of(signature):
    """The name of a signature's input."""
    others = {"serving_bytes": "image_bytes", "serving_examples": "examples", "decode": "latent"}
    return others.get(signature, "images")


def tensor(batch):
    """An array, or a list of bytes, also an empty one, as a tensor."""
    return tf.constant(batch, tf.string if isinstance(batch, list) else tf.float32)


def jsonable(batch):
    """An array, or a list of bytes, as a request over REST holds it."""
    if isinstance(batch, list):
        return [{"b64": base64.b64encode(value).decode()} for value in batch]
    return batch.tolist()
