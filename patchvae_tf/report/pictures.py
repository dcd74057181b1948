"""The pictures of a report, one after the other, and its verdict in words."""

import dataclasses
import pathlib
import typing
from collections.abc import Callable, Iterator

import numpy as np

from patchvae_tf import datasets, visualization
from patchvae_tf.evaluation import parts_score
from patchvae_tf.report import curves as run_curves
from patchvae_tf.settings.pixels import Pixels

if typing.TYPE_CHECKING:
    import keras

_NUM_PICTURED = 8
_MOST_PARTS = 32  # of a gallery
_MOST_SWAPPED = 8


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: str, of the PNG file, without its suffix.
        title: str.
        draw: function that returns (list of str, paragraphs; matplotlib figure).
    """

    name: str
    title: str
    draw: Callable


def sections(
    model: "keras.Model",
    survey: visualization.Survey,
    run_dir: pathlib.Path,
    settings: dict,
    dataset: str,
    split: str,
) -> Iterator[Section]:
    """Yields a `Section` for each picture, in the order of the page; none is drawn yet.

    Args:
        model: an `UnsupervisedModel`.
        survey: `visualization.Survey` of the images looked at.
        run_dir: pathlib.Path, where the curves are read.
        settings: dict, of the run.
        dataset, split: str, of the images looked at.
    """
    spread = np.linspace(0, len(survey.pictured) - 1, _NUM_PICTURED).astype(int)
    images = survey.pictured[np.unique(spread)]
    has_parts = hasattr(model, "num_parts")
    yield Section(
        "rebuilt",
        "Images and what the model rebuilds of them",
        lambda: ([], visualization.reconstruction_figure(model, images)),
    )
    if has_parts:
        yield from _part_sections(model, survey, images)
        if dataset == "parts":
            yield Section(
                "matched-parts",
                "Learned parts and true ones",
                lambda: _matching(model, settings.get("seed", 0), split),
            )
    yield Section(
        "prior-samples",
        "Images from the prior alone",
        lambda: (
            [
                "Codes are drawn without an image, then decoded"
                + (": 0 or 1 for each part and location." if has_parts else ".")
            ],
            visualization.prior_figure(model),
        ),
    )
    if settings.get("weighted_reconstruction", True) and settings.get("model") != "bigan":
        yield Section(
            "weight-masks",
            "What the loss looks at",
            lambda: (
                ["The weights of L_w, as in the paper's supplementary, Figure 1."],
                visualization.weight_mask_figure(images, model.stride),
            ),
        )
    yield Section(
        "features",
        "Features in two dimensions",
        lambda: (
            [
                "A point an image: the mean of φ's features. Who is near whom means something; "
                "directions and distances between groups do not. Labels had no part in training."
            ],
            visualization.projection_figure(survey.features, survey.labels, survey.class_names),
        ),
    )
    yield Section(
        "first-layer",
        "The first layer's filters",
        lambda: (
            ["Each on a scale of its own; grey is 0. Noise means that they have learned little."],
            visualization.first_layer_figure(model),
        ),
    )
    if run_curves.are_recorded(run_dir):
        yield Section(
            "curves",
            "Training",
            lambda: ([], visualization.curves_figure(*run_curves.read(run_dir))),
        )


def _part_sections(model, survey, images):
    by_peak = sorted(range(model.num_parts), key=lambda part: -_peak(survey, part))
    shown = sorted(by_peak[:_MOST_PARTS])
    swapped = sorted(by_peak[:_MOST_SWAPPED])
    left_out = (
        [f"The {len(shown)} of {model.num_parts} parts with the highest probabilities."]
        if len(shown) < model.num_parts
        else []
    )
    yield Section(
        "occurrence-maps",
        "Where each part occurs",
        lambda: (
            ["The same images in each row, one scale of colours for all.", *left_out],
            visualization.occurrence_figure(model, images, shown),
        ),
    )
    yield Section(
        "part-galleries",
        "Part galleries",
        lambda: (
            [
                "A row a part: where it occurs with the highest probability (the number below), at "
                "most once an image. If you can say in a word what a row shows, the part means "
                "something; where the probabilities are low or the patches have nothing in common, "
                "it does not.",
                *left_out,
            ],
            visualization.gallery_figure(model, survey, shown),
        ),
    )
    yield Section(
        "swaps",
        "One part's code changed",
        lambda: (
            [
                "Image A rebuilt with the part's look taken from image B, and with the part moved "
                "by half the image. Nothing else in the code changes."
            ],
            visualization.swap_figure(model, {part: survey.findings[part] for part in swapped}),
        ),
    )
    yield Section(
        "part-frequencies",
        "How often each part occurs",
        lambda: ([parts_in_words(survey)], visualization.frequency_figure(survey)),
    )
    if model.num_parts > 1:
        yield Section(
            "part-correlations",
            "Which parts occur together",
            lambda: (
                list(visualization.pairs_in_words(survey)),
                visualization.cooccurrence_figure(survey),
            ),
        )


def _peak(survey, part):
    return survey.findings[part][0].probability


def _matching(model, seed, split):
    """(paragraphs, figure) of the learned parts beside the true ones."""
    score = parts_score.score(model, split, seed)
    scenes = datasets.load(
        "parts",
        split,
        image_size=model.image_size,
        pixels=Pixels(model.channels),
        seed=seed,
    )
    matches = [(match["learned"], match["area"]) for match in score["parts"].values()]
    text = (
        "Each true part is matched with one learned part. The area under the ROC curve of its map "
        f"is {score['mean_area']:.3f} on average over {score['images']:,} scenes; 0.5 is chance, "
        f"an untrained model has {score['untrained_mean_area']:.3f}, maps dealt to other images "
        f"{score['shuffled_mean_area']:.3f}."
    )
    figure = visualization.matching_figure(
        model, scenes.images[:200], scenes.part_maps[:200], matches, datasets.PART_NAMES
    )
    return [text], figure


def verdict(survey: visualization.Survey) -> list[str]:
    """What the page says first: a list of sentences."""
    return [parts_in_words(survey)] if len(survey.rate) else []


def parts_in_words(survey: visualization.Survey) -> str:
    """Which parts are dead, which always on, and how many do something."""
    dead, on = survey.dead, survey.always_on
    useful = len(survey.rate) - len(dead) - len(on)
    sentences = [f"{useful} of {len(survey.rate)} parts occur in some images and not in others."]
    if dead:
        sentences.append(
            f"Dead ({_numbers(dead)}): probability 0.5 is reached in fewer than 1 of 1,000 images."
        )
    if on:
        sentences.append(f"Always on ({_numbers(on)}): mean probability above 0.95.")
    return " ".join(sentences)


def _numbers(parts):
    return f"{'part' if len(parts) == 1 else 'parts'} {', '.join(map(str, parts))}"
