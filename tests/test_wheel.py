"""The wheel in an environment of its own: one command, from any folder."""

import pathlib
import site
import subprocess
import sys
import venv
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import pretrained
from tests.testing_utils import random_images

ROOT = pathlib.Path(__file__).parents[1]
SMALL = ("--image_size=16", "--num_parts=2", "--batch_size=8", "--epochs=1", "--noreport")


@pytest.mark.slow
def test_a_wheel_trains_exports_and_extracts_from_another_folder(tmp_path):
    def run(*command):
        done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", ROOT, "--no-deps", "--quiet", "--wheel-dir=.")
    (wheel,) = tmp_path.glob("*.whl")
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"patchvae_tf"}

    # What the wheel stands on is taken from here: only the package itself is new.
    venv.create(tmp_path / "new", with_pip=True)
    names = zipfile.ZipFile(wheel).namelist()
    for name in pretrained.names():  # the presets are in it, whole
        for file in (pretrained.FACTS, pretrained.WEIGHTS, pretrained.CARD):
            assert f"patchvae_tf/pretrained/{name}/{file}" in names
    bin_dir = tmp_path / "new/bin"
    run(bin_dir / "python", "-m", "pip", "install", "--no-deps", "--quiet", wheel)
    (own,) = (tmp_path / "new").glob("lib/python*/site-packages")
    (own / "shared.pth").write_text("\n".join(site.getsitepackages()))

    images = (random_images(24, 16) * 255).astype("uint8")
    np.savez(tmp_path / "images.npz", x_train=images)
    patchvae = bin_dir / "patchvae"
    listed = run(patchvae, "--help")
    for command in ("train", "export", "features", "transfer", "probe", "report", "demo"):
        assert f"  patchvae {command} " in listed
    asked = "import patchvae_tf; print(*patchvae_tf.presets(), sep=',')"
    assert run(bin_dir / "python", "-c", asked).strip() == ",".join(pretrained.names())
    run(
        patchvae, "features", f"--saved_model={pretrained.names()[0]}", "--dataset=images.npz",
        "--output=of-preset.npz",
    )  # fmt: skip
    assert np.load(tmp_path / "of-preset.npz")["features"].shape == (24, 128)
    run(patchvae, "train", "--dataset=images.npz", "--run_dir=run", "--noexport", *SMALL)
    run(patchvae, "export", "--run_dir=run")
    run(patchvae, "features", "--saved_model=run", "--dataset=images.npz", "--output=out.npz")
    model = tf.saved_model.load(str(tmp_path / "run/export/1"))
    expected = model(tf.constant(images / np.float32(255)))
    found = np.load(tmp_path / "out.npz")["features"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
