"""Image features from a model behind TensorFlow Serving, over gRPC.

    pip install tensorflow-serving-api
    python grpc_client.py IMAGE... [--address=localhost:8500] [--model=patchvae]

Sends image files as they are (JPEG, PNG, GIF, BMP, WEBP; any size). Prints for each the first of
its features and, of a PatchVAE, the parts most present, with their highest probability.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

FILES_A_REQUEST = 64
TIMEOUT = 60  # seconds
NO_LIMIT = [("grpc.max_receive_message_length", -1)]  # else an answer may hold 4 MB at most


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", metavar="IMAGE", type=pathlib.Path)
    parser.add_argument("--address", default="localhost:8500", help="HOST:PORT of the server")
    parser.add_argument("--model", default="patchvae", help="the model's name on the server")
    flags = parser.parse_args()
    with grpc.insecure_channel(flags.address, options=NO_LIMIT) as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for start in range(0, len(flags.images), FILES_A_REQUEST):
            paths = flags.images[start : start + FILES_A_REQUEST]
            outputs = predict(service, flags.address, flags.model, read(paths))
            for index, path in enumerate(paths):
                row = {name: array[index] for name, array in outputs.items()}
                print(f"{path}: {description(row)}")


def read(paths):
    """The files' bytes."""
    try:
        return [path.read_bytes() for path in paths]
    except OSError as error:
        sys.exit(f"error: {error.filename} cannot be read: {error.strerror}.")


def predict(service, address, model, files):
    """Asks the server.

    Args:
        service: PredictionServiceStub.
        address: str, for the error's line.
        model: str.
        files: list of n bytes, whole image files.

    Returns:
        dict output name -> array: `valid` [n], whether it is an image; `features` [n, 128]; of a
        PatchVAE also `occurrence` [n, rows, columns, parts], probabilities; and more.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "serving_bytes"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files))
    try:
        response = service.Predict(request, TIMEOUT)
    except grpc.RpcError as error:
        message = (error.details() or "").splitlines()[0]
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            sys.exit(f"error: no answer from {address}. Give the right --address=HOST:PORT.")
        sys.exit(f"error: the server refuses ({error.code().name}): {message}")
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def description(row):
    """One line about a file, from its row of the answer."""
    if not row["valid"]:
        return "not an image that can be read"
    first = " ".join(f"{value:.3f}" for value in row["features"][:4])
    line = f"{len(row['features'])} features {first} ..."
    return f"{line}; parts {strongest_parts(row['occurrence'])}" if "occurrence" in row else line


def strongest_parts(occurrence):
    """The three parts whose highest probability over the places is highest, e.g. "7: 98%"."""
    highest = occurrence.max(axis=(0, 1))  # [parts]
    best = np.argsort(-highest, kind="stable")[:3]
    return ", ".join(f"{number}: {highest[number]:.0%}" for number in best)


if __name__ == "__main__":
    main()
