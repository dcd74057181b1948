"""A version of a model, and the watch over the folder of versions."""

import pathlib
import threading

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import get_model_status_pb2, prediction_log_pb2

from tests.serving_double.errors import ServingError, from_op_error, invalid, not_served

State = get_model_status_pb2.ModelVersionStatus.State


class Version:
    """A SavedModel in a session."""

    def __init__(self, folder):
        self.number = int(folder.name)
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        self._callables = {}
        self._lock = threading.Lock()
        with self._session.graph.as_default():
            graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self.signatures = dict(graph.signature_def)

    def signature(self, name):
        if name not in self.signatures:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        return self.signatures[name]

    def predict(self, signature_name, inputs, output_filter=()):
        """Answers a request.

        Args:
            signature_name: str.
            inputs: dict input name -> array.
            output_filter: names of the outputs that are wanted; none: all.

        Returns:
            dict output name -> array.

        Raises:
            ServingError: the request does not fit the signature, or the graph refused it.
        """
        signature = self.signature(signature_name)
        if set(inputs) != set(signature.inputs):
            raise invalid(
                f"input size does not match signature, or an input's name: sent {sorted(inputs)}, "
                f"expected {sorted(signature.inputs)}."
            )
        for name in output_filter:
            if name not in signature.outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {name} Outputs expected to be "
                    f"in the set {{{','.join(sorted(signature.outputs))}}}."
                )
        if len(set(output_filter)) < len(output_filter):
            raise invalid("duplicate output tensor alias")
        outputs = list(output_filter) or sorted(signature.outputs)
        run = self._callable(
            tuple(signature.inputs[name].name for name in sorted(inputs)),
            tuple(signature.outputs[name].name for name in outputs),
        )
        try:
            values = run(*(inputs[name] for name in sorted(inputs)))
        except tf.errors.OpError as error:
            raise from_op_error(error) from error
        return dict(zip(outputs, values, strict=True))

    def _callable(self, feed, fetch):
        """Not `Session.run`: that checks and casts what it is fed, and rewords errors."""
        with self._lock:
            if (feed, fetch) not in self._callables:  # each optimizes its graph: once is enough
                options = config_pb2.CallableOptions(feed=feed, fetch=fetch)
                made = self._session._make_callable_from_options(options)
                self._callables[feed, fetch] = made
            return self._callables[feed, fetch]


def _warm_up(version, folder):
    """Replays a version's own requests, and returns how many there are.

    Raises:
        ServingError: one of them fails.
    """
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    if not path.exists():
        return 0
    count = 0
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(message) for name, message in request.inputs.items()}
        version.predict(request.model_spec.signature_name or "serving_default", inputs)
        count += 1
    return count


class Versions:
    """Serves the highest version in a folder, and looks for a higher one every few seconds."""

    def __init__(self, name, folder, poll_seconds):
        self.name = name
        self.statuses = {}  # number -> ModelVersionStatus, of those that went, too
        self._folder = pathlib.Path(folder)
        self._current = None
        self._closed = threading.Event()
        self._poll()
        self._thread = threading.Thread(target=self._watch, args=(poll_seconds,), daemon=True)
        self._thread.start()

    def close(self):
        self._closed.set()
        self._thread.join()

    def get(self, number=None):
        """The version of that number; None: the one that is served.

        Raises:
            ServingError: it is not served.
        """
        current = self._current
        if current is None or number not in (None, current.number):
            raise not_served(self.name, number)
        return current

    def _watch(self, poll_seconds):
        while not self._closed.wait(poll_seconds):
            self._poll()

    def _poll(self):
        numbers = [int(path.name) for path in self._folder.iterdir() if path.name.isdecimal()]
        if numbers and max(numbers) not in self.statuses:  # also not where loading failed once
            self._load(max(numbers))

    def _load(self, number):
        folder, previous = self._folder / str(number), self._current
        self._set_status(number, State.LOADING)
        try:
            version = Version(folder)
            warm_up_requests = _warm_up(version, folder)
        except (OSError, ServingError, tf.errors.OpError) as error:
            self._set_status(number, State.END, error)
            return
        self._current = version
        self._set_status(number, State.AVAILABLE)
        print(f"loaded version {number}, warm-up requests: {warm_up_requests}", flush=True)
        if previous:
            self._set_status(previous.number, State.END)

    def _set_status(self, number, state, error=None):
        status = get_model_status_pb2.ModelVersionStatus(version=number, state=state)
        status.status.error_code = grpc.StatusCode.OK.value[0]
        if error:
            status.status.error_code = grpc.StatusCode.UNKNOWN.value[0]
            status.status.error_message = str(error)
        self.statuses[number] = status
