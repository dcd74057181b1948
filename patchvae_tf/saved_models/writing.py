"""Writes a trained model as a SavedModel, which TensorFlow alone can load and TF Serving serves."""

import contextlib
import logging
import os
import pathlib
import typing
from collections.abc import Iterator

from patchvae_tf import extras
from patchvae_tf.errors import InputError, RunError
from patchvae_tf.saved_models import versions

if typing.TYPE_CHECKING:
    import keras
    import numpy as np

_log = logging.getLogger("patchvae_tf")


def export_model(
    model: "keras.Model",
    export_dir: str | os.PathLike,
    record: dict | None = None,
    precision: str = "float32",
    images: "np.ndarray | None" = None,
) -> pathlib.Path:
    """Writes a model as the next version of a SavedModel; `export.signatures` says what it offers.

    Beside the SavedModel the version holds a model card (`MODEL_CARD.md`, `model.json`) and TF
    Serving's warm-up requests; the folder around it gets `models.config` and settings for
    batching servers.
    The version appears whole or not at all; the versions before stay as they are.

    Args:
        model: PatchVAE, BetaVAE or BiGAN, of any dtype policy.
        export_dir: path of the folder that takes versions; made if it is not there.
        record: dict as `runs.read_record` returns it, for the model card; None: not recorded.
        precision: str, dtype policy of φ in the signatures that give features and codes: "float32"
            or "mixed_bfloat16".
        images: [n, H, W, channels], uint8 or float32 in [0, 1], at the trained size, on which the
            model card compares a precision with float32; None: it does not.

    Returns:
        pathlib.Path of the new version, `export_dir` / an integer.

    Raises:
        InputError: the model is none of ours, or the folder cannot be written.
        RunError: writing failed half-way, for want of space say.
    """
    import tensorflow as tf

    from patchvae_tf.saved_models import model_card, serving_files, signatures

    check_exportable(model)
    export_dir = versions.writable(export_dir)
    settings = (record or {}).get("settings") or {}
    root, functions = signatures.exported_parts(model, precision, settings.get("value_range"))
    facts = model_card.facts(model, functions, record) | {"precision": precision}
    if precision != "float32" and images is not None:
        _, exact = signatures.exported_parts(model)
        facts["difference"] = signatures.difference(exact, functions, images)

    def write(folder):
        tf.saved_model.save(root, folder, signatures=functions)
        if extras.missing("serving"):
            _log.warning("no warm-up requests for TF Serving: %s", extras.missing("serving"))
        else:
            serving_files.write_warm_up(folder, functions, model.image_size, model.stride)
        model_card.write(folder, facts)

    with write_errors_named(export_dir):
        serving_files.write_settings(export_dir)
        return versions.write_next(export_dir, write)


def check_exportable(model: "keras.Model") -> None:
    """Raises InputError unless it is one of the models that learn without labels."""
    from patchvae_tf.models.base import UnsupervisedModel

    if not isinstance(model, UnsupervisedModel):
        raise InputError(
            f"`model` must be a PatchVAE, BetaVAE or BiGAN. Received: {type(model).__name__}"
        )


@contextlib.contextmanager
def write_errors_named(export_dir: str | os.PathLike) -> Iterator[None]:
    """Turns what fails while writing into a RunError."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        raise RunError(
            f"the export to {export_dir} failed ({str(error).splitlines()[0][:200]}). The versions "
            "that are there are whole. Make room, then give the command once more."
        ) from error
