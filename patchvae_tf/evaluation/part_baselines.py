"""What finds parts in φ's feature map without a PatchVAE's heads, and what could be found there."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_FITTED_PLACES = 10_000  # that k-means and NMF learn from; more take seconds and change little


def kmeans_maps(feature_maps: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """How near each place is to each cluster's centre, by k-means of the places.

    Args:
        feature_maps: float32 [n, h, w, channels].
        clusters: int, N; as many as there are places at most.
        seed: int, of the first centres.

    Returns:
        float [n, h, w, N], sums to 1 over the clusters: the softmax of minus the squared distances
        over the mean squared distance to the nearest centre.
    """
    places = _places(feature_maps)
    means = KMeans(min(clusters, len(places)), n_init=1, random_state=seed)
    means.fit(places[:_FITTED_PLACES])
    distances = np.square(means.transform(places))  # [n h w, N]
    nearest = np.min(distances, axis=1, keepdims=True)
    likely = np.exp((nearest - distances) / max(np.mean(nearest), 1e-12))
    likely /= np.sum(likely, axis=1, keepdims=True)
    return likely.reshape([*feature_maps.shape[:3], -1])


def nmf_maps(feature_maps: np.ndarray, factors: int, seed: int) -> np.ndarray:
    """The factors' weights at each place, by a non-negative factorisation of the features.

    Args:
        feature_maps: float32 [n, h, w, channels]; values below 0 count as 0.
        factors: int, N.
        seed: int, of the first factors.

    Returns:
        float [n, h, w, N], 0 and above.
    """
    places = np.maximum(_places(feature_maps), 0)
    fitted = places[:_FITTED_PLACES]
    # Of singular vectors there are as many as the smaller side has.
    init = "nndsvda" if factors <= min(fitted.shape) else "random"
    factorisation = NMF(factors, init=init, random_state=seed, max_iter=100, tol=1e-3)
    with warnings.catch_warnings():
        # What is left to gain after so many iterations no longer shows in the score.
        warnings.simplefilter("ignore", ConvergenceWarning)
        factorisation.fit(fitted)
        weights = factorisation.transform(places)
    return weights.reshape([*feature_maps.shape[:3], -1])


def linear_maps(feature_maps: np.ndarray, part_maps: np.ndarray, learned_from: int) -> np.ndarray:
    """The true parts by a linear readout of the features: ridge regression with labels.

    Args:
        feature_maps: float32 [n, h, w, channels].
        part_maps: bool [n, h, w, P].
        learned_from: int, the first images, whose part maps it learns from.

    Returns:
        float [n - learned_from, h, w, P], of the other images.
    """
    readout = make_pipeline(StandardScaler(), Ridge())
    readout.fit(_places(feature_maps[:learned_from]), _places(part_maps[:learned_from]))
    others = feature_maps[learned_from:]
    found = readout.predict(_places(others))
    return found.reshape([*others.shape[:3], part_maps.shape[-1]])


def _places(maps):
    """[n, h, w, channels] -> float32 [n h w, channels]."""
    return np.reshape(maps, [-1, maps.shape[-1]]).astype(np.float32)
