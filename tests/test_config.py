import dataclasses
import json
import re

import pytest

from patchvae_tf import recipes
from patchvae_tf.config import UnsupervisedConfig
from patchvae_tf.errors import InputError


def test_the_paper_s_recipe_is_the_original_implementation_s():
    config = UnsupervisedConfig(dataset="cifar100", recipe="paper").resolved()
    assert (config.num_parts, config.appearance_dim) == (16, 6)
    assert (config.occurrence_weight, config.appearance_weight) == (10.0, 1.0)
    assert config.weighted_reconstruction
    assert config.occurrence_prior is None
    assert (config.temperature, config.temperature_rate) == (1.0, 3e-5)
    assert (config.temperature_interval, config.temperature_floor) == (1000, 0.1)
    assert (config.learning_rate, config.adam_beta_1, config.adam_beta_2) == (1e-4, 0.5, 0.999)
    assert (config.learning_rate_schedule, config.warmup_epochs) == ("constant", 0.0)
    assert config.weight_decay == 0.0
    assert (config.batch_size, config.epochs) == (128, 30)
    assert (config.crop_side, config.color_jitter, config.mask_share) == (1.0, 0.0, 0.0)
    assert config.agreement_weight == 0.0
    assert not config.horizontal_flip  # none for CIFAR-100
    assert UnsupervisedConfig(dataset="images", recipe="paper").resolved().horizontal_flip
    assert (
        not UnsupervisedConfig(dataset="cifar100:3.0.2", recipe="paper").resolved().horizontal_flip
    )


def test_few_images_are_seen_more_often_unless_epochs_are_given():
    config = UnsupervisedConfig(dataset="images").resolved()
    assert (config.epochs, config.least_steps) == (30, 2000)
    assert [config.epochs_of(steps) for steps in (1, 11, 66, 67, 1000)] == [2000, 182, 31, 30, 30]
    assert UnsupervisedConfig(**config.to_json()).resolved() == config
    given = UnsupervisedConfig(dataset="images", epochs=30).resolved()
    assert (given.least_steps, given.epochs_of(steps_per_epoch=11)) == (0, 30)
    both = UnsupervisedConfig(dataset="images", epochs=3, least_steps=50).resolved()
    assert both.epochs_of(steps_per_epoch=10) == 5


def test_a_recipe_gives_way_to_its_values_for_a_data_set_and_both_to_what_is_given():
    quick = UnsupervisedConfig(recipe="paper").resolved()
    assert (quick.epochs, quick.batch_size, quick.learning_rate) == (1, 32, 1e-3)
    assert UnsupervisedConfig(epochs=7).resolved().epochs == 7
    assert quick.epochs_of(steps_per_epoch=3) == 1
    assert UnsupervisedConfig(occurrence_weight=0.0).resolved().occurrence_weight == 0.0
    assert UnsupervisedConfig(recipe="paper", mask_share=0.25).resolved().mask_share == 0.25


def test_patch_vae_has_a_recipe_of_its_own_and_the_others_the_paper_s():
    for model, recipe in (("patchvae", "agreement"), ("beta_vae", "paper"), ("bigan", "paper")):
        config = UnsupervisedConfig(dataset="images", model=model).resolved()
        assert config.recipe == recipe
        assert (config.agreement_weight > 0.0) == (recipe == "agreement")
    # The first command's settings, which README's figures are of.
    first = UnsupervisedConfig().resolved()
    assert (
        dataclasses.replace(first, recipe="paper") == UnsupervisedConfig(recipe="paper").resolved()
    )


def test_recipes_say_the_same_settings_and_every_one_is_a_flag():
    names = [set(recipes.values(recipe, "")) for recipe in recipes.DESCRIPTIONS]
    assert all(one == names[0] for one in names)
    fields = {field.name: field for field in dataclasses.fields(UnsupervisedConfig)}
    for name in names[0]:
        assert fields[name].default is None
    for recipe in recipes.DESCRIPTIONS:
        assert set(recipes.values(recipe, "parts")) == names[0]
        UnsupervisedConfig(recipe=recipe, dataset="parts").resolved()
    unsaid = {name for name, field in fields.items() if field.default is None} - names[0]
    by_itself = ("recipe", "data_dir", "stride", "validation_examples", "occurrence_prior")
    assert unsaid == {*by_itself, "streamed"}


def test_json_round_trip():
    config = UnsupervisedConfig(num_parts=5, occurrence_prior=0.25, dataset="a/b.npz")
    assert UnsupervisedConfig(**json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 30}, "--image_size must be a multiple .* 8. Received: 30. Use e.g. 24 or"),
        ({"image_size": 0}, "--image_size must be at least 8. Received: 0"),
        ({"num_parts": 0}, "--num_parts must be at least 1. Received: 0"),
        ({"appearance_dim": -2}, "--appearance_dim must be at least 1. Received: -2"),
        ({"latent_dim": 0}, "--latent_dim must be at least 1"),
        ({"batch_size": 0}, "--batch_size must be at least 1. Received: 0"),
        ({"epochs": 0}, "--epochs must be at least 1. Received: 0"),
        ({"seed": -1}, "--seed must be at least 0. Received: -1"),
        ({"learning_rate": 0.0}, "--learning_rate must be above 0. Received: 0.0"),
        ({"learning_rate": float("nan")}, "--learning_rate must be a finite number. Received: nan"),
        ({"occurrence_prior": 0.0}, "--occurrence_prior must be above 0. Received: 0.0"),
        ({"occurrence_prior": 1.0}, "--occurrence_prior must be below 1. Received: 1.0"),
        ({"occurrence_weight": -1.0}, "--occurrence_weight must be at least 0"),
        ({"temperature": 0.0}, "--temperature must be above 0. Received: 0.0"),
        ({"recipe": "best"}, "--recipe must be one of agreement, masked, paper. Received: best"),
        ({"crop_side": 0.0}, "--crop_side must be above 0. Received: 0.0"),
        ({"mask_share": 1.0}, "--mask_share must be below 1. Received: 1.0"),
        ({"mask_size": 5}, "--mask_size must divide --image_size, 32. Received: 5. Use e.g. 4"),
        ({"model": "gan"}, "--model must be one of patchvae, beta_vae, bigan. Received: gan"),
        ({"precision": "half"}, "--precision must be one of auto, float32, mixed_bfloat16"),
        ({"num_parts": 1}, "--num_parts=1 makes the prior 1 / num_parts = 1"),
        ({"seed": 2**31}, "--seed must be at most 2147483647"),
        (
            {"occurrence": "categorical", "occurrence_prior": 0.5},
            "--occurrence_prior is for --occurrence=bernoulli",
        ),
        ({"temperature": 0.05}, "--temperature must not be below --temperature_floor"),
        ({"validation_examples": -1}, "--validation_examples must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        UnsupervisedConfig(**settings)


def test_every_setting_has_a_group_and_a_text_of_its_own():
    texts = [field.metadata["description"] for field in dataclasses.fields(UnsupervisedConfig)]
    assert len(set(texts)) == len(texts)
    assert all(re.match(r"\S.*[^.]$", text) for text in texts)
    assert all(field.metadata["group"] for field in dataclasses.fields(UnsupervisedConfig))
