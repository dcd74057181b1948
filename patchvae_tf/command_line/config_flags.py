"""Command-line flags made from a configuration dataclass: one source for both."""

import dataclasses
import sys
import textwrap
import types
import typing

from absl import flags

_DEFINERS = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def _plain_type(annotation):
    """`int` of `int | None`; any plain type as it is."""
    if isinstance(annotation, types.UnionType):
        return next(t for t in typing.get_args(annotation) if t is not type(None))
    return annotation


def define(*config_classes):
    """Defines one flag for each field of dataclasses whose fields are `settings.setting`s."""
    for field in _fields(config_classes):
        choices = field.metadata["choices"]
        if choices:
            flags.DEFINE_enum(field.name, field.default, choices, field.metadata["description"])
        else:
            definer = _DEFINERS[_plain_type(field.type)]
            definer(field.name, field.default, field.metadata["description"])


def _fields(config_classes):
    return [field for one in config_classes for field in dataclasses.fields(one)]


def read(config_class):
    """Returns the dataclass with the values of the parsed flags."""
    names = [field.name for field in dataclasses.fields(config_class)]
    return config_class(**{name: flags.FLAGS[name].value for name in names})


def parser(usage, config_classes, takes_command=False):
    """Returns a flags parser for `app.run` whose `--help` shows every flag under its heading.

    Args:
        usage: str, what the command does and examples, printed first.
        config_classes: dataclasses given to `define`.
        takes_command: bool, whether what follows `--` is another command; it is handed on.
    """

    def parse(argv):
        own, command = argv, []
        if takes_command and "--" in argv:
            own, command = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
        if {"--help", "-help", "-h", "--helpfull", "--helpshort"} & set(own[1:]):
            print(_help(usage, config_classes), flush=True)
            sys.exit(0)
        rest = flags.FLAGS(own)
        if rest[1:]:
            raise flags.Error(f"Unexpected argument {rest[1]!r}: every setting is a --flag=value.")
        return [*rest, *command]

    return parse


def _help(usage, config_classes):
    groups = {}
    for field in _fields(config_classes):
        groups.setdefault(field.metadata["group"], []).append(field.name)
    lines = [usage.strip()]
    for heading, flag_names in groups.items():
        lines += ["", f"{heading}:"]
        lines += [line for name in flag_names for line in _flag_help(flags.FLAGS[name])]
    return "\n".join(lines)


def _flag_help(flag):
    if flag.boolean:
        form = f"--[no]{flag.name}"
    elif isinstance(flag, flags.EnumFlag):
        form = f"--{flag.name}={'|'.join(flag.parser.enum_values)}"
    else:
        form = f"--{flag.name}"
    text = flag.help.removeprefix(f"<{form.partition('=')[2]}>: ")
    if flag.default is not None:
        default = f"default: {str(flag.default).lower() if flag.boolean else flag.default})"
        text = f"{text[:-1]}; {default}" if text.endswith(")") else f"{text} ({default}"
    if len(form) < 26:
        return textwrap.wrap(text, 96, initial_indent=f"  {form:26}", subsequent_indent=" " * 28)
    return [
        f"  {form}",
        *textwrap.wrap(text, 96, initial_indent=" " * 28, subsequent_indent=" " * 28),
    ]
