"""How well a PatchVAE's parts find the true ones, on the generated images `parts`."""

from patchvae_tf.command_line import console
from patchvae_tf.evaluation import parts_score

USAGE = """\
Scores the parts of a finished run on `parts`, whose scenes say where their twelve parts are.

  python -m trainers.parts_score --run_dir=RUN

Each true part is matched with one learned part; the score is the area under the ROC curve of its
occurrence map, 0.5 by chance. Beside it stand an untrained model's score, and that of the maps when
they are dealt to other images. The result is printed and written to RUN/parts_score.json.
"""


def main(stop_request, config):
    """Scores."""
    del stop_request  # it takes seconds
    parts_score.score_run(config)


def run():
    """The command."""
    console.run(main, USAGE, parts_score.PartsScoreConfig)


if __name__ == "__main__":
    run()
