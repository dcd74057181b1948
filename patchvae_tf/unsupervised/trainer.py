"""Learns image features without labels: PatchVAE, β-VAE or BiGAN, in a folder of its own."""

import contextlib
import dataclasses
import os
import pathlib
import typing
from collections.abc import Callable

from patchvae_tf import extras, interruption, pretrained, runs
from patchvae_tf.cluster import data_services
from patchvae_tf.settings import Settings, setting, unsupervised_config
from patchvae_tf.settings.pixels import parsed_channels
from patchvae_tf.settings.unsupervised import UnsupervisedConfig
from patchvae_tf.training import session
from patchvae_tf.training.execution import Execution

if typing.TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Options(Settings):
    """Where a run is kept, and what it leaves there at its end; not part of what is learned."""

    run_dir: str | None = setting(
        None, "Run", "folder of the run (default: runs/, a name made from the settings)"
    )
    export: bool = setting(True, "Run", "write a SavedModel to RUN_DIR/export at the end")
    report: bool = setting(True, "Run", "write RUN_DIR/report.html and its pictures at the end")


def train(
    config: UnsupervisedConfig,
    options: Options,
    execution: Execution,
    stop_request: interruption.StopRequest,
) -> None:
    """Trains, or goes on training.

    Args:
        config: UnsupervisedConfig.
        options: Options.
        execution: Execution.
        stop_request: interruption.StopRequest.

    Raises:
        InputError: bad settings, data or folder.
        RunError: training cannot go on.
        interruption.Stop: stopped on request, all saved.
    """
    folder = options.run_dir or runs.default_dir(config, config.image_size, config.model)
    begun = (pathlib.Path(folder).expanduser() / "checkpoints").exists()
    if config.init_from is not None and not begun:  # before the images are read, which takes long
        pretrained.check_source(config.init_from)
    session.run(UnsupervisedTrainer(config, options, execution), folder, stop_request)


def train_model(run_dir: str | os.PathLike | None = None, **settings: object) -> "keras.Model":
    """Trains from Python as the command does, and returns the trained model.

    Checkpoints, record, pictures and export are in the run's folder; the same call goes on where
    it stopped.

    Args:
        run_dir: folder of the run; None for one whose name is made from the settings.
        **settings: by the names of the command's flags for data, model and training, e.g.
            dataset="FOLDER", image_size=64.

    Raises:
        InputError: bad settings, data or folder.
        RunError: training cannot go on.
        KeyboardInterrupt: stopped by Ctrl-C, all saved.
    """
    config = unsupervised_config(
        **{
            name: os.fspath(value) if isinstance(value, os.PathLike) else value
            for name, value in settings.items()
        }
    )
    folder = os.fspath(run_dir or runs.default_dir(config, config.image_size, config.model))
    stop_request = interruption.StopRequest()
    try:
        train(config, Options(run_dir=folder), Execution(), stop_request)
    except interruption.Stop as stop:
        raise KeyboardInterrupt(str(stop)) from None
    finally:
        stop_request.restore()
    from patchvae_tf import models

    return models.load_model(folder)


