"""Prepares Indoor67 or Places205, once, from the files that their authors give out."""

import contextlib
import dataclasses
import pathlib

from patchvae_tf import startup
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting
from patchvae_tf.settings.fields import data_dir_setting

USAGE = """\
Prepares a data set of scenes, once, from its own files. Nothing is downloaded.

  python -m trainers.prepare --dataset=indoor67 --manual_dir=FOLDER
  python -m trainers.prepare --dataset=places205 --manual_dir=FOLDER --data_dir=TFDS_FOLDER

Without --manual_dir it says where to get the files, and how they must lie. Then:
python -m trainers.unsupervised --dataset=indoor67 --image_size=64
"""

_BUILDERS = {"indoor67": "Indoor67", "places205": "Places205"}


@dataclasses.dataclass(frozen=True)
class PrepareConfig(Settings):
    """Settings of `python -m trainers.prepare`."""

    dataset: str | None = setting(None, "Data", "which one; needed", choices=tuple(_BUILDERS))
    manual_dir: str | None = setting(None, "Data", "folder that holds the files; needed")
    data_dir: str | None = data_dir_setting()

    def check(self):
        """Raises InputError for a setting that is missing or wrong."""
        if not self.dataset:
            raise InputError(f"--dataset is missing. Give one of {', '.join(_BUILDERS)}.")


def main(stop_request, config):
    """Reads the flags, then prepares."""
    del stop_request  # an unfinished data set stays under another name
    startup.import_tensorflow()
    prepare(config)


def prepare(config):
    """Reads the files and writes the TFDS data set, under its name when it is whole.

    Args:
        config: PrepareConfig.

    Raises:
        InputError: a file is missing, an image that a list names is absent, or the layout is
            another than the data set's.
    """
    import importlib

    import tensorflow_datasets as tfds

    module = importlib.import_module(f"patchvae_tf.datasets.{config.dataset}")
    builder_class = getattr(module, _BUILDERS[config.dataset])
    folder = config.manual_dir and pathlib.Path(config.manual_dir).expanduser()
    problem = None
    if not folder:
        problem = "--manual_dir is missing"
    elif not folder.is_dir():
        problem = f"{folder} is no folder"
    elif not any(folder.iterdir()):
        problem = f"{folder} is empty"
    if problem:
        raise InputError(f"{problem}. {builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS}")
    data_dir = config.data_dir and str(pathlib.Path(config.data_dir).expanduser())
    builder = builder_class(data_dir=data_dir)
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=str(folder))
        )
    except BaseException:
        _remove_empty(pathlib.Path(builder.data_dir))
        raise
    counts = ", ".join(
        f"{name} {split.num_examples:,}" for name, split in builder.info.splits.items()
    )
    print(f"{config.dataset} is prepared in {builder.data_dir}: {counts}")


def _remove_empty(folder):
    """Removes the folders that TFDS makes before it begins, where nothing came into them.

    Args:
        folder: pathlib.Path of a version of the data set.
    """
    data_dir = folder.parents[1]
    downloads = data_dir / "downloads"
    for path in (folder, folder.parent, downloads / "extracted", downloads, data_dir):
        with contextlib.suppress(OSError):  # it is not there, or not empty
            path.rmdir()


def run():
    """The command."""
    console.run(main, USAGE, PrepareConfig)


if __name__ == "__main__":
    run()
