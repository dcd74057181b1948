"""The model card: what a version is, what it takes and gives, and what was measured of it."""

import json
import math
import pathlib
import typing

if typing.TYPE_CHECKING:
    import keras

_NAMES = {"PatchVAE": "PatchVAE", "BetaVAE": "β-VAE", "BiGAN": "BiGAN"}
_SOURCE = " as in PatchVAE's paper (Gupta, Singh, Shrivastava, CVPR 2020)"

# How a card names the measures of a run's record.
_MEASURES = {
    "epoch": "epochs trained",
    "step": "steps trained",
    "loss": "loss, train",
    "reconstruction": "reconstruction, train",
    "val_loss": "loss, held out",
    "val_reconstruction": "reconstruction, held out",
    "val_kl_occurrence": "KL of occurrence, held out, nats",
    "val_kl_appearance": "KL of appearance, held out, nats",
    "val_kl": "KL, held out, nats",
    "val_discriminator_rate": "pairs that the discriminator tells rightly, held out",
    "val_occurrence_rate": "share of (place, part) pairs that occur, held out",
}


def facts(model: "keras.Model", signatures: dict, record: dict | None) -> dict:
    """What is known of an exported model, as plain values for `model.json`.

    Args:
        model: PatchVAE, BetaVAE or BiGAN.
        signatures: dict name -> concrete function.
        record: dict as `runs.read_record` returns it, or None for a model without a run.

    Returns:
        dict: `model`, `image_size`, `channels`, `backbone`, `stride`, `stages` (name, stride),
            `arguments`, `parameters`, `signatures`, `run`. The caller may add `precision` and
            `difference`.
    """
    arguments = {
        name: value
        for name, value in model.get_config().items()
        if isinstance(value, bool | int | float | str) or value is None
    }
    return {
        "model": type(model).__name__,
        "image_size": model.image_size,
        "channels": model.channels,
        "backbone": model.backbone_name,
        "stride": model.stride,
        "stages": [[stage.name.replace("-", "_"), stage.stride] for stage in model.stages],
        "arguments": arguments,
        "parameters": {"backbone": _trainable(model.backbone), "model": _trainable(model)},
        "signatures": {name: _contract(function) for name, function in signatures.items()},
        "run": record,
    }


def _trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def _contract(function):
    """Names, shapes (None: any) and dtypes of a signature's input and outputs."""
    ((spec,), _) = function.structured_input_signature
    return {
        "inputs": {spec.name: _tensor(spec)},
        "outputs": {
            name: _tensor(tensor) for name, tensor in sorted(function.structured_outputs.items())
        },
    }


def _tensor(spec):
    return {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}


