"""Views, losses and records of the peers; what they measure is not tested."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peer_recipes import PEERS, Views
from patchvae_tf.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[peers]'")
pytest.importorskip("lightly", reason="lightly is not installed: pip install '.[peers]'")

_AS_IT_IS = Views(area=(1.0, 1.0), ratio=1.0, jitter_probability=0.0, flip=0.0, grey=0.0)


@pytest.fixture
def images():
    """float32 [4, 3, 16, 24] in [0, 1]."""
    return torch.rand(4, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def dataset(tmp_path):
    """The path of 288 labelled images of 16 x 16, and of 8 to test: blocks of random colours."""
    rng = np.random.default_rng(1)

    def drawn(count):
        blocks = rng.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
        return blocks.repeat(4, axis=1).repeat(4, axis=2)

    arrays = {"x_train": drawn(288), "y_train": np.arange(288) % 3}
    np.savez(tmp_path / "d.npz", **arrays, x_test=drawn(8), y_test=np.arange(8) % 3)
    return str(tmp_path / "d.npz")


def _config(dataset, **changed):
    settings = {"validation_examples": 16, "image_size": 16, "batch_views": 64, **changed}
    return peers.PeersConfig(dataset=dataset, **settings)


def _made(images, views, seed=0):
    from benchmarks import peer_views

    return peer_views.make(images, views, torch.Generator().manual_seed(seed))


def test_windows_are_torchvisions_resized_crops(images):
    from torchvision.transforms import functional

    from benchmarks import peer_views

    # Left, top, width, height of the windows in pixels; the last is mirrored.
    boxes = [(0, 0, 24, 16), (6, 4, 12, 8), (0, 8, 12, 8), (12, 0, 12, 16)]
    left, top, width, height = torch.tensor(boxes).float().T / torch.tensor([[24], [16]] * 2)
    mirrored = torch.tensor([1.0, 1.0, 1.0, -1.0])
    found = peer_views.windows(images, left, top, width, height, mirrored)
    for image, view, (x, y, w, h), sign in zip(images, found, boxes, mirrored, strict=True):
        expected = functional.resized_crop(image, y, x, h, w, [16, 24], antialias=False)
        expected = functional.hflip(expected) if sign < 0 else expected
        # torchvision cuts first: at the border of a window inside the image they differ.
        inner = (slice(None), slice(1, -1), slice(1, -1))
        np.testing.assert_allclose(view[inner], expected[inner], atol=1e-5)
        if (w, h) == (24, 16):
            np.testing.assert_allclose(view, image, atol=1e-5)


@pytest.mark.parametrize("amount", [0.6, 1.0, 1.4])
def test_colours_are_torchvisions(images, amount):
    from torchvision.transforms import functional

    from benchmarks import peer_views

    factor = torch.full((4, 1, 1, 1), amount)
    grey = peer_views.grey(images)
    mean = grey.mean((1, 2, 3), keepdim=True)
    turn = (amount - 1) / 2
    pairs = [
        (
            peer_views.blended(images, torch.zeros_like(images), factor),
            functional.adjust_brightness(images, amount),
        ),
        (peer_views.blended(images, mean, factor), functional.adjust_contrast(images, amount)),
        (peer_views.blended(images, grey, factor), functional.adjust_saturation(images, amount)),
        (
            peer_views.hue_turned(images, torch.full((4, 1, 1, 1), turn)),
            functional.adjust_hue(images, turn),
        ),
        (peer_views.solarized(images), functional.solarize(images, 0.5)),
    ]
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, atol=2e-3)  # torchvision rounds its weights


def test_what_is_switched_off_is_not_done_and_what_is_certain_always(images):
    as_they_are = _made(images, _AS_IT_IS)
    np.testing.assert_allclose(as_they_are, images, atol=1e-5)
    mirrored = _made(images, dataclasses.replace(_AS_IT_IS, flip=1.0))
    np.testing.assert_allclose(mirrored, images.flip(3), atol=1e-5)
    grey = _made(images, dataclasses.replace(_AS_IT_IS, grey=1.0))
    np.testing.assert_allclose(grey[:, 0], grey[:, 2])
    assert not np.allclose(grey, images, atol=0.1)
    inverted = _made(images, dataclasses.replace(_AS_IT_IS, solarized=1.0))
    assert inverted.max() <= 0.5 + 1e-5


def test_crops_have_the_areas_asked_for():
    # Of a ramp from left to right a crop shows as much as it is wide.
    ramp = torch.linspace(0, 1, 64).expand(200, 3, 64, 64)
    views = Views(area=(0.25, 0.25), ratio=1.0, jitter_probability=0.0, flip=0.0, grey=0.0)
    view = _made(ramp, views)
    shown = view.amax((1, 2, 3)) - view.amin((1, 2, 3))
    np.testing.assert_allclose(shown, 0.5, atol=0.02)
    assert view.amin((1, 2, 3)).std() > 0.1  # everywhere in the image


def test_views_come_from_their_generator_alone(images):
    views = PEERS["vicreg"].views
    first, same, other = (_made(images, views, seed) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.allclose(first, other, atol=0.1)
    assert 0 <= first.min() < first.max() <= 1


@pytest.mark.parametrize("name", PEERS)
def test_the_loss_of_each_peer_falls_and_phi_is_table_5s(name, dataset):
    from benchmarks import peer_training

    recipe = dataclasses.replace(PEERS[name], num_views=2)
    training, _ = peers.load_parts(_config(dataset), seed=0)
    peer, happened = peer_training.train(
        recipe,
        training.images,
        view_passes=64 * 25,
        batch_views=64,
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        seed=0,
    )
    assert happened["steps"] == 25
    assert happened["last_loss"] < happened["first_loss"] - 1e-3 * abs(happened["first_loss"])
    assert sum(weight.numel() for weight in peer.backbone.parameters()) == 683_072


def test_emp_ssl_rewards_codes_that_differ():
    from benchmarks import peer_methods

    peer = peer_methods.EMPSSL()
    apart = torch.eye(8)  # of eight images, d = 8
    alike = torch.ones(8, 8)
    losses = {}
    for name, codes in {"apart": apart, "alike": alike}.items():
        peer.codes = lambda views, codes=codes: [codes, codes]
        losses[name] = float(peer(None))
    # -200 cosine - log det(1 + d / (batch eps) Z'Z) / 2
    assert losses["apart"] == pytest.approx(-200 - 4 * np.log(1 + 1 / 0.2), rel=1e-5)
    assert losses["alike"] == pytest.approx(-200 - 0.5 * np.log(1 + 8 / 0.2), rel=1e-5)


def test_byols_slow_copy_follows_by_a_hundredth():
    from benchmarks import peer_methods

    torch.manual_seed(0)
    peer = peer_methods.BYOL()
    slow = peer.slow[0][0].weight
    before = slow.clone()
    with torch.no_grad():
        peer.backbone[0].weight.add_(1.0)
    peer(torch.rand(2, 4, 3, 16, 16))
    np.testing.assert_allclose(slow - before, 0.01, atol=1e-5)
    assert not slow.requires_grad


def test_features_are_those_of_the_keras_network():
    from benchmarks import peer_training, plain_torch
    from patchvae_tf import PatchVAE
    from patchvae_tf.evaluation import features

    model = PatchVAE(image_size=16)
    twin = plain_torch.PlainPatchVAE()
    plain_torch.load_weights(twin, model)
    images = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3)).astype(np.uint8)
    found = peer_training.flat_features(twin.backbone, images, batch_size=4)
    expected = features.stage_features(model.backbone, images, model.stages[-1], pooled=False)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_parts_are_those_of_recipes(dataset):
    from patchvae_tf.settings import unsupervised_config
    from patchvae_tf.unsupervised.images import load_images

    training, held_out = peers.load_parts(_config(dataset), seed=3)
    ours = load_images(
        unsupervised_config(
            dataset=dataset, image_size=16, validation_examples=16, batch_size=8, seed=3
        )
    )
    np.testing.assert_array_equal(training.images, ours.training.images)
    np.testing.assert_array_equal(held_out.images, ours.validation.images)
    everything, test = peers.load_parts(_config(dataset, split="test"), seed=3)
    assert (len(everything), len(test)) == (288, 8)


def test_the_learning_rate_rises_and_falls():
    from benchmarks import peer_training

    factors = [peer_training.learning_rate_factor(step, 100) for step in range(100)]
    assert factors[4] == pytest.approx(0.5)
    assert factors[9] == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[99] < 0.001


def test_a_record_is_not_made_twice(dataset, tmp_path):
    output = tmp_path / "records.jsonl"
    config = _config(dataset, peers="simclr", view_passes=128, output=str(output))
    peers.main(None, config)
    (record,) = map(json.loads, output.read_text().splitlines())
    assert (record["peer"], record["seed"], record["steps"]) == ("simclr", 0, 2)
    assert record["learning_rate"] == PEERS["simclr"].learning_rate
    assert 0 <= record["linear"] <= 1
    assert record["versions"]["lightly"]
    peers.main(None, config)
    assert len(output.read_text().splitlines()) == 1
    peers.main(None, dataclasses.replace(config, optimizer="sgd", learning_rate=0.06))
    peers.main(None, dataclasses.replace(config, least_area=0.5))
    peers.main(None, dataclasses.replace(config, color_jitter=0.5))
    _, other, larger_crops, half_colors = map(json.loads, output.read_text().splitlines())
    assert (other["optimizer"], other["learning_rate"]) == ("sgd", 0.06)
    assert other["first_loss"] == record["first_loss"]  # of the same weights and views
    assert other["last_loss"] != record["last_loss"]
    assert (record["views"]["area"], larger_crops["views"]["area"]) == ([0.08, 1], [0.5, 1])
    assert larger_crops["first_loss"] != record["first_loss"]
    assert half_colors["views"]["jitter"] == [0.2, 0.2, 0.2, 0.05]
    assert half_colors["views"]["grey"] == 0.1
    assert half_colors["first_loss"] != record["first_loss"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"peers": "simclr,moco"}, "Received: moco"),
        ({"dataset": None}, "dataset is missing"),
    ],
)
def test_bad_settings_are_named(changed, said):
    with pytest.raises(InputError, match=said):
        peers.PeersConfig(**{"dataset": "cifar100", **changed})


def test_more_images_a_step_than_there_are_is_an_error(dataset):
    with pytest.raises(InputError, match="at most twice the 272 images"):
        peers.load_parts(_config(dataset, batch_views=545), seed=0)
