"""What of the user's Keras settings would make other networks than ours, or none.

Checked when this module is imported, which is before the package imports TensorFlow and Keras: with
a backend that is not installed that import ends in a traceback.
"""

import json
import os
import sys

from patchvae_tf.errors import InputError

_NEEDED = {"backend": "tensorflow", "image_data_format": "channels_last", "floatx": "float32"}


def check_keras() -> None:
    """Raises InputError, which names the setting and its source, where Keras is set otherwise."""
    path = os.path.join(os.environ.get("KERAS_HOME") or "~/.keras", "keras.json")
    if "keras" in sys.modules:
        import keras

        found = {name: getattr(keras.config, name)() for name in _NEEDED}
    else:  # as Keras will find them: its import takes seconds, and another backend may end it
        found = {**_NEEDED, **_read(path)}
        found["backend"] = os.environ.get("KERAS_BACKEND") or found["backend"]
    for name in _NEEDED:
        _check(name, found[name], path)


def _check(name, found, path):
    if found == _NEEDED[name]:
        return
    by_variable = name == "backend" and os.environ.get("KERAS_BACKEND")
    source, mend = (
        ("KERAS_BACKEND", "Unset that environment variable, or set it to tensorflow.")
        if by_variable
        else (path, "Change it there, or set KERAS_HOME to a folder without a keras.json.")
    )
    raise InputError(
        f"Keras is set to {name}={found} by {source}, and this package needs {_NEEDED[name]}. "
        f"{mend}"
    )


def _read(path):
    """What `keras.json` says; {} where Keras would pass it over as well."""
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError):
        return {}


check_keras()
