"""The settings of a run: one frozen dataclass, checked before any work, JSON both ways.

Needs no TensorFlow, so that `--help` and a wrong flag answer at once.
"""

import dataclasses

from patchvae_tf import backbones, recipes
from patchvae_tf.errors import InputError
from patchvae_tf.settings import check_ranges, precision_setting, setting


def recipe_setting(name, group, description, **limits):
    """A `setting` whose value, where none is given, the recipe says.

    Args:
        name: str, the field's.
        group, description, **limits: as of `setting`.
    """
    return setting(None, group, f"{description} (default: {recipes.shown(name)})", **limits)


@dataclasses.dataclass(frozen=True)
class UnsupervisedConfig:
    """Settings of `python -m trainers.unsupervised`. What is None the recipe says."""

    dataset: str = setting(
        "parts",
        "Data",
        "'parts' (generated), a TFDS name, a folder of images, or an .npz file with x_train",
    )
    data_dir: str | None = setting(
        None, "Data", "folder of prepared TFDS data sets (default: ~/tensorflow_datasets)"
    )
    image_size: int = setting(
        32, "Data", "side of the square images in pixels, a multiple of the stride", minimum=8
    )
    validation_examples: int | None = setting(
        None,
        "Data",
        "images held out of train for validation at each epoch's end; 0: none "
        "(default: a twentieth, at most 1000)",
        minimum=0,
    )
    streamed: bool | None = setting(
        None,
        "Data",
        "read and decode images as they are needed, not all before; for folders and TFDS (default: "
        "where they would take more than 64 GB)",
    )
    shuffle_window: int = setting(
        16384,
        "Data",
        "images that are shuffled with each other where TFRecord files are streamed; otherwise all "
        "are",
        minimum=1,
    )

    recipe: str | None = setting(
        None,
        "Recipe",
        "; ".join(f"{name}: {text}" for name, text in recipes.DESCRIPTIONS.items())
        + ". It says what no flag of its own says (default: "
        + ", ".join(f"{recipe} for {model}" for model, recipe in recipes.DEFAULTS.items())
        + ")",
        choices=tuple(recipes.DESCRIPTIONS),
    )

    horizontal_flip: bool | None = recipe_setting(
        "horizontal_flip", "Views", "mirror every other training image at random"
    )
    crop_side: float | None = recipe_setting(
        "crop_side",
        "Views",
        "least side of the random crop that training takes, as a share of the image's; 1: no crop "
        "(not bigan)",
        above=0.0,
        maximum=1.0,
    )
    color_jitter: float | None = recipe_setting(
        "color_jitter",
        "Views",
        "strength of the change of colours in what training sees, not in what it rebuilds "
        "(not bigan)",
        minimum=0.0,
        maximum=1.0,
    )
    mask_share: float | None = recipe_setting(
        "mask_share",
        "Views",
        "share of the blocks that are hidden in what training sees (not bigan)",
        minimum=0.0,
        below=1.0,
    )
    mask_size: int = setting(
        4, "Views", "side of a hidden block in pixels; divides image_size", minimum=1
    )

    model: str = setting(
        "patchvae", "Model", "what is trained", choices=("patchvae", "beta_vae", "bigan")
    )
    backbone: str = setting(
        "resnet9", "Model", "phi, the network that learns to see", choices=backbones.NAMES
    )
    stride: int | None = setting(
        None,
        "Model",
        "of the backbone, pixels per place of its map: 4, 8, 16 or 32; where it is cut "
        "(default: resnet9 and pyramid 8, others 32)",
    )
    num_parts: int | None = recipe_setting(
        "num_parts", "Model", "N, number of parts (patchvae)", minimum=1
    )
    appearance_dim: int | None = recipe_setting(
        "appearance_dim", "Model", "d_p, numbers that describe a part's look (patchvae)", minimum=1
    )
    occurrence: str = setting(
        "bernoulli",
        "Model",
        "how parts occur: each for itself, or one at a location (patchvae)",
        choices=("bernoulli", "categorical"),
    )
    hard_occurrence: bool = setting(
        False, "Model", "0/1 samples with a straight-through gradient (patchvae)"
    )
    independent_decoders: bool = setting(
        False, "Model", "a decoder of its own for each part, their images summed (patchvae)"
    )
    latent_dim: int = setting(96, "Model", "width of the global code (beta_vae, bigan)", minimum=1)

    weighted_reconstruction: bool | None = recipe_setting(
        "weighted_reconstruction",
        "Loss",
        "weigh the squared error by the image's Laplacian (L_w); not for bigan",
    )
    occurrence_prior: float | None = setting(
        None,
        "Loss",
        "p, probability that a part occurs at a location (patchvae; default: 1 / num_parts)",
        above=0.0,
        below=1.0,
    )
    occurrence_weight: float | None = recipe_setting(
        "occurrence_weight",
        "Loss",
        "beta_occ, factor of the occurrence KL in nats, for patchvae",
        minimum=0.0,
    )
    appearance_weight: float | None = recipe_setting(
        "appearance_weight",
        "Loss",
        "beta_app, factor of the appearance KL in nats, for patchvae",
        minimum=0.0,
    )
    agreement_weight: float | None = recipe_setting(
        "agreement_weight",
        "Loss",
        "factor of the agreement between the parts' codes of two views; 0: one view (patchvae)",
        minimum=0.0,
    )
    part_reconstruction_weight: float = setting(
        0.0,
        "Loss",
        "factor of each part's own error where it occurs; needs --independent_decoders (patchvae)",
        minimum=0.0,
    )
    entropy_across_weight: float = setting(
        0.0,
        "Loss",
        "factor of the entropy across images, raised so that they use different parts (patchvae)",
        minimum=0.0,
    )
    entropy_within_weight: float = setting(
        0.0,
        "Loss",
        "factor of the entropy within images, raised so that no part is everywhere (patchvae)",
        minimum=0.0,
    )
    kl_weight: float = setting(
        1.0, "Loss", "beta, factor of the KL in nats (beta_vae)", minimum=0.0
    )
    adversarial_weight: float = setting(
        0.0,
        "Loss",
        "factor of the GAN loss on reconstructions; 0: no discriminator (patchvae, beta_vae)",
        minimum=0.0,
    )
    temperature: float | None = recipe_setting(
        "temperature",
        "Loss",
        "tau of the relaxed occurrence at the first step (patchvae)",
        above=0.0,
    )
    temperature_rate: float | None = recipe_setting(
        "temperature_rate",
        "Loss",
        "tau falls by exp(-rate * step), 1/steps; 0: constant (patchvae)",
        minimum=0.0,
    )
    temperature_interval: int = setting(
        1000, "Loss", "steps between two cuts of tau (patchvae)", minimum=1
    )
    temperature_floor: float = setting(0.1, "Loss", "the least tau (patchvae)", above=0.0)

    epochs: int | None = recipe_setting("epochs", "Training", "passes over the images", minimum=1)
    least_steps: int | None = recipe_setting(
        "least_steps",
        "Training",
        "steps that are trained at least, by more passes over few images; 0 with --epochs",
        minimum=0,
    )
    batch_size: int | None = recipe_setting(
        "batch_size", "Training", "images a step, over all devices", minimum=1
    )
    learning_rate: float | None = recipe_setting(
        "learning_rate", "Training", "of Adam, per step", above=0.0
    )
    learning_rate_schedule: str | None = recipe_setting(
        "learning_rate_schedule",
        "Training",
        "constant, or falling to 0 by a cosine over all steps",
        choices=("constant", "cosine"),
    )
    warmup_epochs: float | None = recipe_setting(
        "warmup_epochs",
        "Training",
        "epochs in which the learning rate rises from 0",
        minimum=0.0,
    )
    adam_beta_1: float | None = recipe_setting(
        "adam_beta_1", "Training", "decay of Adam's first moment, per step", minimum=0.0, below=1.0
    )
    adam_beta_2: float | None = recipe_setting(
        "adam_beta_2", "Training", "decay of Adam's second moment, per step", minimum=0.0, below=1.0
    )
    weight_decay: float | None = recipe_setting(
        "weight_decay",
        "Training",
        "of all weights, times the learning rate at each step (AdamW)",
        minimum=0.0,
    )
    seed: int = setting(
        0,
        "Training",
        "of weights, order, augmentation and noise",
        minimum=0,
        maximum=2**31 - 1,
    )
    precision: str = precision_setting()

    def __post_init__(self):
        """Raises InputError for the first setting out of its range."""
        check_ranges(self)
        if self.occurrence == "categorical" and self.occurrence_prior is not None:
            raise InputError(
                "--occurrence_prior is for --occurrence=bernoulli: categorical occurrence always "
                f"has 1 / num_parts. Received: {self.occurrence_prior}. Leave it out."
            )
        if self.num_parts == 1 and self.model == "patchvae" and self.occurrence_prior is None:
            raise InputError(
                "--num_parts=1 makes the prior 1 / num_parts = 1: give --occurrence_prior, "
                "between 0 and 1."
            )
        if self.temperature is not None and self.temperature < self.temperature_floor:
            raise InputError(
                "--temperature must not be below --temperature_floor. "
                f"Received: {self.temperature} and {self.temperature_floor}"
            )
        if self.part_reconstruction_weight and not self.independent_decoders:
            raise InputError(
                "--part_reconstruction_weight needs --independent_decoders: one decoder for all "
                f"parts makes no image of a part. Received: {self.part_reconstruction_weight}"
            )
        check_image_size(self.image_size, self.backbone, self.stride)

        if self.image_size % self.mask_size:
            raise InputError(
                f"--mask_size must divide --image_size, {self.image_size}. Received: "
                f"{self.mask_size}. Use e.g. 4 or 8."
            )

    def resolved(self):
        """Returns the settings with those that were not given filled in, as the recipe says."""
        recipe = self.recipe or recipes.DEFAULTS[self.model]
        values = recipes.values(recipe, self.dataset)
        if self.epochs is not None:
            values = {**values, "least_steps": 0}  # so many, and no more
        missing = {name: v for name, v in values.items() if getattr(self, name) is None}
        return dataclasses.replace(self, recipe=recipe, **missing)

    def epochs_of(self, steps_per_epoch):
        """Passes over the images, of settings that are resolved: `epochs`, or for `least_steps`."""
        return max(self.epochs, -(-self.least_steps // steps_per_epoch))

    def to_json(self):
        """Returns a dict of plain values; `UnsupervisedConfig(**values)` is its inverse."""
        return dataclasses.asdict(self)


def check_image_size(image_size, backbone, stride):
    """Raises InputError unless the backbone has the stride (None: its default), and the size fits.

    Args:
        image_size: int, in pixels, or None: not known yet.
        backbone: str, one of `backbones.NAMES`.
        stride: int, or None.
    """
    allowed = backbones.strides(backbone)
    if stride is not None and stride not in allowed:
        raise InputError(
            f"--stride of --backbone={backbone} must be one of {', '.join(map(str, allowed))}. "
            f"Received: {stride}"
        )
    stride = backbones.checked_stride(backbone, stride)
    if image_size is not None and image_size % stride:
        below = max(image_size // stride, 1) * stride
        raise InputError(
            f"--image_size must be a multiple of the backbone's stride, {stride}. "
            f"Received: {image_size}. Use e.g. {below} or {below + stride}."
        )
