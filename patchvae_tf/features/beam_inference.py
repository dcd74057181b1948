"""A SavedModel's signature under Apache Beam's `RunInference`."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from patchvae_tf.saved_models import loaded


class SavedModelHandler(ModelHandler[bytes, dict[str, np.ndarray], Any]):
    """Asks one signature, which has one input: strings [n], or arrays of one shape.

    Beam's own handlers for TensorFlow load by Keras, which refuses a SavedModel.

    Args:
        path: str, folder of the SavedModel, wherever TensorFlow can read it.
        signature: str, its name.
        outputs: names of those that are wanted.
        batch_size: int, elements asked about at once, fewer at the end of a bundle.
    """

    def __init__(self, path: str, signature: str, outputs: Iterable[str], batch_size: int):
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self._path = path
        self._signature = signature
        self._outputs = tuple(outputs)

    def load_model(self) -> Any:
        """Returns what `run_inference` takes; once a process."""
        return loaded.load(self._path)  # whole: it holds the signatures' weights

    def run_inference(
        self, batch: Sequence[bytes], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[dict[str, np.ndarray]]:
        """Returns a dict output -> array [...] for each element."""
        import tensorflow as tf

        signature = model.signatures[self._signature]
        _, inputs = signature.structured_input_signature
        (name,) = inputs
        answer = signature(**{name: tf.constant(list(batch))})
        columns = {output: answer[output].numpy() for output in self._outputs}  # [n, ...] each
        return [
            {output: column[row] for output, column in columns.items()} for row in range(len(batch))
        ]

    def get_num_bytes(self, batch: Sequence[bytes]) -> int:
        """The size of a batch."""
        return sum(map(len, batch))

    def get_metrics_namespace(self) -> str:
        """Where Beam counts batches and their times."""
        return "patchvae_inference"