class UnsupervisedTrainer(session.Trainer):
    """A model that learns from images alone.

    Args:
        config: UnsupervisedConfig.
        options: Options.
        execution: Execution.
    """

    advice: typing.ClassVar = {
        "epochs": "The learning rate's schedule ends with the run's last epoch, so more epochs are "
        "another run. To train a finished run's model on, with a learning rate of your own, in "
        "Python: model = patchvae_tf.load_model(RUN_DIR); "
        "model.compile(keras.optimizers.Adam(1e-4)); model.fit(images, epochs=...)."
    }

    def __init__(self, config: UnsupervisedConfig, options: Options, execution: Execution):
        super().__init__(config, execution)
        self._options = options
        self._images = None
        self._dtype_policy = None

    @property
    def title(self) -> str:
        return f"{self.config.model} on {self.config.dataset}"

    def prepare(self, strategy, dtype_policy):
        from patchvae_tf.unsupervised import images

        del strategy
        self._dtype_policy = dtype_policy
        self._images = images.load_images(self.config, self.execution.data_services)
        return self._images.description

    def build(self, strategy):
        from patchvae_tf import models, optimizers

        images = self._images
        with strategy.scope():
            model = models.from_settings(self.config, dtype=self._dtype_policy)
            model.compile(optimizers.of_settings(self.config, images.steps_per_epoch))
        return model, images

    def opening(self, model, data) -> str:
        held_out = data.description["validation_images"]
        more = ""
        if data.epochs > self.config.epochs:
            more = f"; {data.epochs:,} epochs, since there are few images (`epochs` says how many)"
        return (
            f"{len(data.training):,} training and {held_out:,} validation images; "
            f"{_parameters(model):,} parameters{more}"
        )

    def begin(self, model, data, say) -> dict[str, int]:
        if self.config.init_from is not None:
            from patchvae_tf.models import presets

            say(presets.begin_with(model, self.config.init_from))
        return model.begin_from(lambda most: data.training.sample(most, self.config.seed).images)

    def on_epoch(
        self, run_folder: runs.RunFolder, model, data
    ) -> Callable[[int, int, dict], object]:
        if extras.missing("report"):
            return super().on_epoch(run_folder, model, data)
        from patchvae_tf.unsupervised.pictures import Pictures

        shown = parsed_channels(self.config.shown_channels, self.config.channels)
        return Pictures(model, data.checked, run_folder.path, data.epochs, shown).write

    def measures(self, model, data) -> Callable[[], dict]:
        from patchvae_tf.evaluation import part_consistency

        if data.validation is None or not hasattr(model, "num_parts"):
            return super().measures(model, data)
        return part_consistency.PartConsistency(
            model, data.validation.images, self.config.seed
        ).measure

    @contextlib.contextmanager
    def guarded(self):
        with data_services.watched(self.execution.data_services), self._images.errors_named():
            yield

    def finish(self, model, run_folder, result):
        """Writes the model, what its features are worth, and its export."""
        from patchvae_tf.saved_models import writing

        config, images = self.config, self._images
        with runs.replaced_when_whole(run_folder.path / "model.keras") as temporary:
            model.save(temporary)
        result = {**result, "parameters": _parameters(model)}
        if images.is_streamed:
            result["unreadable"] = images.training.unreadable.keys
        probe = None
        if extras.missing("report"):
            print(f"no linear probe: {extras.missing('report')}", flush=True)
        else:
            from patchvae_tf.evaluation import classifiers

            probe = classifiers.linear_probe(model, images.training, images.validation, config.seed)
        if probe:
            result["linear_probe"] = probe
            print(
                f"linear probe, {probe['test_images']:,} held-out images of {probe['classes']} "
                f"classes: top-1 {probe['top1']:.1%} (untrained backbone: "
                f"{probe['random_backbone_top1']:.1%})",
                flush=True,
            )
        if images.validation is not None and hasattr(model, "num_parts"):
            result["parts"] = self._parts(model)
        if self._options.export:
            facts = {**images.description, "dtype_policy": self._dtype_policy}
            record = {"settings": config.to_json(), "data": facts, "result": result}
            version = writing.export_model(model, run_folder.path / "export", record)
            print(f"SavedModel: {version}", flush=True)
        return result

    def _parts(self, model):
        """What the parts are worth on the held-out images, which is printed; for `result.json`."""
        from patchvae_tf import datasets
        from patchvae_tf.evaluation import part_consistency, part_truths, parts_score
        from patchvae_tf.evaluation.features import occurrence_maps

        found = self.measures(model, self._images)()
        print(part_consistency.in_words(found, model.num_parts), flush=True)
        held_out = self._images.validation
        if held_out.part_maps is None or extras.missing("report"):
            return found
        occurrence = occurrence_maps(model, held_out.images)
        part_maps = part_truths.scene_maps(held_out.part_maps, occurrence.shape[1])
        score = parts_score.score_maps(occurrence, part_maps, datasets.PART_NAMES)
        print(
            f"true parts: mean area under ROC {score['mean_area']:.3f}, weakest "
            f"{score['weakest_area']:.3f}, NMI of the foreground {score['foreground_nmi']:.2f}",
            flush=True,
        )
        return {**found, "true_parts": score}

    def after(self, run_folder: runs.RunFolder, model=None) -> None:
        """Writes the report where it is not there yet; a run is none the worse where that fails."""
        if not self._options.report or (run_folder.path / "report.html").exists():
            return
        from patchvae_tf.report import writing

        try:
            writing.write(writing.ReportConfig(run_dir=str(run_folder.path)), model)
        except Exception as error:
            again = f"python -m trainers.report --run_dir={run_folder.path}"
            print(f"no report: {type(error).__name__}: {error}. Try {again}", flush=True)

    def summary(self, result: dict) -> str:
        shown = [f"{name} {result[name]:.4g}" for name in ("val_loss", "loss") if name in result]
        return f"{result['epoch']} epochs, {result['step']} steps, {', '.join(shown)}"


def _parameters(model):
    return int(sum(weight.shape.num_elements() for weight in model.trainable_weights))
