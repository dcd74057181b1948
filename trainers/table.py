"""The paper's table of results: every model, frozen at every stage, measured alike."""

import dataclasses
import pathlib
import time

from absl import flags

from trainers import console, runs, table_report, transfer, transfer_config, unsupervised
from trainers import flags as config_flags
from trainers.execution import Execution
from trainers.table_config import TableConfig, jobs

USAGE = """\
Trains every row of the paper's table of results, and writes it: table.md, table.json, table.png.

  python -m trainers.table                                    on generated images
  python -m trainers.table --dataset=FOLDER --epochs=30 --seeds=3
  python -m trainers.table --dataset=cifar100 --data_dir=TFDS_FOLDER --weights=FILE.safetensors

Stop with Ctrl-C at any time: the same command goes on where it stopped. A training that fails is
marked in the table, and tried again by the same command; more --seeds add to a table.
"""

_EXECUTION = Execution()


def main(stop_request):
    """Reads the flags, then trains what is not yet trained."""
    config = config_flags.read(TableConfig)
    # A table with more seeds is the same table.
    one_seed = dataclasses.replace(config, seeds=1)
    default_dir = runs.default_dir(one_seed, config.image_size, "table")
    make(config, pathlib.Path(flags.FLAGS.table_dir or default_dir), stop_request)


def make(config, table_dir, stop_request):
    """Trains every row of a table, or what is left of it, and writes it after each training.

    Args:
        config: TableConfig.
        table_dir: pathlib.Path.
        stop_request: console.StopRequest.

    Raises:
        InputError: bad settings, data or folder.
        console.Stop: stopped on request, all saved.
    """
    folder = runs.RunFolder(table_dir, flag="--table_dir")
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
    with datasets.kept():  # to read and decode the images once
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
    console.import_tensorflow()
    from trainers import transfer_data

    untrained = next(job.config for job in todo if getattr(job.config, "untrained", False))
    transfer_data.load(transfer_config.resolved(untrained))


def _train(job, failures, stop_request):
    if job.freeze is None:
        unsupervised.train(
            job.config.resolved(), job.folder, stop_request, _EXECUTION, export=False
        )
    else:
        for failed, reason in failures.items():
            if (failed.row, failed.seed, failed.freeze) == (job.row, job.seed, None):
                raise RuntimeError(reason)
        transfer.transfer(
            transfer_config.resolved(job.config), job.folder, stop_request, _EXECUTION
        )
    # The graphs and data of one training would else stay to the end of all.
    import keras

    keras.backend.clear_session()


def _time_left(start, done, total):
    if not done:
        return ""
    minutes = (time.monotonic() - start) / done * (total - done) / 60
    return f"; about {minutes:.0f} min left of all"


def run():
    """The command."""
    config_flags.define(TableConfig)
    flags.DEFINE_string(
        "table_dir",
        None,
        "folder of the table and its trainings (default: runs/, a name made from the settings)",
    )
    console.run(main, config_flags.parser(USAGE, TableConfig, {"Run": ["table_dir"]}))


if __name__ == "__main__":
    run()
