"""Presets: what comes with the package, and models that go through a folder and back."""

import json

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import patchvae_tf
from patchvae_tf import BetaVAE, BiGAN, InputError, PatchVAE, pretrained
from patchvae_tf.models import presets
from patchvae_tf.models.base import UnsupervisedModel
from patchvae_tf.pretrained import weights
from tests.testing_utils import random_images

SMALL = {"image_size": 16, "num_parts": 3, "appearance_dim": 2}
MODELS = {
    "agreement": lambda: PatchVAE.from_recipe("agreement", **SMALL),
    "teaching": lambda: PatchVAE.from_recipe("parts", **SMALL),
    "independent": lambda: PatchVAE(
        **SMALL, independent_decoders=True, objective={"part_reconstruction_weight": 1.0}
    ),
    "adversarial": lambda: PatchVAE.from_recipe("masked", adversarial_weight=0.1, **SMALL),
    "pyramid": lambda: PatchVAE(**SMALL, backbone="pyramid"),
    "beta_vae": lambda: BetaVAE(image_size=16, latent_dim=5),
    "bigan": lambda: BiGAN(image_size=16, latent_dim=5),
}


def moved(model, seed=1):
    """The model with other weights than it begins with."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        change = 1 + 0.1 * rng.standard_normal(weight.shape)
        weight.assign(weight * change.astype("float32"))
    return model


@pytest.fixture
def saved(tmp_path):
    """(model, folder): a trained PatchVAE and its preset. A test may change the folder."""
    model = moved(MODELS["agreement"]())
    model.save_to_preset(tmp_path / "own")
    return model, tmp_path / "own"


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_comes_back_to_the_last_bit(kind, tmp_path):
    model = moved(MODELS[kind]())
    model.save_to_preset(tmp_path / "deep/own")
    keras.utils.set_random_seed(99)
    again = type(model).from_preset(tmp_path / "deep/own")
    assert again.get_config() == {**model.get_config(), "name": again.name}
    assert len(model.weights) == len(weights.named(model))
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)
    images = random_images(2, 16)
    for one, other in zip(*(tf.nest.flatten(m(images)) for m in (model, again)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_of_weights_do_not_depend_on_what_was_built_before():
    first, second = (list(weights.named(MODELS["agreement"]())) for _ in range(2))
    assert first == second
    assert {"backbone/conv1_bn/gamma", "occurrence_head/bias", "agreement/hidden/kernel"} <= {
        *first
    }


def test_a_compact_preset_rounds_kernels_alone_and_leaves_out_what_serves_training(tmp_path):
    model = moved(MODELS["agreement"]())
    model.backbone.get_layer("conv2a_conv").kernel.assign_add(
        tf.fill([3, 3, 64, 64], 70000.0)
    )  # beyond float16
    model.save_to_preset(tmp_path / "own", compact=True)
    arrays = weights.read(tmp_path / "own" / pretrained.WEIGHTS)
    variables = weights.named(model)
    assert {name for name in variables if name not in arrays} == {
        name for name in variables if name.startswith(("agreement/", "map_agreement/"))
    }
    for name, values in arrays.items():
        exact = variables[name].numpy()
        if name.endswith("/kernel") and "conv2a_conv" not in name:
            assert values.dtype == np.float16, name
            allowed = 2.0**-11 * np.maximum(np.abs(exact), 2.0**-14)
            assert (np.abs(values - exact) <= allowed).all(), name
        else:
            assert values.dtype == np.float32, name
            np.testing.assert_array_equal(values, exact, err_msg=name)


def test_what_a_compact_preset_leaves_out_begins_by_the_seed(tmp_path):
    model = MODELS["agreement"]()
    model.save_to_preset(tmp_path / "own", compact=True)
    keras.utils.set_random_seed(7)
    one, other = (PatchVAE.from_preset(tmp_path / "own") for _ in range(2))
    kernels = [weights.named(m)["agreement/hidden/kernel"].numpy() for m in (one, other)]
    np.testing.assert_array_equal(*kernels)
    assert kernels[0].std() > 0


def test_the_backbone_is_the_model_s(saved):
    model, folder = saved
    network = patchvae_tf.backbone(folder)
    for one, other in zip(model.backbone.weights, network.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert network.trainable
    assert patchvae_tf.backbone(folder, "mixed_bfloat16").compute_dtype == "bfloat16"


def test_fit_goes_on_with_the_recipe_s_settings(saved):
    _, folder = saved
    model = PatchVAE.from_preset(folder)
    images = (random_images(32, 16) * 255).astype("uint8")
    before = model.backbone.get_weights()
    model.fit(images, epochs=1, batch_size=16, verbose=0)
    assert model.optimizer.weight_decay == 1e-4
    assert int(model.optimizer.iterations) == 2
    assert any(
        (one != other).any()
        for one, other in zip(before, model.backbone.get_weights(), strict=True)
    )


@pytest.mark.parametrize("name", pretrained.names())
def test_every_preset_of_the_package_gives_features_that_differ(name):
    model = UnsupervisedModel.from_preset(name)
    size = model.image_size
    images = tf.constant(random_images(4, size))
    expected = model.backbone(images)
    np.testing.assert_array_equal(patchvae_tf.backbone(name)(images), expected)
    features = np.mean(expected, axis=(1, 2))  # [4, channels]
    assert np.ptp(features, axis=0).max() > 0.1
    facts = pretrained.read_facts(pretrained.find(name))
    assert facts.compact
    assert facts.settings["data_dir"] is None
    card = (pretrained.find(name) / pretrained.CARD).read_text()
    assert "Licence of the images:" in card
    assert f"Seed {facts.settings['seed']};" in card
    assert (pretrained.find(name) / pretrained.WEIGHTS).stat().st_size < 5e6
    assert patchvae_tf.presets()[name] == facts.description


def test_nothing_is_written_over(saved):
    model, folder = saved
    with pytest.raises(InputError, match="own is there already. Remove it, or choose another"):
        model.save_to_preset(folder)
    (folder / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: File exists. Choose another"):
        model.save_to_preset(folder / "file/below")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["own"]


def test_what_is_no_preset_is_said(saved, tmp_path):
    _, folder = saved
    with pytest.raises(InputError, match="there is no preset 'cifar11': .*parts.* come with"):
        PatchVAE.from_preset("cifar11")
    with pytest.raises(InputError, match=r"is not a preset: it holds no preset\.json"):
        PatchVAE.from_preset(tmp_path)
    (tmp_path / "model.keras").touch()
    with pytest.raises(InputError, match="is a run, not a preset: load it by patchvae_tf.load"):
        patchvae_tf.backbone(tmp_path)
    with pytest.raises(InputError, match="holds a PatchVAE, not a BiGAN: load it by patchvae_tf"):
        BiGAN.from_preset(folder)


def _without_a_weight(folder):
    arrays = weights.read(folder / pretrained.WEIGHTS)
    del arrays["backbone/conv1_conv/kernel"]
    safetensors.numpy.save_file(arrays, folder / pretrained.WEIGHTS)


def _not_finite(folder):
    arrays = weights.read(folder / pretrained.WEIGHTS)
    arrays["backbone/conv1_conv/kernel"] = np.full([7, 7, 3, 64], np.nan, np.float32)
    safetensors.numpy.save_file(arrays, folder / pretrained.WEIGHTS)


def _cut_short(folder):
    path = folder / pretrained.WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])


def _facts(**changes):
    def change(folder):
        path = folder / pretrained.FACTS
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


DAMAGES = {
    "a missing weight": (_without_a_weight, "has no backbone/conv1_conv/kernel of the right shape"),
    "NaN": (_not_finite, "conv1_conv/kernel holds values that are not finite"),
    "cut short": (_cut_short, "it is damaged. Restore it from a copy"),
    "no weights": (lambda folder: (folder / pretrained.WEIGHTS).unlink(), "cannot be read"),
    "no JSON": (lambda folder: (folder / pretrained.FACTS).write_text("{"), "cannot be read"),
    "a later format": (_facts(format=2), "its format is 2, and this version reads 1"),
    "unknown facts": (_facts(more=2), "cannot be read"),
    "unknown arguments": (_facts(arguments={"seed": 0, "x": 1}), "that this version does not know"),
    "unknown settings": (_facts(settings={"x": 1}), "that this version does not know"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_preset_is_named_in_a_sentence(damage, saved):
    _, folder = saved
    break_it, message = DAMAGES[damage]
    break_it(folder)
    with pytest.raises(InputError, match=message) as refused:
        PatchVAE.from_preset(folder)
    assert "\n" not in str(refused.value)


def test_what_fits_is_taken_and_the_rest_is_named(saved):
    model, folder = saved
    other = PatchVAE.from_recipe("agreement", **{**SMALL, "num_parts": 5, "image_size": 24})
    first = {name: weight.numpy() for name, weight in weights.named(other).items()}
    line = presets.begin_with(other, folder)
    taken = weights.named(model)
    for name, weight in weights.named(other).items():
        fits = first[name].shape == tuple(taken[name].shape)
        np.testing.assert_array_equal(weight, taken[name] if fits else first[name], err_msg=name)
    total = len(first)
    assert line == (
        f"begins with {total - 8} of {total} weights of {folder}; as at any beginning: "
        "occurrence_head, appearance_mean_head, appearance_log_variance_head, decoder/deconv1, "
        "agreement/hidden"
    )


def test_a_recipe_begins_with_a_preset(saved):
    model, folder = saved
    begun = PatchVAE.from_recipe("masked", init_from=str(folder), **SMALL)
    np.testing.assert_array_equal(begun.decoder.get_weights()[0], model.decoder.get_weights()[0])


def test_nothing_that_fits_is_an_error(tmp_path):
    MODELS["pyramid"]().save_to_preset(tmp_path / "own")
    model = BiGAN(image_size=16, latent_dim=5, backbone="alexnet", stride=8)
    with pytest.raises(InputError, match="nothing of .* fits this model"):
        presets.begin_with(model, tmp_path / "own")
