"""Dataclasses whose fields know their help text and range, and check themselves."""

import dataclasses
import math
import numbers
import types
import typing

from patchvae_tf.errors import InputError


def setting(
    default: typing.Any,
    group: str,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
    rare: bool = False,
) -> typing.Any:
    """A dataclass field that knows its help text and its range.

    Args:
        default: the value when nothing else says one.
        group: the heading in `--help`.
        description: with unit.
        minimum, maximum: the least and the greatest allowed value.
        above, below: what the value must lie above or below.
        choices: allowed values.
        rare: whether `--help` leaves it to `--helpfull`.
    """
    metadata = {
        "group": group,
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "below": below,
        "choices": choices,
        "rare": rare,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """A frozen dataclass of `setting`s that checks itself when it is made.

    A subclass may have a method `check`, which raises InputError where settings do not go together;
    those of all its bases are called.

    Raises:
        InputError: a setting is of another type or out of its range, or does not go with another.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_type(field, getattr(self, field.name))
            _check_range(field, getattr(self, field.name))
        for one in reversed(type(self).__mro__):  # what it is made of, before how it goes together
            if "check" in vars(one):
                one.check(self)

    @classmethod
    def part_of(cls, whole: "Settings") -> typing.Self:
        """These settings, taken from others that have them among their own."""
        return cls(**{field.name: getattr(whole, field.name) for field in dataclasses.fields(cls)})

    @classmethod
    def of(cls, given: "Settings | dict | None") -> typing.Self:
        """These settings as an argument gives them: themselves, as a dict, or None for defaults.

        Settings of a base class will do.

        Raises:
            InputError: there is one among them that these have not.
        """
        if given is None or type(given) is cls:
            return given or cls()
        values = given.to_json() if isinstance(given, Settings) else given
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise InputError(f"{cls.__name__} has no {', '.join(unknown)}. Leave it out.")
        return cls(**values)

    def to_json(self) -> dict:
        """Returns a dict of plain values; the class called with them is its inverse."""
        return dataclasses.asdict(self)


def precision_setting() -> typing.Any:
    """The setting `precision` of every command that trains."""
    return setting(
        "auto",
        "Training",
        "of the arithmetic; auto: mixed_bfloat16 on GPUs that multiply it natively, else float32",
        choices=("auto", "float32", "mixed_bfloat16"),
    )


def seed_setting(description: str) -> typing.Any:
    """The setting `seed` of every command that trains."""
    return setting(0, "Training", description, minimum=0, maximum=2**31 - 1)


def data_dir_setting(default: str = "~/tensorflow_datasets") -> typing.Any:
    """The setting `data_dir` of every command that reads images."""
    return setting(
        None, "Data", f"folder of prepared TFDS data sets (default: {default})", rare=True
    )


# Type of a field -> what it takes (NumPy's numbers too), and how a person says it.
_TAKEN: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "True or False"),
    int: ((numbers.Integral,), "a whole number"),
    float: ((numbers.Real,), "a number"),
    str: ((str,), "a text"),
}


def plain_type(annotation: typing.Any) -> type:
    """`int` of `int | None`; any plain type as it is."""
    if isinstance(annotation, types.UnionType):
        return next(one for one in typing.get_args(annotation) if one is not types.NoneType)
    return annotation


def check_type(field: dataclasses.Field, value: object) -> None:
    """Raises InputError unless the value is of the field's type."""
    plain = plain_type(field.type)
    taken, wanted = _TAKEN[plain]
    if value is None and plain is not field.type:
        return
    if not isinstance(value, taken) or (isinstance(value, bool) and plain is not bool):
        raise InputError(f"{field.name} must be {wanted}. Received: {value!r}")


def _check_range(field, value):
    limits = field.metadata
    if value is None:
        return
    wanted = None
    if isinstance(value, float) and not math.isfinite(value):
        wanted = "a finite number"
    elif limits["minimum"] is not None and value < limits["minimum"]:
        wanted = f"at least {limits['minimum']:g}"
    elif limits["maximum"] is not None and value > limits["maximum"]:
        wanted = f"at most {limits['maximum']:.15g}"
    elif limits["above"] is not None and value <= limits["above"]:
        wanted = f"above {limits['above']:g}"
    elif limits["below"] is not None and value >= limits["below"]:
        wanted = f"below {limits['below']:g}"
    elif limits["choices"] and value not in limits["choices"]:
        wanted = f"one of {', '.join(limits['choices'])}"
    if wanted:
        raise InputError(f"{field.name} must be {wanted}. Received: {value}")
