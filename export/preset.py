"""Makes a preset of a finished run: its weights in a folder, with a card."""

from patchvae_tf.command_line import console
from patchvae_tf.unsupervised import preset

USAGE = """\
Makes a preset of a finished run: model.safetensors, preset.json and a card, in a new folder.

  python -m export.preset --run_dir=RUN --output=FOLDER             to the last bit
  python -m export.preset --run_dir=RUN --output=FOLDER --compact   less than half the size

From Python: patchvae_tf.PatchVAE.from_preset("FOLDER"), patchvae_tf.backbone("FOLDER").
"""


def main(stop_request, config):
    """Makes it."""
    del stop_request  # the folder appears whole or not at all
    preset.make(config)


def run():
    """The command."""
    console.run(main, USAGE, preset.PresetConfig)


if __name__ == "__main__":
    run()
