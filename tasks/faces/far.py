"""How often two people are taken for one, and how often one for two; what a threshold for a chosen rate of that is.

The *false accept rate* (FAR) of a threshold is the share of pairs of two people whose distance is below it, the *true
accept rate* (TAR) that of pairs of one person. See verification.py for distances and thresholds.

A rate is only measured where as many pairs are wrong as a share can be told from: `FALSE_ACCEPTS` of them, so that FAR
1e-4 needs 100,000 pairs of two people. With fewer there is no number, in place of one that is made up. (Doddington et
al. 2000 ask for 30, which gives ± 30 % at a confidence of 90 %; ten give about ± 50 %.)

Imports no torch.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from .verification import checked

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FALSE_ACCEPTS = 10  # that a rate must allow for


class Rate(NamedTuple):
    """A share of cases that were right, with its confidence interval, at the threshold for a FAR."""

    rate: float
    low: float
    high: float
    threshold: float
    far: float  # that the threshold has on these pairs: the one asked for, or less


class EqualError(NamedTuple):
    """Where as large a share of pairs of two people as of one is judged wrongly."""

    rate: float
    threshold: float  # that comes next to it


class Roc(NamedTuple):
    """What all thresholds give, from that which calls no pair the same to that which calls all the same."""

    thresholds: np.ndarray  # float64 (C,), rising; the last is infinite
    far: np.ndarray  # float64 (C,), 0 to 1
    tar: np.ndarray  # float64 (C,), 0 to 1

    def area(self) -> float:
        """The area below: how often a pair of one person is nearer than one of two, half of the draws counted."""
        return float(np.trapezoid(self.tar, self.far))


def negatives_needed(far: float) -> int:
    """Pairs of two people from which on a FAR is measured: 10 / FAR."""
    return int(np.ceil(FALSE_ACCEPTS / far - 1e-6))


def threshold_at_far(distances: np.ndarray, same: np.ndarray, far: float) -> float | None:
    """The highest threshold with which no more than a share `far` of pairs of two people are called the same.

    `distances` float (P,), `same` bool (P,). Where several of them are at the same distance, fewer. None where there
    are too few of them; infinite for 1. Raises NumericalError for distances that are NaN.
    """
    assert 0 < far <= 1, far
    distances, same = checked(distances, same)
    return _threshold(np.sort(distances[~same]), far)


def tar_at_far(
    distances: np.ndarray, same: np.ndarray, fars: Sequence[float] = FARS, *, confidence: float = 0.95
) -> dict[float, Rate | None]:
    """For each FAR the share of pairs of one person that are called the same at its threshold.

    None where there are too few pairs of two people, or none of one. The interval is Wilson's (1927), of a binomial
    share. It takes pairs as independent and the threshold as given: pairs that share a person, and few pairs of two
    people, make the truth less certain than that.
    """
    distances, same = checked(distances, same)
    negatives, positives = np.sort(distances[~same]), np.sort(distances[same])
    return {far: rate_at_far(positives, negatives, far, len(positives), confidence=confidence) for far in fars}


def rate_at_far(
    positives: np.ndarray, negatives: np.ndarray, far: float, cases: int, *, confidence: float = 0.95
) -> Rate | None:
    """The same of sorted distances; `cases`: how many `positives` could have been, of which the others are missed."""
    threshold = _threshold(negatives, far)
    if threshold is None or not cases:
        return None
    accepted = int(np.searchsorted(positives, threshold, side="left"))
    low, high = wilson(accepted, cases, confidence)
    reached = int(np.searchsorted(negatives, threshold, side="left")) / len(negatives)
    return Rate(accepted / cases, low, high, threshold, reached)


def equal_error_rate(distances: np.ndarray, same: np.ndarray) -> EqualError | None:
    """Where FAR is 1 - TAR, on straight lines between the points of the ROC; None without pairs of one or of two."""
    curve = roc(distances, same)
    if curve is None:
        return None
    excess = curve.far + curve.tar - 1  # rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    before = after - 1
    share = excess[before] / (excess[before] - excess[after])
    rate = curve.far[before] + share * (curve.far[after] - curve.far[before])
    return EqualError(float(rate), float(curve.thresholds[after if share >= 0.5 else before]))


def roc(distances: np.ndarray, same: np.ndarray) -> Roc | None:
    """FAR and TAR of every threshold that makes a difference; None without pairs of one person or of two."""
    distances, same = checked(distances, same)
    positives, negatives = np.sort(distances[same]), np.sort(distances[~same])
    if not len(positives) or not len(negatives):
        return None
    thresholds = np.unique(np.append(distances, np.inf))
    far, tar = (np.searchsorted(each, thresholds, side="left") / len(each) for each in (negatives, positives))
    far[-1] = tar[-1] = 1.0  # also with distances that are infinite
    return Roc(thresholds, far, tar)


def wilson(hits: int, cases: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) for a share of which `hits` of `cases` were seen; within 0 and 1."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = hits / cases, z * z / cases
    middle = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * (share * (1 - share) / cases + weight / (4 * cases)) ** 0.5
    low, high = middle - reach, middle + reach
    return (0.0 if hits == 0 else low), (1.0 if hits == cases else high)  # there the last digit is off


def _threshold(negatives: np.ndarray, far: float) -> float | None:
    if len(negatives) < negatives_needed(far):
        return None
    allowed = int(np.floor(far * len(negatives) + 1e-6))  # 0.29 * 100 is 28.999999999999996
    return float(negatives[allowed]) if allowed < len(negatives) else float("inf")
