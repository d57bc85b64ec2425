"""LFW's protocol by hand, and beside the loops over thresholds that others run."""

import numpy as np
import pytest

from foveal.core.errors import DataError, NumericalError
from foveal.tasks.faces.verification import FACENET_THRESHOLDS, best_threshold, lfw_accuracy


def looped(distances, same, folds, thresholds):
    """The thresholds and accuracies of folds, a threshold at a time, as FaceNet's code finds them."""
    chosen, accuracies = [], []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        shares = [accuracy(threshold, distances[train], same[train]) for threshold in thresholds]
        chosen.append(thresholds[int(np.argmax(shares))])
        accuracies.append(accuracy(chosen[-1], distances[test], same[test]))
    return np.array(chosen), np.array(accuracies)


def accuracy(threshold, distances, same):
    """True positives and negatives by the number of pairs."""
    said = np.less(distances, threshold)
    right = np.sum(np.logical_and(said, same)) + np.sum(np.logical_and(~said, ~same))
    return float(right) / len(distances)


def drawn(pairs=600, folds=10, seed=0):
    """Squared Euclidean distances that overlap, in an order of their own."""
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) % 2 == 0
    distances = np.clip(rng.normal(np.where(same, 1.1, 1.7), 0.3), 0, 4)
    return distances, same, rng.permutation(np.arange(pairs) % folds)


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_of_the_loop_over_400_thresholds_to_the_last_digit(seed):
    distances, same, folds = drawn(seed=seed)
    found = lfw_accuracy(distances, same, folds, thresholds=FACENET_THRESHOLDS)
    thresholds, accuracies = looped(distances, same, folds, FACENET_THRESHOLDS)
    assert found.thresholds.tolist() == thresholds.tolist()
    assert found.accuracies.tolist() == accuracies.tolist()
    assert found.mean == np.mean(accuracies)
    assert found.standard_error == np.std(accuracies, ddof=1) / 10**0.5


def test_distances_that_lie_on_thresholds_are_not_below_them():
    distances, same, folds = drawn()
    distances = FACENET_THRESHOLDS[np.searchsorted(FACENET_THRESHOLDS, distances).clip(max=399)]
    found = lfw_accuracy(distances, same, folds, thresholds=FACENET_THRESHOLDS)
    thresholds, accuracies = looped(distances, same, folds, FACENET_THRESHOLDS)
    assert found.thresholds.tolist() == thresholds.tolist()
    assert found.accuracies.tolist() == accuracies.tolist()


@pytest.mark.parametrize("digits", [8, 1])  # no two equal; nearly all
def test_all_cuts_are_those_of_a_loop_over_the_middles_between_distances(digits):
    distances, same, folds = drawn(pairs=200)
    distances = distances.round(digits)
    found = lfw_accuracy(distances, same, folds)
    for fold in range(10):
        levels = np.unique(distances[folds != fold])
        cuts = [levels[0], *(levels[:-1] + np.diff(levels) / 2), np.inf]
        thresholds, accuracies = looped(distances, same, folds, np.array(cuts))
        assert found.thresholds[fold] == thresholds[fold]
        assert found.accuracies[fold] == accuracies[fold]


def test_two_folds_by_hand():
    distances = np.array([0.1, 0.3, 0.5, 0.9, 0.2, 0.6, 0.8, 1.0])
    same = np.array([True, True, False, False, True, True, False, False])
    folds = np.array([0, 0, 0, 0, 7, 7, 7, 7])
    found = lfw_accuracy(distances, same, folds)
    # Fold 0 is judged by the middle between 0.6 and 0.8, which takes 0.5 for the same; fold 7 by that of 0.3 and 0.5.
    assert found.thresholds == pytest.approx([0.7, 0.4])
    assert found.accuracies.tolist() == [0.75, 0.75]
    assert (found.mean, found.standard_error) == (0.75, 0.0)


def test_standard_error_by_hand():
    distances = np.array([0.1, 0.9, 0.1, 0.9, 0.9, 0.1])
    same = np.array([True, False, True, False, True, False])
    found = lfw_accuracy(distances, same, np.array([0, 0, 1, 1, 2, 2]))
    assert found.accuracies.tolist()[2] == 0
    assert found.standard_error == pytest.approx(np.std(found.accuracies, ddof=1) / 3**0.5)


def test_the_threshold_of_a_fold_does_not_depend_on_its_own_pairs():
    distances, same, folds = drawn()
    before = lfw_accuracy(distances, same, folds).thresholds[3]
    distances[folds == 3] = distances[folds == 3][::-1] * 0.1
    assert lfw_accuracy(distances, same, folds).thresholds[3] == before


def test_folds_without_pairs_of_one_person_are_judged_as_others():
    distances, same = np.array([0.2, 0.4, 0.6, 0.8]), np.array([True, True, False, False])
    found = lfw_accuracy(distances, same, np.array([0, 0, 1, 1]))
    # Of pairs of two people alone, it is best to call none the same: the lowest distance is not below itself.
    assert found.thresholds.tolist() == [0.6, np.inf]
    assert found.accuracies.tolist() == [1, 0]


def test_best_threshold_by_hand():
    assert best_threshold(np.array([0.1, 0.2, 0.4]), np.array([True, True, False])) == pytest.approx(0.3)
    assert best_threshold(np.array([0.1, 0.2]), np.array([True, True])) == np.inf
    assert best_threshold(np.array([0.3, 0.1]), np.array([False, False])) == 0.1
    one = np.nextafter(1.0, 2.0)  # between it and 1 there is no number
    assert best_threshold(np.array([1.0, one]), np.array([True, False])) == one


def test_one_fold_no_pairs_and_nan_are_said():
    with pytest.raises(DataError, match="2 pairs in 1 folds"):
        lfw_accuracy(np.zeros(2), np.ones(2, bool), np.zeros(2, int))
    with pytest.raises(DataError, match="no pairs"):
        best_threshold(np.zeros(0), np.zeros(0, bool))
    with pytest.raises(NumericalError, match="1 of 2 distances are NaN"):
        lfw_accuracy(np.array([0.1, np.nan]), np.ones(2, bool), np.arange(2))
