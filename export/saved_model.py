"""Writes a trained model as a SavedModel, which TensorFlow alone can load and TF Serving serves."""

from patchvae_tf.command_line import console
from patchvae_tf.unsupervised import export

USAGE = """\
Writes the model of a finished run for use elsewhere, with a model card.

  python -m export.saved_model --run_dir=RUN                  SavedModel: RUN/export/1, 2, ...
  python -m export.saved_model --run_dir=RUN --export_dir=DIR                 DIR/1, 2, ...
  python -m export.saved_model --run_dir=RUN --precision=mixed_bfloat16   faster where native
  python -m export.saved_model --run_dir=RUN --format=litert  LiteRT: RUN/litert/1, 2, ...
  python -m export.saved_model --run_dir=RUN --format=onnx    ONNX: RUN/onnx/1/model.onnx

Look at it: saved_model_cli show --all --dir=RUN/export/1
"""


def main(stop_request, config):
    """Exports."""
    del stop_request  # nothing half-written is left behind, whenever it comes
    export.export_run(config)


def run():
    """The command."""
    console.run(main, USAGE, export.ExportConfig)


if __name__ == "__main__":
    run()
