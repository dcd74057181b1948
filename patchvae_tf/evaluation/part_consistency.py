"""What can be said of a PatchVAE's parts without knowing the true ones.

A part that means something is found again in another view of the image, where the view's geometry
says; a map that only knows the place, or any image's map, is not.
"""

import numpy as np
import tensorflow as tf

from patchvae_tf import noise
from patchvae_tf.layers import ColorJitter

_MOST_IMAGES = 500
_BATCH = 128
_OCCURS = 0.5
_ALIVE = 0.01  # share of the images in which a part must occur
_LEAST_VARIANCE = 1e-6  # below it a map is constant, and what is left of it rounding


class PartConsistency:
    """Looks at two views of held-out images: the whole, and its lower right part in other colours.

    What is left out above and at the left is a quarter of the grid, one place at least: so each
    place stands elsewhere in the other view.

    Args:
        model: PatchVAE.
        images: uint8 [n, H, W, channels]; up to 500 of them, spread, are looked at.
        seed: int, of the colours and of which image's maps stand for which other's.
    """

    def __init__(self, model, images, seed):
        self._images = images[:: -(-len(images) // _MOST_IMAGES)]
        self._seed = noise.step_seed(seed, 0)
        count = len(self._images)
        deal = noise.fold_in(self._seed, noise.Purpose.DEALING)
        self._order = noise.shuffled(tf.range(count, dtype=tf.int64), deal, count).numpy()
        places = min(images.shape[1:3]) // model.stride
        self._shift = min(max(1, places // 4), places - 1)
        self._colors = ColorJitter(1.0)
        self._model = model
        self._maps = tf.function(self._maps_of, autograph=False, reduce_retracing=True)

    def measure(self) -> dict:
        """The model as it is now: `summary`'s dict."""
        batches = [
            self._maps(
                self._images[start : start + _BATCH],
                noise.fold_in(noise.fold_in(self._seed, noise.Purpose.OTHER_VIEW), start),
            )
            for start in range(0, len(self._images), _BATCH)
        ]
        whole, part = (np.concatenate(maps) for maps in zip(*batches, strict=True))
        return summary(whole, whole[:, self._shift :, self._shift :], part, self._order)

    def _maps_of(self, images, seed):
        """Occurrence in both views: float32 [batch, h, w, N] and [batch, h - shift, w - shift, N].

        Args:
            images: uint8 [batch, H, W, channels].
            seed: int32 [2].
        """
        images = tf.image.convert_image_dtype(images, tf.float32)
        left_out = self._shift * self._model.stride
        part = self._colors(images[:, left_out:, left_out:], seed=seed)
        return tuple(self._model.encode(view)["occurrence"] for view in (images, part))


def summary(whole: np.ndarray, first: np.ndarray, second: np.ndarray, order: np.ndarray) -> dict:
    """Whether parts are alive, in one place, and found again in another view.

    Args:
        whole: float [n, h, w, N], occurrence in n images.
        first, second: float [n, h', w', N], occurrence in two views, at the same places of the
            image; h' and w' at least 1.
        order: int [n], which image's maps stand for which other's.

    Returns:
        dict:
            part_agreement: float, correlation over images and places of the two views' maps, mean
                of the parts that are alive; less the same of the second view's maps dealt to other
                images, or of the first view's mean map at every image (place alone), whichever is
                greater, 0 at least. 1 at best; 0 where no part is alive.
            parts_alive: int, parts whose occurrence exceeds 0.5 somewhere in at least 1% of images.
            part_concentration: float in [0, 1], share of a part's occurrence in an image that its
                largest place has; mean over the images in which a living part exceeds 0.5, 0 where
                there are none.
    """
    most = np.max(whole, axis=(1, 2))  # [n, N]
    occurs = most > _OCCURS
    alive = np.mean(occurs, axis=0) >= _ALIVE  # [N]
    shares = (most / np.maximum(np.sum(whole, axis=(1, 2)), 1e-12))[occurs & alive]
    agreement = 0.0
    if alive.any():
        first, second = (maps[..., alive].astype(np.float64) for maps in (first, second))
        place_alone = np.broadcast_to(np.mean(first, axis=0), first.shape)
        floors = [_correlation(first, second[order]), _correlation(place_alone, second)]
        agreement = _correlation(first, second) - max(0.0, *floors)
    return {
        "part_agreement": agreement,
        "parts_alive": int(np.count_nonzero(alive)),
        "part_concentration": float(np.mean(shares)) if shares.size else 0.0,
    }


def in_words(found: dict, num_parts: int) -> str:
    """`summary`'s dict as a line."""
    return (
        f"parts: {found['parts_alive']} alive of {num_parts}, two views agree "
        f"{found['part_agreement']:.2f} above chance and place"
    )


def _correlation(one, other):
    """Pearson's over images and places, mean over the maps: float; of constant maps 0.

    Args:
        one, other: float64 [n, h, w, maps].
    """
    axes = (0, 1, 2)
    one, other = (maps - np.mean(maps, axis=axes) for maps in (one, other))
    variances = [np.mean(np.square(maps), axis=axes) + _LEAST_VARIANCE for maps in (one, other)]
    return float(np.mean(np.mean(one * other, axis=axes) / np.sqrt(np.prod(variances, axis=0))))
