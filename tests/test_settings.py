import dataclasses
import json
import re

import numpy as np
import pytest

from patchvae_tf.errors import InputError
from patchvae_tf.settings import (
    PartCode,
    PartObjective,
    ScaledViews,
    recipes,
    unsupervised,
    unsupervised_config,
)


def test_the_paper_s_recipe_is_the_original_implementation_s():
    config = unsupervised_config(dataset="cifar100", recipe="paper")
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
    assert unsupervised_config(dataset="images", recipe="paper").horizontal_flip
    assert not unsupervised_config(dataset="cifar100:3.0.2", recipe="paper").horizontal_flip


def test_few_images_are_seen_more_often_unless_epochs_are_given():
    config = unsupervised_config(dataset="images")
    assert (config.epochs, config.least_steps) == (30, 2000)
    assert [config.epochs_of(steps) for steps in (1, 11, 66, 67, 1000)] == [2000, 182, 31, 30, 30]
    assert unsupervised_config(**config.to_json()) == config
    given = unsupervised_config(dataset="images", epochs=30)
    assert (given.least_steps, given.epochs_of(steps_per_epoch=11)) == (0, 30)
    both = unsupervised_config(dataset="images", epochs=3, least_steps=50)
    assert both.epochs_of(steps_per_epoch=10) == 5


def test_a_recipe_gives_way_to_its_values_for_a_data_set_and_both_to_what_is_given():
    quick = unsupervised_config(recipe="paper")
    assert (quick.epochs, quick.batch_size, quick.learning_rate) == (1, 32, 1e-3)
    assert unsupervised_config(epochs=7).epochs == 7
    assert quick.epochs_of(steps_per_epoch=3) == 1
    assert unsupervised_config(occurrence_weight=0.0).occurrence_weight == 0.0
    assert unsupervised_config(recipe="paper", mask_share=0.25).mask_share == 0.25


def test_patch_vae_has_a_recipe_of_its_own_and_the_others_the_paper_s():
    for model, recipe in (("patchvae", "agreement"), ("beta_vae", "paper"), ("bigan", "paper")):
        config = unsupervised_config(dataset="images", model=model)
        assert config.recipe == recipe
        agrees = getattr(config, "agreement_weight", 0.0) > 0.0
        assert agrees == (recipe == "agreement")
    # The first command's settings, which README's figures are of.
    first, paper = unsupervised_config(), unsupervised_config(recipe="paper")
    assert (first.recipe, first.occurrence, first.teaching_weight) == ("parts", "exclusive", 100.0)
    assert (first.epochs, first.batch_size) == (paper.epochs, paper.batch_size) == (1, 32)


def test_every_value_of_a_recipe_is_a_setting_that_fits():
    for recipe in recipes.DESCRIPTIONS:
        for dataset in ("images", "parts", "cifar100"):
            values = recipes.values(recipe, dataset)
            assert set(values) <= unsupervised.names_of("patchvae")
            config = unsupervised_config(recipe=recipe, dataset=dataset)
            assert {name: getattr(config, name) for name in values} == dict(values)


def test_a_model_has_the_settings_that_apply_to_it_and_refuses_the_others():
    beta = unsupervised_config(model="beta_vae", dataset="images")
    assert {"latent_dim", "kl_weight", "crop_side"} <= set(beta.to_json())
    assert not {"num_parts", "agreement_weight", "temperature"} & set(beta.to_json())
    bigan = unsupervised_config(model="bigan").to_json()
    assert "latent_dim" in bigan
    assert not {"crop_side", "weighted_reconstruction", "adversarial_weight"} & set(bigan)
    for model, name, value, owners in (
        ("beta_vae", "num_parts", 4, "patchvae"),
        ("bigan", "crop_side", 0.5, "patchvae or beta_vae"),
        ("patchvae", "latent_dim", 3, "beta_vae or bigan"),
        ("beta_vae", "agreement_weight", 0.0, "patchvae"),
    ):
        message = f"{name} is for model={owners}, and this is model={model}. Leave it out."
        with pytest.raises(InputError, match=message):
            unsupervised_config(model=model, **{name: value})
    with pytest.raises(InputError, match="there is no setting num_part. Known are: dataset, "):
        unsupervised_config(num_part=4)


def test_the_smaller_batch_is_for_a_batch_that_nobody_asked_for():
    assert unsupervised_config(dataset="images").smaller_batch
    assert not unsupervised_config(dataset="images", batch_size=128).smaller_batch
    assert not unsupervised_config(paper_dataset="imagenet").smaller_batch


