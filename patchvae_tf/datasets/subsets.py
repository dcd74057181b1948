"""Few labels: a balanced part of a data set, drawn by the seed."""

import numpy as np
import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.datasets.images import ImageSet
from patchvae_tf.errors import InputError


def balanced_subset(image_set: ImageSet, per_class: int, num_classes: int, seed: int) -> ImageSet:
    """Draws the same number of examples of each class; they keep the order of the source.

    With one seed, a smaller subset is part of every larger one.

    Args:
        image_set: labelled `ImageSet`.
        per_class: int, positive.
        num_classes: int; the labels are below it.
        seed: int, the user's seed.

    Returns:
        An `ImageSet` of num_classes * per_class examples.

    Raises:
        InputError: a class has fewer.
    """
    assert image_set.labels is not None  # it is labelled
    counts = np.bincount(image_set.labels, minlength=num_classes)
    rarest = int(counts.argmin())
    if counts[rarest] < per_class:
        names = image_set.class_names
        named = f"{rarest} ({names[rarest]})" if names and rarest < len(names) else rarest
        raise InputError(
            f"labels_per_class={per_class} is more than there is: class {named} has "
            f"{counts[rarest]} training images. Choose at most {counts[rarest]}"
            + ("." if counts[rarest] else ", or give images of every class.")
        )
    subset_seed = noise.fold_in(noise.step_seed(seed, 0), noise.Purpose.SUBSET)
    first = tf.range(per_class, dtype=tf.int64)
    chosen = []
    # Sorted once: to look for each class in all labels takes as many passes as there are classes.
    rows_by_label = np.split(np.argsort(image_set.labels, kind="stable"), np.cumsum(counts)[:-1])
    for label, count in enumerate(counts.tolist()):
        drawn = noise.shuffled(first, noise.fold_in(subset_seed, label), count).numpy()
        chosen.append(rows_by_label[label][drawn])
    return image_set.take(np.sort(np.concatenate(chosen)))
