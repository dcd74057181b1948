"""Where features come from: a preset, an export, an ONNX file or a model, all asked alike."""

import dataclasses
import functools
import hashlib
import os
import pathlib
import typing
from collections.abc import Callable, Iterable

from patchvae_tf import backbones, pretrained
from patchvae_tf.errors import InputError
from patchvae_tf.saved_models import loaded, onnx_loaded

if typing.TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained model that gives outputs by name.

    Attributes:
        title: what it is called.
        address: what `find` finds this very one by, from any folder; None: it is in memory alone.
        image_size: the side of the images that it was trained on, in pixels; None: not known.
        stride: of φ; None: not known.
        channels: of the images.
        value_range: the setting of its training; None: there was none, or it is not known.
        stages: names of φ's depths as outputs have them, e.g. "conv1_5"; () where not known.
        check: function of names of outputs, raises InputError where one is known not to be there.
        digest: function () -> what tells one model from another.
        load: function () -> the model, an object with `signatures`: name -> concrete function.
    """

    title: str
    address: str | None
    image_size: int | None
    stride: int | None
    channels: int
    value_range: str | None
    stages: tuple[str, ...]
    check: Callable[[Iterable[str]], None]
    digest: Callable[[], str]
    load: Callable[[], typing.Any]

    def offers(self, output: str) -> bool:
        """Whether an output of that name is there, as far as is known before it is loaded."""
        try:
            self.check([output])
        except InputError:
            return False
        return True


def find(given: "str | os.PathLike | keras.Model") -> Source:
    """The source meant by a preset's name or folder, a run, an export, an .onnx file or a model.

    Of a run it is the newest export; elsewhere than on this machine (gs://...) the folder of a
    version is meant. Nothing is loaded yet but an .onnx file, which says nothing of itself before.

    Raises:
        InputError: there is none.
    """
    if not isinstance(given, str | os.PathLike):
        return _of_model(given)
    folder = pretrained.known(given)
    if folder is not None:
        return _of_preset(os.fspath(given), folder)
    if "://" in os.fspath(given):
        return _of_remote(os.fspath(given).rstrip("/"))
    path = pathlib.Path(given).expanduser()
    if path.suffix == onnx_loaded.SUFFIX and not path.is_dir():
        model = onnx_loaded.load(path)
        digest = functools.partial(onnx_loaded.digest, path)
        return _of_export(path, model.facts, digest, lambda: model)
    if not path.exists() and os.sep not in os.fspath(given):
        raise InputError(
            f"there is no model {os.fspath(given)!r}: give a preset ("
            f"{', '.join(pretrained.names())}), the folder of a preset, a run or an export, or an "
            ".onnx file."
        )
    version = loaded.version(path)
    digest = functools.partial(loaded.digest, version)
    return _of_export(version, loaded.facts(version), digest, lambda: loaded.load(version))


def _of_remote(version):
    facts = loaded.remote_facts(version)
    # Numbers of versions are never given twice, so the address tells one from another.
    return _of_export(version, facts, lambda: version, lambda: loaded.load(version))


def _of_export(version, facts, digest, load):
    """The source of what says of itself what a model card says, or nothing."""
    return Source(
        title=str(version),
        address=version if "://" in str(version) else os.path.abspath(version),
        image_size=facts.get("image_size"),
        stride=facts.get("stride"),
        channels=facts.get("channels", 3),
        value_range=((facts.get("run") or {}).get("settings") or {}).get("value_range"),
        stages=tuple(name for name, _ in facts.get("stages", ())),
        check=lambda names: loaded.check_facts(facts, names, version),
        digest=digest,
        load=load,
    )


def _of_preset(title, folder):
    facts = pretrained.read_facts(folder)

    def load():
        from patchvae_tf.models.base import UnsupervisedModel

        return _inference(UnsupervisedModel.from_preset(folder, dtype="float32"))

    return _of_ours(
        f"preset {title}",
        facts.model,
        facts.arguments,
        lambda: hashlib.sha256((folder / pretrained.WEIGHTS).read_bytes()).hexdigest(),
        load,
        address=title if title in pretrained.names() else os.path.abspath(folder),
        value_range=(facts.settings or {}).get("value_range"),
    )


def _of_model(model):
    from patchvae_tf.saved_models.writing import check_exportable

    check_exportable(model)
    return _of_ours(
        type(model).__name__,
        model.settings_name,
        model.get_config(),
        lambda: str(id(model)),
        lambda: _inference(model),
    )


def _of_ours(title, kind, arguments, digest, load, address=None, value_range=None):
    """The source of a model whose constructor had these arguments."""
    stride, backbone = arguments["stride"], arguments["backbone"]
    stages = [stage.name.replace("-", "_") for stage in backbones.stages(backbone, stride)]
    codes = {"occurrence", "appearance"} if kind == "patchvae" else set()
    offered = {"features", "feature_map", *stages, *codes}
    return Source(
        title=title,
        address=address,
        image_size=arguments["image_size"],
        stride=stride,
        channels=arguments.get("channels", 3),
        value_range=value_range,
        stages=tuple(stages),
        check=lambda names: loaded.check_outputs(names, offered, title),
        digest=digest,
        load=load,
    )


def _inference(model):
    from patchvae_tf.saved_models import signatures

    return signatures.inference(model)
