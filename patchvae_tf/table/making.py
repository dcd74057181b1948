"""The paper's table of results: every model, frozen at every stage, measured alike."""

import dataclasses
import time
import typing

from patchvae_tf import extras, runs, startup
from patchvae_tf.settings import Settings, setting
from patchvae_tf.table import report as table_report
from patchvae_tf.table.config import TableConfig, jobs
from patchvae_tf.training.execution import Execution
from patchvae_tf.transfer import config as transfer_config
from patchvae_tf.transfer import trainer as transfer
from patchvae_tf.unsupervised import trainer as unsupervised

if typing.TYPE_CHECKING:
    from patchvae_tf.interruption import StopRequest

_EXECUTION = Execution()


@dataclasses.dataclass(frozen=True)
class Options(Settings):
    """Where a table is kept."""

    table_dir: str | None = setting(
        None,
        "Run",
        "folder of the table and its trainings (default: runs/, a name made from the settings)",
    )


def make(config: TableConfig, options: Options, stop_request: "StopRequest") -> None:
    """Trains every row of a table, or what is left of it, and writes it after each training.

    Args:
        config: TableConfig.
        options: Options.
        stop_request: interruption.StopRequest.

    Raises:
        InputError: bad settings, data or folder, or the extra `report` is missing.
        interruption.Stop: stopped on request, all saved.
    """
    extras.require("report", "the table")  # for its chart, which comes last
    # A table with more seeds is the same table.
    one_seed = dataclasses.replace(config, seeds=1)
    default_dir = runs.default_dir(one_seed, config.image_size, "table")
    with runs.RunFolder(options.table_dir or default_dir, setting="table_dir") as folder:
        settings = {name: value for name, value in config.to_json().items() if name != "seeds"}
        folder.check("config.json", settings, "other settings")
        todo = jobs(config, folder.path)
        left = [job for job in todo if not _is_done(job)]
        print(f"{len(todo)} trainings, {len(todo) - len(left)} of them done, in {folder.path}")
        failures = {}
        if left:
            _check_data(todo)
            runs.write_json(folder.path / "config.json", settings)
            failures = _train_all(
                left,
                stop_request,
                lambda failures: table_report.write(config, todo, failures, folder.path),
            )
        report = table_report.write(config, todo, failures, folder.path)
        table_report.draw(report, folder.path / "table.png")
        print(f"\n{table_report.markdown(report)}")
        print(f"table.md, table.json, table.png: {folder.path}")
        if failures:
            raise table_report.incomplete(failures)


def _train_all(jobs, stop_request, on_job):
    """Trains one job after the other; returns the failures, dict Job -> reason."""
    from patchvae_tf import datasets

    failures = {}
    start = time.monotonic()
    with datasets.cached_loading():  # to read and decode the images once
        for number, job in enumerate(jobs):
            print(f"\n[{number + 1}/{len(jobs)}] {job}{_time_left(start, number, len(jobs))}")
            try:
                _train(job, failures, stop_request)
            except Exception as error:
                # Whatever it is: the other rows do not depend on it, and the table says it.
                failures[job] = (str(error).splitlines() or [type(error).__name__])[0]
                print(f"failed: {failures[job]}", flush=True)
            on_job(failures)
    return failures


def _is_done(job):
    return (job.folder / "result.json").exists()


def _check_data(todo):
    """Raises InputError where the classifiers' data is not there, before anything is trained."""
    startup.import_tensorflow()
    from patchvae_tf.transfer import data as transfer_data

    untrained = next(job.config for job in todo if getattr(job.config, "untrained", False))
    transfer_data.load(transfer_config.resolved(untrained))


def _train(job, failures, stop_request):
    if job.freeze is None:
        options = unsupervised.Options(run_dir=str(job.folder), export=False, report=False)
        unsupervised.train(job.config, options, _EXECUTION, stop_request)
    else:
        for failed, reason in failures.items():
            if (failed.row, failed.seed, failed.freeze) == (job.row, job.seed, None):
                raise RuntimeError(reason)
        options = transfer.Options(transfer_dir=str(job.folder))
        transfer.train(job.config, options, _EXECUTION, stop_request)
    # The graphs and data of one training would else stay to the end of all.
    import keras

    keras.backend.clear_session()


def _time_left(start, done, total):
    if not done:
        return ""
    minutes = (time.monotonic() - start) / done * (total - done) / 60
    return f"; about {minutes:.0f} min left of all"
