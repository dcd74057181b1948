"""The test double as such: what it does with new versions, and with models unlike ours."""

import base64
import json
import shutil
import time
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from patchvae_tf.saved_models import signatures
from tests import processes
from tests.export.exporting import CLOSE, SIZE, assert_same, examples_of
from tests.export.serving_clients import Server
from tests.serving_double.serving import ServingDouble
from tests.testing_utils import random_images


def _serve(folder, **kwargs):
    return ServingDouble(folder, poll_seconds=0.05, **kwargs)


def _client(double, local=None):
    return Server(double.rest, double.grpc, "patchvae", SIZE, local)


def _wait_until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_beta_vae_is_served(exported_beta_vae, files):
    _, version = exported_beta_vae
    local = tf.saved_model.load(version)
    images, latent = random_images(2, SIZE), np.ones((2, 5), np.float32)
    with _serve(version.parent) as double:
        server = _client(double, local)
        for signature in signatures.NAMES:
            others = {
                "serving_bytes": files,
                "serving_examples": examples_of(files),
                "decode": latent,
            }
            batch = others.get(signature, images)
            answer = server.predict(signature, batch)
            assert_same(answer, server.expected(signature, batch), **CLOSE)
        status, answer = server.http_predict({"instances": images.tolist()})
        assert status == 200
        assert set(answer["predictions"][0]) == {"features", "feature_map"}
        _, details = server.refusal("reconstruct", random_images(1, 24))
        assert "16, as in training" in details


def test_a_new_version_takes_the_old_ones_place(exported_beta_vae, exported, loaded, tmp_path):
    images = random_images(1, SIZE)
    body = {"instances": images.tolist()}
    shutil.copytree(exported_beta_vae[1], tmp_path / "1")
    with _serve(tmp_path) as double:
        server = _client(double, loaded)
        assert server.states() == {1: "AVAILABLE"}
        assert "occurrence" not in server.predict("serving_default", images)
        assert server.http_predict(body, version=1)[0] == 200
        assert server.http_predict(body, version=2)[0] == 404

        shutil.copytree(exported[1], tmp_path / ".export-2")
        time.sleep(0.2)
        assert server.states() == {1: "AVAILABLE"}  # whole, but not yet under its name
        (tmp_path / ".export-2").rename(tmp_path / "2")
        _wait_until(lambda: server.states() == {1: "END", 2: "AVAILABLE"})
        answer = server.predict("serving_default", images, version=2)
        assert_same(answer, server.expected("serving_default", images), **CLOSE)
        assert server.http_predict(body, version=1)[0] == 404
        assert server.http(f"/v1/models/{server.model}/versions/1/metadata")[0] == 404


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(exported, tmp_path):
    shutil.copytree(exported[1], tmp_path / "1")
    with _serve(tmp_path) as double:
        server = _client(double)
        (tmp_path / "2").mkdir()  # taken at once, though nothing is in it yet
        _wait_until(lambda: server.states().get(2) == "END")
        assert server.states()[1] == "AVAILABLE"
        status, answer = server.http("/v1/models/patchvae/versions/2")
        assert status == 200
        assert "SavedModel" in answer["model_version_status"][0]["status"]["error_message"]
        assert server.predict("serving_bytes", [b""])["valid"].tolist() == [False]


def test_a_warm_up_request_that_fails_fails_the_version(exported, tmp_path):
    shutil.copytree(exported[1], tmp_path / "1")
    _write_warm_up(tmp_path / "1", np.zeros((1, 20, 16, 3), np.float32))
    with _serve(tmp_path) as double:
        server = _client(double)
        status, answer = server.http("/v1/models/patchvae")
        (version,) = answer["model_version_status"]
        assert (status, version["state"]) == (200, "END")
        assert "multiples of 8" in version["status"]["error_message"]
        assert server.http_predict({"instances": [0]})[0] == 404


def _write_warm_up(version, images):
    request = predict_pb2.PredictRequest()
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())


class _Odd(tf.Module):
    """Outputs that ours have not: text, bytes, NaN, and one without the batch."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def one(self, x):
        return {"only": tf.math.log(x)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "x"),
            tf.TensorSpec([None], tf.string, "text"),
        ]
    )
    def several(self, x, text):
        return {"name": text, "raw_bytes": text, "positive": x > 0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def unbatched(self, x):
        return {"sum": tf.reduce_sum(x), "x": x}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    module = _Odd()
    functions = {name: getattr(module, name) for name in ("one", "several", "unbatched")}
    tf.saved_model.save(module, folder / "1", signatures=functions)
    with _serve(folder) as double:
        yield _client(double)


def test_a_single_output_has_no_name_and_nan_is_bare(odd):
    body = json.dumps({"signature_name": "one", "instances": [1.0, -1.0, 0.0]}).encode()
    url = f"http://{odd.rest}/v1/models/patchvae:predict"
    with urllib.request.urlopen(url, body) as response:
        assert response.read() == b'{"predictions": [0.0, NaN, -Infinity]}'
    body = {"signature_name": "one", "inputs": {"x": [1.0], "y": 2}}
    assert odd.http_predict(body) == (200, {"outputs": [0.0]})


def test_text_and_bytes(odd):
    raw = {"b64": base64.b64encode("ä".encode()).decode()}
    rows = [{"x": 1, "text": "ä"}, {"x": -1, "text": raw}]
    status, answer = odd.http_predict({"signature_name": "several", "instances": rows})
    assert status == 200
    assert answer["predictions"] == [
        {"name": "ä", "positive": True, "raw_bytes": raw},
        {"name": "ä", "positive": False, "raw_bytes": raw},
    ]
    columns = {"x": [1.0], "text": [raw]}
    status, answer = odd.http_predict({"signature_name": "several", "inputs": columns})
    assert answer == {"outputs": {"name": ["ä"], "positive": [True], "raw_bytes": [raw]}}


def test_bytes_that_are_no_text_break_the_json(odd):
    raw = {"b64": base64.b64encode(b"\xff").decode()}
    body = {"signature_name": "several", "inputs": {"x": [1.0], "text": [raw]}}
    with pytest.raises(UnicodeDecodeError):
        odd.http_predict(body)


def test_several_inputs_must_be_named(odd):
    for body in ({"instances": [1.0]}, {"inputs": [1.0]}, {"inputs": {"x": [1.0]}}):
        assert odd.http_predict({"signature_name": "several", **body})[0] == 400


def test_rows_need_the_batch_in_every_output(odd):
    body = {"signature_name": "unbatched", "instances": [1.0, 2.0]}
    assert odd.http_predict(body)[0] == 400
    body = {"signature_name": "unbatched", "inputs": [1.0, 2.0]}
    assert odd.http_predict(body) == (200, {"outputs": {"sum": 3.0, "x": [1.0, 2.0]}})


def test_a_port_that_is_taken_is_an_error(odd, tmp_path):
    with pytest.raises(OSError, match="Address already in use"):
        _serve(tmp_path, rest_port=int(odd.rest.split(":")[1]))
    with pytest.raises(RuntimeError, match="bind"):
        _serve(tmp_path, grpc_port=int(odd.grpc.split(":")[1]))


def test_the_command_tells_of_a_wrong_folder(tmp_path):
    done = processes.run("tests.serving_double", f"--model_dir={tmp_path}/absent")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: --model_dir {tmp_path}/absent is no folder: give the one with the versions."
    ]
