"""What of the user's Keras settings would make other networks than ours, or none."""

import os

import keras

from patchvae_tf.errors import InputError


def check_keras() -> None:
    """Raises InputError, which names the setting and its source, where Keras is set otherwise."""
    where = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json")
    wanted = (
        ("backend", keras.config.backend(), "tensorflow", f"KERAS_BACKEND or {where}"),
        ("image_data_format", keras.config.image_data_format(), "channels_last", where),
        ("floatx", keras.config.floatx(), "float32", where),
    )
    for name, found, needed, source in wanted:
        if found != needed:
            raise InputError(
                f"Keras is set to {name}={found} by {source}, and this package needs {needed}. "
                "Change it there, or set KERAS_HOME to a folder without a keras.json."
            )
