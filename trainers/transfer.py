"""What φ is worth to a classifier of labelled images: Table 5, frozen at a stage."""

from patchvae_tf.command_line import console
from patchvae_tf.training.execution import Execution
from patchvae_tf.transfer import trainer
from patchvae_tf.transfer.config import TransferConfig

USAGE = """\
Trains a classifier of labelled images on a backbone φ, and tests it.

  python -m trainers.transfer --run_dir=RUN --dataset=FOLDER                 φ frozen
  python -m trainers.transfer --run_dir=RUN --dataset=FOLDER --labels_per_class=10
  python -m trainers.transfer --run_dir=RUN --dataset=FOLDER --freeze=conv1  the rest fine-tuned
  python -m trainers.transfer --untrained --dataset=FOLDER --freeze=none     from scratch

Stop with Ctrl-C at any time: the same command goes on where it stopped.
"""


def main(stop_request, config, options, execution):
    """Trains."""
    trainer.train(config, options, execution, stop_request)


def run():
    """The command."""
    console.run(main, USAGE, TransferConfig, trainer.Options, Execution)


if __name__ == "__main__":
    run()
