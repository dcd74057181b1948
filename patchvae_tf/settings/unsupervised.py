"""The settings of a training without labels: which there are, for which model, and who says them.

A setting is said by whoever comes first: the user, the data set of the paper that is asked for, the
recipe, its own default. A model has the settings that apply to it, and no other.
"""

import dataclasses
import typing
from collections.abc import Mapping

from patchvae_tf import backbones
from patchvae_tf.errors import InputError
from patchvae_tf.settings import paper_datasets, recipes
from patchvae_tf.settings.architecture import Backbone, GlobalCode, PartCode
from patchvae_tf.settings.fields import (
    Settings,
    check_type,
    data_dir_setting,
    precision_setting,
    seed_setting,
    setting,
)
from patchvae_tf.settings.objectives import BetaVAEObjective, PartObjective
from patchvae_tf.settings.pixels import Pixels, parsed_channels, value_range_setting
from patchvae_tf.settings.views import ScaledViews, Views


@dataclasses.dataclass(frozen=True)
class Data(Settings):
    """The images."""

    dataset: str = setting(
        "parts",
        "Data",
        "'parts' (generated), a TFDS name, a folder of images, or an .npz file with x_train",
    )
    data_dir: str | None = data_dir_setting()
    value_range: str | None = value_range_setting()
    shown_channels: str | None = setting(
        None,
        "Data",
        "of more than three, those that pictures show as red, green and blue, from 0, e.g. 3,2,1 "
        "(default: the first three)",
        rare=True,
    )
    validation_examples: int | None = setting(
        None,
        "Data",
        "images held out of train for validation at each epoch's end; 0: none "
        "(default: a twentieth, at most 1000)",
        minimum=0,
        rare=True,
    )
    streamed: bool | None = setting(
        None,
        "Data",
        "read and decode images as they are needed, not all before; for folders and TFDS (default: "
        "where they would take more than 64 GB)",
        rare=True,
    )
    shuffle_window: int = setting(
        16384,
        "Data",
        "images that are shuffled with each other where TFRecord files are streamed; otherwise all "
        "are",
        minimum=1,
        rare=True,
    )
    horizontal_flip: bool = setting(True, "Views", "mirror every other training image at random")


