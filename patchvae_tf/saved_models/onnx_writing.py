"""The encoder as an ONNX file, for ONNX Runtime and whatever else reads ONNX."""

import pathlib
import typing

import numpy as np
import tensorflow as tf

from patchvae_tf.errors import RunError
from patchvae_tf.saved_models import loaded, model_card, onnx_loaded, signatures, versions

if typing.TYPE_CHECKING:
    import keras

FILE = "model.onnx"

_OPSET = 18
_MOST_DIFFERENCE = 1e-4  # relative, of an output; rounding alone leaves some 1e-6


def export_onnx(
    model: "keras.Model", export_dir: pathlib.Path, images: np.ndarray, record: dict | None = None
) -> tuple[pathlib.Path, dict]:
    """Writes the encoder as the next version: `model.onnx` and a model card.

    It takes `images` float32 [n, H, W, channels] in [0, 1], H and W multiples of the stride,
    unchecked, and answers as the SavedModel's `serving_default` does. The file as it was written
    is asked and compared with that.

    Args:
        model: PatchVAE, BetaVAE or BiGAN.
        export_dir: pathlib.Path, as `versions.writable` returns it.
        images: uint8 [n, size, size, channels], n >= 1, at the trained size, to compare on.
        record: dict as `runs.read_record` returns it, for the model card.

    Returns:
        (version, differences): pathlib.Path, and a dict output -> dict of `relative`, |difference|
        / |SavedModel's| of all numbers together, `largest`, the largest difference of a number, and
        `largest_value`, the SavedModel's largest by magnitude.

    Raises:
        RunError: the file answers otherwise than the SavedModel; then there is no version.
    """
    model = signatures.with_policy(model, "float32")
    root, function = signatures.encoder(model, image_size=None)
    content = _converted(root.function, model)
    _, saved_model = signatures.exported_parts(model)
    differences = {}

    def write(folder):
        path = folder / FILE
        path.write_bytes(content)
        differences.update(_differences(path, saved_model["serving_default"], images))
        facts = model_card.facts(model, {"serving_default": function}, record)
        facts["onnx"] = {"opset": _OPSET, "differences": differences}
        model_card.write(folder, facts, _card_section(differences))

    return versions.write_next(export_dir, write), differences


def _converted(function, model):
    """The file's bytes."""
    import tf2onnx

    # Batch normalisation is folded into the convolutions on the way.
    proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=_OPSET)
    for values, axes in ((proto.graph.input, "nHW"), (proto.graph.output, "nhw")):
        for value in values:
            for dimension, axis in zip(value.type.tensor_type.shape.dim, axes, strict=False):
                if dimension.dim_param:  # an open side
                    dimension.dim_param = axis
    for name in onnx_loaded.METADATA:
        proto.metadata_props.add(key=name, value=str(getattr(model, name)))
    return proto.SerializeToString(deterministic=True)


def _differences(path, saved_model, images):
    """Compares at the trained size, and once at twice the height."""
    names = sorted(saved_model.structured_outputs)
    answer = loaded.answering(onnx_loaded.load(path), names, path)
    pairs = {name: [] for name in names}
    for batch in (images, np.concatenate([images[:1], images[:1]], axis=1)):
        batch = tf.image.convert_image_dtype(batch, tf.float32)
        outputs, expected = answer(batch), saved_model(images=batch)
        for name in names:
            pairs[name].append((outputs[name].numpy().ravel(), expected[name].numpy().ravel()))
    return {
        name: _difference(name, *map(np.concatenate, zip(*pairs[name], strict=True)))
        for name in names
    }


def _difference(name, found, expected):
    difference = found - expected
    measured = {
        "relative": float(np.linalg.norm(difference) / np.linalg.norm(expected)),
        "largest": float(np.abs(difference).max()),
        "largest_value": float(np.abs(expected).max()),
    }
    if not measured["relative"] <= _MOST_DIFFERENCE:  # NaN neither
        raise RunError(
            f"the ONNX file's `{name}` is {measured['relative']:.1e} from the SavedModel's, "
            f"relative to it; {_MOST_DIFFERENCE:.0e} is allowed, and the file is not kept. Use the "
            "versions of tf2onnx, onnx and onnxruntime that requirements-dev.txt names."
        )
    return measured


def _card_section(differences):
    return "\n".join(
        [
            "## File",
            f"`{FILE}`, ONNX opset {_OPSET}. Asked by ONNX Runtime after it was written, beside "
            "the SavedModel:",
            "",
            "| output | relative difference | largest difference | largest number |",
            "|---|---|---|---|",
            *(
                f"| `{name}` | {one['relative']:.1e} | {one['largest']:.1e} "
                f"| {one['largest_value']:.2g} |"
                for name, one in differences.items()
            ),
            "",
        ]
    )
