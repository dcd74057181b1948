"""Fields of a configuration dataclass that know their help text, default and range.

Needs no TensorFlow, so that `--help` and a wrong flag answer at once.
"""

import dataclasses
import math

from patchvae_tf.errors import InputError


def setting(
    default,
    group,
    description,
    *,
    by_dataset=None,
    minimum=None,
    maximum=None,
    above=None,
    below=None,
    choices=None,
):
    """A dataclass field that knows its help text and its range.

    Args:
        default: the value when nothing is given.
        group: str, the heading in `--help`.
        description: str, with unit.
        by_dataset: dict data set -> its own default; the field is then None until
            `with_dataset_defaults` fills it in.
        minimum, maximum: numbers, the least and the greatest allowed value.
        above, below: numbers that the value must lie above or below.
        choices: allowed values.
    """
    metadata = {
        "group": group,
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "below": below,
        "choices": choices,
    }
    if by_dataset:
        defaults = {"": default, **by_dataset}
        shown = [
            f"{f'{name}: ' if name else ''}{_shown(value)}" for name, value in defaults.items()
        ]
        metadata["description"] += f" (default: {'; '.join(shown)})"
        metadata["defaults"] = defaults
        default = None
    return dataclasses.field(default=default, metadata=metadata)


def precision_setting():
    """The setting `precision` of every command that trains."""
    return setting(
        "auto",
        "Training",
        "of the arithmetic; auto: mixed_bfloat16 on GPUs that multiply it natively, else float32",
        choices=("auto", "float32", "mixed_bfloat16"),
    )


def _shown(value):
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def with_dataset_defaults(config):
    """Returns a dataclass of `setting`s, its defaults for `config.dataset` filled in."""
    name = config.dataset.partition(":")[0]  # of a TFDS data set, without its version
    missing = {
        field.name: field.metadata["defaults"].get(name, field.metadata["defaults"][""])
        for field in dataclasses.fields(config)
        if "defaults" in field.metadata and getattr(config, field.name) is None
    }
    return dataclasses.replace(config, **missing)


def check_ranges(config):
    """Raises InputError for the first `setting` of a dataclass that is out of its range."""
    for field in dataclasses.fields(config):
        _check(field, getattr(config, field.name))


def _check(field, value):
    limits = field.metadata
    if value is None:
        return
    wanted = None
    if isinstance(value, float) and not math.isfinite(value):
        wanted = "a finite number"
    elif limits["minimum"] is not None and value < limits["minimum"]:
        wanted = f"at least {limits['minimum']}"
    elif limits["maximum"] is not None and value > limits["maximum"]:
        wanted = f"at most {limits['maximum']}"
    elif limits["above"] is not None and value <= limits["above"]:
        wanted = f"above {limits['above']:g}"
    elif limits["below"] is not None and value >= limits["below"]:
        wanted = f"below {limits['below']:g}"
    elif limits["choices"] and value not in limits["choices"]:
        wanted = f"one of {', '.join(limits['choices'])}"
    if wanted:
        raise InputError(f"--{field.name} must be {wanted}. Received: {value}")
