"""Arrays from the JSON of a request, and the JSON of an answer."""

import base64
import binascii
import json

import numpy as np
import tensorflow as tf

from tests.serving_double.errors import invalid


def parse(body):
    """The object that a request is.

    Raises:
        ServingError: the bytes are no JSON object.
    """
    try:
        request = json.loads(body)
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise invalid("JSON Value: Is not object")
    if not isinstance(request.get("signature_name", ""), str):
        raise invalid("'signature_name' key must be a string value.")
    return request


def read_inputs(request, tensors):
    """The inputs of a request.

    Args:
        request: dict with `instances` (rows) or `inputs` (columns).
        tensors: dict input name -> TensorInfo.

    Returns:
        (inputs, in_rows): dict input name -> array of the signature's dtype; whether they came as
        rows, and the answer should.

    Raises:
        ServingError: the request fits neither form.
    """
    if ("instances" in request) == ("inputs" in request):
        raise invalid("expecting one of 'inputs' or 'instances' keys to exist, not both or neither")
    in_rows = "instances" in request
    columns = _columns_of_rows(request["instances"], tensors) if in_rows else request["inputs"]
    if not isinstance(columns, dict) or _is_base64(columns):
        columns = {_only(tensors): columns}
    missing = [name for name in tensors if name not in columns]
    if missing:
        raise invalid(f"Missing named input: {missing[0]} in 'inputs' object.")
    # Keys that name no input are passed over.
    return {name: _array(columns[name], tensors[name].dtype, name) for name in tensors}, in_rows


def _columns_of_rows(rows, tensors):
    if not isinstance(rows, list) or not rows:
        raise invalid("No values in 'instances' array")
    named = [isinstance(row, dict) and not _is_base64(row) for row in rows]
    if not any(named):
        return {_only(tensors): rows}
    for index, row in enumerate(rows):
        if not named[index] or set(row) != set(tensors):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: keys must "
                f"be equal to: {','.join(tensors)}"
            )
    return {name: [row[name] for row in rows] for name in tensors}


def _only(tensors):
    if len(tensors) > 1:
        raise invalid("a plain value or list, but multiple input tensors are required")
    return next(iter(tensors))


def _is_base64(value):
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _array(value, dtype, name):
    dtype = tf.as_dtype(dtype)
    try:
        array = np.array(_decoded(value)) if dtype == tf.string else np.array(value)
    except ValueError as error:  # lists of unequal lengths
        raise invalid(f"Failed to process '{name}': Encountered list at unexpected size") from error
    kinds = {tf.string: "OSU", tf.bool: "b"}.get(dtype, "iuf")
    if array.size and array.dtype.kind not in kinds:
        raise invalid(f"JSON Value of '{name}' is not of expected type: {dtype.name}")
    return array.astype(object if dtype == tf.string else dtype.as_numpy_dtype)


def _decoded(value):
    """Nested lists with bytes in place of strings and {"b64": ...}."""
    if isinstance(value, list):
        items = [_decoded(item) for item in value]
        array = np.empty(len(items), object)
        array[:] = items
        return np.stack(array) if items and isinstance(items[0], np.ndarray) else array
    if isinstance(value, str):
        return value.encode()
    if not _is_base64(value):
        raise invalid(f"JSON Value: {value} not formatted correctly for base64 data")
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise invalid("Unable to base64 decode") from error


def write_outputs(outputs, in_rows):
    """The answer: a single output goes without its name.

    Args:
        outputs: dict output name -> array.
        in_rows: bool; `predictions`, one for each row, or else `outputs`.

    Returns:
        bytes: JSON, but for a bare NaN or Infinity, or strings that are not UTF-8.

    Raises:
        ServingError: the outputs cannot be cut into rows.
    """
    if in_rows and not all(array.ndim for array in outputs.values()):
        raise invalid("a tensor has no shape information")
    if in_rows and len({len(array) for array in outputs.values()}) > 1:
        raise invalid("a tensor has inconsistent batch size")
    values = {name: _jsonable(array, name) for name, array in outputs.items()}
    if len(values) == 1:
        (answer,) = values.values()
    elif in_rows:
        answer = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    else:
        answer = values
    text = json.dumps({"predictions" if in_rows else "outputs": answer}, ensure_ascii=False)
    return text.encode(errors="surrogateescape")


def _jsonable(array, name):
    if array.dtype != object:
        return array.tolist()

    def text(value):
        if name.endswith("_bytes"):
            return {"b64": base64.b64encode(value).decode()}
        return value.decode(errors="surrogateescape")

    return np.vectorize(text, otypes=[object])(array).tolist()
