"""Trained models under Apache Beam's `RunInference`."""

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from patchvae_tf.features import computing, sources
from patchvae_tf.features.pooling import Pooling
from patchvae_tf.settings.pixels import RGB, Pixels

if typing.TYPE_CHECKING:
    import tensorflow as tf

Function = Callable[["tf.Tensor"], dict[str, "tf.Tensor"]]  # of [n, ...] -> output -> [n, ...]


class FunctionHandler(ModelHandler[Any, dict[str, np.ndarray], Function]):
    """Asks a function of a batch: of strings [n], or of arrays of one shape.

    Beam's own handlers for TensorFlow load by Keras, which refuses a SavedModel.

    Args:
        load: function () -> the function of a batch, called once a process; it travels there.
        batch_size: int, elements asked about at once, fewer at the end of a bundle.
    """

    def __init__(self, load: Callable[[], Function], batch_size: int):
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self._load = load

    def load_model(self) -> Function:
        """Returns what `run_inference` takes; once a process."""
        return self._load()

    def run_inference(
        self, batch: Sequence[Any], model: Function, inference_args: dict[str, Any] | None = None
    ) -> Iterable[dict[str, np.ndarray]]:
        """Returns a dict output -> array [...] for each element."""
        import tensorflow as tf

        answer = model(tf.constant(list(batch)))
        columns = {output: values.numpy() for output, values in answer.items()}  # [n, ...] each
        return [
            {output: column[row] for output, column in columns.items()} for row in range(len(batch))
        ]

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """The size of a batch."""
        return sum(
            element.nbytes if isinstance(element, np.ndarray) else len(element) for element in batch
        )

    def get_metrics_namespace(self) -> str:
        """Where Beam counts batches and their times."""
        return "patchvae_inference"


@dataclasses.dataclass(frozen=True)
class OfFiles:
    """Loads a model for whole image files: the `load` of a handler.

    Attributes:
        model: str, what `sources.find` takes.
        outputs: names of those that are wanted.
        image_size: int, side in pixels to which images are brought.
        pixels: Pixels that the model takes.
    """

    model: str
    outputs: tuple[str, ...]
    image_size: int
    pixels: Pixels = RGB

    def __call__(self) -> Function:
        """Function of files, string [n] -> the outputs, and `valid`, bool [n]: what is an image."""
        import tensorflow as tf

        from patchvae_tf.saved_models.signatures import decode_images

        source = sources.find(self.model)
        compute, _ = computing.function(source, self.outputs, Pooling(), self.image_size)

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
        def answer(files):
            images, valid = decode_images(files, self.image_size, self.pixels)
            return {**compute(images), "valid": valid}

        return answer


@dataclasses.dataclass(frozen=True)
class OfSignature:
    """Loads a signature of an export that has one input: the `load` of a handler.

    Attributes:
        model: str, what `sources.find` takes.
        signature: str, its name.
        outputs: names of those that are wanted.
    """

    model: str
    signature: str
    outputs: tuple[str, ...]

    def __call__(self) -> Function:
        """Function of the signature's input -> the outputs."""
        return functools.partial(self._answer, sources.find(self.model).load())

    def _answer(self, loaded, batch):  # the whole of it: it holds the signature's weights
        signature = loaded.signatures[self.signature]
        _, inputs = signature.structured_input_signature
        (name,) = inputs
        answer = signature(**{name: batch})
        return {output: answer[output] for output in self.outputs}
