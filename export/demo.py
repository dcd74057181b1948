"""A local page to try an exported model on one's own images."""

from patchvae_tf.command_line import console
from patchvae_tf.demo import page

USAGE = """\
Serves a page on this machine: give it an image, see what a trained model makes of it.

  pip install -r requirements-demo.txt
  python -m export.demo --saved_model=RUN
  python -m export.demo --saved_model=parts                 a preset
  python -m export.demo --saved_model=RUN --dataset=FOLDER  and the nearest parts in a folder

Stop with Ctrl-C. Nothing leaves this machine, and nothing is kept.
"""


def main(stop_request, config):
    """Serves until it is stopped."""
    del stop_request
    page.serve(config)


def run():
    """The command."""
    console.run(main, USAGE, page.DemoConfig)


if __name__ == "__main__":
    run()