def test_json_round_trip():
    config = unsupervised_config(num_parts=5, occurrence_prior=0.25, dataset="a/b.npz")
    assert unsupervised_config(**json.loads(json.dumps(config.to_json()))) == config
    assert dataclasses.asdict(config) == config.to_json()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"image_size": 30},
            "image_size must be a positive multiple .* 8. Received: 30. Use e.g. 24 or",
        ),
        ({"image_size": 0}, "image_size must be at least 8. Received: 0"),
        ({"image_size": "16"}, "image_size must be a whole number. Received: '16'"),
        ({"num_parts": 0}, "num_parts must be at least 1. Received: 0"),
        ({"num_parts": 2.5}, "num_parts must be a whole number. Received: 2.5"),
        ({"num_parts": True}, "num_parts must be a whole number. Received: True"),
        ({"learning_rate": "fast"}, "learning_rate must be a number. Received: 'fast'"),
        ({"horizontal_flip": 1}, "horizontal_flip must be True or False. Received: 1"),
        ({"dataset": 3}, "dataset must be a text. Received: 3"),
        ({"appearance_dim": -2}, "appearance_dim must be at least 1. Received: -2"),
        ({"model": "bigan", "latent_dim": 0}, "latent_dim must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1. Received: 0"),
        ({"epochs": 0}, "epochs must be at least 1. Received: 0"),
        ({"seed": -1}, "seed must be at least 0. Received: -1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0. Received: 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number. Received: nan"),
        ({"occurrence_prior": 0.0}, "occurrence_prior must be above 0. Received: 0.0"),
        ({"occurrence_prior": 1.0}, "occurrence_prior must be below 1. Received: 1.0"),
        ({"occurrence_weight": -1.0}, "occurrence_weight must be at least 0"),
        ({"temperature": 0.0}, "temperature must be above 0. Received: 0.0"),
        (
            {"recipe": "best"},
            "recipe must be one of agreement, masked, parts, paper. Received: best",
        ),
        ({"crop_side": 0.0}, "crop_side must be above 0. Received: 0.0"),
        ({"rotation": 181.0}, "rotation must be at most 180. Received: 181.0"),
        ({"scaling": 0.75}, "scaling must be at least 1. Received: 0.75"),
        ({"translation": -0.1}, "translation must be at least 0. Received: -0.1"),
        ({"mask_share": 1.0}, "mask_share must be below 1. Received: 1.0"),
        (
            {"mask_size": 5},
            "mask_size must divide the side of what training sees, 32 pixels. Received: 5. Use",
        ),
        (
            {"recipe": "agreement", "dataset": "photos", "mask_share": 0.5, "mask_size": 16},
            "what training sees, 24 pixels. Received: 16",
        ),
        ({"model": "gan"}, "model must be one of patchvae, beta_vae, bigan. Received: gan"),
        ({"precision": "half"}, "precision must be one of auto, float32, mixed_bfloat16"),
        ({"num_parts": 1, "recipe": "paper"}, "num_parts=1 makes the prior 1 / num_parts = 1"),
        ({"seed": 2**31}, "seed must be at most 2147483647"),
        (
            {"occurrence": "categorical", "occurrence_prior": 0.5},
            "occurrence_prior is for occurrence=bernoulli",
        ),
        ({"temperature": 0.05}, "temperature must not be below temperature_floor"),
        ({"validation_examples": -1}, "validation_examples must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        unsupervised_config(**settings)


def test_numbers_of_numpy_and_whole_ones_for_others_are_numbers():
    config = unsupervised_config(num_parts=np.int64(5), color_jitter=np.float32(0.5), part_side=1)
    assert (config.num_parts, config.color_jitter, config.part_side) == (5, 0.5, 1.0)
    with pytest.raises(InputError, match="num_parts must be a whole number. Received: None"):
        PartCode(num_parts=None)


def test_every_setting_has_a_group_and_a_text_of_its_own():
    fields = unsupervised.all_fields().values()
    texts = [field.metadata["description"] for field in fields]
    assert len(set(texts)) == len(texts)
    assert all(re.match(r"\S.*[^.]$", text) for text in texts)
    assert all(field.metadata["group"] for field in fields)


def test_parts_of_settings_are_taken_from_the_whole():
    config = unsupervised_config(dataset="images", num_parts=5, crop_side=0.5)
    assert PartCode.part_of(config) == PartCode(num_parts=5, appearance_dim=8)
    assert ScaledViews.part_of(config) == ScaledViews(
        crop_side=0.5, view_scale=0.75, color_jitter=0.5
    )
    assert PartObjective.part_of(config).map_agreement_weight == 150.0
    assert PartObjective() == PartObjective.part_of(
        unsupervised_config(recipe="paper", dataset="images")
    )
