"""The settings of `python -m trainers.transfer`, and what they ask of φ, checked at once.

Needs no TensorFlow, so that `--help` and a wrong flag answer at once.
"""

import dataclasses
import pathlib

from patchvae_tf import backbones, pretrained, resnet18_weights, runs
from patchvae_tf.errors import InputError
from patchvae_tf.saved_models import loaded as exported
from patchvae_tf.settings import Settings, setting, unsupervised, unsupervised_config
from patchvae_tf.settings.architecture import check_image_size
from patchvae_tf.settings.fields import data_dir_setting, precision_setting, seed_setting
from patchvae_tf.settings.pixels import Pixels, value_range_setting

SOURCES = ("run_dir", "saved_model", "weights", "untrained")

_MODELS = tuple(unsupervised.CONFIGS)
_UNTRAINED_SIZE = 32  # pixels, where no trained φ says another


@dataclasses.dataclass(frozen=True)
class TransferConfig(Settings):
    """Settings of `python -m trainers.transfer`.

    Defaults: the original implementation's where it is known; `epochs` and `cut_epochs` are those
    of PyTorch's ImageNet example.
    """

    run_dir: str | None = setting(
        None,
        "Backbone (give one)",
        "folder of a finished run of trainers.unsupervised; or a preset's name or folder",
    )
    saved_model: str | None = setting(
        None,
        "Backbone (give one)",
        "folder of an exported version, or of its run: then the newest version; always frozen",
    )
    weights: str | None = setting(
        None,
        "Backbone (give one)",
        "ImageNet weights of ResNet-18, a local .safetensors or .npz with torchvision's names",
    )
    untrained: bool = setting(
        False,
        "Backbone (give one)",
        "first weights by the seed: from scratch with freeze=none, random features with conv1-5",
    )
    backbone: str | None = setting(
        None,
        "Backbone",
        "which network is untrained (default: resnet9; a run has its own)",
        choices=backbones.NAMES,
    )
    stride: int | None = setting(
        None, "Backbone", "of the backbone, where it is cut (default: its own; a run has its own)"
    )
    freeze: str | None = setting(
        None,
        "Backbone",
        "the stages that stay as they are, of resnet9 conv1, conv1-3 or conv1-5; none: all of it "
        "is fine-tuned (default: all of it stays)",
    )
    model: str | None = setting(
        None,
        "Backbone",
        "what the run or preset of run_dir must be (default: any)",
        choices=_MODELS,
    )
    image_size: int | None = setting(
        None,
        "Backbone",
        "side of the square images in pixels, a multiple of the stride (default: the trained one, "
        "or 32)",
        minimum=8,
    )

    channels: int | None = setting(
        None, "Backbone", "of the images (default: those it was trained on, or 3)", minimum=1
    )

    dataset: str | None = setting(
        None,
        "Data",
        "labelled: a TFDS name, a folder with train/CLASS and test/CLASS, an .npz file with "
        "x_train, y_train, x_test, y_test, or 'parts'; needed",
    )
    data_dir: str | None = data_dir_setting()
    value_range: str | None = value_range_setting()
    labels_per_class: int | None = setting(
        None, "Data", "train on so many images of each class, drawn by the seed", minimum=1
    )
    num_classes: int | None = setting(
        None, "Data", "classes of the head (default: those of the data set)", minimum=2
    )
    validation_examples: int | None = setting(
        None,
        "Data",
        "images held out of train, before any are drawn, for validation at each epoch's end; "
        "0: none (default: a twentieth, at most 1000)",
        minimum=0,
    )
    horizontal_flip: bool | None = setting(
        None,
        "Data",
        "mirror every other training image at random (default: as the paper does, all but "
        "cifar100)",
    )
    crop_side: float = setting(
        1.0,
        "Data",
        "least side of the random crop that fine-tuning takes of an image, as a share of its side; "
        "1: no crop",
        above=0.0,
        maximum=1.0,
    )
    color_jitter: float = setting(
        0.0,
        "Data",
        "strength of the change of colours in what fine-tuning sees",
        minimum=0.0,
        maximum=1.0,
    )

    epochs: int = setting(90, "Training", "passes over the training images", minimum=1)
    batch_size: int | None = setting(
        None,
        "Training",
        "images a step, over all devices (default: 256, or all where there are fewer)",
        minimum=1,
    )
    learning_rate: float = setting(0.1, "Training", "of SGD, per step", above=0.0)
    cut_epochs: int = setting(
        30, "Training", "epochs after which the learning rate is cut by 10, each time", minimum=1
    )
    momentum: float = setting(0.9, "Training", "of SGD, per step", minimum=0.0, below=1.0)
    weight_decay: float = setting(
        1e-4, "Training", "of all weights that are trained, added to the gradient", minimum=0.0
    )
    seed: int = seed_setting("of weights, subset, order, augmentation and dropout")
    precision: str = precision_setting()

    def check(self) -> None:
        """Raises InputError for a setting that is missing or wrong."""
        given = [name for name in SOURCES if getattr(self, name)]
        if len(given) != 1:
            raise InputError(
                "give one backbone: run_dir, saved_model, weights or untrained. "
                f"Received: {' and '.join(given) or 'none'}."
            )
        Pixels.of(3, self.value_range)
        if not self.dataset:
            raise InputError(
                "dataset is missing. Give a folder, an .npz or a TFDS name, with labels."
            )
        if self.freeze not in (None, "none") and self.freeze not in backbones.STAGE_NAMES:
            raise InputError(
                f"freeze must be a stage of the backbone or none. Received: {self.freeze}. "
                "Use e.g. conv1-3."
            )
        if self.saved_model and self.freeze not in (None, "conv1-5"):
            raise InputError(
                "saved_model gives frozen features: freeze must be conv1-5. Received: "
                f"{self.freeze}. Use the run that it was exported from (run_dir) to fine-tune."
            )
        if self.model and not self.run_dir:
            raise InputError("model says what run_dir must hold: leave it out, or give a run.")
        if self.source in ("untrained", "weights"):
            check_image_size(self.image_size, self.backbone or "resnet9", self.stride)

    @property
    def source(self) -> str:
        """Which of `SOURCES` gives φ."""
        return next(name for name in SOURCES if getattr(self, name))


