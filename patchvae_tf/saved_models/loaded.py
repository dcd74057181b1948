"""An exported model as it lies in its folder: its version, its facts and its answers."""

import hashlib
import json
import os
import pathlib
import typing
from collections.abc import Callable, Iterable

from patchvae_tf.errors import InputError
from patchvae_tf.saved_models import versions

_SIGNATURES = ("serving_default", "stages")  # those whose outputs can be asked for


def version(path: str | os.PathLike) -> pathlib.Path:
    """The folder of the version that is meant by a version, a folder of versions or a run.

    Raises:
        InputError: there is none.
    """
    path = pathlib.Path(path).expanduser()
    if (path / "saved_model.pb").is_file():
        return path
    for folder in (path, path / "export"):
        if folder.is_dir() and (numbers := versions.numbers(folder)):
            return version(folder / str(max(numbers)))
    if not path.exists():
        raise InputError(f"saved_model {path} does not exist. Give the folder of an export.")
    raise InputError(
        f"saved_model {path} holds no SavedModel: neither saved_model.pb nor a version under it. "
        "Give RUN/export/1, RUN/export or RUN."
    )


def facts(version: pathlib.Path) -> dict:
    """The content of `model.json`, {} for a SavedModel that is not of our making."""
    path = version / "model.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}). Export the model once more.") from error


def remote_facts(version: str) -> dict:
    """As `facts`, of a version elsewhere than on this machine, wherever TensorFlow can read it."""
    import tensorflow as tf

    path = f"{version}/model.json"
    try:
        with tf.io.gfile.GFile(path) as file:
            return dict(json.loads(file.read()))
    except (tf.errors.OpError, OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({str(error).splitlines()[0][:200]}). Give the folder of a "
            "version that `export.saved_model` wrote."
        ) from error


def checked_size(image_size: int | None, facts: dict, title: object) -> int:
    """The side to which images are brought: as asked for, or the trained one.

    Args:
        image_size: in pixels, or None.
        facts: `image_size` and `stride` as a model card has them; either may be missing.
        title: what the model is called.

    Raises:
        InputError: it is not known, or does not fit the model.
    """
    image_size = image_size or facts.get("image_size")
    if image_size is None:
        raise InputError(f"{title} does not say its image size: give image_size.")
    stride = facts.get("stride")
    if stride and image_size % stride:
        raise InputError(f"image_size must be a multiple of {stride}. Received: {image_size}")
    return image_size


def check_facts(facts: dict, names: Iterable[str], version: pathlib.Path) -> None:
    """Raises InputError if `facts` are there and offer not all the outputs of these names."""
    if facts:
        offered = {
            name
            for signature in _SIGNATURES
            for name in facts.get("signatures", {}).get(signature, {}).get("outputs", ())
        }
        check_outputs(names, offered, version)


def check_outputs(names: Iterable[str], offered: set[str], version: object) -> None:
    """Raises InputError unless all of `names` are among the outputs that `version` offers."""
    unknown = [name for name in names if name not in offered]
    if unknown:
        raise InputError(
            f"{version} has no {', '.join(unknown)}: it offers "
            f"{', '.join(sorted(offered)) or 'nothing that is known'}."
        )


def digest(version: pathlib.Path) -> str:
    """What tells one exported model from another."""
    digest = hashlib.sha256()
    for path in sorted(version.rglob("*")):
        if path.name == "saved_model.pb" or path.parent.name == "variables":
            digest.update(path.read_bytes())
    return digest.hexdigest()


def load(version: str | os.PathLike) -> typing.Any:
    """Loads an exported model: an object with `signatures`.

    Args:
        version: its folder, wherever TensorFlow can read it.

    Raises:
        InputError: it cannot be read.
    """
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(version))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            f"the SavedModel in {version} cannot be read ({str(error).splitlines()[0][:200]}). "
            "Export the model once more."
        ) from error


def answering(model: typing.Any, names: Iterable[str], version: object) -> Callable[..., dict]:
    """One function of a model's signatures, for a graph.

    Args:
        model: as `load` returns it, or another object with `signatures`: name -> function of
            `images`.
        names: which outputs are wanted.
        version: what the model is called, for errors.

    Returns:
        Function of float images [n, H, W, channels] -> dict name -> float32 [n, ...].

    Raises:
        InputError: there is no such output.
    """
    source = {
        output: name
        for name in _SIGNATURES
        if name in model.signatures
        for output in model.signatures[name].structured_outputs
    }
    check_outputs(names, set(source), version)

    def answer(images):
        needed = dict.fromkeys(source[name] for name in names)  # what nobody asks for is not run
        answers = {name: model.signatures[name](images=images) for name in needed}
        return {name: answers[source[name]][name] for name in names}

    return answer


def function(
    version: pathlib.Path, names: Iterable[str], image_size: int, channels: int = 3
) -> tuple[Callable, dict[str, tuple[int, ...]]]:
    """Loads an exported model.

    Args:
        version: pathlib.Path, as `version` returns it.
        names: which outputs are wanted.
        image_size: int, side of the square images in pixels.
        channels: int, of the images.

    Returns:
        As `of_images` does.

    Raises:
        InputError: it cannot be read, or has no such output.
    """
    return of_images(answering(load(version), names, version), image_size, channels)


def of_images(
    answer: Callable[..., dict], image_size: int, channels: int = 3
) -> tuple[Callable, dict[str, tuple[int, ...]]]:
    """The graph of a function of float images, for uint8 ones of one size.

    Returns:
        (function, shapes): uint8 images [n, size, size, channels] -> dict name -> float32 [n,
        ...]; and dict name -> shape of a row.
    """
    import tensorflow as tf

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([None, image_size, image_size, channels], tf.uint8)],
    )
    def converted(images):
        return answer(tf.image.convert_image_dtype(images, tf.float32))

    outputs = converted(tf.zeros([1, image_size, image_size, channels], tf.uint8))
    return converted, {name: tuple(output.shape[1:]) for name, output in outputs.items()}
