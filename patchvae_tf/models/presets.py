"""Models and presets: a model of one, one of a model, and first weights from one."""

import os
import pathlib
import tempfile
from collections.abc import Callable

import keras

from patchvae_tf import backbones, noise, pretrained
from patchvae_tf.errors import InputError
from patchvae_tf.models.distributed import dtype_policy_scope
from patchvae_tf.models.loading import load_model
from patchvae_tf.pretrained import weights
from patchvae_tf.settings import unsupervised_config

_OF_KERAS = ("name", "trainable", "dtype")  # of a model's config: no arguments of ours


def backbone(preset: str | os.PathLike, dtype: str | None = None) -> keras.Model:
    """The trained φ of a preset, for a network of your own.

    Args:
        preset: a name of `patchvae_tf.presets()`, or the folder of a preset.
        dtype: dtype policy, e.g. "mixed_bfloat16"; None for Keras' global policy.

    Returns:
        A functional model, float32 [batch, H, W, channels] in [0, 1], H and W multiples of the
        stride -> features, [batch, H/stride, W/stride, c].

    Raises:
        InputError: there is no such preset, or it cannot be read.
    """
    folder = pretrained.find(preset)
    arguments = pretrained.read_facts(folder).arguments
    with dtype_policy_scope(dtype or keras.config.dtype_policy()):
        network = backbones.build(
            arguments["backbone"], arguments["stride"], arguments.get("channels", 3)
        )
    prefix = "backbone/"
    arrays = weights.read(folder / pretrained.WEIGHTS, prefix)
    variables = {f"{prefix}{name}": weight for name, weight in weights.named(network).items()}
    _check_whole(weights.assign(variables, arrays), folder)
    return network


def from_preset(
    preset: str | os.PathLike, expected: type[keras.Model], dtype: str | None = None
) -> keras.Model:
    """`UnsupervisedModel.from_preset`; `expected` is the class that it was called on."""
    from patchvae_tf import models

    folder = pretrained.find(preset)
    facts = pretrained.read_facts(folder)
    model_class = models.MODELS.get(facts.model)
    if model_class is None or not issubclass(model_class, expected):
        held = model_class.__name__ if model_class else facts.model
        raise InputError(
            f"{preset} holds a {held}, not a {expected.__name__}: load it by "
            f"patchvae_tf.{held}.from_preset."
        )
    arrays = weights.read(folder / pretrained.WEIGHTS)
    if facts.compact:  # without what serves training alone: that begins by the seed
        noise.set_first_weights(facts.arguments["seed"])
    try:
        model = model_class(**facts.arguments, dtype=dtype or facts.dtype)
        if facts.settings is not None:
            settings = {**facts.settings, "dataset": "", "init_from": None}
            model.recipe = unsupervised_config(**settings)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{folder / pretrained.FACTS} has settings that this version does not know ({error}). "
            "Make the preset anew."
        ) from error
    missing = weights.assign(weights.named(model), arrays)
    if facts.compact:
        training_alone = _of_training_alone(model)
        missing = [name for name in missing if name not in training_alone]
    _check_whole(missing, folder)
    return model


def _check_whole(missing, folder):
    if missing:
        raise InputError(
            f"{folder / pretrained.WEIGHTS} has no {missing[0]} of the right shape"
            + (f" (and {len(missing) - 1} more are missing)" if missing[1:] else "")
            + ": it belongs to another model. Restore the folder from a copy."
        )


def _of_training_alone(model):
    """Names of the weights that serve training alone."""
    own = {id(weight) for part in model.training_parts for weight in part.weights}
    return {name for name, weight in weights.named(model).items() if id(weight) in own}


def save_to_preset(
    model: keras.Model,
    folder: str | os.PathLike,
    compact: bool = False,
    card: Callable[[pathlib.Path], str] | None = None,
    description: str | None = None,
    settings: dict | None = None,
    run: dict | None = None,
) -> pathlib.Path:
    """`UnsupervisedModel.save_to_preset`, with what else is known of the model.

    Args:
        model: UnsupervisedModel.
        folder: path; it appears whole or not at all.
        compact: bool, kernels in float16, and nothing that serves training alone.
        card: function of the folder, whose other files are written -> text of `README.md`; None:
            a short one.
        description, settings, run: as of `pretrained.Facts`; None: what the model says.

    Raises:
        InputError: the folder is there already, or cannot be written.
    """
    folder = pathlib.Path(folder).expanduser()
    config = model.get_config()
    facts = pretrained.Facts(
        description=description or f"{type(model).__name__}, {model.image_size} pixels",
        settings=settings or (None if model.recipe is None else model.recipe.to_json()),
        run=run,
        model=model.settings_name,
        arguments={name: value for name, value in config.items() if name not in _OF_KERAS},
        dtype=model.dtype_policy.name,
        compact=compact,
    )
    left_out = _of_training_alone(model) if compact else ()
    arrays = {
        name: weight.numpy()
        for name, weight in weights.named(model).items()
        if name not in left_out
    }
    if compact:
        arrays = {name: weights.compacted(name, values) for name, values in arrays.items()}
    try:
        _write_whole(folder, facts, arrays, card or _short_card)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror}. Choose another folder."
        ) from error
    return folder


def _write_whole(folder, facts, arrays, card):
    """Writes the three files beside the folder, then gives them its name."""
    if folder.exists():
        raise InputError(f"{folder} is there already. Remove it, or choose another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        written = pathlib.Path(temporary) / "preset"  # readable by all, unlike its parent
        written.mkdir()
        weights.write(written / pretrained.WEIGHTS, arrays)
        pretrained.write_facts(written, facts)
        (written / pretrained.CARD).write_text(card(written), encoding="utf-8")
        os.rename(written, folder)


def _short_card(folder):
    facts = pretrained.read_facts(folder)
    return (
        f"# {facts.description}\n\n"
        f"Trained weights of a model of the package patchvae-tf: `{facts.model}`. Load them by "
        "`from_preset` of its class, with the path of this folder.\n"
    )


def begin_with(model: keras.Model, source: str | os.PathLike) -> str:
    """Gives an untrained model the weights of a preset or a run, as far as they fit.

    Args:
        model: UnsupervisedModel.
        source: a preset's name, its folder, the folder of a finished run, or a .keras file.

    Returns:
        A line that says what fitted and what did not.

    Raises:
        InputError: there is no such preset or run, or nothing of it fits.
    """
    folder = pretrained.known(source)
    if folder is not None:
        arrays = weights.read(folder / pretrained.WEIGHTS)
    else:
        trained = weights.named(load_model(source))
        arrays = {name: weight.numpy() for name, weight in trained.items()}
    variables = weights.named(model)
    left = weights.assign(variables, arrays)
    if len(left) == len(variables):
        raise InputError(
            f"nothing of {source} fits this model. Choose the same model, backbone or "
            "num_parts, or leave init_from out."
        )
    line = f"begins with {len(variables) - len(left)} of {len(variables)} weights of {source}"
    return f"{line}; as at any beginning: {', '.join(_parts(left, variables))}" if left else line


def _parts(names, variables):
    """The parts that weights belong to: of a network all of which is named, that one name."""
    whole = {}
    for name in variables:
        whole.setdefault(name.split("/")[0], set()).add(name)
    shown = {}
    for name in names:
        part = name.split("/")[0]
        shown[part if whole[part] <= set(names) else name.rsplit("/", 1)[0]] = None
    return list(shown)
