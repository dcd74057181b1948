"""Fixtures for all tests, and two logical processors, so that replicas can be tried anywhere.

The exported models are made once for the session: no test may change one, or write into its folder.
"""

import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest
import tensorflow as tf

from patchvae_tf.saved_models import writing as saved_model
from tests.export import exporting

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_collection_finish():
    """What is imported by now stays: the garbage collector need not look at it again and again."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _memory_given_back():
    """Traced functions lie in cycles, large and few: Python would look for them too seldom."""
    yield
    gc.collect()


def pytest_runtest_setup():
    """Before a test and its fixtures: models that name no seed have the same weights each time."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def two_replicas():
    """A strategy of two replicas on the processor.

    One for the session: a second one would count its collective operations from 0 again, and take
    the first one's for its own.
    """
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """(model, version): a PatchVAE with an optimizer, and what the command made of it."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    run_dir.mkdir()
    keras.utils.set_random_seed(0)
    model = exporting.patch_vae()
    model.compile(optimizer=keras.optimizers.Adam())
    model.save(run_dir / "model.keras")
    done = exporting.python("-m", "export.saved_model", f"--run_dir={run_dir}", cwd=exporting.ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"wrote {run_dir}/export/1",
        "signatures: serving_default, serving_bytes, serving_examples, stages, reconstruct, decode",
    ]
    return model, run_dir / "export/1"


@pytest.fixture(scope="session")
def exported_beta_vae(tmp_path_factory):
    """(model, version): a BetaVAE, exported with the record of a run."""
    keras.utils.set_random_seed(0)
    model = exporting.beta_vae()
    folder = tmp_path_factory.mktemp("beta_vae")
    return model, saved_model.export_model(model, folder, exporting.RECORD)


@pytest.fixture(scope="session")
def test_data():
    """Function name -> path of a real data set, or a skip with the reason."""
    root = pathlib.Path(__file__).parents[1]
    folder = root / os.environ.get("PATCHVAE_TEST_DATA", "../shared/data")

    def find(name):
        path = folder / name
        if not path.exists():
            pytest.skip(f"no {name} in PATCHVAE_TEST_DATA ({folder})")
        return path

    return find
