"""TensorFlow's import, which takes seconds: begun only when the settings are known to be right."""

import importlib
import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Imports TensorFlow without the notes that it prints past its own log level.

    They are about the processor and absent GPUs, and help nobody. If the import fails, all that it
    printed is shown.

    Raises:
        InputError: Keras is set otherwise than this package needs.
    """
    importlib.import_module("patchvae_tf.environment")  # checks it
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
        except BaseException:
            held_back.seek(0)
            os.write(shown, held_back.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
