"""A run's loss terms over its steps."""

from matplotlib.figure import Figure

from patchvae_tf.visualization.part_statistics import BLUE, ORANGE
from patchvae_tf.visualization.tables import DOTS

_TITLES = {
    "loss": "loss",
    "reconstruction": "reconstruction\n(summed squared error)",
    "kl": "KL, nats",
    "kl_occurrence": "KL of occurrence, nats",
    "kl_appearance": "KL of appearance, nats",
    "occurrence_rate": "occurrence rate",
    "temperature": "temperature τ",
    "adversarial": "GAN term, nats",
    "discriminator_loss": "discriminator's loss, nats",
    "discriminator_rate": "discriminator is right",
    "part_agreement": "parts agree in two views,\nabove chance and place",
    "parts_alive": "parts alive",
    "images_per_second": "images/s",
}
_COLUMNS = 3


def curves_figure(training: dict, held_out: dict | None = None) -> Figure:
    """A small chart over the steps for each loss term, and one for the speed.

    Args:
        training: dict term -> (steps, values), of training; `images_per_second` too.
        held_out: dict term -> (steps, values), of held-out images, or None.

    Returns:
        matplotlib `Figure`.
    """
    held_out = held_out or {}
    names = [name for name in _TITLES if name in training or name in held_out]
    lines = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(8.4, 0.6 + 1.75 * lines), dpi=DOTS, layout="constrained")
    charts = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
    drawn: dict = {}
    for name, axes in zip(names, charts, strict=False):
        if name in training:
            _draw(axes, training[name], BLUE, "-", "training", drawn)
        if name in held_out and name != "temperature":  # which is one and the same
            _draw(axes, held_out[name], ORANGE, "--", "held-out images", drawn)
        axes.set_title(_TITLES[name], fontsize=8.5)
        axes.tick_params(labelsize=7.5)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e8e8e8")
        axes.locator_params(nbins=4)
    for axes in charts[len(names) :]:
        axes.axis("off")
    figure.supxlabel("training steps", fontsize=8.5)
    figure.legend(
        list(drawn.values()),
        list(drawn),
        frameon=False,
        fontsize=8.5,
        ncols=2,
        loc="outside upper left",
    )
    return figure


def _draw(axes, curve, colour, style, label, drawn):
    steps, values = curve
    mark = "o" if len(steps) < 8 else ""
    (line,) = axes.plot(steps, values, color=colour, linestyle=style, marker=mark, ms=4)
    drawn.setdefault(label, line)
