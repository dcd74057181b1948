"""A training session: what every trainer does from its settings to its result.

    folder -> check -> devices -> data -> record -> loop -> finish

A trainer (`Trainer`) says what is particular to it; the order, the record, the workers and the stop
are here.
"""

import abc
import contextlib
import os
import pathlib
import typing
from collections.abc import Callable

from patchvae_tf import interruption, runs, startup
from patchvae_tf.cluster import workers
from patchvae_tf.errors import InputError
from patchvae_tf.training.execution import Execution

if typing.TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from patchvae_tf.training import loop


class Trainer(abc.ABC):
    """What a session trains.

    Args:
        config: frozen dataclass with `to_json`, `precision` and `batch_size` (None: the data says
            it).
        execution: Execution.

    Attributes:
        folder_setting: str, the setting that chooses the folder.
        other_data: str, what it means when `data.json` has other values.
        advice: dict, setting -> what its user is told besides where a run has another value.
    """

    folder_setting = "run_dir"
    other_data = "other images or another precision"
    advice: typing.ClassVar[dict[str, str]] = {}

    def __init__(self, config, execution: Execution):
        self.config = config
        self.execution = execution

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What is trained on what: the first line that the user sees."""

    @abc.abstractmethod
    def prepare(self, strategy: "tf.distribute.Strategy", dtype_policy: str) -> dict:
        """Reads the data, and what else may be wrong; returns what `data.json` has of it."""

    @abc.abstractmethod
    def build(self, strategy: "tf.distribute.Strategy") -> tuple:
        """Returns (model, data): compiled under the strategy, and a `loop.TrainingData`."""

    @abc.abstractmethod
    def opening(self, model: "keras.Model", data: "loop.TrainingData") -> str:
        """How much of what is trained: the second line, before the device is named."""

    @abc.abstractmethod
    def finish(self, model: "keras.Model", run_folder: runs.RunFolder, result: dict) -> dict:
        """Writes what is left of training; returns the content of `result.json`.

        Args:
            model: as `build` returned it, trained.
            run_folder: RunFolder.
            result: dict, what every session records.
        """

    @abc.abstractmethod
    def summary(self, result: dict) -> str:
        """One line of `result.json`."""

    def begin(
        self, model: "keras.Model", data: "loop.TrainingData", say: Callable[[str], object]
    ) -> dict[str, int]:
        """What a model is given, and looks at, before its first step.

        Args:
            model, data: as `build` returned them.
            say: function that shows a line, on the chief.

        Returns:
            dict: name of a term -> how many parts it found.
        """
        del model, data, say
        return {}

    def on_epoch(
        self, run_folder: runs.RunFolder, model: "keras.Model", data: "loop.TrainingData"
    ) -> Callable[[int, int, dict], object]:
        """Returns a function (epoch, step, record), called after each epoch on the chief."""
        del run_folder, model, data
        return lambda epoch, step, record: None

    def measures(self, model: "keras.Model", data: "loop.TrainingData") -> Callable[[], dict]:
        """Returns a function () -> dict name -> float, called after each epoch on the chief."""
        del model, data
        return dict

    def guarded(self) -> contextlib.AbstractContextManager:
        """A context around the loop, which names what may go wrong with the data in it."""
        return contextlib.nullcontext()

    def after(self, run_folder: runs.RunFolder, model: "keras.Model | None" = None) -> None:
        """What may follow a finished training without being part of its result."""
        del run_folder, model


def run(
    trainer: Trainer, folder: str | os.PathLike, stop_request: interruption.StopRequest
) -> None:
    """Trains, or goes on training, in `folder`.

    Args:
        trainer: Trainer.
        folder: path of the run.
        stop_request: interruption.StopRequest.

    Raises:
        InputError: bad settings, data or folder.
        RunError: training cannot go on.
        interruption.Stop: stopped on request, all saved.
    """
    _check_apart(trainer, folder)
    cluster = workers.from_environment()
    with runs.RunFolder(folder, trainer.folder_setting, cluster.is_chief) as run_folder:
        _run(trainer, run_folder, cluster, stop_request)


def _check_apart(trainer, folder):
    """Raises InputError where the run's folder would be taken for the data set from now on."""
    dataset, setting = trainer.config.dataset, trainer.folder_setting
    one, other = (pathlib.Path(path).expanduser().resolve() for path in (folder, dataset))
    if one == other and dataset != "parts":  # which is no folder, whatever is called so
        raise InputError(
            f"{setting} {folder} is the data set's name, or its folder: the run would lie among "
            f"its images. Choose another {setting}."
        )