@dataclasses.dataclass(frozen=True)
class Optimization(Settings):
    """How long and how fast. Defaults: the paper's."""

    epochs: int = setting(30, "Training", "passes over the images", minimum=1)
    least_steps: int = setting(
        0,
        "Training",
        "steps that are trained at least, by more passes over few images; 0 with epochs",
        minimum=0,
        rare=True,
    )
    batch_size: int = setting(128, "Training", "images a step, over all devices", minimum=1)
    smaller_batch: bool = setting(
        True,
        "Training",
        "take smaller steps where there are fewer images than batch_size; false with batch_size",
        rare=True,
    )
    learning_rate: float = setting(1e-4, "Training", "of Adam, per step", above=0.0)
    learning_rate_schedule: str = setting(
        "constant",
        "Training",
        "constant, or falling to 0 by a cosine over all steps",
        choices=("constant", "cosine"),
        rare=True,
    )
    warmup_epochs: float = setting(
        0.0, "Training", "epochs in which the learning rate rises from 0", minimum=0.0, rare=True
    )
    adam_beta_1: float = setting(
        0.5,
        "Training",
        "decay of Adam's first moment, per step",
        minimum=0.0,
        below=1.0,
        rare=True,
    )
    adam_beta_2: float = setting(
        0.999,
        "Training",
        "decay of Adam's second moment, per step",
        minimum=0.0,
        below=1.0,
        rare=True,
    )
    weight_decay: float = setting(
        0.0,
        "Training",
        "of all weights, times the learning rate at each step (AdamW)",
        minimum=0.0,
        rare=True,
    )
    init_from: str | None = setting(
        None,
        "Training",
        "first weights, as far as they fit: a preset's name or folder, or a finished run "
        "(default: drawn by the seed)",
    )
    seed: int = seed_setting("of weights, order, augmentation and noise")
    precision: str = precision_setting()

    def epochs_of(self, steps_per_epoch: int) -> int:
        """Passes over the images: `epochs`, or as many more as `least_steps` takes."""
        return max(self.epochs, -(-self.least_steps // steps_per_epoch))


@dataclasses.dataclass(frozen=True)
class Choice(Settings):
    """What is trained, and who says what the user does not."""

    model: str = setting(
        "patchvae", "Model", "what is trained", choices=("patchvae", "beta_vae", "bigan")
    )
    recipe: str | None = setting(
        None,
        "Recipe",
        "; ".join(f"{name}: {text}" for name, text in recipes.DESCRIPTIONS.items())
        + ". It says what the user does not (default: "
        + ", ".join(f"{recipe} for {model}" for model, recipe in recipes.DEFAULTS.items())
        + "; parts for patchvae on 'parts')",
        choices=tuple(recipes.DESCRIPTIONS),
    )
    paper_dataset: str | None = setting(
        None,
        "Recipe",
        "a data set of the paper's with its image size and, for imagenet, its settings",
        choices=paper_datasets.NAMES,
    )


@dataclasses.dataclass(frozen=True)
class UnsupervisedConfig(Optimization, Backbone, Data, Choice):
    """The settings of every model: of BiGAN there are no more than its code."""

    def check(self) -> None:
        """What is said of the pixels can be read."""
        Pixels.of(self.channels, self.value_range)
        parsed_channels(self.shown_channels, self.channels)

    @property
    def pixels(self) -> Pixels:
        """The pixels that the model takes."""
        return Pixels.of(self.channels, self.value_range)


@dataclasses.dataclass(frozen=True)
class PatchVAEConfig(PartObjective, PartCode, ScaledViews, UnsupervisedConfig):
    """The settings of a PatchVAE's training."""

    def check(self) -> None:
        """The objective goes with the code and the views, and blocks fill the image."""
        self.check_code(self)
        self.check_views(self)
        stride = backbones.checked_stride(self.backbone, self.stride)
        self.check_size(self.view_size(self.image_size, stride))


@dataclasses.dataclass(frozen=True)
class BetaVAEConfig(BetaVAEObjective, GlobalCode, Views, UnsupervisedConfig):
    """The settings of a β-VAE's training."""

    def check(self) -> None:
        """Blocks fill the image."""
        self.check_size(self.image_size)


@dataclasses.dataclass(frozen=True)
class BiGANConfig(GlobalCode, UnsupervisedConfig):
    """The settings of a BiGAN's training."""


CONFIGS = {"patchvae": PatchVAEConfig, "beta_vae": BetaVAEConfig, "bigan": BiGANConfig}


def unsupervised_config(**given: typing.Any) -> UnsupervisedConfig:
    """The settings of a training, all of them said.

    Args:
        **given: what the user says; None counts as not said.

    Returns:
        One of the model's class in `CONFIGS`; its `to_json()` makes an equal one.

    Raises:
        InputError: a setting is unknown, is for another model, of another type or out of range.
    """
    given = {name: value for name, value in given.items() if value is not None}
    model = given.get("model", Choice.model)
    if model not in CONFIGS:
        UnsupervisedConfig(model=model)  # raises: not one of them
    names = names_of(model)
    for name, value in given.items():
        _check_applies(name, model, names)
        check_type(all_fields()[name], value)
    paper = paper_datasets.values(given.get("paper_dataset"))
    said = {**paper, **given}
    dataset = said.get("dataset", Data.dataset)
    recipe = said.get("recipe") or recipes.default(model, dataset)
    if recipe not in recipes.DESCRIPTIONS:
        UnsupervisedConfig(recipe=recipe)  # raises: not one of them
    by_recipe = recipes.values(recipe, dataset)
    values = {**by_recipe, **_exact(said), **said, "model": model, "recipe": recipe}
    return CONFIGS[model](**{name: value for name, value in values.items() if name in names})


def names_of(model: str) -> set[str]:
    """The names of the settings that apply to a model."""
    return {field.name for field in dataclasses.fields(CONFIGS[model])}


def all_fields() -> dict[str, dataclasses.Field]:
    """Every setting of any model by its name, in the order in which people are shown them."""
    fields = [field for config in CONFIGS.values() for field in dataclasses.fields(config)]
    order = ["Data", "Recipe", "Views", "Model", "Loss", "Training"]
    by_group = sorted(fields, key=lambda field: order.index(field.metadata["group"]))
    return {field.name: field for field in by_group}


def models_of(name: str) -> list[str]:
    """The models that a setting applies to."""
    return [model for model in CONFIGS if name in names_of(model)]


def _exact(said: Mapping[str, object]) -> dict:
    """What follows where a number of its own is asked for: so many, and no other."""
    follows: dict[str, dict[str, object]] = {
        "epochs": {"least_steps": 0},
        "batch_size": {"smaller_batch": False},
    }
    return {key: value for name in follows if name in said for key, value in follows[name].items()}


def _check_applies(name, model, names):
    if name in names:
        return
    others = models_of(name)
    if not others:
        raise InputError(f"there is no setting {name}. Known are: {', '.join(all_fields())}.")
    raise InputError(
        f"{name} is for model={' or '.join(others)}, and this is model={model}. Leave it out."
    )
