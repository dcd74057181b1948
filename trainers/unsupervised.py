"""Learns image features without labels: PatchVAE (default) or β-VAE."""

import pathlib

from absl import flags

from patchvae_tf.config import UnsupervisedConfig
from patchvae_tf.errors import InputError
from trainers import console, runs
from trainers import flags as config_flags

USAGE = """\
Learns image features without labels, from images alone.

  python -m trainers.unsupervised                          on generated images, minutes
  python -m trainers.unsupervised --dataset=FOLDER --image_size=64
  python -m trainers.unsupervised --dataset=cifar100 --data_dir=TFDS_FOLDER

Stop with Ctrl-C at any time: the same command goes on where it stopped.
Look at a run: tensorboard --logdir=RUN_DIR, and RUN_DIR/pictures.
"""


def main(stop_request):
    """Reads the flags, then trains."""
    config = config_flags.read(UnsupervisedConfig).resolved()
    default_dir = runs.default_dir(config, config.image_size, config.model)
    run_dir = pathlib.Path(flags.FLAGS.run_dir or default_dir)
    train(
        config,
        run_dir,
        stop_request,
        checkpoint_seconds=60 * flags.FLAGS.checkpoint_minutes,
        export=flags.FLAGS.export,
        report=flags.FLAGS.report,
    )


def train(config, run_dir, stop_request, checkpoint_seconds, export, report=False):
    """Trains, or goes on training, in `run_dir`.

    Args:
        config: UnsupervisedConfig, resolved.
        run_dir: pathlib.Path.
        stop_request: console.StopRequest.
        checkpoint_seconds: float, between two checkpoints inside an epoch.
        export: bool, whether to write a SavedModel at the end.
        report: bool, whether to write `report.html` at the end.

    Raises:
        InputError: bad settings, data or folder.
        RunError: training cannot go on.
        console.Stop: stopped on request, all saved.
    """
    run_folder = runs.RunFolder(run_dir)
    run_dir = run_folder.path
    run_folder.check("config.json", config.to_json(), "other settings")
    if run_folder.result is not None:
        print(f"{run_dir} is finished: {_summary(run_folder.result)}")
        if report and not (run_dir / "report.html").exists():  # the end of it was cut off
            _report(run_dir)
        return
    print(f"{config.model} on {config.dataset}, in {run_dir}", flush=True)

    # TensorFlow takes seconds to import: not before the settings are known to be right.
    console.import_tensorflow()
    from export import saved_model
    from trainers import checkpoints, devices, evaluation, loop, setup, summaries

    strategy = devices.strategy()
    replicas = strategy.num_replicas_in_sync
    devices.check_batch(config.batch_size, replicas)
    policy = devices.dtype_policy(config.precision)
    images = setup.load_images(config)
    facts = {**images.description, "dtype_policy": policy}
    run_folder.check("data.json", facts, "other images or another precision")
    # Only now, so that a folder never belongs to settings that could not run.
    runs.write_json(run_dir / "config.json", config.to_json())
    runs.write_json(run_dir / "data.json", facts)
    model = setup.build_model(config, policy, strategy, images.steps_per_epoch)
    parameters = int(sum(weight.shape.num_elements() for weight in model.trainable_weights))
    print(
        f"{len(images.training):,} training and {facts['validation_images']:,} validation images; "
        f"{parameters:,} parameters; {policy} on {devices.description()}"
        + (f", {replicas} devices" if replicas > 1 else ""),
        flush=True,
    )

    pictures = summaries.Pictures(model, images.pictured, run_dir)
    job = loop.Job(
        model=model,
        strategy=strategy,
        training_batches=images.training_batches,
        validation_batches=images.validation_batches,
        checked=images.pictured,
        steps_per_epoch=images.steps_per_epoch,
        epochs=config.epochs,
        batch_size=config.batch_size,
        checkpoint_seconds=checkpoint_seconds,
        on_epoch=pictures.write,
    )
    with strategy.scope():
        saved = checkpoints.Checkpoints(run_dir / "checkpoints", model)
        complete = loop.train(job, saved, run_folder, summaries.writer(run_dir), stop_request)
    if not complete:
        raise console.Stop(stop_request.requested, f"after step {saved.step}, all saved")
    with runs.replaced_when_whole(run_dir / "model.keras") as temporary:
        model.save(temporary)
    result = {
        **run_folder.last_metrics,
        "parameters": parameters,
        "dtype_policy": policy,
        "device": devices.description(),
        "versions": devices.versions(),
    }
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
    runs.write_json(run_dir / "result.json", result)
    if report:
        _report(run_dir, model)
    print(f"done: {_summary(result)}\nmodel, pictures and record: {run_dir}")


def _report(run_dir, model=None):
    """Writes the report; a run is none the worse where that fails."""
    from trainers import report

    try:
        report.write(report.ReportConfig(run_dir=str(run_dir)), model)
    except (InputError, OSError) as error:
        print(f"no report: {error}. Try python -m trainers.report --run_dir={run_dir}", flush=True)


def _summary(result):
    shown = [f"{name} {result[name]:.4g}" for name in ("val_loss", "loss") if name in result]
    return f"{result['epoch']} epochs, {result['step']} steps, {', '.join(shown)}"


def run():
    """The command."""
    config_flags.define(UnsupervisedConfig)
    flags.DEFINE_string(
        "run_dir", None, "folder of the run (default: runs/, a name made from the settings)"
    )
    flags.DEFINE_float(
        "checkpoint_minutes",
        10.0,
        "minutes between two checkpoints inside an epoch",
        lower_bound=0.0,
    )
    flags.DEFINE_bool("export", True, "write a SavedModel to RUN_DIR/export at the end")
    flags.DEFINE_bool("report", True, "write RUN_DIR/report.html and its pictures at the end")
    parser = config_flags.parser(
        USAGE, UnsupervisedConfig, {"Run": ["run_dir", "checkpoint_minutes", "export", "report"]}
    )
    console.run(main, parser)


if __name__ == "__main__":
    run()
