"""One pass over many images: where each part is found best, how often, with which, and features.

Images are read once, a batch at a time; what is kept does not grow with their number.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

from patchvae_tf.errors import InputError

OCCURS = 0.5  # the probability from which on a part is taken to occur
DEAD = 0.001  # a part that occurs in a smaller share of the images is called dead
ALWAYS_ON = 0.95  # a part whose mean probability is above is called always on
_PICTURED_AT_MOST = 64
_THUMBNAIL = 64  # pixels at most


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """A place where a part occurs, the most probable one in its image.

    Attributes:
        probability: float in [0, 1].
        row, column: int, the location on the grid.
        key: str, the image's name.
        label: int, or -1 where there is none.
        image: uint8 [H, W, channels].
        area: float in [0, 1], mean of the part's probability over the image.
    """

    probability: float
    row: int
    column: int
    key: str
    label: int
    image: np.ndarray
    area: float


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What a model says of many images.

    Attributes:
        count: int, images seen.
        class_names: names by label, or None.
        pictured: uint8 [k, H, W, channels], a few images, spread over all.
        features: float32 [m, channels], φ's mean over the grid, of up to `most_features` images.
        labels: int64 [m], theirs; -1 where there is none.
        thumbnails: uint8 [m, h, w, channels], the images of the features, of 64 pixels at most.
        rate: float64 [N], mean probability of each part over images and locations; of a model
            without parts, [0], as the rest.
        present: float64 [N], share of the images in which it occurs (somewhere at least `OCCURS`).
        together: float64 [N, N], share of the images in which two parts occur.
        findings: list of N lists of `Finding`s, at most one an image, the most probable first.
    """

    count: int
    class_names: tuple[str, ...] | None
    pictured: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    thumbnails: np.ndarray
    rate: np.ndarray
    present: np.ndarray
    together: np.ndarray
    findings: list[list[Finding]]

    @property
    def dead(self) -> list[int]:
        """Numbers of the parts that occur in fewer than one of 1,000 images."""
        return [int(part) for part in np.flatnonzero(self.present < DEAD)]

    @property
    def always_on(self) -> list[int]:
        """Numbers of the parts whose mean probability is above 0.95."""
        return [int(part) for part in np.flatnonzero(self.rate > ALWAYS_ON)]


def survey(
    model: keras.Model,
    batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    key: Callable[[int], str] = str,
    class_names: Sequence[str] | None = None,
    best: int = 10,
    most_features: int = 600,
    most_classes: int = 10,
) -> Survey:
    """Looks at images once, in order.

    Args:
        model: an `UnsupervisedModel`.
        batches: iterable of (indices int64 [k], images uint8 [k, H, W, channels], labels int64
            [k]), as `datasets.stream(...).batches(256, 0)` gives; a label is -1 where there is
            none.
        key: function index -> name of the image, such as the stream's.
        class_names: names by label, or None.
        best: int, findings kept of each part.
        most_features: int, images whose features are kept: the same number of each class.
        most_classes: int, classes of which there are features, spread evenly over `class_names`.
            Where no image is of these, the first images are taken, of whatever class.

    Returns:
        A `Survey`.

    Raises:
        InputError: there is no image.
    """
    look = _compiled(model)
    features = _FeatureSample(class_names, most_features, most_classes)
    parts = _PartCounts(getattr(model, "num_parts", 0), best, key)
    pictured = []
    for indices, images, labels in batches:
        outputs = {name: tensor.numpy() for name, tensor in look(images).items()}
        features.add(outputs["features"], images, labels)
        if "occurrence" in outputs:
            parts.add(outputs["occurrence"], indices, images, labels)
        pictured += [image.copy() for image in images[:: max(1, len(images) // 8)]]
        while len(pictured) > _PICTURED_AT_MOST:  # keeps memory bounded, and the rest spread
            del pictured[1::2]
    if not features.seen:
        raise InputError("there is no image to look at: none came, or none can be read.")
    return Survey(
        count=features.seen,
        class_names=None if class_names is None else tuple(class_names),
        pictured=np.stack(pictured),
        **features.result(),
        **parts.result(),
    )


def _compiled(model):
    @tf.function(autograph=False, reduce_retracing=True)
    def look(images):
        images = tf.image.convert_image_dtype(images, tf.float32)
        feature_map = model.backbone(images, training=False)  # [n, h, w, channels]
        features = tf.reduce_mean(tf.cast(feature_map, tf.float32), axis=[1, 2])
        if not hasattr(model, "num_parts"):
            return {"features": features}
        return {"features": features, "occurrence": model.codes(feature_map)["occurrence"]}

    return look


class _FeatureSample:
    """Features of the first images of some classes; where none is of them, of the first images."""

    def __init__(self, class_names, most, most_classes):
        self.seen = 0
        self._most, self._of_classes, self._first = most, [], []
        classes = len(class_names or ())
        count = min(classes, most_classes)
        chosen = np.unique(np.linspace(0, classes - 1, count).round().astype(int))
        self._left = {int(label): most // len(chosen) for label in chosen}

    def add(self, features, images, labels):
        self.seen += len(labels)
        step = -(-images.shape[1] // _THUMBNAIL)
        for row, image, label in zip(features, images, labels, strict=True):
            is_first = len(self._first) < self._most
            is_of_classes = self._left.get(int(label), 0) > 0
            if is_first or is_of_classes:
                one = row, label, image[::step, ::step].copy()  # no view of a whole batch
            if is_first:
                self._first.append(one)
            if is_of_classes:
                self._of_classes.append(one)
                self._left[int(label)] -= 1

    def result(self):
        rows, labels, thumbnails = zip(*(self._of_classes or self._first), strict=True)
        return {
            "features": np.array(rows),
            "labels": np.array(labels, np.int64),
            "thumbnails": np.array(thumbnails),
        }


class _PartCounts:
    """Running sums over images, and each part's best findings so far."""

    def __init__(self, num_parts, best, key):
        self._best, self._key, self._count = best, key, 0
        self._rate = np.zeros(num_parts)
        self._together = np.zeros((num_parts, num_parts))
        self._findings = [[] for _ in range(num_parts)]

    def add(self, occurrence, indices, images, labels):
        self._count += len(images)
        flat = occurrence.reshape(len(images), -1, occurrence.shape[-1])  # [n, locations, N]
        areas = flat.mean(axis=1, dtype=np.float64)  # [n, N]
        self._rate += areas.sum(axis=0)
        places, peaks = flat.argmax(axis=1), flat.max(axis=1)  # [n, N]
        present = (peaks >= OCCURS).astype(np.float64)
        self._together += present.T @ present
        for part, findings in enumerate(self._findings):
            worst = findings[-1].probability if len(findings) == self._best else -1.0
            best = np.argsort(-peaks[:, part], kind="stable")[: self._best]
            for n in best[peaks[best, part] > worst]:
                row, column = divmod(int(places[n, part]), occurrence.shape[2])
                findings.append(
                    Finding(
                        probability=float(peaks[n, part]),
                        row=row,
                        column=column,
                        key=self._key(indices[n]),
                        label=int(labels[n]),
                        image=images[n].copy(),  # not a view of the whole batch
                        area=float(areas[n, part]),
                    )
                )
            findings.sort(key=lambda finding: -finding.probability)
            del findings[self._best :]

    def result(self):
        count = max(self._count, 1)
        return {
            "rate": self._rate / count,
            "present": np.diag(self._together) / count,
            "together": self._together / count,
            "findings": self._findings,
        }
