"""Models, images and feature files for the examples, and ways to run them."""

import json
import os
import runpy
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf
from PIL import Image

from tests import processes
from tests.export.exporting import ROOT, SIZE
from tests.testing_utils import random_images

FORMATS = pytest.mark.parametrize("suffix", [".parquet", ".npz"])


@pytest.fixture(scope="session")
def patch_vae_version(exported):
    """Folder of an exported PatchVAE."""
    return exported[1]


@pytest.fixture(scope="session")
def beta_vae_version(exported_beta_vae):
    """Folder of an exported BetaVAE."""
    return exported_beta_vae[1]


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Paths of image files, none alike but for the last: the third, a little brighter."""
    folder = tmp_path_factory.mktemp("images")
    arrays = (random_images(30, SIZE, seed=3) * 240).astype("uint8")
    arrays = np.concatenate([arrays, arrays[2:3] + 1])
    paths = [folder / f"{index:02}.png" for index in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    return paths


@pytest.fixture(scope="session")
def outputs(patch_vae_version, images):
    """What the PatchVAE says of the images, dict name -> array."""
    model = tf.saved_model.load(patch_vae_version)
    files = tf.constant([path.read_bytes() for path in images])
    answer = model.signatures["serving_bytes"](files)
    return {name: tensor.numpy() for name, tensor in answer.items()}


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """A working folder, and an environment in which our packages cannot be imported."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in processes.OURS:
        (folder / "absent" / name).mkdir(parents=True)
        (folder / "absent" / name / "__init__.py").write_text("raise ImportError('not here')")
    return folder, {**os.environ, "PYTHONPATH": str(folder / "absent")}


@pytest.fixture
def run(tmp_path):
    """Function (script, *arguments) -> what it printed; it must succeed."""

    def function(script, *arguments):
        done = processes.run(ROOT / "examples" / script, *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return function


@pytest.fixture
def run_anew(elsewhere):
    """The same in a new interpreter: once for each script that imports TensorFlow."""

    def function(script, *arguments):
        folder, environment = elsewhere
        command = [sys.executable, ROOT / "examples" / script, *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return function


@pytest.fixture
def error(monkeypatch):
    """Function (script, *arguments) -> the line with which it must exit.

    In this process: where many errors are tried, starting TensorFlow for each takes too long.
    """

    def function(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")
        (line,) = str(exit.value).splitlines()
        assert line.startswith("error: ")
        return line

    return function


def write_features(path, columns, class_names=None):
    """Writes a file of features as `python -m export.features` does.

    Args:
        path: ends in .parquet or .npz.
        columns: dict name -> array [n, ...].
        class_names: list of str, or None.
    """
    if path.suffix == ".npz":
        names = {} if class_names is None else {"class_names": np.array(class_names)}
        np.savez(path, **columns, **names)
        return
    fields, arrays = [], []
    for name, array in columns.items():
        metadata = None
        if array.ndim > 1:
            metadata = {"shape": json.dumps(array.shape[1:])}
            flat = pa.array(array.reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, array[0].size)
        else:
            column = pa.array(array.tolist())
        arrays.append(column)
        fields.append(pa.field(name, column.type, metadata=metadata))
    metadata = None if class_names is None else {"class_names": json.dumps(class_names)}
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))
    pyarrow.parquet.write_table(table, path, row_group_size=20)


def write_colours(folder, count=20):
    """Reddish and bluish images in a folder for each."""
    generator = np.random.default_rng(0)
    for index, name in enumerate(("red", "blue")):
        (folder / name).mkdir(parents=True)
        pixels = generator.integers(0, 60, (count, SIZE, SIZE + 5, 3), dtype=np.uint8)
        pixels[..., 2 * index] += 150
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(folder / name / f"{number}.png")
