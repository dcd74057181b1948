"""Builds the API reference from the docstrings: `make docs`. A warning is an error."""

import pathlib
import pkgutil
import sys
import warnings

import pdoc

import patchvae_tf
import patchvae_tf.visualization
from patchvae_tf import extras

PACKAGES = ("patchvae_tf", "trainers", "export")
# extra -> what cannot be imported, and has no page, where it is not installed.
NEEDING = {"beam": ("patchvae_tf.features.beam_inference", "patchvae_tf.features.beam_pipeline")}
LEFT_OUT = [name for extra, names in NEEDING.items() if extras.missing(extra) for name in names]


def modules():
    """Names of the packages and all that is in them; behind a "!" what pdoc is to pass over."""
    root = pathlib.Path(patchvae_tf.__file__).parents[1]
    found = [
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages([str(root / package)], f"{package}.")
    ]
    return [*sorted([*PACKAGES, *found]), *(f"!{name}" for name in LEFT_OUT)]


def build(folder):
    """Writes an HTML page for each module.

    Args:
        folder: pathlib.Path.

    Raises:
        Warning: a docstring or a name is not as it should be.
    """
    # Public names are loaded on first use: pdoc looks only at those that are there.
    for name in patchvae_tf.__all__:
        setattr(patchvae_tf, name, getattr(patchvae_tf, name))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        # A package without `__all__` brings its modules along: they are named twice then.
        warnings.filterwarnings("ignore", message="The module specification .* already been added")
        for name in LEFT_OUT:  # which their package's page looks for all the same
            warnings.filterwarnings("ignore", message=f"Couldn't import {name}:")
        pdoc.render.configure(docformat="google", footer_text=patchvae_tf.__version__)
        pdoc.pdoc(*modules(), output_directory=folder)


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1] if sys.argv[1:] else "build/docs")
    build(target)
    print(f"wrote {target}/index.html")
