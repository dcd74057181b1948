"""TF Serving's settings say what they should, and its warm-up requests can be answered."""

import re

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from patchvae_tf.saved_models import serving_files, signatures
from tests.export.exporting import SIZE


def _requests(version):
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request


def _check_warm_up(version):
    loaded = tf.saved_model.load(version)
    asked = []
    for request in _requests(version):
        name = request.model_spec.signature_name
        inputs = {key: tf.constant(tf.make_ndarray(t)) for key, t in request.inputs.items()}
        (batch,) = inputs.values()
        outputs = loaded.signatures[name](**inputs)
        assert {len(output) for output in outputs.values()} == {len(batch)}
        if name in ("serving_bytes", "serving_examples"):
            assert np.all(outputs["valid"])
        if name == "serving_default":
            assert batch.shape[1:] == (SIZE, SIZE, 3)
        asked.append((name, len(batch)))
    sizes = serving_files.BATCH_SIZES
    assert asked == [(name, size) for name in signatures.NAMES for size in sizes]


def test_every_warm_up_request_is_answered(exported):
    _check_warm_up(exported[1])
    assert sum(request.ByteSize() for request in _requests(exported[1])) < 200_000


def test_beta_vae_is_warmed_up_too(exported_beta_vae):
    _check_warm_up(exported_beta_vae[1])


def test_the_models_config_is_what_tf_serving_reads(exported):
    text = (exported[1].parent / "models.config").read_text()
    parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (config,) = parsed.model_config_list.config
    assert (config.name, config.base_path) == ("patchvae", "/models/patchvae")
    assert config.model_platform == "tensorflow"


@pytest.mark.parametrize("name", ["batching.config", "batching-gpu.config"])
def test_a_batching_config_keeps_tf_servings_rules(name, exported):
    # Its message type is not among the published ones: BatchingParameters of
    # tensorflow_serving/servables/tensorflow/session_bundle_config.proto.
    text = (exported[1].parent / name).read_text()
    said = " ".join(text.replace("#", "").split())
    assert "requests that are joined share their fate" in said
    assert "One of more than `max_batch_size` rows is refused." in said
    text = re.sub("#.*", "", text)
    wrapped = dict(re.findall(r"^(\w+) \{ value: (\d+) \}", text, re.MULTILINE))
    assert set(wrapped) == {
        *("max_batch_size", "batch_timeout_micros", "num_batch_threads", "max_enqueued_batches")
    }
    assert int(wrapped["max_batch_size"]) == serving_files.BATCH_SIZES[-1]
    # Nothing else: with `allowed_batch_sizes` a joined request of no rows ends the server.
    assert re.sub(r"^\w+ \{ value: \d+ \}", "", text, flags=re.M).split() == []


def test_edited_settings_stay(tmp_path):
    (tmp_path / "models.config").write_text("mine")
    serving_files.write_settings(tmp_path)
    assert (tmp_path / "models.config").read_text() == "mine"
    assert "max_batch_size" in (tmp_path / "batching.config").read_text()
