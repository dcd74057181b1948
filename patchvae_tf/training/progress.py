"""What a training shows of itself while it lasts: a bar, a line an epoch, TensorBoard's curves."""

import sys
import typing

import tensorflow as tf
import tqdm

if typing.TYPE_CHECKING:
    from patchvae_tf.training.loop import Training

# How the bar names a term; the rest keep their own name.
_SHORT = {
    "reconstruction": "rec",
    "kl_occurrence": "KL occ",
    "kl_appearance": "KL app",
    "kl": "KL",
    "occurrence_rate": "occurring",
    "temperature": "temp",
    "cross_entropy": "CE",
    "adversarial": "GAN",
    "discriminator_loss": "D",
    "discriminator_rate": "D right",
    "map_agreement": "map agreement",
    "part_agreement": "parts agree",
    "parts_alive": "alive",
    "part_concentration": "concentrated",
}
_SHARES = ("rate", "top1", "top5")  # ends of names whose values are shown in percent


def bar(training: "Training", step: int) -> tqdm.tqdm:
    """The bar of a training that goes on after `step`, in images; the chief alone shows it."""
    terminal = sys.stderr.isatty()
    return tqdm.tqdm(
        disable=not training.cluster.is_chief,
        initial=step * training.data.batch_size,
        total=training.data.epochs * training.data.steps_per_epoch * training.data.batch_size,
        unit=" images",
        bar_format="{desc} {percentage:3.0f}%|{bar:12}| {rate_noinv_fmt}, "
        "{remaining} left{postfix}",
        dynamic_ncols=True,
        smoothing=0.1,
        # A line every half minute is enough for a log file.
        mininterval=0.3 if terminal else 30,
        leave=False,
    )


def terms_line(terms: dict[str, float]) -> str:
    """The loss terms as people read them, in one line."""
    parts = []
    for name, value in terms.items():
        shown = f"{100 * value:.1f}%" if name.endswith(_SHARES) else f"{value:.4g}"
        parts.append(f"{_SHORT.get(name, name)} {shown}")
    return ", ".join(parts)


def write_scalars(group: str, terms: dict[str, float], step: int) -> None:
    """A point of each term's curve, in the default `tf.summary` writer."""
    for name, value in terms.items():
        tf.summary.scalar(f"{group}/{name}", value, step=step)
