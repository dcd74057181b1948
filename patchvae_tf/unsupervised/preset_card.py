"""The card of a preset that was made of a run: what it is, how it was made, what it is worth."""

from patchvae_tf import pretrained
from patchvae_tf.saved_models import model_card
from patchvae_tf.settings import unsupervised_config
from patchvae_tf.settings.unsupervised import names_of

_FIRST = ("model", "paper_dataset", "dataset", "recipe")  # settings on which the others depend


def text(
    facts: pretrained.Facts,
    record: dict,
    measured: dict,
    rounding: dict | None,
    data: str | None,
    licence: str | None,
) -> str:
    """The card, as Markdown.

    Args:
        facts: of the preset.
        record: as `runs.read_record` returns it.
        measured: name of a file in `MEASUREMENTS` -> its content.
        rounding: `images`, `largest`, `largest_feature` and `relative` of how far the features are
            from the run's; None where no weight is rounded.
        data: what the images are; None: the data set's name alone.
        licence: what is known of their licence, or None.
    """
    settings, result, images = record["settings"], record["result"], record["data"]
    name = settings["dataset"]
    return "\n".join(
        [
            f"# {facts.description}",
            "",
            "Weights of φ, of the heads and of the decoder, by name, in `model.safetensors`; what "
            "the model is, in `preset.json`. PRESET is the name of this preset, or this folder:",
            "",
            "```python",
            "import patchvae_tf",
            "",
            "found = patchvae_tf.embed(images, PRESET)  # a folder, paths or arrays -> features",
            "network = patchvae_tf.backbone(PRESET)  # φ alone, a Keras model",
            f"model = patchvae_tf.{_class_name(facts)}.from_preset(PRESET)",
            "```",
            "",
            "## Data",
            f"{data or f'`{name}`'}. {images['training_images']:,} images to learn from, "
            f"{images['validation_images']:,} held out, {settings['image_size']} × "
            f"{settings['image_size']} pixels. Labels had no part in training. Licence of the "
            f"images: {licence or 'not recorded'}.",
            "",
            "## How it was made",
            "```sh",
            command(settings),
            "```",
            "",
            f"Seed {settings['seed']}; epochs: {result['epoch']}, steps: {result['step']:,}; on "
            f"{result['device']}, {result['dtype_policy']}; "
            + ", ".join(f"{package} {version}" for package, version in result["versions"].items())
            + ". The weights are those of the last step.",
            "",
            *_form(facts, rounding),
            "",
            "## Measured",
            *model_card.measured(record),
            *(line for file, values in measured.items() for line in MEASUREMENTS[file](values)),
            "",
            "## Limits",
            "The features describe what was in the training images; on images of another kind "
            "measure before you rely on them. The model was not examined for bias.",
            "",
        ]
    )


def _class_name(facts):
    from patchvae_tf import models

    return models.MODELS[facts.model].__name__


def _form(facts, rounding):
    if rounding is None:
        return ["All weights are float32, to the last bit."]
    return [
        "Kernels are rounded to float16, each number by a 2048th of its value at most (below "
        "6e-5: by 3e-8); scales, offsets and statistics of batch normalisation are float32; what "
        f"serves training alone is left out. On {rounding['images']} images `features` differ from "
        f"the run's by {rounding['largest']:.2g} at most, where the largest is "
        f"{rounding['largest_feature']:.2g}; all together by {rounding['relative']:.3%}."
    ]


def command(settings: dict) -> str:
    """The shortest command that trains with these settings, of `config.json`."""
    said: dict[str, object] = {}
    names = names_of(settings["model"])
    for name in [*_FIRST, *sorted(names - {*_FIRST, "data_dir"})]:
        value = settings.get(name)
        if value is not None and unsupervised_config(**said).to_json().get(name) != value:
            said[name] = value
    return " ".join(["patchvae train", *(_flag(name, value) for name, value in said.items())])


def _flag(name, value):
    if isinstance(value, bool):
        return f"{name}" if value else f"no{name}"
    return f"{name}={value}"


def _frozen_features(values):
    return [
        f"| wholly frozen φ, flattened, {values['training_images']:,} labelled images of "
        f"{values['dataset']}, {values['test_images']:,} to test: softmax regression, top-1 | "
        f"{values['linear']:.1%} |",
        f"| the same, the paper's classifier | {values['fc']:.1%} |",
    ]


def _probe(values):
    row = next(row for row in reversed(values["rows"]) if row["pooled"])
    setting = f"{values['training_images']:,} labelled images of {values['dataset']}"
    return [
        f"| linear classifier on {row['stage']}, pooled, {setting}, {values['test_images']:,} of "
        f"{values['split']}, top-1 | {row['linear']:.1%} |",
        f"| the same on an untrained φ | {row['untrained_linear']:.1%} |",
    ]


def _parts_score(values):
    return [f"| true parts found, test, mean area under ROC | {values['mean_area']:.3f} |"]


# Files that commands leave in a run's folder -> their rows of the table.
MEASUREMENTS = {
    "frozen_features.json": _frozen_features,
    "probe.json": _probe,
    "parts_score.json": _parts_score,
}
