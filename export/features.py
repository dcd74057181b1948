"""Features of a whole data set by a preset or an exported model, as a file for other tools."""

from patchvae_tf.command_line import console
from patchvae_tf.features import extraction

USAGE = """\
Computes the features of a whole data set with a preset or an exported model.

  python -m export.features --saved_model=parts --dataset=FOLDER --output=features.parquet
  python -m export.features --saved_model=RUN --dataset=FOLDER --output=features.parquet
  python -m export.features --saved_model=RUN/export/1 --dataset=cifar100 --split=test \\
      --outputs=features,occurrence --output=features.npz

Stop with Ctrl-C at any time: the same command goes on where it stopped.
"""


def main(stop_request, config):
    """Computes."""
    extraction.extract(config, stop_request)


def run():
    """The command."""
    console.run(main, USAGE, extraction.FeaturesConfig)


if __name__ == "__main__":
    run()
