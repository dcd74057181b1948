"""What a run has learned, as one page of pictures that opens anywhere."""

from patchvae_tf.command_line import console
from patchvae_tf.report import writing

USAGE = """\
Shows what a finished run has learned: RUN/report.html, one file that needs no network, and the
same pictures as PNG in RUN/pictures. The trainer does this at its end.

  python -m trainers.report --run_dir=RUN                   on the run's own data set
  python -m trainers.report --run_dir=RUN --dataset=FOLDER  on other images

The images are read once, as a stream: memory does not grow with their number.
"""


def main(stop_request, config):
    """Draws."""
    del stop_request  # every file is written whole, or not at all
    writing.write(config)


def run():
    """The command."""
    console.run(main, USAGE, writing.ReportConfig)


if __name__ == "__main__":
    run()
