"""Presets: trained weights in a folder, three of which come with the package.

A preset is a folder of three files: `preset.json`, what the model is and how it was trained;
`model.safetensors`, its weights by name; and `README.md`, its card. What is known of one without
its weights stands here and needs no TensorFlow.
"""

import dataclasses
import json
import os
import pathlib

from patchvae_tf.errors import InputError

FACTS, WEIGHTS, CARD = "preset.json", "model.safetensors", "README.md"
FORMAT = 1

_OURS = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Facts:
    """What `preset.json` holds.

    Attributes:
        description: what it is, in a sentence.
        model: the model's name in `settings.unsupervised.CONFIGS`.
        arguments: of the model's constructor.
        dtype: the dtype policy that it computed with.
        compact: whether kernels are float16, and what serves training alone is left out.
        settings: of its training, by the names of the flags; None where they are not known.
        run: `data` and `result` of the run that it was made of, or None.
        format: of the folder.
    """

    description: str
    model: str
    arguments: dict
    dtype: str = "float32"
    compact: bool = False
    settings: dict | None = None
    run: dict | None = None
    format: int = FORMAT


def presets() -> dict[str, str]:
    """The presets that come with the package: name -> what it is, in a sentence."""
    folders = sorted(path.parent for path in _OURS.glob(f"*/{FACTS}"))
    return {folder.name: read_facts(folder).description for folder in folders}


def find(preset: str | os.PathLike) -> pathlib.Path:
    """The folder of a preset.

    Args:
        preset: the name of one that comes with the package, or the folder of another.

    Raises:
        InputError: there is none of this name, and no such folder.
    """
    if (folder := known(preset)) is not None:
        return folder
    path = pathlib.Path(preset).expanduser()
    if (path / "model.keras").is_file():
        raise InputError(
            f"{path} is a run, not a preset: load it by patchvae_tf.load_model, or make a preset "
            f"of it: patchvae preset --run_dir={path} --output=FOLDER."
        )
    if path.exists():
        raise InputError(
            f"{path} is not a preset: it holds no {FACTS}. Give a folder that save_to_preset or "
            f"`patchvae preset` wrote, or one of {', '.join(names())}."
        )
    raise InputError(
        f"there is no preset {os.fspath(preset)!r}: {', '.join(names())} come with the package; or "
        "give the folder of one of your own."
    )


def known(preset: str | os.PathLike) -> pathlib.Path | None:
    """As `find`; None where it is neither a preset's name nor the folder of one."""
    if os.fspath(preset) in names():
        return _OURS / os.fspath(preset)
    path = pathlib.Path(preset).expanduser()
    return path if (path / FACTS).is_file() else None


def check_source(source: str | os.PathLike) -> None:
    """Raises InputError where `init_from` is neither a preset, a finished run nor a file."""
    path = pathlib.Path(source).expanduser()
    if known(source) is None and not path.is_file() and not (path / "model.keras").is_file():
        what = "is neither a preset nor a finished run" if path.exists() else "does not exist"
        raise InputError(
            f"init_from {os.fspath(source)} {what}: give one of {', '.join(names())}, the folder "
            "of a preset, or that of a finished run."
        )


def names() -> list[str]:
    """The names of the presets that come with the package."""
    return sorted(path.parent.name for path in _OURS.glob(f"*/{FACTS}"))


def read_facts(folder: pathlib.Path) -> Facts:
    """What a preset's folder says of it.

    Raises:
        InputError: it cannot be read, or is of another format.
    """
    path = folder / FACTS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {values['format']}, and this version reads {FORMAT}")
        return Facts(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): it is damaged, or written by another version of the "
            "package. Restore it from a copy, or make the preset anew."
        ) from error


def write_facts(folder: pathlib.Path, facts: Facts) -> None:
    """Writes `preset.json` into a folder."""
    text = json.dumps(dataclasses.asdict(facts), indent=2)
    (folder / FACTS).write_text(f"{text}\n", encoding="utf-8")
