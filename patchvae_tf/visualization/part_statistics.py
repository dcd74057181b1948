"""How often each part occurs, and which parts occur together."""

import itertools

import numpy as np
from matplotlib.figure import Figure

from patchvae_tf.visualization.part_survey import DEAD, Survey
from patchvae_tf.visualization.tables import DOTS

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8c8c8c"  # told apart by the colour-blind


def frequency_figure(survey: Survey) -> Figure:
    """A pair of bars a part: how probable it is at a location, and in how many images it occurs.

    Dead parts and parts that are always on are named below their bars.

    Args:
        survey: `Survey` of a model with parts.

    Returns:
        matplotlib `Figure`.
    """
    parts = np.arange(len(survey.rate))
    figure = Figure(
        figsize=(max(4.5, 1.2 + 0.36 * len(parts)), 3.0), dpi=DOTS, layout="constrained"
    )
    axes = figure.subplots()
    axes.bar(parts - 0.2, 100 * survey.present, 0.4, color=BLUE, label="images with it, %")
    axes.bar(parts + 0.2, 100 * survey.rate, 0.4, color=ORANGE, label="mean probability, %")
    names = []
    for part in parts:
        state = "dead" if part in survey.dead else "on" if part in survey.always_on else ""
        names.append(f"{part}\n{state}")
    axes.set_xticks(parts, names, fontsize=8)
    axes.set_xlabel("part", fontsize=9)
    axes.set_ylim(0, 100)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e0e0e0")
    axes.set_axisbelow(True)
    figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside upper left")
    return figure


def correlation(survey: Survey) -> np.ndarray:
    """Correlation (φ coefficient) of "occurs in the image" between parts.

    Args:
        survey: `Survey` of a model with parts.

    Returns:
        float64 [N, N] in [-1, 1]; NaN for a part that occurs in all images or in none.
    """
    covariance = survey.together - np.outer(survey.present, survey.present)
    deviation = np.sqrt(survey.present * (1 - survey.present))
    with np.errstate(divide="ignore", invalid="ignore"):
        return covariance / np.outer(deviation, deviation)


def cooccurrence_figure(survey: Survey) -> Figure:
    """Which parts occur in the same images: their correlation.

    Args:
        survey: `Survey` of a model with parts.

    Returns:
        matplotlib `Figure`; grey where a part occurs in all images or in none.
    """
    values = correlation(survey)
    np.fill_diagonal(values, np.nan)
    count = len(values)
    side = min(max(3.2, 0.3 * count), 9.0)
    figure = Figure(figsize=(side + 1.2, side), dpi=DOTS, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("#d9d9d9")
    shown = axes.imshow(values, cmap="PuOr_r", vmin=-1, vmax=1)
    every = -(-count // 32)
    axes.set_xticks(range(0, count, every))
    axes.set_yticks(range(0, count, every))
    axes.tick_params(labelsize=7.5)
    axes.set_xlabel("part", fontsize=9)
    axes.set_ylabel("part", fontsize=9)
    bar = figure.colorbar(shown, shrink=0.8)
    bar.set_label("correlation of occurring in an image", fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    return figure


def pairs_in_words(survey: Survey, count: int = 3) -> list[str]:
    """The parts that are most often, and least often, together: a list of sentences.

    Args:
        survey: `Survey` of a model with parts.
        count: int, pairs of each kind at most.
    """
    values = correlation(survey)
    alive = [part for part in range(len(values)) if DEAD <= survey.present[part] < 1.0]
    pairs = sorted(itertools.combinations(alive, 2), key=lambda pair: -values[pair])
    sentences = []
    for words, chosen in (
        ("Most often together", [pair for pair in pairs[:count] if values[pair] > 0.1]),
        ("Most often apart", [pair for pair in pairs[::-1][:count] if values[pair] < -0.1]),
    ):
        if chosen:
            listed = ", ".join(f"{i} and {j} ({values[i, j]:+.2f})" for i, j in chosen)
            sentences.append(f"{words} (correlation): parts {listed}.")
    return sentences
