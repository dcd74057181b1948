"""Writes a trained model as a SavedModel, which TensorFlow alone can load and TF Serving serves."""

import contextlib
import dataclasses

from export import versions
from patchvae_tf.config import UnsupervisedConfig
from patchvae_tf.errors import InputError, RunError
from patchvae_tf.settings import check_ranges, setting
from trainers import console, runs
from trainers import flags as config_flags

USAGE = """\
Writes the model of a finished run for use elsewhere, with a model card.

  python -m export.saved_model --run_dir=RUN                  SavedModel: RUN/export/1, 2, ...
  python -m export.saved_model --run_dir=RUN --export_dir=DIR                 DIR/1, 2, ...
  python -m export.saved_model --run_dir=RUN --precision=mixed_bfloat16   faster where native
  python -m export.saved_model --run_dir=RUN --format=litert  LiteRT: RUN/litert/1, 2, ...

Look at it: saved_model_cli show --all --dir=RUN/export/1
"""

_FOLDERS = {"saved_model": "export", "litert": "litert"}


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Settings of `python -m export.saved_model`."""

    run_dir: str | None = setting(None, "Export", "folder of a finished run; needed")
    export_dir: str | None = setting(
        None,
        "Export",
        "folder that takes the versions 1, 2, ... (default: export or litert in the run's)",
    )
    format: str = setting(
        "saved_model",
        "Export",
        "saved_model: for TF Serving and Python; litert: the encoder alone, in float32 and int8, "
        "for small devices",
        choices=tuple(_FOLDERS),
    )
    precision: str = setting(
        "float32",
        "Export",
        "of φ in a SavedModel's features; mixed_bfloat16: faster where the machine multiplies it "
        "natively, and the model card says how far the features then are from float32's",
        choices=("float32", "mixed_bfloat16"),
    )

    def __post_init__(self):
        """Raises InputError for settings that do not go together."""
        check_ranges(self)
        if self.format == "litert" and self.precision != "float32":
            raise InputError(
                "--format=litert writes a float32 and an int8 file, whatever --precision is. "
                f"Received: --precision={self.precision}. Leave it out."
            )


_SHOWN_DIFFERENCES = 256  # images on which a precision is compared with float32


def export_model(model, export_dir, record=None, precision="float32", images=None):
    """Writes a model as the next version of a SavedModel; `export.signatures` says what it offers.

    Beside the SavedModel the version holds a model card (`MODEL_CARD.md`, `model.json`) and TF
    Serving's warm-up requests; the folder around it gets `models.config` and `batching.config`.
    The version appears whole or not at all; the versions before stay as they are.

    Args:
        model: PatchVAE, BetaVAE or BiGAN, of any dtype policy.
        export_dir: path of the folder that takes versions; made if it is not there.
        record: dict as `runs.read_record` returns it, for the model card; None: not recorded.
        precision: str, dtype policy of φ in the signatures that give features and codes: "float32"
            or "mixed_bfloat16".
        images: [n, H, W, 3], uint8 or float32 in [0, 1], at the trained size, on which the model
            card compares a precision with float32; None: it does not.

    Returns:
        pathlib.Path of the new version, `export_dir` / an integer.

    Raises:
        InputError: the model is none of ours, or the folder cannot be written.
        RunError: writing failed half-way, for want of space say.
    """
    import tensorflow as tf

    from export import model_card, serving_files, signatures

    _check_exportable(model)
    export_dir = versions.writable(export_dir)
    root, functions = signatures.exported_parts(model, precision)
    facts = model_card.facts(model, functions, record) | {"precision": precision}
    if precision != "float32" and images is not None:
        _, exact = signatures.exported_parts(model)
        facts["difference"] = signatures.difference(exact, functions, images)

    def write(folder):
        tf.saved_model.save(root, folder, signatures=functions)
        serving_files.write_warm_up(folder, functions, model.image_size, model.stride)
        model_card.write(folder, facts)

    with _telling(export_dir):
        serving_files.write_settings(export_dir)
        return versions.write_next(export_dir, write)


def _check_exportable(model):
    from patchvae_tf.models.base import UnsupervisedModel

    if not isinstance(model, UnsupervisedModel):
        raise InputError(
            f"`model` must be a PatchVAE, BetaVAE or BiGAN. Received: {type(model).__name__}"
        )


@contextlib.contextmanager
def _telling(export_dir):
    """Turns what fails while writing into a RunError."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        raise RunError(
            f"the export to {export_dir} failed ({str(error).splitlines()[0][:200]}). The versions "
            "that are there are whole. Make room, then give the command once more."
        ) from error


def main(stop_request):
    """Reads the flags, then exports."""
    del stop_request  # nothing half-written is left behind, whenever it comes
    config = config_flags.read(ExportConfig)
    run_dir = runs.finished(config.run_dir)
    record = runs.read_record(run_dir)
    measures = config.format == "litert" or config.precision != "float32"
    if measures and record is None:
        raise InputError(
            f"{run_dir} has no config.json and data.json, and --format=litert and "
            "--precision=mixed_bfloat16 need the run's images, to measure on. Give the whole "
            "folder of the run."
        )
    export_dir = versions.writable(config.export_dir or run_dir / _FOLDERS[config.format])

    # TensorFlow takes seconds to import: not before the folders are known to be right.
    console.import_tensorflow()
    import patchvae_tf
    from export import litert, signatures
    from trainers import setup

    model = patchvae_tf.load_model(run_dir)
    _check_exportable(model)
    images = setup.load_images(UnsupervisedConfig(**record["settings"])) if measures else None
    if config.format == "saved_model":
        shown = images and images.shown(_SHOWN_DIFFERENCES)
        version = export_model(model, export_dir, record, config.precision, shown)
        print(f"wrote {version}\nsignatures: {', '.join(signatures.NAMES)}")
        return
    with _telling(export_dir):
        version, costs = litert.export_litert(
            model, export_dir, images.training, images.validation, record
        )
    print(f"wrote {version}")
    for precision, cost in costs.items():
        print(f"{litert.FILES[precision]}: {litert.summary(cost)}")


def run():
    """The command."""
    config_flags.define(ExportConfig)
    console.run(main, config_flags.parser(USAGE, ExportConfig, {}))


if __name__ == "__main__":
    run()
