"""Reads a trained model back."""

import os
import pathlib
import zipfile

import keras

import patchvae_tf.optimizers  # noqa: F401  A file names the optimizer: it must be known.
from patchvae_tf.errors import InputError
from patchvae_tf.models.distributed import DistributedModel


def load_model(path: str | os.PathLike) -> keras.Model:
    """Loads a model from a `.keras` file, or from the folder of a finished run.

    `keras.models.load_model` reads the file as well, once `patchvae_tf.models` is imported.

    Args:
        path: of the file, or of the run's folder that holds `model.keras`.

    Returns:
        The model, compiled, its optimizer where training left it.

    Raises:
        InputError: there is no such file, it is not whole, or holds no model of this package.
    """
    path = pathlib.Path(path).expanduser()
    file = path / "model.keras" if path.is_dir() else path
    if not file.exists() and _is_export(path):
        raise InputError(
            f"{path} is an export: features for other programs, loaded by "
            "tf.saved_model.load(...). The model that can be trained on is in its run: give the "
            "folder of the run, which holds model.keras."
        )
    if not file.exists():
        hint = (
            "The run has not finished: give the command that began it once more."
            if (path / "config.json").exists()
            else "Give a .keras file or the folder of a finished run."
        )
        raise InputError(f"{file} does not exist. {hint}")
    if not zipfile.is_zipfile(file):
        raise InputError(f"{file} is no whole .keras file. Restore it from a copy.")
    try:
        model = keras.models.load_model(file)
    except InputError:
        raise
    except Exception as error:  # of the archive, of its JSON, of HDF5, of settings unknown here
        cause = (str(error).strip("\"' \n").splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{file} cannot be read ({cause}): it is damaged, or written by another version of "
            "the package. Restore it from a copy, or train anew."
        ) from error
    if not isinstance(model, DistributedModel):
        raise InputError(
            f"{file} holds a {type(model).__name__}, no model of this package. Give a run of "
            "`patchvae train`."
        )
    return model


def _is_export(path):
    """Whether a folder is an exported version, or holds such."""
    return (path / "saved_model.pb").is_file() or any(path.glob("*/saved_model.pb"))
