"""The REST side."""

import http.server
import json
import re
import sys
import traceback

from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)

from tests.serving_double import json_tensors, predictions
from tests.serving_double.errors import HTTP_STATUS, ServingError, invalid

_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:predict)?")


def server(models, port):
    """An HTTP server on 127.0.0.1, not yet running.

    Args:
        models: dict name -> Versions.
        port: int; 0: any that is free.
    """
    http_server = _Server(("127.0.0.1", port), _Handler)
    http_server.models = models
    return http_server


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # connections that wait to be accepted


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._respond()

    def do_POST(self):
        self._respond()

    def _respond(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, answer = 200, self._answer(body)
        except ServingError as error:
            status = HTTP_STATUS.get(error.code, 500)
            answer = json.dumps({"error": error.message}).encode()
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            status, answer = 500, json.dumps({"error": repr(error)}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _answer(self, body):
        match = _PATH.fullmatch(self.path)
        if not match or self.command != ("POST" if match[3] == ":predict" else "GET"):
            raise invalid(f"Malformed request: {self.command} {self.path}")
        spec = model_pb2.ModelSpec(name=match[1])
        if match[2]:
            spec.version.value = int(match[2])
        if match[3] == ":predict":
            return self._predict(spec, body)
        if match[3] == "/metadata":
            request = get_model_metadata_pb2.GetModelMetadataRequest(
                model_spec=spec, metadata_field=["signature_def"]
            )
            return _json(predictions.metadata(self.server.models, request))
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return _json(predictions.status(self.server.models, request))

    def _predict(self, spec, body):
        version = predictions.find(self.server.models, spec)
        request = json_tensors.parse(body)
        name = request.get("signature_name", "") or "serving_default"
        inputs, in_rows = json_tensors.read_inputs(request, dict(version.signature(name).inputs))
        return json_tensors.write_outputs(version.predict(name, inputs), in_rows)

    def log_message(self, format, *args):  # one line a request would drown the tests' own
        pass


def _json(message):
    """A message as JSON with the names of its fields, those without a value too."""
    value = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for packed in value.get("metadata", {}).values():
        del packed["@type"]
    return json.dumps(value, indent=1).encode()
