"""What φ is worth to a classifier of labelled images: Table 5, frozen at a stage."""

import pathlib

from absl import flags

from trainers import cluster, console, runs
from trainers import flags as config_flags
from trainers.execution import Execution
from trainers.transfer_config import TransferConfig, resolved

USAGE = """\
Trains a classifier of labelled images on a backbone φ, and tests it.

  python -m trainers.transfer --run_dir=RUN --dataset=FOLDER                 φ frozen
  python -m trainers.transfer --run_dir=RUN --dataset=FOLDER --labels_per_class=10
  python -m trainers.transfer --run_dir=RUN --dataset=FOLDER --freeze=conv1  the rest fine-tuned
  python -m trainers.transfer --untrained --dataset=FOLDER --freeze=none     from scratch

Stop with Ctrl-C at any time: the same command goes on where it stopped.
"""


def main(stop_request):
    """Reads the flags, then trains."""
    config = resolved(config_flags.read(TransferConfig))
    default_dir = runs.default_dir(config, "transfer", config.freeze)
    transfer(
        config,
        pathlib.Path(flags.FLAGS.transfer_dir or default_dir),
        stop_request,
        config_flags.read(Execution),
    )


def transfer(config, transfer_dir, stop_request, execution):
    """Trains and tests a classifier, or goes on training it, in `transfer_dir`.

    Args:
        config: TransferConfig, resolved.
        transfer_dir: pathlib.Path.
        stop_request: console.StopRequest.
        execution: Execution.

    Raises:
        InputError: bad settings, backbone, data or folder.
        RunError: training cannot go on.
        console.Stop: stopped on request, all saved.
    """
    cluster.refuse(cluster.from_environment(), "trainers.transfer")
    run_folder = runs.RunFolder(transfer_dir, flag="--transfer_dir")
    folder = run_folder.path
    run_folder.check("config.json", config.to_json(), "other settings")
    if run_folder.result is not None:
        print(f"{folder} is finished: {_summary(run_folder.result)}")
        return
    source = getattr(config, config.source)
    named = "an untrained φ" if config.source == "untrained" else f"φ of {source}"
    print(f"{config.dataset} on {named}, frozen: {config.freeze}, in {folder}", flush=True)

    # TensorFlow takes seconds to import: not before the settings are known to be right.
    console.import_tensorflow()
    from trainers import checkpoints, devices, loop, summaries, transfer_data, transfer_model

    strategy = devices.strategy(execution.devices)
    replicas = strategy.num_replicas_in_sync
    devices.check_xla(execution.xla, replicas)
    policy = devices.dtype_policy(config.precision)
    data = transfer_data.load(config)
    devices.check_batch(data.batch_size, replicas)
    setup = transfer_model.prepare(config, data, policy, strategy)
    facts = {**data.description, "backbone": setup.checksum, "dtype_policy": policy}
    run_folder.check("data.json", facts, "other images, another backbone or another precision")
    # Only now, so that a folder never belongs to settings that could not run.
    runs.write_json(folder / "config.json", config.to_json())
    runs.write_json(folder / "data.json", facts)
    print(
        f"{facts['training_images']:,} training, {facts['validation_images']:,} validation and "
        f"{facts['test_images']:,} test images of {data.num_classes} classes; {policy} on "
        f"{devices.description()}" + (f", {replicas} devices" if replicas > 1 else ""),
        flush=True,
    )
    if setup.feature_map is not None:
        data = data.with_features(setup.feature_map)

    with strategy.scope():
        model = setup.trained(data)
        validation = data.validation
        job = loop.Job(
            model=model,
            strategy=strategy,
            training_batches=data.training_batches,
            validation_batches=validation and data.evaluation_batches(validation),
            checked=data.checked,
            steps_per_epoch=data.steps_per_epoch,
            epochs=config.epochs,
            batch_size=data.batch_size,
            execution=execution,
            on_epoch=lambda epoch, step, record: None,
        )
        saved = checkpoints.Checkpoints(
            folder / "checkpoints", model, on_error=execution.on_save_error
        )
        complete = loop.train(job, saved, run_folder, summaries.writer(folder), stop_request)
    if not complete:
        raise console.Stop(stop_request.requested, f"after step {saved.step}, all saved")
    tested = loop.evaluate(model, data.evaluation_batches(data.test))
    with runs.replaced_when_whole(folder / "model.keras") as temporary:
        setup.whole(model).save(temporary)
    result = {
        **run_folder.last_metrics,
        **{f"test_{name}": value for name, value in tested.items()},
        **setup.parameters(model),
        "test_images": facts["test_images"],
        "classes": data.num_classes,
        "class_names": data.class_names and list(data.class_names),
        "dtype_policy": policy,
        "device": devices.description(),
        "versions": devices.versions(),
    }
    runs.write_json(folder / "result.json", result)
    print(f"done: {_summary(result)}\nmodel and record: {folder}")


def _summary(result):
    return (
        f"top-1 {result['test_top1']:.1%}, top-5 {result['test_top5']:.1%} on "
        f"{result['test_images']:,} test images of {result['classes']} classes, after "
        f"{result['epoch']} epochs, {result['step']} steps"
    )


def run():
    """The command."""
    config_flags.define(TransferConfig)
    flags.DEFINE_string(
        "transfer_dir",
        None,
        "folder of this training and its result (default: runs/, a name made from the settings)",
    )
    config_flags.define(Execution)
    parser = config_flags.parser(
        USAGE, TransferConfig, {"Run": ["transfer_dir", *config_flags.names(Execution)]}
    )
    console.run(main, parser)


if __name__ == "__main__":
    run()
