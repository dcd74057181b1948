"""Packages that only some uses need: the extras of `pip install 'patchvae-tf[...]'`."""

import importlib.util

from patchvae_tf.errors import InputError

# extra -> the modules that it brings, by the names they are imported by.
MODULES = {
    "report": ("matplotlib", "sklearn", "scipy", "tensorboard"),
    "sklearn": ("sklearn",),
    "serving": ("tensorflow_serving",),
    "parquet": ("pyarrow",),
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
    "beam": ("apache_beam", "pyarrow"),
    "tiff": ("tifffile",),
    "demo": ("nicegui", "PIL", "matplotlib"),
    "compare": ("torch",),
    "peers": ("torch", "lightly"),
}


def missing(extra: str) -> str | None:
    """The sentence that says which module of an extra is not installed; None if all are."""
    for module in MODULES[extra]:
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed: pip install 'patchvae-tf[{extra}]'"
    return None


def require(extra: str, purpose: str) -> None:
    """Raises InputError where a module of an extra is not installed.

    Args:
        extra: a key of `MODULES`.
        purpose: what needs it, e.g. "the report".
    """
    problem = missing(extra)
    if problem:
        raise InputError(f"{purpose} needs the extra `{extra}`: {problem}")
