"""Features in two dimensions, coloured by label."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from patchvae_tf.errors import InputError
from patchvae_tf.visualization.galleries import class_name
from patchvae_tf.visualization.tables import DOTS

# Paul Tol's "muted", made for the colour-blind, and black; each with a mark of its own.
_COLOURS = (
    "#332288", "#cc6677", "#117733", "#ddaa33", "#88ccee",
    "#aa4499", "#44aa99", "#882255", "#999933", "#000000",
)  # fmt: skip
_MARKS = "os^Dv<>PX*"
_PERPLEXITY = 30  # of t-SNE: about how many neighbours a point has
_LEAST = 10  # points of which neighbours can be drawn
_ROUNDING = 1e-6  # relative: rows that differ by less are equal


def project(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Standardised features brought to two dimensions that keep neighbours (t-SNE).

    Source: van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008. Only who is near
    whom means something; distances between groups and directions do not.

    Args:
        features: [n, channels], n at least 10.
        seed: int, of the optimisation.

    Returns:
        float32 [n, 2].

    Raises:
        InputError: there are fewer than 10 rows, all are equal, or a number is not finite.
    """
    # Of another extra than matplotlib: the demo draws without it.
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    _check(np.asarray(features))
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=500)
    # In one thread: several wait for each other by spinning, on busy cores ten times as long.
    with threadpool_limits(1):
        return tsne.fit_transform(StandardScaler().fit_transform(features))


def _check(features):
    """Raises InputError for what t-SNE cannot place: with equal rows it ends the whole process."""
    if len(features) < _LEAST:
        raise InputError(
            f"a projection needs the features of {_LEAST} images or more. Received: {len(features)}"
        )
    broken = int((~np.isfinite(features)).any(axis=1).sum())
    if broken:
        raise InputError(
            f"a projection needs finite features. Received: NaN or infinity in those of {broken} "
            f"of {len(features)} images"
        )
    if (np.ptp(features, axis=0) <= _ROUNDING * np.abs(features).max()).all():
        raise InputError(
            f"a projection needs features that differ. Received: the same for all {len(features)} "
            "images; either the images are equal, or the model gives every image the same features"
        )


def projection_figure(
    features: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> Figure:
    """A point an image; colour and mark are its class.

    Args:
        features: [n, channels], n at least 10.
        labels: int [n]; None or -1 where there is none.
        class_names: names by label, or None.
        seed: int.

    Returns:
        matplotlib `Figure`. Of more than ten classes the first ten are coloured, the others grey.

    Raises:
        InputError: as `project` does.
    """
    points = project(features, seed)
    labels = np.full(len(points), -1) if labels is None else np.asarray(labels)
    figure = Figure(figsize=(7.2, 4.8), dpi=DOTS, layout="constrained")
    axes = figure.subplots()
    classes = [label for label in np.unique(labels) if label >= 0][: len(_COLOURS)]
    rest = ~np.isin(labels, classes)
    axes.scatter(points[rest, 0], points[rest, 1], s=12, color="#a0a0a0", linewidths=0)
    for number, label in enumerate(classes):
        axes.scatter(
            points[labels == label, 0],
            points[labels == label, 1],
            s=18,
            color=_COLOURS[number],
            marker=_MARKS[number],
            linewidths=0,
            label=(class_name(label, class_names) or "").replace("+", " +\n"),
        )
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"φ's features of {len(points):,} images (t-SNE)", fontsize=9.5, weight="bold")
    if classes:
        figure.legend(frameon=False, fontsize=7.5, loc="outside right center")
    return figure
