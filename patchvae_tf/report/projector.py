"""The features that a report looked at, for TensorBoard's projector, beside the curves."""

import math
import pathlib

import numpy as np
import tensorflow as tf

from patchvae_tf import runs, visualization
from patchvae_tf.visualization.colors import as_rgb
from patchvae_tf.visualization.galleries import class_name

_SIDE = 32  # of a thumbnail, in pixels
_CONFIG = """\
embeddings {{
  tensor_name: "features"
  tensor_path: "projector/features.tsv"
  metadata_path: "projector/labels.tsv"
  sprite {{ image_path: "projector/sprite.png" single_image_dim: {side} single_image_dim: {side} }}
}}
"""


def write(log_dir: pathlib.Path, survey: visualization.Survey) -> None:
    """Writes `projector_config.pbtxt`, and in `projector/` what it names.

    Args:
        log_dir: the run's folder `tensorboard`.
        survey: `visualization.Survey`; its features, their labels and their thumbnails are shown.
    """
    folder = log_dir / "projector"
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["\t".join(f"{value:.6g}" for value in row) for row in survey.features]
    files = {
        "projector/features.tsv": "\n".join(rows).encode(),
        "projector/labels.tsv": "\n".join(_names(survey)).encode("utf-8", "backslashreplace"),
        "projector/sprite.png": tf.io.encode_png(sprite(survey.thumbnails)).numpy(),
        "projector_config.pbtxt": _CONFIG.format(side=_SIDE).encode(),  # last: it names the others
    }
    for name, content in files.items():
        with runs.replaced_when_whole(log_dir / name) as temporary:
            temporary.write_bytes(content)


def _names(survey):
    """What each image is called: its class where it has one, else its number."""
    named = enumerate(survey.labels.tolist())
    return [
        str(number) if label < 0 else class_name(label, survey.class_names)
        for number, label in named
    ]


def sprite(images: np.ndarray) -> np.ndarray:
    """All thumbnails in one square picture, row by row: uint8 [k * 32, k * 32, 3].

    Args:
        images: uint8 [n, H, W, channels].
    """
    across = math.ceil(math.sqrt(len(images)))
    small = tf.image.resize(as_rgb(images), [_SIDE, _SIDE], antialias=True)
    small = np.rint(small).astype(np.uint8)  # [n, 32, 32, 3]
    tiles = np.zeros((across * across, _SIDE, _SIDE, 3), np.uint8)
    tiles[: len(small)] = small
    tiles = tiles.reshape(across, across, _SIDE, _SIDE, 3).swapaxes(1, 2)
    return tiles.reshape(across * _SIDE, across * _SIDE, 3)
