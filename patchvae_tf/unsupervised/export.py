"""The export of a finished run."""

import dataclasses

from patchvae_tf import runs, startup
from patchvae_tf.errors import InputError
from patchvae_tf.saved_models import versions, writing
from patchvae_tf.settings import Settings, setting, unsupervised_config

_FOLDERS = {"saved_model": "export", "litert": "litert"}
_SHOWN_DIFFERENCES = 256  # images on which a precision is compared with float32


@dataclasses.dataclass(frozen=True)
class ExportConfig(Settings):
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

    def check(self) -> None:
        """Raises InputError for settings that do not go together."""
        if self.format == "litert" and self.precision != "float32":
            raise InputError(
                "format=litert writes a float32 and an int8 file, whatever precision is. "
                f"Received: precision={self.precision}. Leave it out."
            )


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
    measures = config.format == "litert" or config.precision != "float32"
    if measures and record is None:
        raise InputError(
            f"{run_dir} has no config.json and data.json, and format=litert and "
            "precision=mixed_bfloat16 need the run's images, to measure on. Give the whole "
            "folder of the run."
        )
    export_dir = versions.writable(config.export_dir or run_dir / _FOLDERS[config.format])

    # TensorFlow takes seconds to import: not before the folders are known to be right.
    startup.import_tensorflow()
    import patchvae_tf
    from patchvae_tf.saved_models import litert, signatures
    from patchvae_tf.unsupervised.images import load_images

    model = patchvae_tf.load_model(run_dir)
    writing.check_exportable(model)
    images = load_images(unsupervised_config(**record["settings"])) if measures else None
    if config.format == "saved_model":
        shown = images and images.shown(_SHOWN_DIFFERENCES)
        version = writing.export_model(model, export_dir, record, config.precision, shown)
        print(f"wrote {version}\nsignatures: {', '.join(signatures.NAMES)}")
        return
    assert images is not None  # LiteRT is always measured
    with writing.write_errors_named(export_dir):
        version, costs = litert.export_litert(
            model, export_dir, images.training, images.validation, record
        )
    print(f"wrote {version}")
    for precision, cost in costs.items():
        print(f"{litert.FILES[precision]}: {litert.summary(cost)}")
