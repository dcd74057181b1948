from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import InputError, interruption
from patchvae_tf.cluster.workers import Cluster
from patchvae_tf.training import devices
from patchvae_tf.training.execution import Execution
from tests.trainers import plain_training


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ([], "float32"),
        ([(7, 5)], "float32"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(9, 0), (8, 6)], "mixed_bfloat16"),
        ([(9, 0), (7, 0)], "float32"),
        ([None], "float32"),
    ],
)
def test_auto_picks_bfloat16_where_every_gpu_multiplies_it(capabilities, expected):
    details = [{"compute_capability": one} if one else {} for one in capabilities]
    with (
        mock.patch.object(tf.config, "list_physical_devices", return_value=capabilities),
        mock.patch.object(tf.config.experimental, "get_device_details", side_effect=details),
    ):
        assert devices.dtype_policy("auto") == expected
        assert devices.dtype_policy("float32") == "float32"
        assert devices.dtype_policy("mixed_bfloat16") == "mixed_bfloat16"


def test_a_batch_must_be_shared_out_evenly():
    devices.check_batch(12, 4)
    with pytest.raises(InputError, match="multiple of the 4 devices .* Received: 13. Use e.g. 16"):
        devices.check_batch(13, 4)


def _strategy_of_one(kind):
    """The strategy where there is one device of a kind; a processor takes a GPU's place."""
    one = [tf.config.list_logical_devices("CPU")[0]]
    found = {kind: one}
    with mock.patch.object(tf.config, "list_logical_devices", lambda kind: found.get(kind, [])):
        return devices.strategy()


def test_several_devices_get_a_mirrored_strategy():
    # The tests run with two logical processors.
    assert devices.strategy().num_replicas_in_sync == 2
    assert _strategy_of_one("CPU") is tf.distribute.get_strategy()


def test_one_gpu_gets_its_batches_ahead_and_learns_the_same():
    strategy = _strategy_of_one("GPU")
    assert isinstance(strategy, tf.distribute.OneDeviceStrategy)
    options = Cluster(), Execution(checkpoint_minutes=60.0), interruption.StopRequest()
    fetched, plain = (
        plain_training.train("patchvae", options[0], each, *options[1:])
        for each in (strategy, tf.distribute.get_strategy())
    )
    for one_weight, other in zip(fetched[0], plain[0], strict=True):
        np.testing.assert_array_equal(one_weight, other)
    assert plain[1] > 1e-4


def test_the_record_names_machine_and_versions():
    assert devices.description()
    assert devices.versions()["numpy"] == np.__version__
    assert set(devices.versions()) == {"patchvae_tf", "tensorflow", "keras", "numpy"}
