"""Pairs of pictures of known people."""

import numpy as np
import pytest

from foveal.core.errors import DataError
from foveal.tasks.faces.pairs_of_people import draw_pairs

LABELS = np.array([5, 3, 5, 8, 3, 5, 9])  # three, two, one and one


def listed(pairs):
    """Pairs as a set of (first, second, same)."""
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.same.tolist(), strict=True))


def test_all_pairs_of_seven_pictures():
    found = draw_pairs(LABELS, negatives=1000)
    wanted = {(i, j, bool(LABELS[i] == LABELS[j])) for j in range(7) for i in range(j)}
    assert listed(found) == wanted
    assert len(found.first) == 21 and found.same.sum() == 4  # 3 + 1
    assert found.folds.tolist() == [0] * 21


def test_as_many_of_two_people_as_of_one():
    found = draw_pairs(LABELS)
    assert found.same.sum() == 4 and (~found.same).sum() == 4


def test_no_pair_comes_twice_and_numbers_are_as_asked():
    labels = np.random.default_rng(0).integers(0, 40, 300)
    found = draw_pairs(labels, positives=500, negatives=2000, seed=3)
    assert (found.same.sum(), (~found.same).sum()) == (500, 2000)
    assert len(listed(found)) == 2500
    assert (found.first < found.second).all()
    assert ((labels[found.first] == labels[found.second]) == found.same).all()


def test_a_function_of_the_seed():
    labels = np.repeat(np.arange(10), 10)
    one, again, other = (draw_pairs(labels, positives=50, seed=seed) for seed in (1, 1, 2))
    assert listed(one) == listed(again) != listed(other)


def test_every_pair_is_as_likely_as_any_other():
    found = [listed(draw_pairs(LABELS, positives=1, negatives=1, seed=seed)) for seed in range(1700)]
    counts = {pair: sum(pair in each for each in found) for pair in set().union(*found)}
    assert len(counts) == 21
    # 4 and 17 pairs: 425 and 100 times each, give or take four standard deviations.
    assert all(abs(count - (425 if same else 100)) < (72 if same else 40) for (_, _, same), count in counts.items())


def test_no_person_is_in_two_folds():
    labels = np.random.default_rng(0).integers(0, 45, 400)
    found = draw_pairs(labels, positives=301, negatives=600, folds=10, seed=1)
    assert np.bincount(found.folds, found.same).tolist() == [31] + [30] * 9
    assert np.bincount(found.folds, ~found.same).tolist() == [60] * 10
    folds_of = {}
    for first, second, fold in zip(found.first, found.second, found.folds, strict=True):
        for picture in (first, second):
            assert folds_of.setdefault(labels[picture], fold) == fold


def test_one_picture_each_one_person_and_too_many_folds_are_said():
    with pytest.raises(DataError, match="12 people with one picture each"):
        draw_pairs(np.arange(12))
    with pytest.raises(DataError, match="4 pictures of 1 people"):
        draw_pairs(np.zeros(4, int))
    with pytest.raises(DataError, match="0 pictures of 0 people"):
        draw_pairs(np.zeros(0, int))
    with pytest.raises(DataError, match="ask for 2 folds at most"):
        draw_pairs(LABELS, folds=3)
