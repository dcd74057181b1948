"""Learns image features without labels: PatchVAE (default) or β-VAE."""

import functools
import pathlib

from absl import flags

from patchvae_tf import presets
from patchvae_tf.config import UnsupervisedConfig
from patchvae_tf.errors import InputError
from trainers import cluster as clusters
from trainers import console, runs, services
from trainers import flags as config_flags
from trainers.execution import Execution

USAGE = """\
Learns image features without labels, from images alone.

  python -m trainers.unsupervised                          on generated images, minutes
  python -m trainers.unsupervised --dataset=FOLDER --image_size=64
  python -m trainers.unsupervised --preset=cifar100 --data_dir=TFDS_FOLDER

Stop with Ctrl-C at any time: the same command goes on where it stopped.
Look at a run: tensorboard --logdir=RUN_DIR, and RUN_DIR/pictures.
"""


def main(stop_request):
    """Reads the flags, then trains."""
    preset = presets.values(flags.FLAGS.preset)
    config = config_flags.read(UnsupervisedConfig, preset).resolved()
    default_dir = runs.default_dir(config, config.image_size, config.model)
    run_dir = pathlib.Path(flags.FLAGS.run_dir or default_dir)
    train(
        config,
        run_dir,
        stop_request,
        config_flags.read(Execution),
        export=flags.FLAGS.export,
        report=flags.FLAGS.report,
    )


def train(config, run_dir, stop_request, execution, export, report=False):
    """Trains, or goes on training, in `run_dir`.

    Args:
        config: UnsupervisedConfig, resolved.
        run_dir: pathlib.Path.
        stop_request: console.StopRequest.
        execution: Execution.
        export: bool, whether to write a SavedModel at the end.
        report: bool, whether to write `report.html` at the end.

    Raises:
        InputError: bad settings, data or folder.
        RunError: training cannot go on.
        console.Stop: stopped on request, all saved.
    """
    cluster = clusters.from_environment()
    run_folder = runs.RunFolder(run_dir, writes=cluster.is_chief)
    run_dir = run_folder.path
    run_folder.check("config.json", config.to_json(), "other settings")
    if run_folder.result is not None:
        print(f"{run_dir} is finished: {_summary(run_folder.result)}")
        if report and not (run_dir / "report.html").exists():  # the end of it was cut off
            _report(run_dir)
        return
    say = print if cluster.is_chief else _silent
    say(f"{config.model} on {config.dataset}, in {run_dir}", flush=True)

    # TensorFlow takes seconds to import: not before the settings are known to be right.
    console.import_tensorflow()
    from trainers import checkpoints, devices, loop, setup, summaries

    strategy = devices.strategy(execution.devices, cluster)
    stop_request.install()
    replicas = strategy.num_replicas_in_sync
    devices.check_xla(execution.xla, replicas)
    devices.check_batch(config.batch_size, replicas)
    policy = devices.dtype_policy(config.precision)
    images = setup.load_images(config, execution.data_services)
    facts = {**images.description, "dtype_policy": policy}
    run_folder.check("data.json", facts, "other images or another precision")
    # Only now, so that a folder never belongs to settings that could not run.
    run_folder.write("config.json", config.to_json())
    run_folder.write("data.json", facts)
    model = setup.build_model(config, policy, strategy, images.steps_per_epoch)
    say(
        f"{len(images.training):,} training and {facts['validation_images']:,} validation images; "
        f"{_parameters(model):,} parameters; {policy} on {devices.description()}"
        + (f", {replicas} devices" if replicas > 1 else "")
        + (f" of {cluster.workers} workers" if cluster.workers > 1 else "")
        + (
            f"; {images.epochs:,} epochs, since there are few images (--epochs says how many)"
            if images.epochs > config.epochs
            else ""
        ),
        flush=True,
    )

    pictures = summaries.Pictures(model, images.pictured, run_dir, images.epochs)
    job = loop.Job(
        model=model,
        strategy=strategy,
        training_batches=functools.partial(
            images.training_batches, data_services=execution.data_services
        ),
        validation_batches=images.validation_batches,
        checked=images.pictured,
        steps_per_epoch=images.steps_per_epoch,
        epochs=images.epochs,
        batch_size=config.batch_size,
        execution=execution,
        on_epoch=pictures.write,
        cluster=cluster,
    )
    with clusters.losses_named(cluster):
        with strategy.scope():
            saved = checkpoints.Checkpoints(
                run_dir / "checkpoints",
                model,
                writes=cluster.is_chief,
                on_error=execution.on_save_error,
            )
            writer = summaries.writer(run_dir, writes=cluster.is_chief)
            with services.watched(execution.data_services), images.errors_named():
                complete = loop.train(job, saved, run_folder, writer, stop_request)
        if not complete:
            raise console.Stop(stop_request.requested, f"after step {saved.step}, all saved")
        if cluster.is_chief:
            result = _finish(config, model, images, run_folder, facts, export)
            if report:
                _report(run_dir, model)
            print(f"done: {_summary(result)}\nmodel, pictures and record: {run_dir}")
        clusters.wait_for_all(cluster, strategy)


