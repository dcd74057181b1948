import json

import pytest

from patchvae_tf import paper_datasets as presets
from patchvae_tf import recipes
from patchvae_tf.config import UnsupervisedConfig
from patchvae_tf.errors import InputError
from tests.export.exporting import ROOT, python


def _config(preset, **given):
    return UnsupervisedConfig(**{**presets.values(preset), **given}).resolved()


@pytest.mark.parametrize(
    ("preset", "dataset", "image_size"),
    [("cifar100", "cifar100", 32), ("indoor67", "indoor67", 64), ("places205", "places205", 64)],
)
def test_presets_of_small_images_are_the_recipe_s_but_for_data(preset, dataset, image_size):
    config = _config(preset)
    assert (config.dataset, config.image_size) == (dataset, image_size)
    assert config == UnsupervisedConfig(dataset=dataset, image_size=image_size).resolved()
    assert (config.num_parts, config.appearance_dim, config.stride) == (32, 8, None)


def test_imagenet_is_the_original_s():
    config = _config("imagenet")
    assert (config.dataset, config.image_size) == ("imagenet2012", 224)
    assert (config.backbone, config.stride) == ("resnet18", 32)
    assert (config.num_parts, config.appearance_dim) == (64, 16)
    assert (config.batch_size, config.learning_rate, config.epochs) == (256, 2e-4, 140)
    assert config.occurrence_weight == 10.0  # what it does not say the paper's recipe does


@pytest.mark.parametrize("preset", presets.NAMES)
@pytest.mark.parametrize("recipe", recipes.DESCRIPTIONS)
def test_every_preset_goes_with_every_recipe(preset, recipe):
    assert _config(preset, recipe=recipe).image_size == presets.values(preset)["image_size"]


_READ = """
import json, sys
from absl import flags
from patchvae_tf import paper_datasets as presets
from patchvae_tf.config import UnsupervisedConfig
from patchvae_tf.command_line import config_flags
config_flags.define(UnsupervisedConfig)
flags.FLAGS(sys.argv)
config = config_flags.read(UnsupervisedConfig, presets.values("imagenet")).resolved()
print(json.dumps(config.to_json()))
"""


def test_a_flag_goes_before_the_preset_and_the_preset_before_the_recipe():
    given = ["--image_size=32", "--recipe=masked", "--backbone=resnet9", "--stride=8"]
    done = python("-c", _READ, *given, cwd=ROOT, check=True)
    config = UnsupervisedConfig(**json.loads(done.stdout))
    assert (config.image_size, config.backbone, config.stride) == (32, "resnet9", 8)
    assert (config.num_parts, config.learning_rate) == (64, 2e-4)  # the preset's
    assert config.mask_share == 0.5  # the recipe's


def test_what_does_not_fit_the_preset_is_refused():
    with pytest.raises(InputError, match="--image_size must be a multiple of .*, 32. Received: 80"):
        _config("imagenet", image_size=80)