def write(folder: pathlib.Path, values: dict, more: str = "") -> None:
    """Writes `model.json` and `MODEL_CARD.md` into a version's folder.

    Args:
        folder: pathlib.Path.
        values: dict as `facts` returns it.
        more: str, sections of Markdown that only this format of export has.
    """
    (folder / "model.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    card = _markdown(values, more)
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8", errors="backslashreplace")


def _markdown(values, more):
    run, size = values["run"], values["image_size"]
    name = _NAMES[values["model"]]
    return "\n".join(
        [
            f"# {name}, {size} × {size} pixels",
            "",
            f"Image features learned without labels: the backbone φ of a {name}{_SOURCE}, whose "
            "pooled output is `features`.",
            "",
            "## Input",
            *_input(values),
            "",
            "## Signatures",
            *_signature_table(values["signatures"]),
            "",
            *_meanings(values),
            *([more] if more else []),
            "## Data and training",
            *_training(run),
            "",
            "## Measured",
            *measured(run),
            *_difference(values),
            "",
            "## Parameters",
            f"φ {values['parameters']['backbone']:,}; the whole model "
            f"{values['parameters']['model']:,} (trainable).",
            "",
            "## Limits",
            "The features describe what was in the training images; on images of another kind "
            "measure before you rely on them. A part is whatever helps to rebuild an image: it "
            "need not be one that a person would name. The model was not examined for bias.",
            "",
            "## Licence",
            "The code that made this is under Apache-2.0. The weights come from the images named "
            "above: whether their licence reaches the weights is for whoever passes them on.",
            "",
        ]
    )


def _difference(values):
    if "difference" not in values:
        return []
    found = values["difference"]
    return [
        "",
        f"φ computes in {values['precision']}. `features` differ from float32's by "
        f"{found['largest']:.2g} at most, where the largest is {found['largest_feature']:.2g}; "
        f"all together by {found['relative']:.2%}.",
    ]


def _input(values):
    size = values["image_size"]
    kind = {1: "Grey images", 3: "RGB images"}.get(
        values["channels"], f"Images of {values['channels']} channels"
    )
    images = f"{kind}, float32 in [0, 1], any number in a batch"
    (default,) = values["signatures"]["serving_default"]["inputs"].values()
    if default["shape"][1]:
        return [f"{images}, all {size} × {size} pixels; the values are not checked."]
    sizes = (
        f"{images}; in a batch all of one size, height and width multiples of {values['stride']}. "
        f"Trained at {size} × {size}: other sizes work, features are best near it."
    )
    if "stages" not in values["signatures"]:
        return [f"{sizes} Neither sizes nor values are checked."]
    if "serving_bytes" not in values["signatures"]:
        return [sizes]
    return [
        f"{sizes} "
        "`serving_bytes` takes whole files (JPEG, PNG, GIF, BMP, WEBP) of any sizes instead, makes "
        f"each square as in training (turned as its EXIF tag says, shorter side to {size}, then "
        "the centre), and says in `valid` which could be read; `serving_examples` takes "
        "`tf.train.Example`s with such a file in `image/encoded` or `image`. Images that you "
        "decode yourself are to be turned before they are sent.",
    ]


def _signature_table(signatures):
    lines = ["| signature | input | outputs |", "|---|---|---|"]
    for name, contract in signatures.items():
        inputs, outputs = (
            ", ".join(f"`{key}` {_shape(tensor)}" for key, tensor in contract[side].items())
            for side in ("inputs", "outputs")
        )
        lines.append(f"| `{name}` | {inputs} | {outputs} |")
    return lines


def _shape(tensor):
    """E.g. "[n, h, w, 128]" for a batch of maps; other dtypes than float32 are named."""
    letters = iter("nhw")
    sides = [next(letters) if side is None else str(side) for side in tensor["shape"]]
    dtype = "" if tensor["dtype"] == "float32" else f" {tensor['dtype']}"
    return f"[{', '.join(sides)}]{dtype}"


def _meanings(values):
    finer = {}  # stride -> names
    for name, stride in values["stages"]:
        if stride < values["stride"]:
            finer.setdefault(stride, []).append(f"`{name}`")
    others = "; ".join(
        f"of {' and '.join(names)}: for {side} × {side}" for side, names in finer.items()
    )
    lines = [
        "n images; h and w of an input are pixels, of a map places, one for "
        f"{values['stride']} × {values['stride']} pixels{f' ({others})' if others else ''}. "
        "All float32 but where another type is named.",
        "",
        "- `features`: φ's output, averaged over the places; `feature_map`: before that.",
    ]
    if values["model"] == "PatchVAE":
        lines += [
            "- `occurrence`: the probability that a part occurs at a place.",
            "- `appearance`: how each part looks in the image, as the mean of a Gaussian.",
        ]
    if "stages" in values["signatures"]:
        stages = [f"`{name}`" for name, _ in values["stages"]]
        depths = {1: "map at its one depth", 3: "maps at three depths"}.get(
            len(stages), f"maps at {len(stages)} depths"
        )
        lines += [
            f"- {', '.join(stages)}: φ's {depths}, for transfer.",
            "- `reconstruction`: the image as its code describes it; `decode` makes an image from "
            "any code.",
        ]
    return [*lines, ""]


def _training(run):
    if not run:
        return ["Not recorded: the model was exported by itself, not from a run."]
    settings, data = run["settings"], run["data"]
    left_out = f", {len(data['skipped'])} unreadable left out" if data["skipped"] else ""
    device = (run["result"] or {}).get("device", "a machine not recorded")
    return [
        f"Data: `{settings['dataset']}`, {data['training_images']:,} images, "
        f"{data['validation_images']:,} more held out{left_out}. Labels had no part in training.",
        "",
        f"Trained on {device}, {data['dtype_policy']}; exported in float32.",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in settings.items()),
    ]


def measured(run: dict | None) -> list[str]:
    """The measures of a run's record, as lines of Markdown."""
    result = (run or {}).get("result") or {}
    lines = [
        f"| {label} | {result[name]:.4g} |" for name, label in _MEASURES.items() if name in result
    ]
    probe = result.get("linear_probe")
    if probe:
        setting = (
            f"{probe['classes']} classes, {probe['training_images']:,} labelled training images, "
            f"{probe['test_images']:,} held out"
        )
        lines = [
            f"| linear probe on `features`, top-1 ({setting}) | {probe['top1']:.1%} |",
            f"| the same on an untrained φ | {probe['random_backbone_top1']:.1%} |",
            *lines,
        ]
    elif lines:
        lines.append(
            "| accuracy of a classifier | not measured: no labels, or no images held out |"
        )
    parts = result.get("parts")
    if run and parts:
        lines += [
            "| parts that occur, held out | "
            f"{parts['parts_alive']} of {run['settings']['num_parts']} |",
            "| correlation of the parts' maps in two views of an image, above chance and place | "
            f"{parts['part_agreement']:.2f} |",
            "| share of a part's occurrence in its largest place | "
            f"{parts['part_concentration']:.2f} |",
        ]
    if parts and "true_parts" in parts:
        lines.append(
            f"| true parts found, mean area under ROC | {parts['true_parts']['mean_area']:.3f} |"
        )
    return ["| measure | value |", "|---|---|", *lines] if lines else ["Nothing is recorded."]
