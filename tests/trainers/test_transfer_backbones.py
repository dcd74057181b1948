"""A transfer takes φ's architecture from where φ comes from."""

import json

import pytest

from patchvae_tf import resnet18_weights
from patchvae_tf.errors import InputError
from patchvae_tf.transfer.config import TransferConfig, resolved


@pytest.fixture
def run_dir(tmp_path):
    """A folder that says it is a finished run of AlexNet's, cut at 16."""
    settings = {"model": "patchvae", "image_size": 32, "backbone": "alexnet", "stride": 16}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "data.json").write_text("{}")
    (tmp_path / "result.json").write_text("{}")
    (tmp_path / "model.keras").write_bytes(b"")
    return str(tmp_path)


def test_a_run_s_backbone_and_all_of_it_frozen(run_dir):
    config = resolved(TransferConfig(run_dir=run_dir, dataset="parts"))
    assert (config.backbone, config.stride, config.image_size) == ("alexnet", 16, 32)
    assert config.freeze == "conv1-5"
    assert resolved(config) == config
    config = resolved(TransferConfig(run_dir=run_dir, dataset="parts", freeze="conv1-2"))
    assert config.freeze == "conv1-2"


def test_a_preset_s_backbone_by_its_name():
    config = resolved(TransferConfig(run_dir="cifar100", dataset="parts"))
    phi = (config.backbone, config.stride, config.channels, config.image_size)
    assert phi == ("resnet9", 8, 3, 32)
    assert config.freeze == "conv1-5"
    assert resolved(config) == config
    larger = resolved(TransferConfig(run_dir="cifar100", dataset="parts", image_size=48))
    assert (larger.image_size, larger.backbone) == (48, "resnet9")
    with pytest.raises(InputError, match="run_dir cifar100 trained with channels=3, asked for was"):
        resolved(TransferConfig(run_dir="cifar100", dataset="parts", channels=1))


def test_an_untrained_one_is_what_was_asked_for():
    config = resolved(TransferConfig(untrained=True, dataset="parts"))
    assert (config.backbone, config.stride, config.freeze) == ("resnet9", 8, "conv1-5")
    config = resolved(TransferConfig(untrained=True, dataset="parts", backbone="resnet18"))
    assert (config.backbone, config.stride, config.freeze) == ("resnet18", 32, "conv1-9")


def test_what_does_not_fit_is_refused(run_dir, monkeypatch):
    def given(**settings):
        return resolved(TransferConfig(**{"dataset": "parts", **settings}))

    with pytest.raises(InputError, match="of alexnet with a stride of 16 must be one of conv1, "):
        given(run_dir=run_dir, freeze="conv1-3")
    with pytest.raises(InputError, match="trained with backbone=alexnet, asked for was resnet9"):
        given(run_dir=run_dir, backbone="resnet9")
    with pytest.raises(InputError, match="trained with stride=16, asked for was 8"):
        given(run_dir=run_dir, stride=8)
    with pytest.raises(InputError, match="multiple of the backbone's stride, 32. Received: 40"):
        given(untrained=True, backbone="pyramid", stride=32, image_size=40)
    monkeypatch.setattr(resnet18_weights, "read", lambda path: {})
    assert given(weights="w.npz").backbone == "resnet9"
    with pytest.raises(InputError, match="weights are of resnet9 with a stride of 8"):
        given(weights="w.npz", backbone="resnet50")
    with pytest.raises(InputError, match="saved_model has a backbone of its own"):
        given(saved_model=run_dir, stride=8)