def _run(trainer, run_folder, cluster, stop_request):
    settings = trainer.config.to_json()
    run_folder.check("config.json", settings, "other settings", trainer.advice)
    if run_folder.result is not None:
        print(f"{run_folder.path} is finished: {trainer.summary(run_folder.result)}")
        trainer.after(run_folder)
        return
    say = print if cluster.is_chief else _silent
    say(f"{trainer.title}, in {run_folder.path}", flush=True)

    # TensorFlow takes seconds to import: not before the settings are known to be right.
    startup.import_tensorflow()
    from patchvae_tf.training import checkpoints, devices, loop, summaries

    execution = trainer.execution
    strategy = devices.strategy(execution.devices, cluster)
    stop_request.install()
    replicas = strategy.num_replicas_in_sync
    devices.check_xla(execution.xla, replicas)
    if trainer.config.batch_size is not None:
        devices.check_batch(trainer.config.batch_size, replicas)
    dtype_policy = devices.dtype_policy(trainer.config.precision)
    facts = {**trainer.prepare(strategy, dtype_policy), "dtype_policy": dtype_policy}
    run_folder.check("data.json", facts, trainer.other_data)
    # Only now, so that a folder never belongs to settings that could not run.
    run_folder.write("config.json", settings)
    run_folder.write("data.json", facts)
    with workers.lost_workers_named(cluster):
        model, data = trainer.build(strategy)
        devices.check_batch(data.batch_size, replicas)
        say(
            f"{trainer.opening(model, data)}; {dtype_policy} on {devices.description()}"
            + (f", {replicas} devices" if replicas > 1 else "")
            + (f" of {cluster.workers} workers" if cluster.workers > 1 else ""),
            flush=True,
        )
        training = loop.Training(
            model=model,
            strategy=strategy,
            data=data,
            execution=execution,
            on_epoch=trainer.on_epoch(run_folder, model, data),
            measures=trainer.measures(model, data),
            cluster=cluster,
        )
        with strategy.scope():
            saved = checkpoints.Checkpoints(
                run_folder.path / "checkpoints",
                model,
                writes=cluster.is_chief,
                on_error=execution.on_save_error,
            )
            if saved.newest is None:
                for name, count in trainer.begin(model, data, say).items():
                    workers.check_same(f"parts of {name}", count, cluster, strategy)
                    say(f"{name}: {count} parts found", flush=True)
            writer = summaries.writer(run_folder.path, writes=cluster.is_chief)
            with trainer.guarded():
                complete = loop.train(training, saved, run_folder, writer, stop_request)
        if not complete:
            raise interruption.Stop(stop_request.requested, f"after step {saved.step}, all saved")
        if cluster.is_chief:
            result = {
                **run_folder.last_metrics,
                "dtype_policy": dtype_policy,
                "device": devices.description(),
                "versions": devices.versions(),
            }
            result = trainer.finish(model, run_folder, result)
            run_folder.write("result.json", result)
            trainer.after(run_folder, model)
            print(f"done: {trainer.summary(result)}\nmodel and record: {run_folder.path}")
        workers.wait_for_all(cluster, strategy)


def _silent(*args, **kwargs):
    """Takes the place of `print` on all workers but the chief."""
