"""Writes docs/flags.md, the flags of every command: `python docs/build_flags.py`.

It asks the commands themselves, so that nothing is listed by hand; a test compares the page.
"""

import dataclasses
import importlib
import pathlib
import re
import sys
from unittest import mock

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from patchvae_tf.command_line import console, main  # noqa: E402
from patchvae_tf.settings import paper_datasets, recipes, unsupervised  # noqa: E402

PAGE = ROOT / "docs/flags.md"

_HEAD = """\
# Flags
<!-- Written by `python docs/build_flags.py`: do not edit. -->

Every command takes its settings as `--flag=value`; a switch is `--flag` or `--noflag`. `--help`
shows what most people need, `--helpfull` everything: flags with an asterisk (\\*) are in
`--helpfull` alone. The names of `patchvae train`'s settings are also the names in Python
(`patchvae_tf.PatchVAE.from_recipe`, `patchvae_tf.train`) and in a run's `config.json`.

"""
_TRAIN_NOTES = """\
A setting gets its value from the first of these that has one: your flag, `--paper_dataset`, the
recipe, the setting's own default (the paper's). Where the recipes differ, the column *default*
names each: "agreement 0.35, parts 1" is 0.35 with `--recipe=agreement`, but 1 on the data
set `parts`. Without `--recipe`, {defaults}.

| recipe | what it is for |
|---|---|
{recipes}

| `--paper_dataset` | stands for |
|---|---|
{paper_datasets}

A flag that is not for the chosen model is an error, and is not in the run's record. An empty cell
under *models* means all three.
"""


def page():
    """The page, as text."""
    return _HEAD + "\n".join(_section(command) for command in main.COMMANDS)


def _section(command):
    module, text = main.COMMANDS[command]
    kinds = _kinds(command)
    lines = [f"## patchvae {command}", f"{text[0].upper()}{text[1:]}. In a checkout also"]
    lines[-1] += f" `python -m {module}`."
    if unsupervised in kinds:
        lines += ["", _train_notes()]
    else:
        lines.append("")
    return "\n".join([*lines, *_table(kinds), ""])


def _kinds(command):
    """The dataclasses that a command makes its flags from, as it hands them to the console."""
    module = importlib.import_module(main.module_of(command))
    with mock.patch.object(console, "run") as run:
        module.run()
    return run.call_args.args[2:]


def _train_notes():
    defaults = ", ".join(f"{model} takes `{recipe}`" for model, recipe in recipes.DEFAULTS.items())
    rows = [f"| `{name}` | {text} |" for name, text in recipes.DESCRIPTIONS.items()]
    papers = []
    for name in paper_datasets.NAMES:
        values = paper_datasets.values(name).items()
        papers.append(f"| `{name}` | {', '.join(f'`--{key}={value}`' for key, value in values)} |")
    return _TRAIN_NOTES.format(
        defaults=defaults, recipes="\n".join(rows), paper_datasets="\n".join(papers)
    )


def _table(kinds):
    fields = [field for kind in kinds for field in _fields(kind)]
    by_model = unsupervised in kinds
    columns = ["flag", "default", *(["models"] if by_model else []), "meaning"]
    lines = [_row(columns), "|---" * len(columns) + "|"]
    groups = {}
    for field in fields:
        groups.setdefault(field.metadata["group"], []).append(field)
    for group, members in groups.items():
        lines.append(_row([f"**{group}**", *[""] * (len(columns) - 1)]))
        for field in members:
            mark = "\\*" if field.metadata["rare"] else ""
            default, meaning = _default_and_meaning(field)
            models = [console.shown_models(field)] if by_model else []
            lines.append(_row([f"`--{field.name}`{mark}", default, *models, meaning]))
    return lines


def _fields(kind):
    if kind is unsupervised:
        return unsupervised.all_fields().values()
    return dataclasses.fields(kind)


def _default_and_meaning(field):
    text, default = field.metadata["description"], console.shown_default(field)
    said = re.fullmatch(r"(.*) \(default: (.*)\)", text, re.DOTALL)
    if said and not default:
        text, default = said.groups()
    if text.endswith("; needed"):
        text, default = text.removesuffix("; needed"), "required"
    choices = field.metadata["choices"]
    if choices and not all(f"{choice}:" in text for choice in choices):
        text += f": {', '.join(f'`{choice}`' for choice in choices)}"
    return default or "none", text


def _row(cells):
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