def resolved(config: TransferConfig) -> TransferConfig:
    """Returns the settings with the defaults that depend on data set and φ filled in.

    Raises:
        InputError: φ is not there, or not the one that was asked for.
    """
    if config.horizontal_flip is None:
        flip = unsupervised_config(recipe="paper", dataset=config.dataset).horizontal_flip
        config = dataclasses.replace(config, horizontal_flip=flip)
    sources = {"run_dir": _of_run, "saved_model": _of_export, "weights": _of_weights}
    config = dataclasses.replace(config, **sources.get(config.source, _of_untrained)(config))
    if config.source == "saved_model":
        _check_no_views(config)
        return dataclasses.replace(config, freeze="conv1-5")
    assert config.backbone is not None  # the source of φ says it
    stages = [stage.name for stage in backbones.stages(config.backbone, config.stride)]
    freeze = stages[-1] if config.freeze is None else config.freeze
    if freeze == stages[-1]:
        _check_no_views(config)
    if freeze not in ("none", *stages):
        raise InputError(
            f"freeze of {config.backbone} with a stride of {config.stride} must be one of "
            f"{', '.join(stages)}, none. Received: {freeze}"
        )
    return dataclasses.replace(config, freeze=freeze)


def _check_no_views(config):
    """Raises InputError for views of images where each image's features are computed once."""
    for name, plain in (("crop_side", 1.0), ("color_jitter", 0.0)):
        if getattr(config, name) != plain:
            raise InputError(
                f"{name} is for fine-tuning, and here φ is all frozen: its features of each image "
                f"are computed once. Received: {getattr(config, name)}. Leave it out, or choose "
                "another freeze, e.g. conv1."
            )


def _of_run(config):
    """What a finished run or a preset says of φ: backbone, stride and channels.

    Also its image size, or the one asked for, which φ takes as well.
    """
    settings = _trained_settings(config.run_dir)
    trained, size = settings["model"], config.image_size or settings["image_size"]
    phi = _phi(size, settings.get("backbone"), settings.get("stride"), settings.get("channels"))
    check_image_size(size, phi["backbone"], phi["stride"])
    for name, its in {"model": trained, **phi}.items():
        asked = getattr(config, name)
        if asked not in (None, its):
            raise InputError(
                f"run_dir {config.run_dir} trained with {name}={its}, asked for was {asked}. Leave "
                f"{name} out, or give another run."
            )
    return phi


def _trained_settings(run_dir):
    """Settings by name, `model` among them, of a finished run or a preset."""
    preset = pretrained.known(run_dir)
    if preset is not None:
        facts = pretrained.read_facts(preset)
        return {**facts.arguments, "model": facts.model}
    folder = runs.finished(run_dir)
    record = runs.read_record(folder)
    if not record or record["settings"].get("model") not in _MODELS:
        raise InputError(
            f"run_dir {folder} holds no record of an unsupervised run. Give the folder of a "
            "finished run of trainers.unsupervised, or a preset."
        )
    return record["settings"]


def _phi(image_size, backbone, stride, channels):
    backbone = backbone or "resnet9"  # also of runs from before there was a choice
    stride = backbones.checked_stride(backbone, stride)
    return {
        "image_size": image_size,
        "backbone": backbone,
        "stride": stride,
        "channels": channels or 3,
    }


def _of_export(config):
    """The image size of an exported version, or the one asked for, which φ takes as well.

    The version says the rest.
    """
    if config.backbone or config.stride or config.channels:
        raise InputError(
            "saved_model has a backbone of its own: leave out backbone, stride and channels."
        )
    version = exported.version(config.saved_model)
    facts = exported.facts(version)
    exported.check_facts(facts, ["feature_map"], version)
    size = exported.checked_size(config.image_size, facts, version)
    return {"image_size": size, "channels": facts.get("channels", 3)}


def _of_weights(config):
    asked = (config.backbone, config.stride, config.channels)
    if any(one not in (None, its) for one, its in zip(asked, ("resnet9", 8, 3), strict=True)):
        raise InputError(
            "weights are of resnet9 with a stride of 8 for 3 channels: leave backbone, stride and "
            "channels out."
        )
    resnet18_weights.read(pathlib.Path(config.weights))
    return _of_untrained(config)


def _of_untrained(config):
    size = config.image_size or _UNTRAINED_SIZE
    return _phi(size, config.backbone, config.stride, config.channels)
