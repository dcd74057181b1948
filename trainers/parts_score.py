"""How well a PatchVAE's parts find the true ones, where it is known where those are."""

from patchvae_tf.command_line import console
from patchvae_tf.evaluation import parts_score

USAGE = """\
Scores the parts of a finished run on `parts`, whose scenes say where their twelve parts are, or on
images of your own with masks or landmarks.

  python -m trainers.parts_score --run_dir=RUN
  python -m trainers.parts_score --run_dir=RUN --dataset=FILE.npz

Each true part is matched with one learned part; the score is the area under the ROC curve of its
occurrence map, 0.5 by chance, and there are IoU, NMI and ARI. Beside it stand what an untrained
model reaches, the maps dealt to other images, place alone, k-means and NMF of the same features,
and a linear readout with labels. The result is printed and written to RUN/parts_score.json.

FILE.npz has x_test (or x_train) and either part_maps, bool [n, height, width, parts], masks of the
whole images at any resolution, or points, float [n, parts, 2], x and y in pixels, NaN where not
visible; and part_names, if they have names.
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
