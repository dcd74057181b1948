"""`patchvae COMMAND --flag=value ...`: every command of the package by one name."""

import importlib
import importlib.util
import sys

# name -> (module, what it does). In the checkout the modules are those of the folders `trainers`
# and `export`; installed, of the packages of these names inside `patchvae_tf`.
COMMANDS = {
    "train": ("trainers.unsupervised", "learns features from images alone"),
    "transfer": ("trainers.transfer", "trains a classifier with few labels on a run"),
    "probe": ("trainers.probe", "measures what a run's frozen features are worth"),
    "parts": ("trainers.parts_score", "scores how well a run's parts find the true ones"),
    "report": ("trainers.report", "shows what a run has learned, as one page"),
    "table": ("trainers.table", "trains and measures every row of the paper's table"),
    "export": ("export.saved_model", "writes a run's model for TF Serving, Python, LiteRT or ONNX"),
    "preset": ("export.preset", "makes a preset of a run: weights by name, with a card"),
    "features": ("export.features", "computes the features of a whole data set"),
    "beam-features": ("export.beam_features", "computes them by Apache Beam, on many machines"),
    "demo": ("export.demo", "serves a local page to try a model"),
    "prepare": ("trainers.prepare", "prepares Indoor67 or Places205, once"),
    "launch": ("trainers.launch", "starts a training on several workers"),
    "data-service": ("trainers.data_service", "reads and decodes images for other machines"),
}


def module_of(command: str) -> str:
    """The module that a command runs, as it is imported here."""
    module = COMMANDS[command][0]
    package = module.partition(".")[0]
    installed = importlib.util.find_spec(f"patchvae_tf.{package}") is not None
    return f"patchvae_tf.{module}" if installed else module


def main() -> None:
    """The command `patchvae`, and `python -m patchvae_tf`."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("--help", "-h", "help"):
        print(_help())
        return
    if command == "--version":
        import patchvae_tf

        print(patchvae_tf.__version__)
        return
    if command not in COMMANDS:
        sys.exit(f"error: there is no command {command!r}: {', '.join(COMMANDS)}.")
    sys.argv[:2] = [f"patchvae {command}"]
    importlib.import_module(module_of(command)).run()


def _help():
    lines = ["Learns part-based image features without labels (PatchVAE), and serves them.", ""]
    lines += [f"  patchvae {name:13} {text}" for name, (_, text) in COMMANDS.items()]
    lines += ["", "patchvae COMMAND --help says more of each."]
    return "\n".join(lines)
