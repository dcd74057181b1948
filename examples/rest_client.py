"""Image features from a model behind TensorFlow Serving, over REST.

    python rest_client.py IMAGE... [--address=localhost:8501] [--model=patchvae]

Sends image files as they are (JPEG, PNG, GIF, BMP, WEBP; any size). Prints for each the first of
its features and, of a PatchVAE, the parts most present, with their highest probability. Needs
nothing but Python.
"""

import argparse
import base64
import json
import pathlib
import sys
import urllib.error
import urllib.request

FILES_A_REQUEST = 16  # an answer holds every output, as text: some 100 KB a file


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", metavar="IMAGE", type=pathlib.Path)
    parser.add_argument("--address", default="localhost:8501", help="HOST:PORT of the server")
    parser.add_argument("--model", default="patchvae", help="the model's name on the server")
    flags = parser.parse_args()
    for start in range(0, len(flags.images), FILES_A_REQUEST):
        paths = flags.images[start : start + FILES_A_REQUEST]
        for path, row in zip(paths, predict(flags.address, flags.model, read(paths)), strict=True):
            print(f"{path}: {description(row)}")


def read(paths):
    """The files' bytes."""
    try:
        return [path.read_bytes() for path in paths]
    except OSError as error:
        sys.exit(f"error: {error.filename} cannot be read: {error.strerror}.")


def predict(address, model, files):
    """Asks the server.

    Args:
        address: str, "HOST:PORT".
        model: str.
        files: list of bytes, whole image files.

    Returns:
        A dict for each file: `valid`, whether it is an image; `features`, 128 numbers; of a
        PatchVAE also `occurrence` [rows, columns, parts], probabilities; and more.
    """
    instances = [{"b64": base64.b64encode(file).decode()} for file in files]
    body = json.dumps({"signature_name": "serving_bytes", "instances": instances}).encode()
    url = f"http://{address}/v1/models/{model}:predict"
    try:
        # A connection of its own: on one that is kept open Linux would delay each answer by 40 ms.
        with urllib.request.urlopen(url, body) as response:
            return json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        sys.exit(f"error: the server refuses ({error.code}): {error.read().decode()[:300]}")
    except (OSError, ValueError) as error:  # nobody there, or no HTTP, or no address
        sys.exit(f"error: no answer from {address} ({error}). Give the right --address=HOST:PORT.")


def description(row):
    """One line about a file, from its row of the answer."""
    if not row["valid"]:
        return "not an image that can be read"
    first = " ".join(f"{value:.3f}" for value in row["features"][:4])
    line = f"{len(row['features'])} features {first} ..."
    return f"{line}; parts {strongest_parts(row['occurrence'])}" if "occurrence" in row else line


def strongest_parts(occurrence):
    """The three parts whose highest probability over the places is highest, e.g. "7: 98%"."""
    places = [place for row in occurrence for place in row]  # each: a probability for each part
    highest = enumerate(max(column) for column in zip(*places, strict=True))
    best = sorted(highest, key=lambda part: -part[1])[:3]
    return ", ".join(f"{number}: {probability:.0%}" for number, probability in best)


if __name__ == "__main__":
    main()
