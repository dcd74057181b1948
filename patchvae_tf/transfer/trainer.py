"""What φ is worth to a classifier of labelled images: Table 5, frozen at a stage."""

import dataclasses
import typing

from patchvae_tf import runs
from patchvae_tf.settings import Settings, setting
from patchvae_tf.training import session
from patchvae_tf.training.execution import Execution
from patchvae_tf.transfer.config import TransferConfig, resolved

if typing.TYPE_CHECKING:
    from patchvae_tf.interruption import StopRequest


@dataclasses.dataclass(frozen=True)
class Options(Settings):
    """Where a transfer is kept; not part of what is learned."""

    transfer_dir: str | None = setting(
        None,
        "Run",
        "folder of this training and its result (default: runs/, a name made from the settings)",
    )


def train(
    config: TransferConfig, options: Options, execution: Execution, stop_request: "StopRequest"
) -> None:
    """Trains and tests a classifier, or goes on training it.

    Args:
        config: TransferConfig.
        options: Options.
        execution: Execution.
        stop_request: interruption.StopRequest.

    Raises:
        InputError: bad settings, backbone, data or folder.
        RunError: training cannot go on.
        interruption.Stop: stopped on request, all saved.
    """
    config = resolved(config)
    folder = options.transfer_dir or runs.default_dir(config, "transfer", config.freeze)
    session.run(TransferTrainer(config, execution), folder, stop_request)


class TransferTrainer(session.Trainer):
    """Table 5's classifier on a backbone φ.

    Args:
        config: TransferConfig, resolved.
        execution: Execution.
    """

    folder_setting = "transfer_dir"
    other_data = "other images, another backbone or another precision"

    def __init__(self, config: TransferConfig, execution: Execution):
        super().__init__(config, execution)
        self._data = None
        self._classifier = None

    @property
    def title(self) -> str:
        config = self.config
        source = getattr(config, config.source)
        named = "an untrained φ" if config.source == "untrained" else f"φ of {source}"
        return f"{config.dataset} on {named}, frozen: {config.freeze}"

    def prepare(self, strategy, dtype_policy):
        from patchvae_tf.transfer import data, model

        self._data = data.load(self.config)
        self._classifier = model.prepare(self.config, self._data, dtype_policy, strategy)
        return {**self._data.description, "backbone": self._classifier.checksum}

    def build(self, strategy):
        data = self._data
        if self._classifier.feature_map is not None:
            data = data.with_features(self._classifier.feature_map)
        self._data = data
        with strategy.scope():
            return self._classifier.compiled(data), data

    def opening(self, model, data) -> str:
        facts = data.description
        return (
            f"{facts['training_images']:,} training, {facts['validation_images']:,} validation "
            f"and {facts['test_images']:,} test images of {data.num_classes} classes"
        )

    def finish(self, model, run_folder, result):
        """Tests the classifier, and writes it."""
        from patchvae_tf.training import evaluating

        data = self._data
        tested = evaluating.evaluate(model, data.evaluation_batches(data.test))
        with runs.replaced_when_whole(run_folder.path / "model.keras") as temporary:
            self._classifier.whole(model).save(temporary)
        return {
            **result,
            **{f"test_{name}": value for name, value in tested.items()},
            **self._classifier.parameters(model),
            "test_images": data.description["test_images"],
            "classes": data.num_classes,
            "class_names": data.class_names and list(data.class_names),
        }

    def summary(self, result: dict) -> str:
        return (
            f"top-1 {result['test_top1']:.1%}, top-5 {result['test_top5']:.1%} on "
            f"{result['test_images']:,} test images of {result['classes']} classes, after "
            f"{result['epoch']} epochs, {result['step']} steps"
        )
