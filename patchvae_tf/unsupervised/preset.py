"""A preset made of a finished run: its weights, what is known of them, and a card."""

import dataclasses
import json
import pathlib

from patchvae_tf import pretrained, runs, startup
from patchvae_tf.errors import InputError
from patchvae_tf.settings import Settings, setting, unsupervised_config
from patchvae_tf.unsupervised import preset_card

_MEASURED_ON = 256  # images on which rounded weights are compared with the run's


@dataclasses.dataclass(frozen=True)
class PresetConfig(Settings):
    """Settings of `python -m export.preset`."""

    run_dir: str | None = setting(None, "Preset", "folder of a finished run; needed")
    output: str | None = setting(None, "Preset", "new folder that takes the preset; needed")
    compact: bool = setting(
        False,
        "Preset",
        "for passing on: kernels in float16, computed with in float32, and nothing that serves "
        "training alone, less than half the size; the card says how far the features then are from "
        "the run's in float32",
    )
    description: str | None = setting(
        None, "Card", "what it is, in a sentence (default: the model and its data set)"
    )
    data: str | None = setting(
        None, "Card", "what the images are, and where they come from (default: the data set's name)"
    )
    licence: str | None = setting(
        None, "Card", "what is known of the images' licence (default: that it is not recorded)"
    )

    def check(self) -> None:
        """Raises InputError for a setting that is missing."""
        if not self.output:
            raise InputError("output is missing. Give a new folder for the preset.")
        if pathlib.Path(self.output).expanduser().exists():
            raise InputError(
                f"output {self.output} is there already. Remove it, or choose another."
            )


def make(config: PresetConfig) -> None:
    """Writes the preset of a finished run.

    Args:
        config: PresetConfig.

    Raises:
        InputError: no finished run with its record, or a folder that cannot be written.
    """
    run_dir = runs.finished(config.run_dir)
    record = runs.read_record(run_dir)
    if record is None or record["result"] is None:
        raise InputError(
            f"{run_dir} has no config.json, data.json and result.json, and a preset's card says "
            "how it was trained. Give the whole folder of the run; or write the weights alone, "
            "from Python: patchvae_tf.load_model(RUN).save_to_preset(FOLDER)."
        )
    startup.import_tensorflow()
    from patchvae_tf import models
    from patchvae_tf.models import presets
    from patchvae_tf.saved_models import signatures
    from patchvae_tf.unsupervised.images import load_images

    model = models.load_model(run_dir)
    shown = None
    if config.compact:
        # As exports do, it computes in float32, wherever it was trained.
        model = signatures.with_policy(model, "float32")
        shown = load_images(unsupervised_config(**record["settings"])).shown(_MEASURED_ON)
    record = without_paths(record)
    settings = record["settings"]

    def card(folder):
        rounding = None if shown is None else _difference(model, folder, shown)
        return preset_card.text(
            pretrained.read_facts(folder), record, _measured(run_dir), rounding,
            data=config.data, licence=config.licence,
        )  # fmt: skip

    folder = presets.save_to_preset(
        model,
        config.output or "",
        config.compact,
        card,
        description=config.description or f"{type(model).__name__} of {settings['dataset']}",
        settings=settings,
        run={"data": record["data"], "result": record["result"]},
    )
    size = (folder / pretrained.WEIGHTS).stat().st_size
    print(f"wrote {folder}: {size / 1e6:.1f} MB of weights; its card: {folder / pretrained.CARD}")


def _difference(model, folder, images):
    """How far the written φ's features are from the run's: `largest`, `relative`, `images`."""
    from patchvae_tf.evaluation.features import pooled_features
    from patchvae_tf.models import presets

    exact = pooled_features(model.backbone, images)
    change = pooled_features(presets.backbone(folder, "float32"), images) - exact
    return {
        "images": len(images),
        "largest": float(abs(change).max()),
        "largest_feature": float(abs(exact).max()),
        "relative": float((change**2).sum() ** 0.5 / (exact**2).sum() ** 0.5),
    }


def _measured(run_dir):
    """What commands have measured of a run since: file's name -> its content."""
    found = {}
    for name in preset_card.MEASUREMENTS:
        path = run_dir / name
        if path.exists():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def without_paths(record: dict) -> dict:
    """A run's record without what is of one machine alone: paths, and names of its files."""
    settings = {**record["settings"], "data_dir": None}
    for name in ("dataset", "init_from"):
        if settings.get(name):
            settings[name] = pathlib.PurePath(settings[name]).name
    return {**record, "settings": settings, "data": {**record["data"], "skipped": []}}
