"""Fixtures for all tests, and two logical processors, so that replicas can be tried anywhere."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


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
