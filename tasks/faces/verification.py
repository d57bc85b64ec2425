"""Same person or not, by the distance of two embeddings: the accuracy that papers print of LFW.

What is said here holds for all of this folder. A *distance* is 1 - cosine of two embeddings, 0 to 2; two pictures are
called the same person's where their distance is *below* the threshold, so that a threshold of 0 calls none the same,
equal pictures included. Everything here depends on the order of distances alone: squared Euclidean ones of embeddings
of unit length, which are twice these, give the same numbers with thresholds twice as high.

Imports no torch.
"""

from typing import NamedTuple

import numpy as np

from ...core.errors import DataError, NumericalError

FACENET_THRESHOLDS = np.arange(0, 4, 0.01)  # of squared Euclidean distances, as in the code that is used for FaceNet


class LfwAccuracy(NamedTuple):
    """Of the ten folds of LFW's protocol, or of as many as there are."""

    mean: float  # share of pairs, over the folds
    standard_error: float  # of this mean
    thresholds: np.ndarray  # float64 (F,), of each fold, found on all others
    accuracies: np.ndarray  # float64 (F,); their `std()` is what FaceNet's code prints behind ±


def lfw_accuracy(
    distances: np.ndarray, same: np.ndarray, folds: np.ndarray, *, thresholds: np.ndarray | None = None
) -> LfwAccuracy:
    """The accuracy over folds whose threshold is the best of all other folds (Huang et al. 2007, section 4).

    Args:
        distances: float (P,), of the pairs, in any order.
        same: bool (P,), whether a pair is of one person.
        folds: int (P,), in which fold a pair is; those of LFW share no person.
        thresholds: those to choose from, rising; None for all that make a difference, each in the middle between two
            distances. Of equally good ones the lowest is taken.

    The standard error is the standard deviation over the folds (of F - 1) by the root of F. Raises DataError for fewer
    than two folds, NumericalError for distances that are NaN.
    """
    distances, same = checked(distances, same)
    names, folds = np.unique(folds, return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"{len(distances)} pairs in {len(names)} folds: a threshold is found on the other folds, so that there "
            "must be two at least."
        )
    if thresholds is None:
        chosen, accuracies = _by_all_cuts(distances, same, folds, len(names))
    else:
        chosen, accuracies = _by_thresholds(distances, same, folds, np.asarray(thresholds, np.float64))
    return LfwAccuracy(
        float(np.mean(accuracies)), float(np.std(accuracies, ddof=1) / len(names) ** 0.5), chosen, accuracies
    )


def best_threshold(distances: np.ndarray, same: np.ndarray) -> float:
    """The threshold that is right for most pairs; in the middle between two distances, of equally good ones the lowest.

    Infinite where it is best to call all pairs the same. Raises DataError without pairs, NumericalError for NaN.
    """
    distances, same = checked(distances, same)
    if not len(distances):
        raise DataError("There are no pairs to find a threshold on.")
    order = np.argsort(distances)
    return _best_cut(distances[order], same[order])


def checked(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (P,) and bool (P,); raises NumericalError for distances that are NaN."""
    distances, same = np.asarray(distances, np.float64), np.asarray(same, bool)
    assert distances.shape == same.shape and distances.ndim == 1, (distances.shape, same.shape)
    bad = int(np.isnan(distances).sum())
    if bad:
        raise NumericalError(f"{bad} of {len(distances)} distances are NaN; the network has diverged.")
    return distances, same


def _by_all_cuts(
    distances: np.ndarray, same: np.ndarray, folds: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(distances)
    distances, same, folds = distances[order], same[order], folds[order]
    chosen, accuracies = np.zeros(number), np.zeros(number)
    for fold in range(number):
        inside = folds == fold
        chosen[fold] = _best_cut(distances[~inside], same[~inside])
        accuracies[fold] = np.mean((distances[inside] < chosen[fold]) == same[inside])
    return chosen, accuracies


def _best_cut(distances: np.ndarray, same: np.ndarray) -> float:
    """Of rising distances, at least one. To raise the threshold past a pair gains it where it is the same person's, and
    loses it where it is not.
    """
    ends = np.append(np.flatnonzero(distances[1:] > distances[:-1]), len(distances) - 1)  # the last of equal ones
    gains = np.append(0, np.cumsum(np.where(same, 1, -1))[ends])
    place = int(np.argmax(gains))
    if place == 0:
        return float(distances[0])
    if place == len(ends):
        return float("inf")
    low, high = distances[ends[place - 1]], distances[ends[place]]
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)


def _by_thresholds(
    distances: np.ndarray, same: np.ndarray, folds: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One count of pairs by fold and by the first threshold that calls them the same, and sums of it: whole numbers,
    whose order is that of the shares that a loop compares.
    """
    number, steps = int(folds.max()) + 1, len(thresholds) + 1
    places = folds * steps + np.searchsorted(thresholds, distances, side="right")
    gains, pairs = np.bincount(places, np.where(same, 1, -1), number * steps), np.bincount(folds)
    right = np.cumsum(gains.reshape(number, steps)[:, :-1], axis=1) + np.bincount(folds, ~same)[:, None]
    best = np.argmax(right.sum(axis=0) - right, axis=1)
    return thresholds[best], right[np.arange(number), best] / pairs
