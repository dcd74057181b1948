import dataclasses
import json

import pytest

from patchvae_tf.errors import InputError
from patchvae_tf.settings import paper_datasets, recipes, unsupervised_config


def _config(name, **given):
    return unsupervised_config(paper_dataset=name, **given)


@pytest.mark.parametrize(
    ("name", "dataset", "image_size"),
    [("cifar100", "cifar100", 32), ("indoor67", "indoor67", 64), ("places205", "places205", 64)],
)
def test_those_of_small_images_are_the_recipe_s_but_for_data(name, dataset, image_size):
    config = _config(name)
    assert (config.dataset, config.image_size) == (dataset, image_size)
    plain = unsupervised_config(dataset=dataset, image_size=image_size)
    assert dataclasses.replace(config, paper_dataset=None) == plain
    assert (config.num_parts, config.appearance_dim, config.stride) == (32, 8, None)


def test_imagenet_is_the_original_s():
    config = _config("imagenet")
    assert (config.dataset, config.image_size) == ("imagenet2012", 224)
    assert (config.backbone, config.stride) == ("resnet18", 32)
    assert (config.num_parts, config.appearance_dim) == (64, 16)
    assert (config.batch_size, config.learning_rate, config.epochs) == (256, 2e-4, 140)
    assert config.occurrence_weight == 10.0  # what it does not say the paper's recipe does


@pytest.mark.parametrize("name", paper_datasets.NAMES)
@pytest.mark.parametrize("recipe", recipes.DESCRIPTIONS)
def test_every_one_goes_with_every_recipe(name, recipe):
    assert _config(name, recipe=recipe).image_size == paper_datasets.values(name)["image_size"]


def test_the_user_goes_before_the_data_set_and_the_data_set_before_the_recipe():
    config = _config("imagenet", image_size=32, recipe="masked", backbone="resnet9", stride=8)
    assert (config.image_size, config.backbone, config.stride) == (32, "resnet9", 8)
    assert (config.num_parts, config.learning_rate) == (64, 2e-4)  # the data set's
    assert config.mask_share == 0.5  # the recipe's
    assert unsupervised_config(**json.loads(json.dumps(config.to_json()))) == config


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        InputError, match="image_size must be a positive multiple of .*, 32. Received: 80"
    ):
        _config("imagenet", image_size=80)
