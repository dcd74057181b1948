from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from patchvae_tf import InputError
from trainers import devices


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


def test_several_devices_get_a_mirrored_strategy():
    # The tests run with two logical processors.
    assert devices.strategy().num_replicas_in_sync == 2
    one = [tf.config.list_logical_devices("CPU")[0]]
    with mock.patch.object(tf.config, "list_logical_devices", return_value=one):
        assert devices.strategy() is tf.distribute.get_strategy()


def test_the_record_names_machine_and_versions():
    assert devices.description()
    assert devices.versions()["numpy"] == np.__version__
    assert set(devices.versions()) == {"patchvae_tf", "tensorflow", "keras", "numpy"}
