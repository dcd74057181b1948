"""An exported model as an ONNX file: its facts, and its answers by ONNX Runtime."""

import dataclasses
import hashlib
import pathlib
import typing
from collections.abc import Callable, Mapping

import numpy as np

from patchvae_tf import extras
from patchvae_tf.errors import InputError

if typing.TYPE_CHECKING:
    import tensorflow as tf

SUFFIX = ".onnx"

METADATA = ("image_size", "stride", "channels")  # what the file says of itself


@dataclasses.dataclass(frozen=True)
class OnnxModel:
    """An ONNX file that is asked as a SavedModel is.

    Attributes:
        facts: `image_size`, `stride`, `channels` and `signatures`, as a model card has them; {}
            for a file that is not of our making.
        signatures: name -> function of `images`, as `loaded.answering` takes them.
    """

    facts: dict
    signatures: Mapping[str, Callable]


def load(path: pathlib.Path) -> OnnxModel:
    """Loads an ONNX file.

    Raises:
        InputError: it is not there, cannot be read, or the extra `onnx` is not installed.
    """
    if not path.is_file():
        raise InputError(f"saved_model {path} does not exist. Give an .onnx file, or a folder.")
    extras.require("onnx", f"saved_model {path}")
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path)
    except Exception as error:  # ONNX Runtime's have no base of their own
        raise InputError(
            f"the ONNX file {path} cannot be read ({_first_line(error)}). Export the model once "
            "more."
        ) from error
    signature = _Signature(session, path)
    return OnnxModel(_facts(session, signature), {"serving_default": signature})


def digest(path: pathlib.Path) -> str:
    """What tells one exported model from another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _facts(session, signature):
    metadata = session.get_modelmeta().custom_metadata_map
    if not all(name in metadata for name in METADATA):
        return {}
    return {
        **{name: int(metadata[name]) for name in METADATA},
        "signatures": {"serving_default": {"outputs": signature.structured_outputs}},
    }


class _Signature:
    """A session as a function of `images`, for a graph or without one.

    Attributes:
        structured_outputs: names of the outputs; of another's file those that are float32.
    """

    def __init__(self, session, path):
        self._session = session
        self._path = path
        self.structured_outputs = [
            output.name for output in session.get_outputs() if output.type == "tensor(float)"
        ]

    def __call__(self, images: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        """dict output -> float32 [n, ...] of images float32 [n, H, W, channels], H and W known."""
        import tensorflow as tf

        names = self.structured_outputs
        shapes = self._shapes(images.shape[1:])
        answers = tf.nest.flatten(tf.numpy_function(self._run, [images], [tf.float32] * len(names)))
        return {
            name: tf.ensure_shape(answer, [None, *shape])  # a graph knows none of its own
            for name, answer, shape in zip(names, answers, shapes, strict=True)
        }

    def _run(self, images):
        return self._session.run(self.structured_outputs, {"images": images})

    def _shapes(self, image_shape):
        """The shape of each output's row, as one black image's is."""
        shape = [1, *image_shape]
        try:
            return [answer.shape[1:] for answer in self._run(np.zeros(shape, np.float32))]
        except Exception as error:  # as above
            raise InputError(
                f"{self._path} does not answer for `images` float32 {shape} "
                f"({_first_line(error)}). Give a file that format=onnx wrote."
            ) from error


def _first_line(error):
    return str(error).splitlines()[0][:200]
