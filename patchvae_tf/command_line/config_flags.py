"""Command-line flags made from a configuration dataclass: one source for both."""

import dataclasses
import sys
import textwrap
from collections.abc import Callable, Iterable

from absl import flags

from patchvae_tf.errors import InputError
from patchvae_tf.settings.fields import plain_type

_DEFINERS: dict[type, Callable] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def define(fields: Iterable[dataclasses.Field]) -> None:
    """Defines one flag for each `settings.setting`; it is None until it is given.

    Args:
        fields: of dataclasses.
    """
    for field in fields:
        text, choices = field.metadata["description"], field.metadata["choices"]
        if choices:
            flags.DEFINE_enum(field.name, None, choices, text)
        else:
            _DEFINERS[plain_type(field.type)](field.name, None, text)


def given(fields: Iterable[dataclasses.Field]) -> dict:
    """The values of the flags that were given, by name.

    Raises:
        InputError: a value is not in the system's encoding; a data set may be called so all the
            same.
    """
    values = {field.name: flags.FLAGS[field.name].value for field in fields}
    for name, value in values.items():
        if name != "dataset" and isinstance(value, str) and _is_broken(value):
            shown = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise InputError(
                f"--{name}={shown} cannot be read in the encoding {sys.getfilesystemencoding()}. "
                "Give a name of plain characters, or set LC_ALL=C.UTF-8 if it is UTF-8."
            )
    return {name: value for name, value in values.items() if value is not None}


def _is_broken(text):
    """Whether Python could not decode an argument, and kept bytes of it as they were."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def parser(
    usage: str,
    fields: Iterable[dataclasses.Field],
    notes: Callable[[dataclasses.Field], str],
    takes_command: bool = False,
) -> Callable:
    """Returns a flags parser for `app.run` that shows every flag under its heading.

    `--help` leaves out the rare ones, `--helpfull` shows all.

    Args:
        usage: what the command does and examples, printed first.
        fields: as given to `define`.
        notes: function of a field -> what stands behind its text in brackets, or "".
        takes_command: whether what follows `--` is another command; it is handed on.
    """
    fields = list(fields)

    def parse(argv):
        own, command = argv, []
        if takes_command and "--" in argv:
            own, command = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
        asked = set(own[1:])
        if asked & {"--help", "-help", "-h", "--helpshort", "--helpfull", "-helpfull"}:
            whole = bool(asked & {"--helpfull", "-helpfull"})
            print(_help(usage, fields, notes, whole), flush=True)
            sys.exit(0)
        rest = flags.FLAGS(own)
        if rest[1:]:
            raise flags.Error(f"Unexpected argument {rest[1]!r}: every setting is a --flag=value.")
        return [*rest, *command]

    return parse


def _help(usage, fields, notes, whole):
    groups = {}
    for field in fields:
        if whole or not field.metadata["rare"]:
            groups.setdefault(field.metadata["group"], []).append(field)
    lines = [usage.strip()]
    for heading, group in groups.items():
        lines += ["", f"{heading}:"]
        lines += [line for field in group for line in _flag_help(field, notes(field))]
    hidden = sum(field.metadata["rare"] for field in fields)
    if hidden and not whole:
        lines += ["", f"{hidden} more for rare needs: --helpfull"]
    return "\n".join(lines)


def _flag_help(field, notes):
    name, choices = field.name, field.metadata["choices"]
    form = f"--[no]{name}" if plain_type(field.type) is bool else f"--{name}"
    if choices:
        form += f"={'|'.join(choices)}"
    text = field.metadata["description"]
    if notes:
        end = f"{notes})"
        text = f"{text[:-1]}; {end}" if text.endswith(")") else f"{text} ({end}"
    if len(form) < 26:
        return textwrap.wrap(text, 96, initial_indent=f"  {form:26}", subsequent_indent=" " * 28)
    return [
        f"  {form}",
        *textwrap.wrap(text, 96, initial_indent=" " * 28, subsequent_indent=" " * 28),
    ]
