"""Rates at a false accept rate by hand."""

import numpy as np
import pytest

from foveal.core.errors import NumericalError
from foveal.tasks.faces.far import (
    FARS,
    equal_error_rate,
    negatives_needed,
    roc,
    tar_at_far,
    threshold_at_far,
    wilson,
)


def pairs(positives, negatives):
    """Distances and whether they are of one person."""
    distances = np.concatenate([np.asarray(positives, float), np.asarray(negatives, float)])
    return distances, np.arange(len(distances)) < len(positives)


HUNDRED = np.arange(1, 101) / 100  # 0.01, ... 1


def test_ten_of_a_hundred_are_below_the_threshold_for_a_tenth():
    distances, same = pairs([0.05, 0.11, 0.5], HUNDRED)
    threshold = threshold_at_far(distances, same, 0.1)
    assert threshold == 0.11
    assert np.mean(distances[~same] < threshold) == 0.1
    # 0.11 itself is not below it.
    found = tar_at_far(distances, same)[0.1]
    assert found is not None
    assert (found.rate, found.threshold, found.far) == (1 / 3, 0.11, 0.1)


def test_the_threshold_is_the_highest_with_that_rate():
    distances, same = pairs([], np.random.default_rng(0).uniform(0, 2, 1000))
    for far in (0.01, 0.013, 0.1, 0.29, 0.5):
        threshold = threshold_at_far(distances, same, far)
        assert np.mean(distances < threshold) == pytest.approx(far)
        assert np.mean(distances < np.nextafter(threshold, 9)) > far
    assert threshold_at_far(distances, same, 1.0) == np.inf


def test_pairs_at_the_same_distance_are_refused_together():
    distances, same = pairs([0.1, 0.3], [0.2] * 50 + [0.4] * 50)
    found = tar_at_far(distances, same, [0.1, 0.5])
    assert found[0.1] is not None and found[0.5] is not None
    assert (found[0.1].threshold, found[0.1].far, found[0.1].rate) == (0.2, 0, 0.5)
    assert (found[0.5].threshold, found[0.5].far, found[0.5].rate) == (0.4, 0.5, 1)


def test_too_few_pairs_of_two_people_give_no_number():
    assert [negatives_needed(far) for far in FARS] == [100, 1000, 10_000, 100_000, 1_000_000, 10_000_000]
    distances, same = pairs([0.1], HUNDRED)
    assert threshold_at_far(distances, same, 1e-2) is None
    assert threshold_at_far(distances[:-1], same[:-1], 1e-1) is None
    assert [far for far, found in tar_at_far(distances, same).items() if found is not None] == [0.1]
    assert tar_at_far(*pairs([], HUNDRED))[0.1] is None


def test_wilsons_interval():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662, 15 of 148 gives 0.0624 to 0.1605, 0 of 20 up to 0.1611.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(20, 20)[1] == 1
    narrow = wilson(15, 148, 0.5)
    assert 0.0624 < narrow[0] < 15 / 148 < narrow[1] < 0.1605


def test_the_interval_holds_the_true_rate_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [wilson(int(hits), 200) for hits in rng.binomial(200, 0.9, 2000)]
    assert np.mean([low <= 0.9 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.015)


def test_roc_by_hand():
    curve = roc(*pairs([0.1, 0.2, 0.4], [0.2, 0.5]))
    assert curve is not None
    assert curve.thresholds.tolist() == [0.1, 0.2, 0.4, 0.5, np.inf]
    assert curve.far.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.tar == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    # Of six ways to take one of each, one person's is nearer in four, as near in one, 0.2, and farther in one, 0.4.
    assert curve.area() == pytest.approx(4.5 / 6)


def test_roc_rises_from_nothing_to_all():
    rng = np.random.default_rng(0)
    curve = roc(*pairs(rng.normal(0.4, 0.2, 300).round(2), rng.normal(0.9, 0.2, 500).round(2)))
    assert curve is not None
    assert (np.diff(curve.far) >= 0).all() and (np.diff(curve.tar) >= 0).all()
    assert (curve.far[0], curve.tar[0], curve.far[-1], curve.tar[-1]) == (0, 0, 1, 1)


def test_equal_error_rate_by_hand():
    # Below 0.45 lie 3 of 4 pairs of one person and 1 of 4 of two.
    found = equal_error_rate(*pairs([0.1, 0.2, 0.4, 0.7], [0.3, 0.5, 0.8, 0.9]))
    assert found is not None and found.rate == 0.25
    assert found.threshold == 0.5
    # FAR goes from 0 to 1 while 1 - TAR stays at 1/3: the line between meets it there.
    found = equal_error_rate(*pairs([0.1, 0.2, 0.6], [0.5]))
    assert found is not None and found.rate == pytest.approx(1 / 3)


def test_equal_error_rate_of_what_is_told_apart_and_of_what_is_not():
    perfect, reversed_, constant = (
        equal_error_rate(*pairs(*each)) for each in (([0.1, 0.2], [0.8, 0.9]), ([0.8, 0.9], [0.1, 0.2]), ([1], [1, 1]))
    )
    assert perfect is not None and reversed_ is not None and constant is not None
    assert (perfect.rate, reversed_.rate, constant.rate) == (0, 1, 0.5)
    assert perfect.threshold == 0.8


def test_without_pairs_of_a_kind_there_is_no_curve():
    assert roc(*pairs([0.1], [])) is None
    assert equal_error_rate(*pairs([], [0.1])) is None


def test_nan_is_said():
    with pytest.raises(NumericalError):
        tar_at_far(*pairs([np.nan], HUNDRED))
