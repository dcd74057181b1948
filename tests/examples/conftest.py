"""Models, images and feature files for the examples."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf
from PIL import Image

from tests.export.exporting import SIZE
from tests.testing_utils import random_images


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
