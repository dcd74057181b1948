"""Clients of the exported model over gRPC and REST.

The same tests run against the test double and, where its addresses are given, a real server:

    TFSERVING_REST=localhost:8501 TFSERVING_GRPC=localhost:8500 python -m pytest \\
        tests/export/test_serving.py

TFSERVING_MODEL is the model's name, if not patchvae. TFSERVING_EXPORT, if given, is the folder of
the version that is served: answers are then held against it, and else against each other. The
server must not batch: a bad request would then fail those it is joined with. Eight clients ask at
once: on two cores give the server `--grpc_max_threads=64`, or it refuses some of them with
RESOURCE_EXHAUSTED.
"""

import concurrent.futures
import json
import os
import pathlib
import random
import subprocess
import sys

import grpc
import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf.saved_models import signatures
from tests.export.exporting import CLOSE, ROOT, SIZE, assert_same, examples_of
from tests.export.serving_clients import Server, input_of, jsonable
from tests.testing_utils import random_images

BAD = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module", params=["double", "real"])
def server(request):
    if request.param == "real":
        yield _real_server()
        return
    exported, loaded = (request.getfixturevalue(name) for name in ("exported", "loaded"))
    arguments = [f"--model_dir={exported[1].parent}", "--rest_port=0", "--grpc_port=0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serving_double", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline().startswith("loaded version 1, warm-up requests: ")
        words = process.stdout.readline().replace(",", "").split()
        rest, rpc = (words[words.index(name) + 1] for name in ("REST", "gRPC"))
        yield Server(rest, rpc, "patchvae", SIZE, loaded)
    finally:
        process.terminate()
        process.wait()


def _real_server():
    if not ("TFSERVING_REST" in os.environ and "TFSERVING_GRPC" in os.environ):
        pytest.skip("TFSERVING_REST and TFSERVING_GRPC name no real server")
    size, local = SIZE, None
    if "TFSERVING_EXPORT" in os.environ:
        folder = pathlib.Path(os.environ["TFSERVING_EXPORT"])
        size = json.loads((folder / "model.json").read_text())["image_size"]
        local = tf.saved_model.load(folder)
    model = os.environ.get("TFSERVING_MODEL", "patchvae")
    return Server(os.environ["TFSERVING_REST"], os.environ["TFSERVING_GRPC"], model, size, local)


@pytest.fixture(scope="module")
def batches(server, files):
    """Signature name -> a batch that it takes."""
    images = random_images(3, server.image_size, seed=7)
    shape = [dim.size for dim in server.metadata()["decode"].inputs["latent"].tensor_shape.dim]
    places = server.image_size // 8
    shape = [3, *(places if side == -1 else side for side in shape[1:])]
    latent = np.random.default_rng(0).normal(size=shape).astype("float32")
    return dict.fromkeys(signatures.NAMES, images) | {
        "serving_bytes": files,
        "serving_examples": examples_of(files),
        "decode": latent,
    }


@pytest.mark.parametrize("signature", signatures.NAMES)
def test_grpc_answers_as_the_model(server, batches, signature):
    batch = batches[signature]
    assert_same(server.predict(signature, batch), server.expected(signature, batch), **CLOSE)


@pytest.mark.parametrize("signature", signatures.NAMES)
def test_rest_answers_rows_and_columns_as_the_model(server, batches, signature):
    batch = batches[signature]
    expected, rows = server.expected(signature, batch), jsonable(batch)
    named_rows = [{input_of(signature): row} for row in rows]
    for body in ({"instances": rows}, {"instances": named_rows}):
        status, answer = server.http_predict({"signature_name": signature, **body})
        assert status == 200
        (predictions,) = answer.values()
        if len(expected) > 1:
            assert all(set(row) == set(expected) for row in predictions)
            columns = {name: [row[name] for row in predictions] for name in expected}
        else:  # a single output comes without its name
            columns = dict.fromkeys(expected, predictions)
        assert_same(columns, expected, **CLOSE)
    for inputs in (rows, {input_of(signature): rows, "unknown": 1}):
        status, answer = server.http_predict({"signature_name": signature, "inputs": inputs})
        assert status == 200
        columns = answer["outputs"]
        columns = columns if len(expected) > 1 else dict.fromkeys(expected, columns)
        assert_same(columns, expected, **CLOSE)


def test_without_a_name_the_default_signature_answers(server, batches):
    images = batches["serving_default"]
    expected = server.expected("serving_default", images)
    status, answer = server.http_predict({"instances": jsonable(images)})
    assert status == 200
    features = [row["features"] for row in answer["predictions"]]
    np.testing.assert_allclose(features, expected["features"], **CLOSE)
    request = server.request("", images, inputs={"images": images})
    response = server.predictions.Predict(request)
    assert response.model_spec.signature_name == "serving_default"
    features = tf.make_ndarray(response.outputs["features"])
    np.testing.assert_allclose(features, expected["features"], **CLOSE)


def test_a_broken_file_leaves_the_others_as_they_are(server, files):
    readable = [index for index in range(len(files)) if index not in (1, 4)]
    alone = server.predict("serving_bytes", [files[index] for index in readable])
    rows = jsonable(files)
    status, answer = server.http_predict({"signature_name": "serving_bytes", "instances": rows})
    assert status == 200
    rows = answer["predictions"]
    assert [row["valid"] for row in rows] == [index in readable for index in range(len(files))]
    features = np.array([row["features"] for row in rows])
    np.testing.assert_allclose(features[readable], alone["features"], **CLOSE)
    np.testing.assert_allclose(features[1], features[4], **CLOSE)
    assert np.abs(features[1] - features[0]).max() > 1e-3


def test_any_batch_and_size(server):
    for count, height, width in ((1, 16, 16), (2, 24, 32), (17, 16, 16), (0, 16, 16)):
        images = random_images(count, 32, seed=count)[:, :height, :width]
        answer = server.predict("serving_default", images)
        if count:
            assert_same(answer, server.expected("serving_default", images), **CLOSE)
        assert answer["features"].shape == (count, 128)
        assert answer["feature_map"].shape == (count, height // 8, width // 8, 128)


def test_messages_of_many_megabytes(server):
    images = random_images(12, 192)  # 5 MB: beyond gRPC's own limit of 4
    answer = server.predict("serving_default", images, output_filter=["features"])
    assert {name: array.shape for name, array in answer.items()} == {"features": (12, 128)}
    expected = server.expected("serving_default", images)["features"]
    np.testing.assert_allclose(answer["features"], expected, **CLOSE)
    assert server.predict("stages", images)["conv1"].shape == (12, 48, 48, 64)  # 7 MB


def test_metadata_names_every_signature_with_its_shapes(server):
    status, answer = server.http(f"/v1/models/{server.model}/metadata")
    assert status == 200
    assert answer["model_spec"]["name"] == server.model
    over_rest = answer["metadata"]["signature_def"]["signature_def"]
    over_grpc = server.metadata()
    assert set(signatures.NAMES) <= set(over_rest)
    assert set(over_rest) == set(over_grpc)

    def shapes(tensors):
        return {
            name: (info.dtype, [dim.size for dim in info.tensor_shape.dim])
            for name, info in tensors.items()
        }

    number, text, truth = (tf.dtypes.as_dtype(name) for name in ("float32", "string", "bool"))
    default = over_grpc["serving_default"]
    assert shapes(default.inputs) == {"images": (number.as_datatype_enum, [-1, -1, -1, 3])}
    outputs = shapes(default.outputs)
    assert outputs["features"] == (number.as_datatype_enum, [-1, 128])
    assert outputs["feature_map"] == (number.as_datatype_enum, [-1, -1, -1, 128])
    if server.local is not None:
        assert set(outputs) == set(server.local.signatures["serving_default"].structured_outputs)
    files = over_grpc["serving_bytes"]
    assert shapes(files.inputs) == {"image_bytes": (text.as_datatype_enum, [-1])}
    assert shapes(files.outputs)["valid"] == (truth.as_datatype_enum, [-1])
    for name in signatures.NAMES:
        for side in ("inputs", "outputs"):
            for tensor, info in over_rest[name][side].items():
                sizes = [int(dim["size"]) for dim in info["tensor_shape"].get("dim", [])]
                assert sizes == shapes(getattr(over_grpc[name], side))[tensor][1]


def test_status_says_what_is_served(server):
    status, answer = server.http(f"/v1/models/{server.model}")
    assert status == 200
    versions = {row["version"]: row["state"] for row in answer["model_version_status"]}
    assert "AVAILABLE" in versions.values()
    assert versions == {str(number): state for number, state in server.states().items()}
    status, answer = server.http("/v1/models/unknown")
    assert status == 404
    assert "unknown" in answer["error"]


def _image(*shape, value=0.5):
    return np.full(shape, value, np.float32)


WRONG_IMAGES = {
    "size": (_image(2, 20, 16, 3), "multiples of 8: resize them. Received shape:] [2 20 16 3]"),
    "8-bit": (_image(1, 16, 16, 3, value=255), "divide 8-bit values by 255"),
    "negative": (_image(1, 16, 16, 3, value=-0.5), "must hold values in [0, 1]"),
    "NaN": (_image(1, 16, 16, 3, value=np.nan), "must hold values in [0, 1] and no NaN"),
}


@pytest.mark.parametrize("case", WRONG_IMAGES)
@pytest.mark.parametrize("signature", ["serving_default", "stages", "reconstruct"])
def test_wrong_images_are_refused_with_the_way_out(server, signature, case):
    images, message = WRONG_IMAGES[case]
    if (signature, case) == ("reconstruct", "size") and not _reconstructs_any_size(server):
        message = "as in training"
    code, details = server.refusal(signature, images)
    assert code == BAD
    assert message in details
    body = {"signature_name": signature, "inputs": images.tolist()}
    status, answer = server.http_predict(body)
    assert status == 400
    assert message in answer["error"]


def test_a_code_that_is_not_finite_is_refused(server, batches):
    latent = batches["decode"].copy()
    latent.flat[5] = np.nan
    code, details = server.refusal("decode", latent)
    assert (code, "must hold finite numbers, no NaN" in details) == (BAD, True)
    # Over REST a bare NaN, which is no JSON, is either understood or not: it is never answered.
    body = {"signature_name": "decode", "inputs": latent.tolist()}
    status, answer = server.http_predict(body)
    assert (status, list(answer)) == (400, ["error"])


def _reconstructs_any_size(server):
    return "occurrence" in server.metadata()["serving_default"].outputs


def test_grpc_refuses_what_does_not_fit_the_signature(server):
    images, default = _image(1, 16, 16, 3), "serving_default"
    not_found = grpc.StatusCode.NOT_FOUND
    half = server.request(default, images)
    half.inputs["images"].tensor_content = half.inputs["images"].tensor_content[:100]
    for fields, code in (
        ({"name": "unknown"}, not_found),
        ({"version": 987654}, not_found),
        ({"inputs": {"image": images}}, BAD),
        ({"inputs": {}}, BAD),
        ({"inputs": {"images": images, "more": images}}, BAD),
        ({"inputs": {"images": images.astype("float64")}}, BAD),
        ({"inputs": {"images": images.astype("uint8")}}, BAD),
        ({"inputs": {"images": [b"text"]}}, BAD),
        ({"output_filter": ["unknown"]}, BAD),
        ({"output_filter": ["features", "features"]}, BAD),
    ):
        assert server.refusal(default, images, **fields)[0] == code, fields
    assert server.refusal("serving_bytes", images)[0] == BAD
    code, details = server.refusal("unknown", images, inputs={"images": images})
    assert (code, "unknown" in details) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    with pytest.raises(grpc.RpcError) as refused:
        server.predictions.Predict(half)
    assert refused.value.code() == BAD
    assert set(server.predict(default, images, output_filter=["features"])) == {"features"}


def test_rest_refuses_what_does_not_fit_the_signature(server):
    row = _image(16, 16, 3).tolist()
    for body in (
        {"instances": []},
        {"instances": row[0][0][0]},
        {"instances": [row], "inputs": [row]},
        {},
        [],
        b"",
        b"{",
        {"instances": [row], "signature_name": "unknown"},
        {"instances": [row], "signature_name": 1},
        {"instances": [{"image": row}]},
        {"instances": [{"images": row, "more": row}]},
        {"instances": [{"images": row}, row]},
        {"inputs": {"image": [row]}},
        {"instances": [row, row[:8]]},
        {"instances": [["text"]]},
        {"instances": [{"b64": "AAAA"}]},
        {"instances": [{"b64": "!"}], "signature_name": "serving_bytes"},
        {"instances": [{"b64": 1}], "signature_name": "serving_bytes"},
        {"instances": [1.5], "signature_name": "serving_bytes"},
    ):
        status, answer = server.http_predict(body)
        assert (status, list(answer)) == (400, ["error"]), body
    body = {"instances": [row]}
    assert server.http_predict(body, model="unknown")[0] == 404
    assert server.http_predict(body, version=987654)[0] == 404
    assert server.http(f"/v1/models/{server.model}/versions/987654/metadata")[0] == 404
    assert server.http(f"/v1/models/{server.model}:predict")[0] in (400, 405)  # not a POST


def test_many_clients_at_once_each_get_their_own_answer(server, files):
    seeds, count = range(6), 240
    images = {seed: random_images(2, SIZE, seed) for seed in seeds}
    known = {seed: server.expected("serving_default", images[seed]) for seed in seeds}
    stages = {seed: server.expected("stages", images[seed]) for seed in seeds}
    of_files = server.expected("serving_bytes", files)

    def default(seed):
        answer = server.predict("serving_default", images[seed])
        assert_same(answer, known[seed], **CLOSE)

    def over_rest(seed):
        status, answer = server.http_predict({"inputs": images[seed].tolist()})
        assert status == 200
        assert_same(answer["outputs"], known[seed], **CLOSE)

    def maps(seed):
        assert_same(server.predict("stages", images[seed]), stages[seed], **CLOSE)

    def whole_files(seed):
        order = np.random.default_rng(seed).permutation(len(files))
        answer = server.predict("serving_bytes", [files[index] for index in order])
        assert_same(answer, {name: value[order] for name, value in of_files.items()}, **CLOSE)

    def wrong_size(seed):
        code, details = server.refusal("serving_default", images[seed][:, : 9 + seed // 2])
        assert (code, "multiples of 8" in details) == (BAD, True)

    def wrong_values(seed):
        body = {"instances": (images[seed] * 255).tolist()}
        status, answer = server.http_predict(body)
        assert (status, "by 255" in answer["error"]) == (400, True)

    def wrong_signature(seed):
        code, _ = server.refusal(f"unknown{seed}", images[seed])
        assert code == grpc.StatusCode.FAILED_PRECONDITION

    kinds = [default, over_rest, maps, whole_files, wrong_size, wrong_values, wrong_signature]
    tasks = [(kinds[index % len(kinds)], index % len(seeds)) for index in range(count)]
    random.Random(0).shuffle(tasks)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda task: task[0](task[1]), tasks))
    assert len(done) == count


@pytest.mark.parametrize(
    ("signature", "shape"),
    [
        *(("serving_default", shape) for shape in ((16, 16, 3), (1, 16, 16), (1, 16, 16, 3, 1))),
        *(("serving_default", (1, 16, 16, channels)) for channels in (0, 1, 4, 6)),
        *(("serving_bytes", shape) for shape in ((), (1, 1))),
        *(("decode", shape) for shape in ((), (4,), (1, 4), (1, 4, 4), (1, 2, 2, 16))),
    ],
)
def test_wrong_shapes_are_refused(server, signature, shape):
    value = b"" if signature == "serving_bytes" else np.float32(0.5)
    code, details = server.refusal(signature, np.full(shape, value))
    assert (code, "not compatible with expected shape [?" in details) == (BAD, True)
    # ... and the server is still there: some operations end the process.
    assert server.predict("serving_bytes", [b""])["valid"].tolist() == [False]
