"""The gRPC side, on the official servicer stubs."""

import concurrent.futures

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tests.serving_double import predictions
from tests.serving_double.errors import ServingError

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
]


def server(models, port):
    """A gRPC server on 127.0.0.1, not yet running.

    Args:
        models: dict name -> Versions.
        port: int; 0: any that is free.

    Returns:
        (server, port).

    Raises:
        RuntimeError: the port is taken.
    """
    grpc_server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=_OPTIONS)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(models), grpc_server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(models), grpc_server)
    return grpc_server, grpc_server.add_insecure_port(f"127.0.0.1:{port}")


def _answer(function, models, request, context):
    try:
        return function(models, request)
    except ServingError as error:
        context.abort(error.code, error.message)


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models):
        self._models = models

    def Predict(self, request, context):  # noqa: N802, the stub's name
        return _answer(predictions.predict, self._models, request, context)

    def GetModelMetadata(self, request, context):  # noqa: N802
        return _answer(predictions.metadata, self._models, request, context)


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models):
        self._models = models

    def GetModelStatus(self, request, context):  # noqa: N802
        return _answer(predictions.status, self._models, request, context)
