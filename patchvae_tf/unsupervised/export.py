"""The export of a finished run."""

import dataclasses

from patchvae_tf import extras, runs, startup
from patchvae_tf.errors import InputError
from patchvae_tf.saved_models import versions, writing
from patchvae_tf.settings import Settings, setting, unsupervised_config

_FOLDERS = {"saved_model": "export", "litert": "litert", "onnx": "onnx"}
_COMPARED_IMAGES = 256  # on which a precision is compared with float32, and ONNX with TensorFlow


@dataclasses.dataclass(frozen=True)
class ExportConfig(Settings):
    """Settings of `python -m export.saved_model`."""

    run_dir: str | None = setting(None, "Export", "folder of a finished run; needed")
    export_dir: str | None = setting(
        None,
        "Export",
        "folder that takes the versions 1, 2, ... (default: export, litert or onnx in the run's)",
    )
    format: str = setting(
        "saved_model",
        "Export",
        "saved_model: for TF Serving and Python; litert: the encoder alone, in float32 and int8, "
        "for small devices; onnx: the encoder as one file for ONNX Runtime, compared with the "
        "SavedModel",
        choices=tuple(_FOLDERS),
    )
    precision: str = setting(
        "float32",
        "Export",
        "of φ in a SavedModel's features; mixed_bfloat16: faster where the machine multiplies it "
        "natively, and the model card says how far the features then are from float32's",
        choices=("float32", "mixed_bfloat16"),
    )

    def check(self) -> None:
        """Raises InputError for settings that do not go together."""
        if self.format != "saved_model" and self.precision != "float32":
            raise InputError(
                f"format={self.format} has precisions of its own (litert: float32 and int8; "
                f"onnx: float32). Received: precision={self.precision}. Leave it out."
            )
        if self.format == "onnx":
            extras.require("onnx", "format=onnx")


def export_run(config: ExportConfig) -> None:
    """Writes the model of a finished run, in the format of the settings.

    Args:
        config: ExportConfig.

    Raises:
        InputError: no finished run, or a folder that cannot be written.
        RunError: writing failed half-way.
    """
    run_dir = runs.finished(config.run_dir)
    record = runs.read_record(run_dir)
    measures = config.format != "saved_model" or config.precision != "float32"
    if measures and record is None:
        raise InputError(
            f"{run_dir} has no config.json and data.json, and format=litert, format=onnx and "
            "precision=mixed_bfloat16 need the run's images, to measure on. Give the whole "
            "folder of the run."
        )
    export_dir = versions.writable(config.export_dir or run_dir / _FOLDERS[config.format])

    # TensorFlow takes seconds to import: not before the folders are known to be right.
    startup.import_tensorflow()
    import patchvae_tf
    from patchvae_tf.unsupervised.images import load_images

    model = patchvae_tf.load_model(run_dir)
    writing.check_exportable(model)
    images = load_images(unsupervised_config(**record["settings"])) if measures and record else None
    with writing.write_errors_named(export_dir):
        version, lines = _WRITERS[config.format](model, export_dir, record, images, config)
    print("\n".join([f"wrote {version}", *lines]))


def _saved_model(model, export_dir, record, images, config):
    """Returns (version, lines that tell of it), as the others do."""
    from patchvae_tf.saved_models import signatures

    shown = images and images.shown(_COMPARED_IMAGES)
    version = writing.export_model(model, export_dir, record, config.precision, shown)
    return version, [f"signatures: {', '.join(signatures.names(model))}"]


def _litert(model, export_dir, record, images, config):
    from patchvae_tf.saved_models import litert

    version, costs = litert.export_litert(
        model, export_dir, images.training, images.validation, record
    )
    return version, [
        f"{litert.FILES[name]}: {litert.summary(cost)}" for name, cost in costs.items()
    ]


def _onnx(model, export_dir, record, images, config):
    from patchvae_tf.saved_models import onnx_writing

    shown = images.shown(_COMPARED_IMAGES)
    version, differences = onnx_writing.export_onnx(model, export_dir, shown, record)
    most = max(one["relative"] for one in differences.values())
    return version, [
        f"{onnx_writing.FILE}: largest relative difference of an output from the SavedModel's "
        f"{most:.1e}"
    ]


_WRITERS = {"saved_model": _saved_model, "litert": _litert, "onnx": _onnx}
