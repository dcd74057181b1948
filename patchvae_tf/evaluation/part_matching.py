"""Learned parts and true ones: which finds which."""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

_OCCURS = 0.5  # summed over the parts: below it nothing is at a place


@dataclasses.dataclass(frozen=True)
class PartMatch:
    """The learned part that finds a true one best, when each may stand for one only.

    Attributes:
        learned: int, number of the learned part; None where there are fewer than true ones.
        area: area under the ROC curve in [0, 1], over the places of all images; 0.5: by chance.
    """

    learned: int | None
    area: float


def match_parts(occurrence: np.ndarray, part_maps: np.ndarray) -> list[PartMatch]:
    """Matches learned parts with true ones, one to one, for the greatest sum of areas.

    Args:
        occurrence: float [n, h, w, N], how probable a learned part is at a place.
        part_maps: bool [n, h, w, P], where the true parts are.

    Returns:
        list of P `PartMatch`es.
    """
    areas = areas_under_roc(
        np.reshape(occurrence, [-1, occurrence.shape[-1]]),
        np.reshape(part_maps, [-1, part_maps.shape[-1]]),
    )  # [N, P]
    matched = dict(zip(*reversed(linear_sum_assignment(areas, maximize=True)), strict=True))
    return [
        PartMatch(int(matched[true]), float(areas[matched[true], true]))
        if true in matched
        else PartMatch(None, 0.5)
        for true in range(areas.shape[1])
    ]


def areas_under_roc(scores: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every score for every truth, by the Mann-Whitney statistic.

    Args:
        scores: [m, N]; equal ones count half.
        truths: bool [m, P].

    Returns:
        float64 [N, P] in [0, 1]; 0.5 for a truth that has one value only.
    """
    ranks = rankdata(scores, axis=0)  # [m, N]
    positive = np.sum(truths, axis=0)  # [P]
    negative = len(truths) - positive
    rank_sums = ranks.T @ truths.astype(np.float64)  # [N, P]
    wins = rank_sums - positive * (positive + 1) / 2
    pairs = np.broadcast_to(positive * negative, wins.shape)
    return np.divide(wins, pairs, out=np.full(wins.shape, 0.5), where=pairs > 0)


def mean_iou(occurrence: np.ndarray, part_maps: np.ndarray, matches: list[PartMatch]) -> float:
    """How much matched parts cover of each other: intersection over union, mean of the true parts.

    A learned part is where its map is at least the value that as many places reach as show the true
    part (more where values are equal).

    Args:
        occurrence: float [n, h, w, N].
        part_maps: bool [n, h, w, P].
        matches: list of P `PartMatch`es; one without a learned part counts 0.

    Returns:
        float in [0, 1].
    """
    found = 0.0
    for true, match in enumerate(matches):
        count = np.count_nonzero(part_maps[..., true])
        if match.learned is None or not count:
            continue
        scores = occurrence[..., match.learned]
        threshold = np.partition(scores, scores.size - count, axis=None)[scores.size - count]
        learned = scores >= threshold
        shared = np.count_nonzero(learned & part_maps[..., true])
        found += shared / (np.count_nonzero(learned) + count - shared)
    return found / len(matches)


def assignment_agreement(occurrence: np.ndarray, part_maps: np.ndarray) -> dict[str, float]:
    """How well the places' learned parts tell the true ones, with no matching.

    A place belongs to the part that is most probable there. In the foreground, places of exactly
    one true part count. Of all places, those of none are a class of their own, and so are those
    where the occurrences of all learned parts sum to less than 0.5; those of several true parts are
    left out.

    Args:
        occurrence: float [n, h, w, N].
        part_maps: bool [n, h, w, P].

    Returns:
        dict of floats: `foreground_nmi`, `foreground_ari`, `nmi`, `ari`: normalised mutual
        information in [0, 1] (by the arithmetic mean of the entropies), and the adjusted Rand
        index, 0 by chance and 1 at best.
    """
    true_parts = np.sum(part_maps, axis=-1)  # [n, h, w]
    true = np.where(true_parts, np.argmax(part_maps, axis=-1), -1)
    most_probable = np.argmax(occurrence, axis=-1)
    learned = np.where(np.sum(occurrence, axis=-1) < _OCCURS, -1, most_probable)
    one, at_most_one = true_parts == 1, true_parts <= 1
    return {
        "foreground_nmi": float(normalized_mutual_info_score(true[one], most_probable[one])),
        "foreground_ari": float(adjusted_rand_score(true[one], most_probable[one])),
        "nmi": float(normalized_mutual_info_score(true[at_most_one], learned[at_most_one])),
        "ari": float(adjusted_rand_score(true[at_most_one], learned[at_most_one])),
    }
