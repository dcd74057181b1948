"""The clients, of a server and of an ONNX file, print features and parts."""

import os
import re
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from tests.export.exporting import ROOT, patch_vae
from tests.serving_double.serving import ServingDouble

CLIENTS = pytest.mark.parametrize(
    ("script", "interface"), [("rest_client.py", "rest"), ("grpc_client.py", "grpc")]
)


@pytest.fixture(scope="module")
def servers(patch_vae_version, beta_vae_version):
    """Doubles that serve a PatchVAE and a BetaVAE."""
    with (
        ServingDouble(patch_vae_version.parent) as patch,
        ServingDouble(beta_vae_version.parent, "beta") as beta,
    ):
        yield patch, beta


@CLIENTS
def test_clients_print_features_and_parts(run_anew, servers, images, outputs, script, interface):
    broken = images[0].parent / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no image")
    address = getattr(servers[0], interface)
    lines = run_anew(script, *images[:20], broken, f"--address={address}").splitlines()
    assert lines.pop() == f"{broken}: not an image that can be read"
    assert len(lines) == 20
    for path, line, pooled, occurrence in zip(
        images, lines, outputs["features"], outputs["occurrence"], strict=False
    ):
        name, first, parts = re.fullmatch(
            r"(.*): 128 features ((?:[\d.-]+ ){4})\.\.\.; parts (.*)", line
        ).groups()
        assert name == str(path)
        np.testing.assert_allclose([float(x) for x in first.split()], pooled[:4], atol=6e-4)
        highest = occurrence.max(axis=(0, 1))
        pairs = [part.split(": ") for part in parts.split(", ")]
        assert [int(part) for part, _ in pairs] == np.argsort(-highest)[:3].tolist()
        shares = [float(share.rstrip("%")) / 100 for _, share in pairs]
        np.testing.assert_allclose(shares, np.sort(highest)[::-1][:3], atol=6e-3)


@CLIENTS
def test_clients_of_a_model_without_parts(run, servers, images, script, interface):
    address = getattr(servers[1], interface)
    line = run(script, images[0], f"--address={address}", "--model=beta")
    assert re.fullmatch(r".*00\.png: 128 features ([\d.-]+ ){4}\.\.\.\n", line)


@CLIENTS
def test_clients_tell_what_is_wrong(error, servers, images, script, interface):
    address = f"--address={getattr(servers[0], interface)}"
    line = error(script, images[0], address, "--model=unknown")
    assert line.startswith("error: the server refuses (")
    assert "Servable not found for request: Latest(unknown)" in line
    assert error(script, "absent.png", address).endswith(
        "absent.png cannot be read: No such file or directory."
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    line = error(script, images[0], f"--address={nobody}")
    assert line.startswith(f"error: no answer from {nobody}")
    assert line.endswith("Give the right --address=HOST:PORT.")


def test_onnx_needs_no_tensorflow(elsewhere, images, outputs, tmp_path, error):
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    pytest.importorskip("tf2onnx", reason="the extra `onnx` is not installed")
    from patchvae_tf.saved_models import onnx_writing

    keras.utils.set_random_seed(0)  # the model whose SavedModel gave `outputs`
    pixels = np.stack([np.asarray(Image.open(path)) for path in images[:3]])
    version, _ = onnx_writing.export_onnx(patch_vae(), tmp_path, pixels)
    folder, environment = elsewhere
    for name in ("tensorflow", "keras"):
        (tmp_path / "absent" / name).mkdir(parents=True)
        (tmp_path / "absent" / name / "__init__.py").write_text("raise ImportError('not here')")
    absent = os.pathsep.join([str(tmp_path / "absent"), environment["PYTHONPATH"]])
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", ROOT / "examples/onnx_features.py"),
            *(version / "model.onnx", *images[:3]),
        ],
        cwd=folder, env={**environment, "PYTHONPATH": absent}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "onnxruntime" in imported
    assert not imported & {"tensorflow", "keras", "patchvae_tf"}
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for path, line, pooled in zip(images, lines, outputs["features"], strict=False):
        name, first = line.split(": 128 features ")
        assert name == str(path)
        np.testing.assert_allclose([float(x) for x in first.split()], pooled[:4], atol=6e-4)
    message = error("onnx_features.py", version / "model.onnx", version / "model.json")
    assert message.startswith(f"error: {version / 'model.json'} cannot be read: ")
