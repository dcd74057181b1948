"""Features of many images by Apache Beam: on this machine, or on many."""

from patchvae_tf.command_line import console
from patchvae_tf.features import beam_job

USAGE = """\
Computes the features of many image files with an exported model, by Apache Beam.

  pip install 'patchvae-tf[beam]'
  python -m export.beam_features --saved_model=RUN --input=FOLDER --output=features.parquet \\
      -- --direct_num_workers=2 --direct_running_mode=multi_processing
  python -m export.beam_features --saved_model=gs://B/export/1 --input=gs://B/images \\
      --output=gs://B/features.tfrecord --runner=DataflowRunner -- --project=P --region=R ...

What follows -- is for Beam and its runner. Files that cannot be read are listed beside the output.
The output is whole when its .json is there; a job that was stopped begins anew.
"""


def main(stop_request, config, beam_options):
    """Computes."""
    del stop_request  # nothing half-written is left under the output's names
    beam_job.compute(config, beam_options)


def run():
    """The command."""
    console.run(main, USAGE, beam_job.BeamConfig, takes_command=True)


if __name__ == "__main__":
    run()
