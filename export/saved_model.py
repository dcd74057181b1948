"""Writes a trained model as a SavedModel, which TensorFlow alone can load and TF Serving serves."""

import dataclasses
import errno
import os
import pathlib
import tempfile

from patchvae_tf.config import setting
from patchvae_tf.errors import InputError, RunError
from trainers import console
from trainers import flags as config_flags

USAGE = """\
Writes the model of a finished run as a SavedModel, for TF Serving or tf.saved_model.load.

  python -m export.saved_model --run_dir=RUN              the next version under RUN/export
  python -m export.saved_model --run_dir=RUN --export_dir=DIR

Look at it: saved_model_cli show --all --dir=RUN/export/1
"""


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Settings of `python -m export.saved_model`."""

    run_dir: str | None = setting(None, "Export", "folder of a finished run; needed")
    export_dir: str | None = setting(
        None, "Export", "folder that takes the versions 1, 2, ... (default: export in the run's)"
    )


def export_model(model, export_dir):
    """Writes a model as the next version of a SavedModel; `export.signatures` says what it offers.

    The version appears whole or not at all; the versions before stay as they are.

    Args:
        model: PatchVAE or BetaVAE, of any dtype policy; exported in float32.
        export_dir: path of the folder that takes versions; made if it is not there.

    Returns:
        pathlib.Path of the new version, `export_dir` / an integer.

    Raises:
        InputError: the model is none of ours, or the folder cannot be written.
        RunError: writing failed half-way, for want of space say.
    """
    import tensorflow as tf

    from export import signatures
    from patchvae_tf.models.base import UnsupervisedModel

    if not isinstance(model, UnsupervisedModel):
        raise InputError(
            f"`model` must be a PatchVAE or a BetaVAE. Received: {type(model).__name__}"
        )
    export_dir = _writable(export_dir)
    root, functions = signatures.exported_parts(model)
    try:
        # TF Serving takes a folder as soon as its name is an integer: another name, then a rename.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=export_dir) as temporary:
            whole = pathlib.Path(temporary) / "saved_model"
            tf.saved_model.save(root, whole, signatures=functions)
            return _renamed_to_next_version(whole, export_dir)
    except (tf.errors.OpError, OSError) as error:
        raise RunError(
            f"the export to {export_dir} failed ({str(error).splitlines()[0][:200]}). The versions "
            "that are there are whole. Make room, then give the command once more."
        ) from error


def _renamed_to_next_version(folder, export_dir):
    while True:
        version = export_dir / str(max(_versions(export_dir), default=0) + 1)
        try:
            os.rename(folder, version)
            return version
        except OSError as error:  # another export may have taken the number meanwhile
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _versions(export_dir):
    """The integers among the names in a folder, as TF Serving counts them."""
    return [int(path.name) for path in export_dir.iterdir() if path.name.isdecimal()]


def _writable(export_dir):
    """Returns the folder as a path, made and seen to be writable."""
    export_dir = pathlib.Path(export_dir).expanduser()
    try:
        export_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=export_dir):
            pass
    except OSError as error:
        raise InputError(
            f"{export_dir} cannot be written: {error.strerror}. Choose another --export_dir."
        ) from error
    return export_dir


def main(stop_request):
    """Reads the flags, then exports."""
    del stop_request  # nothing half-written is left behind, whenever it comes
    config = config_flags.read(ExportConfig)
    run_dir = _finished_run(config.run_dir)
    export_dir = _writable(config.export_dir or run_dir / "export")

    # TensorFlow takes seconds to import: not before the folders are known to be right.
    import patchvae_tf
    from export import signatures

    version = export_model(patchvae_tf.load_model(run_dir), export_dir)
    print(f"wrote {version}\nsignatures: {', '.join(signatures.NAMES)}")


def _finished_run(run_dir):
    """Returns the run's folder as a path.

    Raises:
        InputError: no folder was named, or it holds no trained model.
    """
    if run_dir is None:
        raise InputError("--run_dir is missing. Give the folder of a finished run.")
    run_dir = pathlib.Path(run_dir).expanduser()
    if (run_dir / "model.keras").is_file():
        return run_dir
    if not run_dir.is_dir():
        raise InputError(f"--run_dir {run_dir} does not exist. Give the folder of a finished run.")
    if (run_dir / "config.json").exists():
        raise InputError(
            f"the run in {run_dir} has not finished: it has no model.keras. Give the command that "
            "began it once more, with the same --run_dir, and export when it is done."
        )
    raise InputError(
        f"--run_dir {run_dir} holds no run: neither model.keras nor config.json is there. "
        "Give the folder of a finished run."
    )


def run():
    """The command."""
    config_flags.define(ExportConfig)
    console.run(main, config_flags.parser(USAGE, ExportConfig, {}))


if __name__ == "__main__":
    run()
