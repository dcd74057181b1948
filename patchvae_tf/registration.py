"""Makes Keras know the package's classes as soon as it is imported.

`import patchvae_tf` imports neither Keras nor TensorFlow, which takes seconds; `keras.models
.load_model` needs the classes registered all the same. So they are registered when whichever of
the two comes first has been imported (each imports the other).
"""

import importlib
import importlib.abc
import importlib.util
import sys

_AWAITED = ("keras", "tensorflow")
_MODELS = "patchvae_tf.models"


def register_with_keras() -> None:
    """Registers the classes: now if Keras has been imported, else as soon as it is."""
    if any(name in sys.modules for name in _AWAITED):
        importlib.import_module(_MODELS)
    else:
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Takes notice of the first import of an awaited module, and lets others find it."""

    def find_spec(self, name, path, target=None):
        if name not in _AWAITED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """A module's own loader; the models are imported after it."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        if not sys.modules.get(_MODELS):  # not when it is they that import it
            importlib.import_module(_MODELS)

    def __getattr__(self, name):
        return getattr(self._loader, name)
