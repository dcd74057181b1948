"""An exported model as an ONNX file: its facts and its answers, by ONNX Runtime.

The same functions as `loaded` has for a SavedModel.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np

from patchvae_tf import extras
from patchvae_tf.errors import InputError
from patchvae_tf.saved_models import loaded

SUFFIX = ".onnx"

METADATA = ("image_size", "stride")  # what the file says of itself, in pixels


def version(path: str | os.PathLike) -> pathlib.Path:
    """The file as a path.

    Raises:
        InputError: it is not there, or the extra `onnx` is not installed.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"--saved_model {path} does not exist. Give an .onnx file, or a folder.")
    extras.require("onnx", f"--saved_model {path}")
    return path


def facts(path: pathlib.Path) -> dict:
    """`image_size`, `stride` and `signatures`, as a model card has them; {} for another's file.

    Raises:
        InputError: it cannot be read.
    """
    session = _session(path)
    metadata = session.get_modelmeta().custom_metadata_map
    if not all(name in metadata for name in METADATA):
        return {}
    outputs = [output.name for output in session.get_outputs()]
    return {
        **{name: int(metadata[name]) for name in METADATA},
        "signatures": {"serving_default": {"outputs": outputs}},
    }


def digest(path: pathlib.Path) -> str:
    """What tells one exported model from another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def function(
    path: pathlib.Path, names: Iterable[str], image_size: int
) -> tuple[Callable, dict[str, tuple[int, ...]]]:
    """Loads the model, as `loaded.function` does.

    Args:
        path: pathlib.Path, as `version` returns it.
        names: which outputs are wanted.
        image_size: int, side of the square images in pixels.

    Returns:
        (function, shapes): uint8 images [n, size, size, 3] -> dict name -> float32 [n, ...]; and
        dict name -> shape of a row.

    Raises:
        InputError: it cannot be read, has no such output, or takes no such images.
    """
    session = _session(path)
    loaded.check_outputs(names, {output.name for output in session.get_outputs()}, path)
    names = list(names)

    def answer(images):
        images = images.astype(np.float32) * np.float32(1 / 255)  # as `convert_image_dtype` does
        return dict(zip(names, session.run(names, {"images": images}), strict=True))

    try:
        outputs = answer(np.zeros([1, image_size, image_size, 3], np.uint8))
    except Exception as error:  # ONNX Runtime's have no base of their own
        raise InputError(
            f"{path} does not answer for `images` float32 [1, {image_size}, {image_size}, 3] "
            f"({_first_line(error)}). Give a file that --format=onnx wrote."
        ) from error
    return answer, {name: output.shape[1:] for name, output in outputs.items()}


def _session(path):
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(path)
    except Exception as error:  # as above
        raise InputError(
            f"the ONNX file {path} cannot be read ({_first_line(error)}). Export the model once "
            "more."
        ) from error


def _first_line(error):
    return str(error).splitlines()[0][:200]
