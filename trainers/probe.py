"""A fast verdict on a run's features: linear and nearest-neighbour accuracy at each stage of φ."""

from patchvae_tf.command_line import console
from patchvae_tf.evaluation import probe

USAGE = """\
Measures what the frozen features of a finished run are worth to simple classifiers, in minutes.

  python -m trainers.probe --run_dir=RUN                   on the run's own data set
  python -m trainers.probe --run_dir=RUN --dataset=FOLDER  on another one, with labels

Beside the run's backbone stands the same one untrained. The result is printed and written to
RUN/probe.json.
"""


def main(stop_request, config):
    """Measures."""
    del stop_request  # the file is written at the end, or not at all
    probe.probe_run(config)


def run():
    """The command."""
    console.run(main, USAGE, probe.ProbeConfig)


if __name__ == "__main__":
    run()
