"""Learned parts and true ones: which finds which."""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata


@dataclasses.dataclass(frozen=True)
class PartMatch:
    """The learned part that finds a true one best, when each may stand for one only.

    Attributes:
        learned: int, number of the learned part; None where there are fewer than true ones.
        area: area under the ROC curve in [0, 1], over the places of all images; 0.5: by chance.
    """

    learned: int | None
    area: float


def match_parts(occurrence, part_maps):
    """Matches learned parts with true ones, one to one, for the greatest sum of areas.

    Args:
        occurrence: float [n, h, w, N], how probable a learned part is at a place.
        part_maps: bool [n, h, w, P], where the true parts are; each is somewhere, none everywhere.

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


def areas_under_roc(scores, truths):
    """Area under the ROC curve of every score for every truth, by the Mann-Whitney statistic.

    Args:
        scores: [m, N]; equal ones count half.
        truths: bool [m, P], each with both values.

    Returns:
        float64 [N, P] in [0, 1].
    """
    ranks = rankdata(scores, axis=0)  # [m, N]
    positive = np.sum(truths, axis=0)  # [P]
    negative = len(truths) - positive
    rank_sums = ranks.T @ truths.astype(np.float64)  # [N, P]
    return (rank_sums - positive * (positive + 1) / 2) / (positive * negative)
