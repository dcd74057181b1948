"""Learns image features without labels: PatchVAE (default) or β-VAE."""

from patchvae_tf.command_line import console
from patchvae_tf.settings import unsupervised, unsupervised_config
from patchvae_tf.training.execution import Execution
from patchvae_tf.unsupervised import trainer

USAGE = """\
Learns image features without labels, from images alone.

  python -m trainers.unsupervised                          on generated images, minutes
  python -m trainers.unsupervised --dataset=FOLDER --image_size=64
  python -m trainers.unsupervised --paper_dataset=cifar100 --data_dir=TFDS_FOLDER

Stop with Ctrl-C at any time: the same command goes on where it stopped.
Look at a run: tensorboard --logdir=RUN_DIR, and RUN_DIR/pictures.
"""


def main(stop_request, given, options, execution):
    """Trains."""
    trainer.train(unsupervised_config(**given), options, execution, stop_request)


def run():
    """The command."""
    console.run(main, USAGE, unsupervised, trainer.Options, Execution)


if __name__ == "__main__":
    run()
