"""The paper's table of results: every model, frozen at every stage, measured alike."""

from patchvae_tf.command_line import console
from patchvae_tf.table import making
from patchvae_tf.table.config import TableConfig

USAGE = """\
Trains every row of the paper's table of results, and writes it: table.md, table.json, table.png.

  python -m trainers.table                                    on generated images
  python -m trainers.table --dataset=FOLDER --epochs=30 --seeds=3
  python -m trainers.table --dataset=cifar100 --data_dir=TFDS_FOLDER --weights=FILE.safetensors

Stop with Ctrl-C at any time: the same command goes on where it stopped. A training that fails is
marked in the table, and tried again by the same command; more --seeds add to a table.
"""


def main(stop_request, config, options):
    """Trains what is not yet trained."""
    making.make(config, options, stop_request)


def run():
    """The command."""
    console.run(main, USAGE, TableConfig, making.Options)


if __name__ == "__main__":
    run()
