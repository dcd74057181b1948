"""The double as a whole: a model's versions behind both interfaces."""

import threading

from tests.serving_double import rest, rpc
from tests.serving_double.versions import Versions


class ServingDouble:
    """Serves a model on 127.0.0.1 until it is closed. A context manager.

    Attributes:
        rest, grpc: str, the addresses "127.0.0.1:port".
    """

    def __init__(self, model_dir, model_name="patchvae", rest_port=0, grpc_port=0, poll_seconds=1):
        """Takes the ports, loads the highest version, then answers.

        Args:
            model_dir: path of the folder that holds versions.
            model_name: str.
            rest_port, grpc_port: int; 0: any that is free.
            poll_seconds: seconds between two looks for a new version.

        Raises:
            OSError, RuntimeError: a port is taken; OSError: the folder cannot be read.
        """
        models = {}
        self._http = rest.server(models, rest_port)
        self._rpc, grpc_port = rpc.server(models, grpc_port)
        self.rest = f"127.0.0.1:{self._http.server_port}"
        self.grpc = f"127.0.0.1:{grpc_port}"
        self._versions = models[model_name] = Versions(model_name, model_dir, poll_seconds)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        self._rpc.start()

    def close(self):
        self._rpc.stop(grace=None).wait()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._versions.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