def _finish(config, model, images, run_folder, facts, export):
    """Writes the model, what its features are worth, its export and the result, returned too."""
    from export import saved_model
    from trainers import devices, evaluation

    run_dir = run_folder.path
    with runs.replaced_when_whole(run_dir / "model.keras") as temporary:
        model.save(temporary)
    result = {
        **run_folder.last_metrics,
        "parameters": _parameters(model),
        "dtype_policy": facts["dtype_policy"],
        "device": devices.description(),
        "versions": devices.versions(),
    }
    if images.is_streamed:
        result["unreadable"] = images.training.unreadable.keys
    probe = evaluation.linear_probe(model, images.training, images.validation, config.seed)
    if probe:
        result["linear_probe"] = probe
        print(
            f"linear probe, {probe['test_images']:,} held-out images of {probe['classes']} "
            f"classes: top-1 {probe['top1']:.1%} (untrained backbone: "
            f"{probe['random_backbone_top1']:.1%})",
            flush=True,
        )
    if export:
        record = {"settings": config.to_json(), "data": facts, "result": result}
        version = saved_model.export_model(model, run_dir / "export", record)
        print(f"SavedModel: {version}", flush=True)
    run_folder.write("result.json", result)
    return result


def _report(run_dir, model=None):
    """Writes the report; a run is none the worse where that fails."""
    from trainers import report

    try:
        report.write(report.ReportConfig(run_dir=str(run_dir)), model)
    except (InputError, OSError) as error:
        print(f"no report: {error}. Try python -m trainers.report --run_dir={run_dir}", flush=True)


def _parameters(model):
    return int(sum(weight.shape.num_elements() for weight in model.trainable_weights))


def _silent(*args, **kwargs):
    """Takes the place of `print` on all workers but the chief."""


def _summary(result):
    shown = [f"{name} {result[name]:.4g}" for name in ("val_loss", "loss") if name in result]
    return f"{result['epoch']} epochs, {result['step']} steps, {', '.join(shown)}"


def run():
    """The command."""
    config_flags.define(UnsupervisedConfig)
    flags.DEFINE_enum(
        "preset",
        None,
        presets.NAMES,
        "a data set of the paper's with its settings, where no flag of their own says another",
    )
    flags.DEFINE_string(
        "run_dir", None, "folder of the run (default: runs/, a name made from the settings)"
    )
    config_flags.define(Execution)
    flags.DEFINE_bool("export", True, "write a SavedModel to RUN_DIR/export at the end")
    flags.DEFINE_bool("report", True, "write RUN_DIR/report.html and its pictures at the end")
    parser = config_flags.parser(
        USAGE,
        UnsupervisedConfig,
        {
            "Preset": ["preset"],
            "Run": ["run_dir", "export", "report", *config_flags.names(Execution)],
        },
    )
    console.run(main, parser)


if __name__ == "__main__":
    run()
